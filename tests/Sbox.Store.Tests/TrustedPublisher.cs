using Sbox.Codecs;

namespace Sbox.Store.Tests;

/// <summary>
/// Who publishes under a trust document, and a box that began with the first: alice and bob change the document, press signs summaries, and two of
/// the three sign commits. All have real keys; the server is a real one.
/// </summary>
internal sealed class TrustedPublisher : IDisposable
{
    public static readonly DateTimeOffset Start = DateTimeOffset.Parse("2026-06-01T00:00:00Z", null);

    private readonly Scratch scratch = new();
    private readonly Dictionary<string, Ed25519Key> keys = ((string[])["alice", "bob", "press", "press2", "mallory"]).ToDictionary(static name => name, static _ => Ed25519Key.Generate());
    private int commits;

    public TrustedPublisher()
    {
        Source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        Directory.CreateDirectory(scratch["tree"]);
        Directory.CreateDirectory(scratch["source/trust"]);
        Server = new StaticServer(Source.Path);
        Box = Repository.Create(scratch["box"], RepositoryMode.BareUser);
        Box.WriteConfig(Box.Config.With("remote \"origin\"", "url", Server.Url).With("remote \"origin\"", "gpg-verify", "false"));
        (Source.Fsync, Box.Fsync) = (false, false);
        First = new TrustDocument
        {
            Repository = "boxes", Version = 1, Expires = Start.AddDays(365), SummaryAge = TimeSpan.FromDays(14),
            Keys = Named("alice", "bob", "press"), Document = new TrustRule(2, ["alice", "bob"]), Summary = new TrustRule(1, ["press"]),
            Commits = new SortedDictionary<string, TrustRule> { ["debian/*"] = new(2, ["alice", "bob", "press"]), ["debian/try"] = new(1, ["press"]) },
        };
        Add(First, "alice", "bob");
        Box.BeginTrust("origin", First.ToBytes());
        Commit("alice", "press");
        Publish();
    }

    public Repository Source { get; }

    public Repository Box { get; }

    public StaticServer Server { get; }

    public TrustDocument First { get; }

    /// <summary>The box's clock.</summary>
    public SetClock Clock { get; } = new(Start);

    public string this[string name] => scratch[name];

    public Ed25519Key Key(string name) => keys[name];

    public IReadOnlyDictionary<string, Ed25519PublicKey> Named(params string[] names) => names.ToDictionary(static name => name, name => keys[name].Public);

    /// <summary>The document after the first, with another key of press's.</summary>
    public TrustDocument Rotated => First with
    {
        Version = 2, Keys = Named("alice", "bob", "press2"), Summary = new TrustRule(1, ["press2"]),
        Commits = new SortedDictionary<string, TrustRule> { ["debian/*"] = new(2, ["alice", "bob", "press2"]) },
    };

    /// <summary>Puts a document where its version belongs, or elsewhere.</summary>
    public void Add(TrustDocument document, params string[] signers) => AddAt(document.Version, document, signers);

    public void AddAt(long version, TrustDocument document, params string[] signers)
    {
        byte[] bytes = document.ToBytes();
        File.WriteAllBytes(scratch[$"source/{TrustFiles.Document(version)}"], bytes);
        File.WriteAllBytes(scratch[$"source/{TrustFiles.Signatures(version)}"], TrustDocument.ToFile(signers.Select(name => keys[name].Sign(bytes))));
    }

    public void Remove(long version) => File.Delete(scratch[$"source/{TrustFiles.Document(version)}"]);

    /// <summary>A commit of the branch, signed.</summary>
    public Checksum Commit(params string[] signers) => CommitTo("debian/13", signers);

    public Checksum CommitTo(string branch, params string[] signers)
    {
        File.WriteAllText(scratch["tree/version"], $"{++commits}\n");
        Checksum commit = Source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = [branch], Subject = $"{commits}", Timestamp = Start.AddMinutes(commits) });
        foreach (string name in signers)
            Source.SignCommit(commit, SignatureEngine.Of("ed25519"), Secret(name));
        return commit;
    }

    /// <summary>A summary, signed by press unless by others.</summary>
    public void Publish(DateTimeOffset? at = null, long? knows = null, params string[] signers)
    {
        Source.WriteSummary(new SetClock(at ?? Clock.Now), knows is { } version ? VariantDictionary.Empty.With(TrustDocument.SummaryKey, BigEndian.Of((ulong)version)) : null);
        foreach (string name in signers is [] ? ["press"] : signers)
            Source.SignSummary(SignatureEngine.Of("ed25519"), Secret(name));
    }

    public Task<PullResult> Pull(Func<PullOptions, PullOptions>? with = null)
    {
        var options = new PullOptions { Remote = "origin", Refs = ["debian/13"], Clock = Clock, Retries = 0, Timeout = TimeSpan.FromSeconds(20) };
        return Box.Pull(with is null ? options : with(options), cancel: TestContext.Current.CancellationToken);
    }

    /// <summary>The box pulls, and is to refuse.</summary>
    public async Task Refuses(TrustProblem problem, string words, Func<PullOptions, PullOptions>? with = null)
    {
        Checksum? before = Box.TryResolve("origin:debian/13");
        long files = Box.EnumerateObjects().LongCount();
        TrustException refused = await Assert.ThrowsAsync<TrustException>(() => Pull(with));
        Assert.Equal(problem, refused.Problem);
        Assert.Contains(words, refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, Box.TryResolve("origin:debian/13"));
        Assert.Equal(files, Box.EnumerateObjects().LongCount());
    }

    /// <summary>The version that the box believes.</summary>
    public long Believed => Box.Trust("origin")!.Document.Version;

    public string Secret(string name) => Convert.ToBase64String([.. keys[name].ToSeed(), .. Convert.FromBase64String(keys[name].Public.ToString())]);

    public void Dispose()
    {
        Server.Dispose();
        Box.Dispose();
        Source.Dispose();
        foreach (Ed25519Key key in keys.Values)
            key.Dispose();
        scratch.Dispose();
    }
}

/// <summary>A clock that stands where it is set.</summary>
internal sealed class SetClock(DateTimeOffset now) : TimeProvider
{
    public DateTimeOffset Now { get; set; } = now;

    public override DateTimeOffset GetUtcNow() => Now;
}
