using Sbox.Judges;

namespace Sbox.Integrity.Tests;

public sealed class PolicyReaderTests
{
    private static readonly SentinelPolicy Sealed = Read(new SentinelPolicy(), """
        [[protect]]
        path = "/usr"

        [[storage]]
        mount = "/sysroot"
        writable = ["/ostree/deploy/*/var"]

        [severity]
        loosened = "alarm"

        [reaction.critical]
        do = ["journal", "undo"]
        """);

    [Fact]
    public void The_policy_that_a_box_ships_with_is_read_whole()
    {
        LoadedPolicy loaded = LoadedPolicy.Load(SourceTree.Of("packaging", "sentinel", "sentinel.d"), "/nowhere");
        Assert.Contains(loaded.Policy.Protected, static path => path is { Path: "/usr", Storage: null });
        Assert.Contains(loaded.Policy.Protected, static path => path is { Path: "/boot", Storage: "/boot" });
        Assert.Equal("/sysroot", Assert.Single(loaded.Policy.Storage).Mount);
        Assert.Equal(Severity.Critical, loaded.Policy.SeverityOf(FindingKind.Covered));
        Assert.Contains(Reaction.Undo, loaded.Policy.ReactionTo(Severity.Critical).Do);
        Assert.False(loaded.Policy.MayLoosen);
    }

    [Theory]
    [InlineData("[[protect]]\npath = \"usr\"", 2, "protect.path", "an absolute path without '.', '..' or '//'", "'usr'")]
    [InlineData("[[protect]]\npath = \"/a/../b\"", 2, "protect.path", "an absolute path without '.', '..' or '//'", "'/a/../b'")]
    [InlineData("[[protect]]\nstorage = \"/\"", 1, "protect.path", "an absolute path", "nothing")]
    [InlineData("\n[protect]\npath = \"/usr\"", 2, "protect", "[[protect]], since there can be many", "[protect]")]
    [InlineData("[[protect]]\npath = \"/usr\"\nwriteable = true", 3, "protect.writeable", "one of path, storage, type", "an unknown key")]
    [InlineData("[[protect]]\npath = \"/proc\"\nstorage = \"/\"\ntype = \"proc\"", 4, "protect.type", "it, or 'storage'", "both")]
    [InlineData("[severity]\ncovered = \"bad\"", 2, "severity.covered", "one of off, notice, alarm, critical", "'bad'")]
    [InlineData("[severity]\nwritten = \"off\"", 2, "severity.written", "one of writable", "an unknown finding")]
    [InlineData("[reaction.critical]\ndo = [\"hook\"]", 1, "reaction.critical.hook", "the program to start, since 'do' has 'hook'", "nothing")]
    [InlineData("[reaction.critical]\ndo = [\"sing\"]", 2, "reaction.critical.do", "some of journal, wall", "'sing'")]
    [InlineData("[guard]\n", 1, "guard", "[[protect]], [[storage]]", "an unknown table")]
    [InlineData("may-loosen = 1", 1, "may-loosen", "true or false", "1")]
    public void A_mistake_is_told_with_file_line_key_what_belongs_there_and_what_is_there(string text, int line, string key, string expected, string found)
    {
        PolicyException mistake = Assert.Throws<PolicyException>(() => Read(new SentinelPolicy(), text));
        Assert.Equal(("/p/x.toml", line, key, found), (mistake.File, mistake.Line, mistake.Key, mistake.Found));
        Assert.StartsWith(expected, mistake.Expected, StringComparison.Ordinal);
        Assert.StartsWith($"/p/x.toml:{line}: ", mistake.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[[allow]]\nfinding = \"covered\"")]
    [InlineData("[set-user-id]\nallow = [\"/tmp/*\"]")]
    [InlineData("[severity]\nwritable = \"notice\"")]
    [InlineData("[severity]\nloosened = \"off\"")]
    [InlineData("[reaction.critical]\ndo = [\"journal\"]")]
    [InlineData("[[storage]]\nmount = \"/sysroot\"\nwritable = [\"/*\"]")]
    [InlineData("may-loosen = true")]
    public void The_owner_cannot_loosen_what_the_tree_does_not_let_them(string text) =>
        Assert.Throws<PolicyException>(() => PolicyReader.Read(Sealed, "/etc/x.toml", text, PolicyOrigin.Owner));

    [Theory]
    [InlineData("[[allow]]\nfinding = \"covered\"")]
    [InlineData("[severity]\nwritable = \"notice\"")]
    [InlineData("[reaction.critical]\ndo = [\"journal\"]")]
    public void The_owner_may_where_the_tree_says_so(string text) =>
        PolicyReader.Read(Sealed with { MayLoosen = true }, "/etc/x.toml", text, PolicyOrigin.Owner);

    [Fact]
    public void The_owner_may_always_ask_for_more()
    {
        SentinelPolicy more = PolicyReader.Read(Sealed, "/etc/x.toml", """
            [[protect]]
            path = "/opt/vault"

            [severity]
            loosened = "critical"

            [reaction.critical]
            do = ["journal", "undo", "kill"]
            """, PolicyOrigin.Owner);
        Assert.Equal(2, more.Protected.Count);
        Assert.Equal(Severity.Critical, more.SeverityOf(FindingKind.Loosened));
        Assert.Contains(Reaction.Kill, more.ReactionTo(Severity.Critical).Do);
    }

    [Theory]
    [InlineData("/ostree/deploy/*/var", "/ostree/deploy/debian/var", true)]
    [InlineData("/ostree/deploy/*/var", "/ostree/deploy/debian/var/lib/x", true)]
    [InlineData("/ostree/deploy/*/var", "/ostree/deploy/debian/deploy", false)]
    [InlineData("/ostree/deploy/*/var", "/ostree/deploy/a/b/var", false)]
    [InlineData("/usr", "/usrlocal", false)]
    [InlineData("/", "/anything", true)]
    [InlineData("/a*b*c", "/axxbyyc", true)]
    [InlineData("/a*b*c", "/axxbyy", false)]
    [InlineData("/tmp/*", "/tmp", false)]
    public void A_star_stands_for_any_letters_of_one_name_and_a_pattern_for_all_below(string pattern, string path, bool covered) =>
        Assert.Equal(covered, PathPattern.TryParse(pattern)!.Covers(path));

    private static SentinelPolicy Read(SentinelPolicy policy, string text) => PolicyReader.Read(policy, "/p/x.toml", text, PolicyOrigin.Tree);
}
