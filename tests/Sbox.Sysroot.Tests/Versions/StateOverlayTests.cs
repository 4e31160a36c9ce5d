using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What is kept of changes below a directory of the system when another version brings its own.</summary>
public sealed class StateOverlayTests : IDisposable
{
    private readonly TempDir temp = new();

    public void Dispose() => temp.Dispose();

    [Fact]
    public void What_the_version_brings_wins_and_what_was_added_stays()
    {
        foreach ((string path, string text) in (ReadOnlySpan<(string, string)>)[("program", "new"), ("lib/shared", "new"), ("back", "new"), ("hidden/inner", "new"), ("was-file/now", "directory")])
            temp.Write($"lower/{path}", text);
        foreach ((string path, string text) in (ReadOnlySpan<(string, string)>)[
            ("program", "changed"), ("mine", "added"), ("lib/shared", "changed"), ("lib/mine", "added"), ("hidden/mine", "added"), ("was-file", "changed"), ("only-mine/deep", "added")])
            temp.Write($"upper/{path}", text);
        using Dir upper = temp.Open("upper"), lower = temp.Open("lower");
        foreach (string removed in (string[])["back", "never-there"])
            Judge.OnPath("mknod").Run(temp.Of($"upper/{removed}"), "c", "0", "0");
        Xattrs.Set(upper, "hidden", new Xattr("trusted.overlay.opaque", "y"u8.ToArray()));

        StateOverlay.Prune(upper, lower);
        string[] left = [.. Directory.GetFiles(temp.Of("upper"), "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(temp.Of("upper"), path)).Order(StringComparer.Ordinal)];
        Assert.Equal(["hidden/mine", "lib/mine", "mine", "only-mine/deep"], left);
        Assert.Empty(Xattrs.Read(upper, "hidden"));
    }

    [Theory, InlineData(""), InlineData(".."), InlineData("a/b")]
    public void A_name_that_leads_elsewhere_is_refused(string name) =>
        Assert.Throws<IOException>(() => new StateOverlay(name, temp.Path).Mount(Codecs.Checksum.Of("x"u8), temp.Of("home")));
}
