using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>What someone made on purpose to exhaust whoever reads it.</summary>
public sealed class HostileTests
{
    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public async Task A_server_that_sends_without_end_is_stopped_at_the_reserve_of_free_space(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository served = Repository.Create(scratch["served"], RepositoryMode.Archive);
        Checksum commit = served.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        string big = "objects/" + new ObjectName(served.Find(commit, "/big").Content!.Value, ObjectType.File).LoosePath(RepositoryMode.Archive);
        using var server = new StaticServer(served.Path) { Misbehave = path => path == big ? Fault.Endless : null };
        using Repository ours = Repository.Create(scratch["ours"], mode);
        long reserve = (DiskSpace.Of(ours.Dir).FreeBytes >> 20) - 150;
        ours.WriteConfig(ours.Config.With("core", "min-free-space-size", $"{reserve}MB"));
        await Assert.ThrowsAsync<NotEnoughSpaceException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Retries = 1 }));
        Assert.True(server.SentEndlessly < StaticServer.EndlessBytes);
        Assert.Empty(ours.Refs());

        // What was counted for it is given back: there is room for the true one.
        server.Misbehave = static _ => null;
        await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("main"));
    }

    [Fact]
    public async Task Directories_nested_deeper_than_a_path_are_refused_by_all_that_walk_them()
    {
        using var scratch = new Scratch();
        using Repository bomb = Repository.Create(scratch["bomb"], RepositoryMode.Archive);
        Checksum commit = Nested(bomb, levels: 40_000);
        using Dir here = Dir.Open(scratch.Root);
        Assert.Throws<TooDeepException>(() => bomb.Checkout(commit, here, "out"));
        Assert.Throws<TooDeepException>(() => bomb.WriteComposefs(commit, Stream.Null, withVerity: false));
        Assert.Throws<TooDeepException>(() => Descend(bomb, bomb.Find(commit, "/")));
        Assert.Equal(FsckProblemKind.TooDeep, Assert.Single(bomb.Fsck().Problems).Kind);

        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Assert.Throws<TooDeepException>(() => ours.PullLocal(bomb));
        using var server = new StaticServer(bomb.Path);
        await Assert.ThrowsAsync<TooDeepException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"] }));
        Assert.Empty(ours.Refs());

        // Getting rid of it needs no recursion.
        bomb.SetRef("main", null);
        bomb.Prune();
        Assert.Empty(bomb.EnumerateObjects());
    }

    [Fact]
    public void A_tree_as_deep_as_a_path_can_name_goes_in_and_out()
    {
        using var scratch = new Scratch();
        using Repository deep = Repository.Create(scratch["deep"], RepositoryMode.Archive);
        Checksum commit = Nested(deep, levels: 1000);
        Assert.True(deep.Fsck().IsWhole);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.PullLocal(deep);
        using Dir here = Dir.Open(scratch.Root);
        ours.Checkout(commit, here, "out", new CheckoutOptions { UserMode = true });
        ours.WriteComposefs(commit, Stream.Null);
        Descend(ours, ours.Find(commit, "/"));
        Checksum again = ours.CommitDirectory(scratch["out"], new CommitOptions { CanonicalPermissions = true });
        Assert.Equal(ours.LoadCommit(commit).RootTree, ours.LoadCommit(again).RootTree);
    }

    [Fact]
    public void A_directory_on_disk_nested_too_deep_is_refused_too()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        System.IO.Directory.CreateDirectory(scratch["tree"]);
        Judge.OnPath("python3").Run(
            "-c", "import os,sys\nos.chdir(sys.argv[1])\nfor i in range(2100):\n    os.mkdir('d'); os.chdir('d')", scratch["tree"]);
        Assert.Throws<TooDeepException>(() => ours.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"] }));
        Judge.OnPath("rm").Run("-rf", scratch["tree"]);
    }

    private static void Descend(Repository repository, TreeEntry entry)
    {
        repository.RequireNameable(entry);
        foreach (TreeEntry child in repository.Children(entry))
            Descend(repository, child);
    }

    private static Checksum Nested(Repository repository, int levels)
    {
        using Transaction transaction = repository.Begin();
        Checksum meta = transaction.WriteMetadata(ObjectType.DirMeta, new DirMeta(0, 0, new Mode(0x41ED /* 040755 */), XattrList.Empty).ToBytes());
        Checksum tree = transaction.WriteMetadata(ObjectType.DirTree, new DirTree([], []).ToBytes());
        for (int i = 0; i < levels; i++)
            tree = transaction.WriteMetadata(ObjectType.DirTree, new DirTree([], [new DirTreeDirectory("d", tree, meta)]).ToBytes());
        Checksum commit = transaction.WriteMetadata(
            ObjectType.Commit, new Commit(VariantDictionary.Empty, null, "", "", 0, tree, meta).ToBytes());
        transaction.SetRef("main", commit);
        transaction.Commit();
        return commit;
    }
}
