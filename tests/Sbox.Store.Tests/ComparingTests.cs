using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>diff, checksum, summary, trees laid over each other, whiteouts and the choices of prune: all as real ostree has them.</summary>
public sealed class ComparingTests
{
    [Fact]
    public void A_difference_is_told_as_ostree_tells_it()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        string tree = scratch.Tree();
        Checksum first = ours.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        using (Dir dir = Dir.Open(tree))
        {
            dir.Unlink("empty");
            dir.RemoveAll("etc/a/b");
            dir.MakeDirs("new/inner");
            Scratch.Write(dir, "new/inner/file", "1"u8.ToArray());
            dir.ChangeMode("sticky", 0x1ED);
            dir.Unlink("link");
            dir.MakeDir("link");
            dir.ChangeMode("etc/shadow", 0x180);
        }

        Assert.Equal(Judge.Ostree.Run("diff", $"--repo={ours.Path}", "main", tree), Print(ours.Diff(first, tree)));
        Checksum second = ours.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        Assert.Equal(Judge.Ostree.Run("diff", $"--repo={ours.Path}", "main"), Print(ours.Diff(first, second)));
        Assert.Equal("", Print(ours.Diff(second, tree)));
    }

    [Fact]
    public void What_lies_on_disk_has_the_checksum_that_ostree_gives_it()
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        foreach (string name in new[] { "hello", "empty", "link", "etc", "etc/a/setuid", "big" })
        {
            Assert.Equal(Judge.Ostree.Run("checksum", $"{tree}/{name}").Trim(), new FileIdentity().Of($"{tree}/{name}").ToString());
            Assert.Equal(
                Judge.Ostree.Run("checksum", "--ignore-xattrs", $"{tree}/{name}").Trim(), new FileIdentity(Xattrs: false).Of($"{tree}/{name}").ToString());
        }
    }

    [Fact]
    public void Trees_laid_over_each_other_are_the_commit_that_ostree_makes_of_them()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        string tree = scratch.Tree(), over = scratch["over"];
        System.IO.Directory.CreateDirectory(over + "/etc/more");
        System.IO.File.WriteAllText(over + "/hello", "other");
        System.IO.File.WriteAllText(over + "/etc/more/x", "x");
        Checksum below = ours.CommitDirectory(tree, new CommitOptions { Branches = ["base"], Timestamp = Scratch.Time });
        string theirs = Judge.Ostree.Run(
            "commit", $"--repo={ours.Path}", "-b", "main", $"--timestamp={Scratch.Timestamp}", "--tree=ref=base", $"--tree=dir={over}").Trim();
        CommitResult result = ours.CommitTrees(
            [new TreeSource.OfCommit(below), new TreeSource.Directory(over)],
            new CommitOptions { Branches = ["main"], NoParent = true, Timestamp = Scratch.Time });
        Assert.Equal(theirs, result.Checksum.ToString());
        System.IO.Directory.CreateDirectory(scratch["clash"] + "/hello");
        Assert.Throws<CannotCommitException>(() => ours.CommitTrees(
            [new TreeSource.OfCommit(below), new TreeSource.Directory(scratch["clash"])], new CommitOptions { Branches = ["main"] }));
        Assert.Equal(theirs, ours.Resolve("main").ToString());
    }

    [Fact]
    public void A_summary_is_byte_for_byte_what_ostree_writes_in_the_same_second()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["a", "b/c"], Metadata = VariantDictionary.Empty.With("version", "1") });
        Judge.Ostree.Run("summary", $"--repo={ours.Path}", "-u");
        byte[] theirs = ours.Dir.ReadAll("summary");
        var said = Summary.Parse(theirs).Metadata["ostree.summary.last-modified"]!;
        using Repository again = Repository.Open(ours.Path);
        again.WriteSummary(new FixedClock(DateTimeOffset.FromUnixTimeSeconds((long)said.ByteSwapped().Unsigned)));
        Assert.Equal(theirs, ours.Dir.ReadAll("summary"));
    }

    [Fact]
    public void Whiteouts_delete_what_ostree_deletes()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["base"] });
        string layer = scratch["layer"];
        System.IO.Directory.CreateDirectory(layer + "/etc/a/b");
        foreach (string name in new[] { ".wh.hello", "etc/.wh.shadow", "etc/a/b/.wh..wh..opq", "etc/a/b/kept", "fresh", ".wh.sticky" })
            System.IO.File.WriteAllText($"{layer}/{name}", "");
        ours.CommitDirectory(layer, new CommitOptions { Branches = ["layer"] });
        using Dir here = Dir.Open(scratch.Root);
        foreach (string branch in new[] { "base", "layer" })
        {
            Judge.Ostree.Run("checkout", $"--repo={ours.Path}", "--union", "--whiteouts", branch, scratch["theirs"]);
            ours.Checkout(ours.Resolve(branch), here, "ours", new CheckoutOptions { Overwrite = CheckoutOverwrite.UnionFiles, Whiteouts = true });
        }

        Assert.Equal(Timeless("theirs"), Timeless("ours"));
        Assert.False(here.Exists("ours/hello"));

        // When a merged directory was last changed depends on what was deleted in it, and when.
        string Timeless(string name) => Scratch.Describe(scratch[name]).Replace(" 0 @a", " now @a", StringComparison.Ordinal);
    }

    public static TheoryData<string[]> Prunings => new(
        ["--depth=0", "--retain-branch-depth=stable=1"],
        ["--only-branch=dev", "--depth=0"],
        ["--keep-younger-than=2001-01-01"],
        ["--only-branch=stable", "--keep-younger-than=2001-01-01"],
        ["--refs-only", "--depth=1", "--commit-only"]);

    [Theory, MemberData(nameof(Prunings))]
    public void Every_choice_of_prune_leaves_what_ostree_leaves(string[] arguments)
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        System.IO.Directory.CreateDirectory(scratch["tree"]);
        for (int i = 0; i < 4; i++)
        {
            System.IO.File.WriteAllText(scratch["tree"] + $"/{i}", $"{i}");
            foreach (string branch in new[] { "stable", "dev" })
            {
                ours.CommitDirectory(
                    scratch["tree"], new CommitOptions { Branches = [branch], Timestamp = new DateTimeOffset(1999 + i, 6, 1, 0, 0, 0, TimeSpan.Zero) });
            }
        }

        Judge.OnPath("cp").Run("-a", ours.Path, scratch["theirs"]);
        Judge.Ostree.Run(["prune", $"--repo={scratch["theirs"]}", .. arguments]);
        PruneReport report = ours.Prune(Options(arguments));
        using Repository theirs = Repository.Open(scratch["theirs"]);
        Assert.Equal(theirs.EnumerateObjects().ToHashSet(), ours.EnumerateObjects().ToHashSet());
        Assert.True(report.ObjectsDeleted > 0);
    }

    private static PruneOptions Options(string[] arguments) => arguments.Aggregate(new PruneOptions(), static (options, word) => word.Split('=', 2) switch
    {
        ["--depth", var depth] => options with { Depth = int.Parse(depth, null) },
        ["--retain-branch-depth", var pair] => options with { BranchDepths = new Dictionary<string, int> { [pair.Split('=')[0]] = int.Parse(pair.Split('=')[1], null) } },
        ["--only-branch", var branch] => options with { OnlyBranches = [branch] },
        ["--keep-younger-than", var date] => options with { KeepYoungerThan = DateTimeOffset.Parse(date + "T00:00:00Z", null) },
        ["--commit-only"] => options with { CommitsOnly = true },
        _ => options,
    });

    private static string Print(TreeDiff diff) => string.Concat(
        diff.Modified.Select(static path => $"M    {path}\n").Concat(diff.Removed.Select(static path => $"D    {path}\n"))
            .Concat(diff.Added.Select(static path => $"A    {path}\n")));

    private sealed class FixedClock(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;
    }
}
