using System.Buffers.Binary;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>How far a pull is, and whether there is room for all of it: known before its first file, where anyone tells.</summary>
public sealed class PullPlanTests
{
    private const int Rate = 1_000_000;
    private const long TooMuch = 1L << 50;

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_pull_tells_while_one_large_file_comes_how_fast_it_comes_and_how_much_is_to_come(bool delta)
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, sizes: true, out Checksum commit);
        if (delta)
            source.MakeDelta(new DeltaName(null, commit), new DeltaOptions { MinimumFallback = 0 });
        source.WriteSummary();
        using var server = new StaticServer(source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        var seen = new List<PullProgress>();
        PullResult result = await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], BytesPerSecond = Rate }, new Heard(seen));
        Assert.Equal(delta ? 1 : 0, result.Deltas.Parts);

        PullProgress[] told = [.. seen.Where(static at => at.BytesToCome is not null)];
        PullProgress[] between = [.. told.Where(at => at.BytesToCome > 200_000 && at.BytesTransferred > 200_000)];
        Assert.NotEmpty(between); // nothing else comes meanwhile: the file is nearly all of it
        Assert.All(between, at => Assert.InRange(at.BytesTransferred + at.BytesToCome!.Value, result.BytesTransferred - 20_000, result.BytesTransferred + 20_000));
        Assert.All(seen.Where(static at => at.BytesPerSecond is not null), static at => Assert.InRange(at.BytesPerSecond!.Value, 0, 4 * Rate));
        Assert.Contains(between, static at => at is { BytesPerSecond: > 0, TimeLeft: { } left } && left >= TimeSpan.FromSeconds((double)at.BytesToCome! / (4 * Rate)));
    }

    [Fact]
    public async Task Where_no_commit_tells_sizes_what_is_to_come_is_said_to_be_unknown()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, sizes: false, out _);
        using var server = new StaticServer(source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        var seen = new List<PullProgress>();
        await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], BytesPerSecond = Rate }, new Heard(seen));
        Assert.Contains(seen, static at => at is { BytesPerSecond: > 0, BytesTransferred: > 500_000 });
        Assert.All(seen, static at => Assert.Null(at.BytesToCome ?? (object?)at.TimeLeft));
    }

    [Theory, InlineData(RepositoryMode.Bare), InlineData(RepositoryMode.Archive)]
    public async Task What_there_is_no_room_for_is_refused_before_its_first_file_with_the_numbers(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, sizes: true, out Checksum commit);
        string large = "objects/" + new ObjectName(Lying(source, commit, "large"), ObjectType.Commit).LoosePath(RepositoryMode.Archive);
        using var server = new StaticServer(source.Path) { Misbehave = path => path == large ? Late() : null };
        using Repository ours = Repository.Create(scratch["ours"], mode);
        ours.CommitDirectory(Directory.CreateDirectory(scratch["else"]).FullName, new CommitOptions { Subject = "no ref leads to it" });
        // The one that fits is known first; its files wait for what the other one tells.
        var options = new PullOptions { Url = server.Url, Refs = ["main", "large"] };
        await ARefusal(ours, server, options);

        server.Requests.Clear();
        await ours.Pull(options with { Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("main"));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_delta_that_there_is_no_room_for_is_refused_before_its_first_part(bool byCommit)
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, sizes: false, out Checksum commit);
        Checksum to = byCommit ? Lying(source, commit, "main") : commit;
        DeltaReport made = source.MakeDelta(new DeltaName(null, to), new DeltaOptions { MinimumFallback = 0 });
        if (!byCommit)
            Superblocks.Patch(source, made.Name, made.Parts[0].UncompressedSize, (ulong)TooMuch);
        source.WriteSummary();
        using var server = new StaticServer(source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.CommitDirectory(Directory.CreateDirectory(scratch["else"]).FullName, new CommitOptions { Subject = "no ref leads to it" });
        await ARefusal(ours, server, new PullOptions { Url = server.Url, Refs = ["main"], Deltas = DeltaUse.Required });
        Assert.DoesNotContain(server.Requests, path => path == made.Name.Part(0));
    }

    [Fact]
    public async Task What_deltas_to_two_branches_share_is_counted_once()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, sizes: false, out Checksum commit);
        Checksum other = source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["other"], Subject = "the same tree" });
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        foreach (Checksum to in (Checksum[])[commit, other])
        {
            DeltaReport made = source.MakeDelta(new DeltaName(null, to), new DeltaOptions { MinimumFallback = 0 });
            Superblocks.Patch(source, made.Name, made.Parts[0].UncompressedSize, (ulong)(DiskSpace.Of(ours.Dir).FreeBytes / 10 * 6)); // both are more than there is
        }

        using var server = new StaticServer(source.Path);
        PullResult result = await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main", "other"], Deltas = DeltaUse.Required });
        Assert.NotEqual(0, result.Deltas.Parts);
        Assert.Equal((commit, other), (ours.Resolve("main"), ours.Resolve("other")));
    }

    [Fact]
    public void What_others_reserve_for_a_moment_makes_no_file_too_large()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, sizes: false, out Checksum commit);
        var name = new ObjectName(source.Find(commit, "/large").Content!.Value, ObjectType.File);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        using Transaction transaction = ours.Begin();
        using var begun = new Fetched(null);
        begun.Append(File.ReadAllBytes($"{source.Path}/objects/{name.LoosePath(RepositoryMode.Archive)}").AsSpan(0, 1000), 2000);
        transaction.Reserve(transaction.Writable - 1000);
        Assert.True(new ArchiveImport(transaction, plainOnly: false, believed: false).Longest(begun, name, "http://host/file") > 2_500_000);
    }

    [Fact]
    public async Task Who_cannot_be_told_how_far_a_pull_is_does_not_end_it()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, sizes: false, out Checksum commit);
        using var server = new StaticServer(source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        var deaf = new Deaf();
        await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], BytesPerSecond = Rate }, deaf);
        Assert.InRange(deaf.Told, 1, 5); // several may be telling at the same moment
        Assert.Equal(commit, ours.Resolve("main"));
    }

    private static async Task ARefusal(Repository ours, StaticServer server, PullOptions options)
    {
        NotEnoughSpaceException full = await Assert.ThrowsAsync<NotEnoughSpaceException>(() => ours.Pull(options));
        Assert.True(full.IsPlanned);
        Assert.InRange(full.Needed, TooMuch - 1000, TooMuch + 100_000_000);
        Assert.InRange(full.Available, 1, TooMuch - 1);
        Assert.Contains($"{full.Needed} bytes are needed, {full.Available} are left", full.Message);
        Assert.Equal(ours.Prune(new PruneOptions { DryRun = true }).BytesFreed, full.Prunable);
        Assert.True(full.Prunable > 0);
        Assert.DoesNotContain(server.Requests, static path => path.EndsWith(".filez", StringComparison.Ordinal));
        Assert.Empty(ours.Refs());
        Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
    }

    private static Fault? Late()
    {
        Thread.Sleep(1000);
        return null;
    }

    private static Repository Source(Scratch scratch, bool sizes, out Checksum commit)
    {
        Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        string tree = Directory.CreateDirectory(scratch["tree"]).FullName;
        File.WriteAllBytes($"{tree}/large", RandomNumberGenerator.GetBytes(2_500_000));
        File.WriteAllText($"{tree}/small", "small");
        commit = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Sizes = sizes });
        return source;
    }

    // The same tree, whose commit tells of one object more, as large as no disk.
    private static Checksum Lying(Repository source, Checksum commit, string branch)
    {
        var entry = new List<byte>(Checksum.Of("no such object"u8).ToArray());
        foreach (long number in (long[])[TooMuch, TooMuch])
        {
            long left = number;
            for (; left >= 0x80; left >>= 7)
                entry.Add((byte)(0x80 | (left & 0x7F)));
            entry.Add((byte)left);
        }

        entry.Add((byte)ObjectType.File);
        Commit plain = source.LoadCommit(commit);
        GVariant sizes = GVariant.Array(GVariantType.Parse("ay"), [GVariant.Of([.. entry])]);
        using Transaction transaction = source.Begin();
        Checksum lying = transaction.WriteMetadata(ObjectType.Commit, (plain with { Metadata = VariantDictionary.Empty.With("ostree.sizes", sizes) }).ToBytes());
        transaction.SetRef(branch, lying);
        transaction.Commit();
        return lying;
    }

    private sealed class Deaf : IProgress<PullProgress>
    {
        public int Told { get; private set; }

        public void Report(PullProgress value)
        {
            Told++;
            throw new IOException("the pipe is closed");
        }
    }

    private sealed class Heard(List<PullProgress> heard) : IProgress<PullProgress>
    {
        public void Report(PullProgress value)
        {
            lock (heard)
                heard.Add(value);
        }
    }
}

/// <summary>Makes a delta's superblock say what is not so.</summary>
internal static class Superblocks
{
    /// <summary>Puts another number in the place of one, which must be there once, and lists the delta anew.</summary>
    public static void Patch(Repository source, DeltaName name, ulong from, ulong to)
    {
        byte[] old = new byte[8], other = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(old, from);
        BinaryPrimitives.WriteUInt64LittleEndian(other, to);
        Patch(source, name, old, other);
    }

    /// <summary>As the other one, of bytes.</summary>
    public static void Patch(Repository source, DeltaName name, byte[] from, byte[] to)
    {
        string path = source.Dir.Of(name.Superblock);
        byte[] bytes = File.ReadAllBytes(path);
        int at = bytes.AsSpan().IndexOf(from);
        Assert.True(at >= 0 && bytes.AsSpan(at + from.Length).IndexOf(from) < 0, "they are not there, or more than once");
        to.CopyTo(bytes, at);
        File.WriteAllBytes(path, bytes);
        source.ReindexDeltas();
        source.WriteSummary();
    }
}
