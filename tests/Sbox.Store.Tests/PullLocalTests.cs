using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

public sealed class PullLocalTests
{
    public static TheoryData<RepositoryMode, RepositoryMode> Pairs => new()
    {
        { RepositoryMode.Bare, RepositoryMode.Bare },
        { RepositoryMode.Bare, RepositoryMode.Archive },
        { RepositoryMode.Archive, RepositoryMode.Bare },
        { RepositoryMode.Archive, RepositoryMode.Archive },
    };

    [Theory, MemberData(nameof(Pairs))]
    public void From_theirs_to_ours_and_from_ours_to_theirs_every_mode_is_whole(RepositoryMode from, RepositoryMode to)
    {
        using var scratch = new Scratch();
        Judge.Ostree.Run("init", $"--repo={scratch["theirs"]}", $"--mode={from.Name()}");
        Judge.Ostree.Run("commit", $"--repo={scratch["theirs"]}", "-b", "os/main", scratch.Tree());
        using Repository theirs = Repository.Open(scratch["theirs"]);
        using Repository ours = Repository.Create(scratch["ours"], to);
        PullResult result = ours.PullLocal(theirs, new PullLocalOptions { Remote = "origin" });
        Checksum commit = theirs.Resolve("os/main");
        Assert.Equal(new KeyValuePair<string, Checksum>("origin:os/main", commit), Assert.Single(result.Refs));
        Assert.Equal(commit, ours.Resolve("os/main"));
        Assert.Empty(ours.Fsck().Problems);
        foreach (Judge ostree in Scratch.Ostrees)
            Assert.Contains("no errors found", ostree.Run("fsck", $"--repo={ours.Path}"));

        Judge.Ostree.Run("init", $"--repo={scratch["back"]}", $"--mode={from.Name()}");
        ours.SetRef("os/main", commit);
        Judge.Ostree.Run("pull-local", $"--repo={scratch["back"]}", ours.Path, "os/main");
        using Repository back = Repository.Open(scratch["back"]);
        Assert.Empty(back.Fsck().Problems);
        Assert.Equal(commit, back.Resolve("os/main"));
    }

    [Fact]
    public void Between_bare_repositories_of_one_file_system_files_are_hardlinked()
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Bare);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.PullLocal(source);
        string path = "objects/" + new ObjectName(source.Find(commit, "/big").Content!.Value, ObjectType.File).LoosePath(ours.Mode);
        Assert.Equal(source.Dir.Stat(path).Inode, ours.Dir.Stat(path).Inode);
    }

    [Theory, InlineData(RepositoryMode.Bare), InlineData(RepositoryMode.Archive)]
    public async Task What_is_not_believed_as_it_lies_there_is_copied_where_another_user_could_change_it(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], mode);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        source.Dir.ChangeOwner(".", 1000, 1000);
        using Repository local = Repository.Create(scratch["local"], mode);
        local.PullLocal(source, new PullLocalOptions { Untrusted = true });
        using Repository remote = Repository.Create(scratch["remote"], mode);
        await remote.Pull(new PullOptions { Url = $"file://{source.Path}", Remote = null, Refs = ["main"] }, cancel: TestContext.Current.CancellationToken);
        foreach (Repository ours in (Repository[])[local, remote])
        {
            string path = "objects/" + new ObjectName(source.Find(commit, "/big").Content!.Value, ObjectType.File).LoosePath(mode);
            Assert.NotEqual(source.Dir.Stat(path).Inode, ours.Dir.Stat(path).Inode);
            Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
        }
    }

    [Fact]
    public void What_is_not_believed_and_belongs_to_the_same_user_is_hashed_and_linked_as_ostree_links_it()
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.BareUser);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        string path = "objects/" + new ObjectName(source.Find(commit, "/big").Content!.Value, ObjectType.File).LoosePath(source.Mode);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.BareUser);
        ours.PullLocal(source, new PullLocalOptions { Untrusted = true });
        Assert.Equal(source.Dir.Stat(path).Inode, ours.Dir.Stat(path).Inode);
        Judge.Ostree.Run("init", $"--repo={scratch["theirs"]}", "--mode=bare-user");
        Judge.Ostree.Run("pull-local", $"--repo={scratch["theirs"]}", "--untrusted", source.Path, "main");
        Assert.Equal(3u, source.Dir.Stat(path).Links);
    }

    [Theory, InlineData(0x1B6u /* 0666 */, 0u), InlineData(0x1B4u /* 0664 */, 0u), InlineData(0x9EDu /* 04755 */, 0u), InlineData(0x1A4u /* 0644 */, 1000u)]
    public void A_file_that_others_can_change_is_copied_and_not_linked_where_it_is_not_believed(uint mode, uint uid)
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.BareUser);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        string PathOf(string file) => "objects/" + new ObjectName(source.Find(commit, file).Content!.Value, ObjectType.File).LoosePath(source.Mode);
        source.Dir.ChangeOwner(PathOf("/big"), uid, uid);
        source.Dir.ChangeMode(PathOf("/big"), mode);
        using Repository ours = Repository.Create(scratch["ours"], source.Mode);
        ours.PullLocal(source, new PullLocalOptions { Untrusted = true });
        FileStat copy = ours.Dir.Stat(PathOf("/big"));
        Assert.NotEqual(source.Dir.Stat(PathOf("/big")).Inode, copy.Inode);
        Assert.Equal((0u, 0x1A4u), (copy.Uid, copy.Permissions));
        Assert.Equal(1u, source.Dir.Stat(PathOf("/big")).Links);
        Assert.Equal(source.Dir.Stat(PathOf("/hello")).Inode, ours.Dir.Stat(PathOf("/hello")).Inode);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    [Fact]
    public void A_file_of_mode_bare_that_belongs_to_another_user_is_copied_and_links_and_what_is_the_owners_are_linked()
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Bare);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        using Repository ours = Repository.Create(scratch["ours"], source.Mode);
        ours.PullLocal(source, new PullLocalOptions { Untrusted = true });
        foreach ((string file, bool linked) in new[] { ("/etc/a/b/owned", false), ("/big", true), ("/link", true), ("/etc/a/setuid", true) })
        {
            string path = "objects/" + new ObjectName(source.Find(commit, file).Content!.Value, ObjectType.File).LoosePath(source.Mode);
            Assert.Equal(linked, source.Dir.Stat(path).Inode == ours.Dir.Stat(path).Inode);
        }

        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void What_the_sources_parent_has_comes_along(bool untrusted)
    {
        using var scratch = new Scratch();
        using Repository parent = Repository.Create(scratch["parent"], RepositoryMode.BareUser);
        Checksum commit = parent.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        Repository.Create(scratch["source"], RepositoryMode.BareUser).Dispose();
        File.AppendAllText(Path.Combine(scratch["source"], "config"), $"parent={parent.Path}\n");
        using Repository source = Repository.Open(scratch["source"]);
        source.SetRef("main", commit);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.BareUser);
        ours.PullLocal(source, new PullLocalOptions { Refs = ["main"], Untrusted = untrusted });
        Assert.Equal(parent.EnumerateObjects(), ours.EnumerateObjects());
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
        string path = new ObjectName(parent.Find(commit, "/big").Content!.Value, ObjectType.File).LoosePath(parent.Mode);
        parent.Dir.Unlink($"objects/{path}");
        using Repository again = Repository.Create(scratch["again"], RepositoryMode.BareUser);
        Assert.Throws<ObjectMissingException>(() => again.PullLocal(source, new PullLocalOptions { Refs = ["main"], Untrusted = untrusted }));
    }

    [Fact]
    public void What_a_parent_repository_has_is_not_pulled_once_more()
    {
        using var scratch = new Scratch();
        using Repository parent = Repository.Create(scratch["parent"], RepositoryMode.Bare);
        parent.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        File.WriteAllText(Path.Combine(scratch["tree"], "another"), "one\n");
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Bare);
        Checksum commit = source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["more"] });
        foreach (string name in (string[])["ours", "theirs"])
        {
            Repository.Create(scratch[name], RepositoryMode.Bare).Dispose();
            File.AppendAllText(Path.Combine(scratch[name], "config"), $"parent={parent.Path}\n");
        }

        using Repository ours = Repository.Open(scratch["ours"]), theirs = Repository.Open(scratch["theirs"]);
        ours.PullLocal(source);
        Judge.Ostree.Run("pull-local", $"--repo={theirs.Path}", source.Path, "more");
        Assert.Equal(theirs.EnumerateObjects(), ours.EnumerateObjects());
        Assert.Equal(3, ours.EnumerateObjects().Count()); // the commit, its root and the file that is new
        Assert.True(ours.Fsck().IsWhole);
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
        Assert.Equal(0, ours.Prune(new PruneOptions()).ObjectsDeleted);
    }

    [Fact]
    public void Parents_come_as_deep_as_asked_and_history_may_end_early()
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        for (int i = 0; i < 4; i++)
            source.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Subject = $"{i}" });
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.PullLocal(source, new PullLocalOptions { Depth = 1 });
        Assert.Equal(2, ours.Log(ours.Resolve("main")).Count());
        ours.PullLocal(source, new PullLocalOptions { Depth = -1 });
        Assert.Equal(4, ours.Log(ours.Resolve("main")).Count());
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
    }

    [Theory, MemberData(nameof(Pairs))]
    public void A_missing_or_corrupt_object_stops_the_pull_and_sets_no_ref(RepositoryMode from, RepositoryMode to)
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], from);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        ObjectName big = new(source.Find(commit, "/big").Content!.Value, ObjectType.File);
        string path = "objects/" + big.LoosePath(from);
        byte[] bytes = source.Dir.ReadAll(path);
        bytes[bytes.Length / 2] ^= 1;
        using (var handle = System.IO.File.OpenHandle(source.Dir.Of(path), FileMode.Open, FileAccess.Write))
            RandomAccess.Write(handle, bytes, 0);
        using Repository ours = Repository.Create(scratch["ours"], to);
        ObjectCorruptException corrupt = Assert.Throws<ObjectCorruptException>(() => ours.PullLocal(source, new PullLocalOptions { Untrusted = true }));
        Assert.Equal(big, corrupt.Expected);
        source.Dir.Unlink(path);
        Assert.Equal(big, Assert.Throws<ObjectMissingException>(() => ours.PullLocal(source)).Name);
        Assert.Empty(ours.Refs());
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
        Assert.Throws<RefNotFoundException>(() => ours.PullLocal(source, new PullLocalOptions { Refs = ["nope"] }));
    }

    [Fact]
    public void Detached_metadata_comes_along()
    {
        using var scratch = new Scratch();
        Judge.Ostree.Run("init", $"--repo={scratch["theirs"]}", "--mode=archive");
        Judge.Ostree.Run("commit", $"--repo={scratch["theirs"]}", "-b", "main", "--add-detached-metadata-string=KEY=value", scratch.Tree());
        using Repository theirs = Repository.Open(scratch["theirs"]);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.PullLocal(theirs);
        Assert.Equal("value", ours.LoadDetachedMetadata(ours.Resolve("main"))!.GetString("KEY"));
        Assert.Equal("'value'", Judge.Ostree.Run("show", $"--repo={ours.Path}", "--print-detached-metadata-key=KEY", "main").Trim());
    }

    [Fact]
    public void A_commit_bound_to_another_branch_is_refused_as_ostree_refuses_it()
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Bare);
        source.SetRef("renamed", source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] }));
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Assert.NotEqual(0, Judge.Ostree.Ask("pull-local", $"--repo={ours.Path}", source.Path, "renamed").ExitCode);
        Assert.Throws<PullException>(() => ours.PullLocal(source, new PullLocalOptions { Refs = ["renamed"] }));
        ours.PullLocal(source, new PullLocalOptions { Refs = ["renamed"], VerifyBindings = false });
        Assert.True(ours.Fsck().IsWhole);
    }
}
