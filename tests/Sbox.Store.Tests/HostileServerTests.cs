using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>What a server sends to exhaust or deceive whoever pulls is stopped early, named by its URL with what was expected, and leaves the repository whole.</summary>
public sealed class HostileServerTests
{
    private const long SentBeforeStopped = 300L << 20; // what a socket's buffers and a limit of 64 MiB have room for

    public static TheoryData<string, bool> EndlessFiles()
    {
        var all = new TheoryData<string, bool>();
        foreach (string file in (string[])["config", "summary", "commit", "dirtree", "content", "superblock", "part"])
        {
            all.Add(file, true);
            all.Add(file, false);
        }

        return all;
    }

    [Theory, MemberData(nameof(EndlessFiles))]
    public async Task A_body_without_end_is_stopped_at_what_such_a_file_may_be_and_named(string file, bool tellsLength)
    {
        using var scratch = new Scratch();
        using var hostile = new Hostile(scratch, withDelta: file is "superblock" or "part");
        string path = hostile.PathOf(file);
        using var server = new StaticServer(hostile.Source.Path) { Misbehave = asked => asked == path ? tellsLength ? Fault.Endless : Fault.EndlessChunks : null };
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = file == "summary" ? [] : ["main"], Mirror = file == "summary", Retries = 0 }));
        Assert.Equal($"{server.Url}/{path}", failure.Url);
        Assert.StartsWith("at most ", failure.Expected);
        Assert.Contains(failure.Url, failure.Message);
        Assert.True(server.SentEndlessly < SentBeforeStopped, $"{server.SentEndlessly} bytes went out");
        IsWhole(ours);
    }

    [Theory, InlineData("config"), InlineData("commit"), InlineData("dirtree"), InlineData("content"), InlineData("part")]
    public async Task A_server_that_trickles_is_given_up_and_named(string file)
    {
        using var scratch = new Scratch();
        using var hostile = new Hostile(scratch, withDelta: file is "part");
        string path = hostile.PathOf(file);
        using var server = new StaticServer(hostile.Source.Path) { Misbehave = asked => asked == path ? Fault.Trickle : null };
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        var options = new PullOptions { Url = server.Url, Refs = ["main"], Retries = 1, SlowBytes = 1000, SlowTime = TimeSpan.FromSeconds(4) }; // an honest file must not take so long either, on a busy machine
        PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(options));
        Assert.Equal($"{server.Url}/{path}", failure.Url);
        Assert.Equal("a whole file", failure.Expected);
        Assert.Equal("fewer than 1000 bytes a second for 4 seconds", failure.Found);
        Assert.Equal(2, server.Requests.Count(asked => asked == path));
        IsWhole(ours);
    }

    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public async Task Content_that_unpacks_to_more_than_its_header_says_is_refused_and_named(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using var hostile = new Hostile(scratch);
        string path = hostile.PathOf("content"), file = $"{hostile.Source.Path}/{path}";
        byte[] bytes = File.ReadAllBytes(file);
        bytes.AsSpan(8, 8).Clear(); // the header's first number is the size
        bytes[15] = 1;
        File.WriteAllBytes(file, bytes);
        using var server = new StaticServer(hostile.Source.Path);
        using Repository ours = Repository.Create(scratch["ours"], mode);
        PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"] }));
        Assert.Equal($"{server.Url}/{path}", failure.Url);
        Assert.StartsWith("the object ", failure.Expected);
        Assert.Contains("its header says 1 bytes, its content has more", failure.Found);
        IsWhole(ours);
    }

    [Fact]
    public async Task A_part_that_unpacks_to_far_more_than_its_superblock_says_is_refused_and_named()
    {
        using var scratch = new Scratch();
        using var hostile = new Hostile(scratch, withDelta: true);
        using var bomb = new MemoryStream();
        bomb.WriteByte((byte)'x');
        using (var xz = new XzEncoder(bomb, new XzSettings(1, 1 << 20)))
        {
            for (int i = 0; i < 100; i++)
                xz.Write(new byte[1 << 20]);
            xz.Finish();
        }

        DeltaPartHeader part = hostile.Delta!.Parts[0];
        Assert.True((ulong)bomb.Length < part.Size);
        File.WriteAllBytes($"{hostile.Source.Path}/{hostile.PathOf("part")}", bomb.ToArray());
        Superblocks.Patch(hostile.Source, hostile.Delta.Name, part.Checksum.ToArray(), SHA256.HashData(bomb.ToArray()));
        using var server = new StaticServer(hostile.Source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        DeltaException failure = await Assert.ThrowsAsync<DeltaException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"] }));
        Assert.Equal($"{server.Url}/{hostile.PathOf("part")}", failure.Path);
        Assert.Contains("at most", failure.Finding);
        IsWhole(ours);
    }

    [Theory, InlineData(-1), InlineData(1_000_000_000)]
    public async Task A_part_of_another_size_than_its_superblock_says_is_refused_or_harmless(int more)
    {
        using var scratch = new Scratch();
        using var hostile = new Hostile(scratch, withDelta: true);
        DeltaPartHeader part = hostile.Delta!.Parts[0];
        Superblocks.Patch(hostile.Source, hostile.Delta.Name, part.Size, part.Size + (ulong)more);
        using var server = new StaticServer(hostile.Source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        var options = new PullOptions { Url = server.Url, Refs = ["main"], Deltas = DeltaUse.Required };
        if (more > 0)
        {
            await ours.Pull(options); // its bytes have the right hash
            Assert.Equal(hostile.Commit, ours.Resolve("main"));
        }
        else
        {
            PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(options));
            Assert.Equal(($"{server.Url}/{hostile.PathOf("part")}", $"at most {part.Size - 1} bytes"), (failure.Url, failure.Expected));
            Assert.Equal($"{part.Size}", failure.Found);
            Assert.Empty(ours.Refs());
        }

        Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
    }

    [Fact]
    public async Task A_commit_that_nobody_signed_is_named_with_its_url()
    {
        using var scratch = new Scratch();
        using var hostile = new Hostile(scratch);
        using var server = new StaticServer(hostile.Source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.WriteConfig(ours.Config.With("remote \"origin\"", "url", server.Url).With("remote \"origin\"", "gpg-verify", "false").With("remote \"origin\"", "sign-verify", "ed25519")
            .With("remote \"origin\"", "verification-ed25519-key", Convert.ToBase64String(RandomNumberGenerator.GetBytes(32))));
        SignatureException failure = await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));
        Assert.Equal($"{server.Url}/{hostile.PathOf("commit")}", failure.Url);
        Assert.Contains(failure.Url!, failure.Message);
        Assert.Equal($"Commit {hostile.Commit}", failure.Subject);
        IsWhole(ours);
    }

    private static void IsWhole(Repository ours)
    {
        Assert.Empty(ours.Refs());
        Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
        Assert.True(ours.Fsck().IsWhole);
    }

    /// <summary>A repository to be served, of one branch, and where its files are.</summary>
    private sealed class Hostile : IDisposable
    {
        public Hostile(Scratch scratch, bool withDelta = false)
        {
            Source = Repository.Create(scratch["served"], RepositoryMode.Archive);
            string tree = Directory.CreateDirectory(scratch["tree"]).FullName;
            File.WriteAllBytes($"{tree}/content", RandomNumberGenerator.GetBytes(400_000));
            Commit = Source.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
            Delta = withDelta ? Source.MakeDelta(new DeltaName(null, Commit), new DeltaOptions { MinimumFallback = 0 }) : null;
            Source.WriteSummary();
        }

        public Repository Source { get; }

        public Checksum Commit { get; }

        public DeltaReport? Delta { get; }

        public string PathOf(string file) => file switch
        {
            "commit" => Object(new ObjectName(Commit, ObjectType.Commit)),
            "dirtree" => Object(new ObjectName(Source.LoadCommit(Commit).RootTree, ObjectType.DirTree)),
            "content" => Object(new ObjectName(Source.Find(Commit, "/content").Content!.Value, ObjectType.File)),
            "superblock" => Delta!.Name.Superblock,
            "part" => Delta!.Name.Part(0),
            _ => file,
        };

        public void Dispose() => Source.Dispose();

        private static string Object(ObjectName name) => $"objects/{name.LoosePath(RepositoryMode.Archive)}";
    }
}
