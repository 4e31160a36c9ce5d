using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>What someone made on purpose to exhaust whoever reads it.</summary>
public sealed class HostileTests
{
    private const int MiB = 300; // of a disk of its own, of which half is kept free

    // Five times what a path can name; a call for each of them would need a stack of more than twice this.
    private const int Levels = 10_000, NarrowStack = 512 << 10;

    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public async Task A_server_that_sends_without_end_is_stopped_at_the_reserve_of_free_space(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository served = Repository.Create(scratch["served"], RepositoryMode.Archive);
        Checksum commit = served.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        string big = "objects/" + new ObjectName(served.Find(commit, "/big").Content!.Value, ObjectType.File).LoosePath(RepositoryMode.Archive);
        using var server = new StaticServer(served.Path) { Misbehave = path => path == big ? Fault.Swollen : null };
        using Repository ours = Repository.Create(scratch.Disk("ours", MiB), mode);
        ours.WriteConfig(ours.Config.With("core", "min-free-space-size", "150MB"));
        NotEnoughSpaceException full = await Assert.ThrowsAsync<NotEnoughSpaceException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Retries = 1 }));
        Assert.Equal($"{server.Url}/{big}", full.Url);
        Assert.Contains(full.Url!, full.Message);
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
        Checksum commit = Nested(bomb, levels: Levels);
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
        bool pruned = false;
        var narrow = new Thread(() =>
        {
            bomb.Prune();
            pruned = true;
        }, maxStackSize: NarrowStack);
        narrow.Start();
        narrow.Join();
        Assert.True(pruned);
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

    [Fact]
    public void A_delta_that_says_more_than_it_brings_is_refused_before_it_fills_the_memory()
    {
        using var scratch = new Scratch();
        using Dir tmp = Dir.Open(scratch.Root);
        byte[] mode = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0xA4];
        ObjectName[] objects = [new(Checksum.Of("x"u8), ObjectType.File)];
        Assert.Contains("offsets", Assert.Throws<DeltaException>(() => Part(mode, [], new byte[(16 << 20) + 1])).Message);
        Assert.Contains("values", Assert.Throws<DeltaException>(() => Part(mode, Empties(5 << 20), [])).Message);

        byte[] write = [(byte)'w', 1, 0], open = [(byte)'o', 0, 0, 1];
        using (DeltaPart many = Part(mode, Empties(1), [.. open, .. Enumerable.Repeat(write, (1 << 20) + 1).SelectMany(static each => each)]))
            Assert.Contains("stretches", Assert.Throws<MalformedException>(() => many.Recipes(objects).Count()).Message);
        byte[] nothing = [(byte)'w', 0, 0];
        using (DeltaPart empty = Part(mode, Empties(1), [.. open, .. write, .. Enumerable.Repeat(nothing, 1 << 20).SelectMany(static each => each), (byte)'c']))
            Assert.Single(Assert.Single(empty.Recipes(objects)).Stretches);
        using (DeltaPart large = Part(mode, [.. new byte[(1 << 20) + 1], .. (ReadOnlySpan<byte>)[1, 0, 0x10, 0]], [.. open, .. write, (byte)'c']))
            Assert.Contains("xattrs", Assert.Throws<MalformedException>(() => large.HeaderOf(large.Recipes(objects).Single())).Message);

        DeltaPart Part(byte[] modes, byte[] xattrs, byte[] operations)
        {
            using var bytes = new MemoryStream();
            bytes.Write([0, .. modes, .. xattrs, 0, .. operations]);
            int size = modes.Length + xattrs.Length + 1 + operations.Length;
            foreach (int end in (int[])[modes.Length + xattrs.Length + 1, modes.Length + xattrs.Length, modes.Length])
                bytes.Write(BitConverter.GetBytes(end).AsSpan(0, size + 3 <= byte.MaxValue ? 1 : size + 6 <= ushort.MaxValue ? 2 : 4));
            bytes.Position = 0;
            return DeltaPart.Open(bytes, null, long.MaxValue, tmp, "part");
        }

        // An array of as many empty ones: nothing but offsets.
        static byte[] Empties(int count) => new byte[count <= byte.MaxValue ? count : count <= ushort.MaxValue / 2 ? 2 * count : 4 * count];
    }

    [Fact]
    public void What_a_part_unpacks_to_counts_against_the_reserve_as_long_as_it_waits()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch.Disk("ours", MiB), RepositoryMode.Bare);
        ours.WriteConfig(ours.Config.With("core", "min-free-space-size", "150MB"));
        var packed = new MemoryStream();
        packed.WriteByte((byte)'x');
        using (var xz = new XzEncoder(packed, new XzSettings(1, 1 << 20)))
        {
            for (int i = 0; i < 200; i++)
                xz.Write(new byte[1 << 20]);
            xz.Finish();
        }

        using Transaction transaction = ours.Begin();
        for (int round = 0; round < 2; round++)
        {
            packed.Position = 0;
            Assert.Throws<NotEnoughSpaceException>(() => DeltaPart.Open(packed, null, long.MaxValue, transaction.Staging.Dir, "part", transaction));
            transaction.Reserve(20 << 20); // given back: there is room again
            transaction.Release(20 << 20);
        }
    }

    [Fact]
    public void A_superblock_larger_than_a_pull_would_hold_in_memory_is_not_read()
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        var name = new DeltaName(null, source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] }));
        source.MakeDelta(name);
        source.WriteSummary();
        using (FileStream superblock = File.OpenWrite(source.Dir.Of(name.Superblock)))
            superblock.SetLength(DeltaDirectory.MaximumPulledSuperblock + 1);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Assert.Contains("larger than", Assert.Throws<DeltaException>(() => ours.PullLocal(source, new PullLocalOptions { RequireDeltas = true })).Message);
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
