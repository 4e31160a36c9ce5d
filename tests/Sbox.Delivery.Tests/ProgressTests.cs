using System.Text.Json;
using Sbox.Judges;

namespace Sbox.Delivery.Tests;

/// <summary>What the program tells of a pull while it goes on.</summary>
public sealed class ProgressTests
{
    [Fact]
    public async Task Programs_are_told_how_far_a_pull_is_as_objects_and_what_is_unknown_as_null()
    {
        using var shop = new Workshop();
        shop.Commit();
        await shop.Publish(options: shop.Signed() with { DeltaFromNothing = false });
        string reader = shop.NewReader(shop.Serve(), "reader");
        File.AppendAllText($"{reader}/config", "\nsbox-rate-limit=100K\n"); // three seconds
        Verdict pulled = Judge.OnPath("env").Ask(TestedProgram.Sbox, "store", "pull", $"--repo={reader}", "--json", "origin", Workshop.Branch);
        Assert.True(pulled.ExitCode == 0, pulled.Error);
        JsonElement[] told = [.. pulled.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonDocument.Parse(line).RootElement)];
        Assert.NotEmpty(told);
        Assert.All(told, static at => Assert.Equal("fetch", at.GetProperty("progress").GetString()));
        Assert.All(told, static at => Assert.Equal(JsonValueKind.Null, at.GetProperty("bytes-to-come").ValueKind));
        Assert.True(told[^1].GetProperty("bytes").GetInt64() > 100_000);
        Assert.True(told[^1].GetProperty("bytes-per-second").GetInt64() > 0);
        Assert.True(JsonDocument.Parse(pulled.Output).RootElement.GetProperty("bytes").GetInt64() > 300_000);
    }
}
