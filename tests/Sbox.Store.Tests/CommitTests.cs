using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

public sealed class CommitTests
{
    private static readonly CommitOptions Options = new()
    {
        Branches = ["main"],
        Subject = "A subject",
        Body = "A body\nof two lines",
        Timestamp = Scratch.Time,
    };

    public static TheoryData<RepositoryMode> Modes => [RepositoryMode.Bare, RepositoryMode.Archive];

    [Theory, MemberData(nameof(Modes))]
    public void The_same_tree_has_the_commit_checksum_that_every_ostree_gives_it(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        using Repository ours = Repository.Create(scratch["ours"], mode);
        Checksum commit = ours.CommitDirectory(tree, Options with { Metadata = VariantDictionary.Empty.With("version", "1.2").With("x", "y") });
        foreach (Judge ostree in Scratch.Ostrees)
        {
            string theirs = scratch[Guid.NewGuid().ToString("N")];
            ostree.Run("init", $"--repo={theirs}", $"--mode={mode.Name()}");
            string found = ostree.Run(
                "commit", $"--repo={theirs}", "-b", "main", "-s", "A subject", "-m", "A body\nof two lines", $"--timestamp={Scratch.Timestamp}",
                "--add-metadata-string=version=1.2", "--add-metadata-string=x=y", tree).Trim();
            Assert.Equal(found, commit.ToString());
        }
    }

    [Theory, MemberData(nameof(Modes))]
    public void Every_ostree_finds_a_repository_of_ours_whole(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], mode);
        ours.CommitDirectory(scratch.Tree(), Options);
        ours.CommitDirectory(scratch.Tree("second"), Options with { Subject = "another" });
        foreach (Judge ostree in Scratch.Ostrees)
        {
            Assert.Contains("no errors found", ostree.Run("fsck", $"--repo={ours.Path}"));
            Assert.Equal(ours.Resolve("main").ToString(), ostree.Run("rev-parse", $"--repo={ours.Path}", "main").Trim());
        }

        Assert.True(ours.Fsck().IsWhole);
        Assert.Equal(2, ours.Log(ours.Resolve("main")).Count());
        Assert.Equal(ours.Resolve("main^"), ours.LoadCommit(ours.Resolve("main")).Parent);
    }

    [Theory, MemberData(nameof(Modes))]
    public void A_commit_of_theirs_reads_here_and_is_whole(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        foreach (Judge ostree in Scratch.Ostrees)
        {
            string path = scratch[Guid.NewGuid().ToString("N")];
            ostree.Run("init", $"--repo={path}", $"--mode={mode.Name()}");
            string commit = ostree.Run("commit", $"--repo={path}", "-b", "os/main", "-s", "s", $"--timestamp={Scratch.Timestamp}", tree).Trim();
            using Repository theirs = Repository.Open(path);
            Assert.Equal(commit, theirs.Resolve("os/main").ToString());
            Assert.Equal(Scratch.Time, theirs.LoadCommit(theirs.Resolve("os/main")).Time);
            FsckReport report = theirs.Fsck(new FsckOptions { VerifyBindings = true });
            Assert.Empty(report.Problems);
            Assert.True(report.Objects > 20);
        }
    }

    [Theory, MemberData(nameof(Modes))]
    public void Committing_an_unchanged_tree_again_writes_no_object_but_the_commit(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        using Repository ours = Repository.Create(scratch["ours"], mode);
        ours.CommitDirectory(tree, Options);
        int before = ours.EnumerateObjects().Count();
        Checksum second = ours.CommitDirectory(tree, Options);
        Assert.Equal(before + 1, ours.EnumerateObjects().Count());
        Assert.Equal(second, ours.CommitDirectory(tree, Options with { SkipIfUnchanged = true }));
        Assert.Equal(before + 1, ours.EnumerateObjects().Count());
    }

    [Theory, InlineData(false, 7u, 0), InlineData(true, 0u, 1)]
    public void A_hardlinked_object_gets_the_owner_that_is_asked_for_unless_it_shall_be_taken_as_it_is(bool asTheyAre, uint owner, int hits)
    {
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["tree"]);
        File.WriteAllText(scratch["tree/file"], "content\n");
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.BareUser);
        Checksum first = ours.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], OwnerUid = 0, OwnerGid = 0 });
        using (Dir root = Dir.Open(scratch.Root))
            ours.Checkout(first, root, "out", new CheckoutOptions { UserMode = true, RequireHardlinks = true });
        CommitResult again = ours.CommitTrees(
            [new TreeSource.Directory(scratch["out"])], new CommitOptions { Branches = ["again"], OwnerUid = 7, OwnerGid = 7, TrustsHardlinks = true, HardlinksAsTheyAre = asTheyAre });
        Assert.Equal(owner, ours.LoadFile(ours.Find(again.Checksum, "/file").Content!.Value).Uid);
        Assert.Equal(hits, again.Stats!.Value.CacheHits);
    }

    [Fact]
    public void Owners_canonical_permissions_and_missing_xattrs_are_what_ostree_makes_of_the_same_options()
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        (CommitOptions Ours, string[] Theirs)[] cases =
        [
            (Options with { OwnerUid = 5, OwnerGid = 6 }, ["--owner-uid=5", "--owner-gid=6"]),
            (Options with { NoXattrs = true }, ["--no-xattrs"]),
            (Options with { CanonicalPermissions = true }, ["--canonical-permissions"]),
            (Options with { BindRefs = false }, ["--no-bindings"]),
            (Options with { AdditionalBindings = ["a/b", "zz"] }, ["--bind-ref=zz", "--bind-ref=a/b"]),
        ];
        foreach ((CommitOptions options, string[] arguments) in cases)
        {
            string theirs = scratch[Guid.NewGuid().ToString("N")];
            Judge.Ostree.Run("init", $"--repo={theirs}", "--mode=archive");
            string found = Judge.Ostree.Run(
                ["commit", $"--repo={theirs}", "-b", "main", "-s", "A subject", "-m", "A body\nof two lines", $"--timestamp={Scratch.Timestamp}", .. arguments, tree]).Trim();
            Assert.Equal(found, ours.CommitDirectory(tree, options with { NoParent = true }).ToString());
        }
    }

    [Fact]
    public void What_has_no_form_in_a_repository_is_refused_and_the_branch_stays()
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Checksum before = ours.CommitDirectory(tree, Options);
        using (Linux.Dir dir = Linux.Dir.Open(tree))
            dir.MakeNode("fifo", 0x11A4, 0);
        CannotCommitException refused = Assert.Throws<CannotCommitException>(() => ours.CommitDirectory(tree, Options));
        Assert.EndsWith("/fifo", refused.Path);
        using (Linux.Dir dir = Linux.Dir.Open(tree))
        {
            dir.Unlink("fifo");
            Scratch.Write(dir, Linux.FileName.FromBytes([0xff, 0xfe]), []);
        }

        Assert.Throws<CannotCommitException>(() => ours.CommitDirectory(tree, Options));
        Assert.Equal(before, ours.Resolve("main"));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    [Fact]
    public void A_filter_leaves_out_a_name_and_all_below_it()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), Options with { Filter = (path, _) => path is not ("/etc/a" or "/big") });
        Assert.Null(ours.TryFind(commit, "/etc/a/b"));
        Assert.Null(ours.TryFind(commit, "/big"));
        Assert.NotNull(ours.TryFind(commit, "/etc/shadow"));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    [Fact]
    public void A_reserve_of_free_space_is_kept()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.WriteConfig(ours.Config.With("core", "min-free-space-size", "900000GB"));
        Assert.Throws<NotEnoughSpaceException>(() => ours.CommitDirectory(scratch.Tree(), Options));
        Assert.Empty(ours.Refs());
    }

    [Fact]
    public void What_is_compressed_already_is_stored_in_an_archive_and_what_lies_between_is_compressed()
    {
        using var scratch = new Scratch();
        var random = new Random(8);
        var noise = new byte[3 * 1024 * 1024];
        random.NextBytes(noise);
        byte[] text = [.. Enumerable.Range(0, 400_000).SelectMany(static i => System.Text.Encoding.ASCII.GetBytes($"{i * 7919} "))];
        Directory.CreateDirectory(scratch["tree"]);
        using Dir root = Dir.Open(scratch["tree"]);
        Scratch.Write(root, "noise", noise);
        Scratch.Write(root, "small-noise", noise.AsSpan(0, 300_000).ToArray());
        Scratch.Write(root, "text-noise-text-noise", [.. text, .. noise, .. text, .. noise, .. text.AsSpan(0, 1000)]);
        Scratch.Write(root, "noise-text", [.. noise, .. text]);
        Scratch.Write(root, "text", text);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        Checksum commit = ours.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"] });
        Judge.Ostree.Run("checkout", "-U", $"--repo={ours.Path}", "main", scratch["out"]);
        foreach (string name in Directory.EnumerateFiles(scratch["tree"]).Select(static path => Path.GetFileName(path)!))
            Assert.Equal(File.ReadAllBytes(scratch[$"tree/{name}"]), File.ReadAllBytes(scratch[$"out/{name}"]));
        long Stored(string name) => ours.Dir.Stat("objects/" + new ObjectName(ours.Find(commit, name).Content!.Value, ObjectType.File).LoosePath(ours.Mode)).Size;
        Assert.InRange(Stored("/noise"), noise.Length, noise.Length + 500);
        Assert.InRange(Stored("/text"), 0, text.Length / 2);
        // Looking back ends where something is stored: a little is lost each time, and no more.
        Assert.InRange(Stored("/text-noise-text-noise"), noise.Length * 2, (noise.Length * 2) + (Stored("/text") * 2 * 11 / 10));
    }
}
