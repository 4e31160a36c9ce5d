using System.Text.Json;
using Sbox.Judges;

namespace Sbox.Cli.Tests;

public sealed class WatchWhyTests
{
    private static readonly string Policy = $"--tree-policy={SourceTree.Root}/packaging/sentinel/sentinel.d";

    [Fact]
    public void Why_tells_what_carries_a_path_what_protects_it_and_what_would_be_done()
    {
        JsonElement why = JsonDocument.Parse(Ask("/usr/bin", "--json")).RootElement;
        Assert.Equal(("/usr/bin", "/usr"), (why.GetProperty("path").GetString(), why.GetProperty("protected-by").GetString()));
        Assert.NotNull(why.GetProperty("type").GetString());
        Assert.Equal(["journal", "metrics", "wall", "undo"], why.GetProperty("reactions").EnumerateArray().Select(static each => each.GetString()));
        string text = Ask("/usr/bin");
        Assert.Contains("the policy protects it (protect /usr); were it writable: journal, metrics, wall, undo", text, StringComparison.Ordinal);
        Assert.Contains("Nothing has happened there.", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_path_that_the_policy_leaves_alone_is_told_so()
    {
        JsonElement why = JsonDocument.Parse(Ask("/proc", "--json")).RootElement;
        Assert.Equal((JsonValueKind.Null, 0), (why.GetProperty("protected-by").ValueKind, why.GetProperty("reactions").GetArrayLength()));
        Assert.Contains("the policy leaves it alone", Ask("/proc"), StringComparison.Ordinal);
    }

    private static string Ask(string path, params string[] more) => Judge.OnPath($"{RunningBox.Program}/sbox").Run(["watch", "--why", path, Policy, "--state-directory=/nowhere", .. more]);
}
