using System.Text.Json;
using Sbox.Judges;

namespace Sbox.Delivery.Tests;

/// <summary>What is told of a pull and of publishing while they go on.</summary>
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

    [Fact]
    public async Task Whoever_publishes_sees_how_far_the_delta_is_that_is_made()
    {
        using var shop = new Workshop();
        shop.Commit();
        await shop.Publish(options: shop.Signed() with { DeltaFromNothing = false });
        shop.Commit(files: 40);
        var told = new Told();
        await shop.Publish(options: shop.Signed() with { DeltasFrom = 1, DeltaFromNothing = false }, progress: told);
        PublishProgress[] making = [.. told.All.Where(static at => at.Delta is not null)];
        Assert.NotEmpty(making);
        Assert.All(making, static at => Assert.Equal((PublishStep.Deltas, 0L, 1L), (at.Step, at.Done, at.Total)));
        Assert.InRange(making[0].Delta!.Value.Done, 1, making[^1].Delta!.Value.Total);
        Assert.Equal(making[^1].Delta!.Value.Total, making[^1].Delta!.Value.Done);
    }

    [Fact]
    public async Task The_compressing_of_a_delta_is_told_byte_by_byte_to_its_end_for_it_takes_longest()
    {
        using var shop = new Workshop();
        shop.Commit();
        var told = new Told();
        await shop.Publish(options: shop.Signed() with { DeltasFrom = 0 }, progress: told);
        (long Packed, long ToPack)[] packing = [.. told.All.Where(static at => at.Delta is { ToPack: > 0 }).Select(static at => (at.Delta!.Value.Packed, at.Delta!.Value.ToPack))];
        Assert.True(packing.Length > 20, $"{packing.Length} reports of more than 20 files");
        Assert.Equal(packing.Order(), packing);
        Assert.All(packing, at => Assert.Equal(packing[0].ToPack, at.ToPack));
        Assert.Equal(packing[^1].ToPack, packing[^1].Packed);
    }

    private sealed class Told : IProgress<PublishProgress>
    {
        private readonly Lock sync = new();

        public List<PublishProgress> All { get; } = [];

        public void Report(PublishProgress value)
        {
            lock (sync)
                All.Add(value);
        }
    }
}
