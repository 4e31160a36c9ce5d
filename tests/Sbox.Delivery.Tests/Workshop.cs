using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>A publisher's directory on the disk, gone at the end: a repository with a branch that grows, a key, and readers who are real ostree.</summary>
internal sealed class Workshop : IDisposable
{
    public const string Branch = "os/main";

    private readonly List<IDisposable> open = [];
    private int versions;

    public Workshop(RepositoryMode mode = RepositoryMode.Archive)
    {
        Root = Path.Combine("/var/tmp", $"sbox-delivery-{Guid.NewGuid():N}");
        Directory.CreateDirectory(this["tree/usr/lib"]);
        using (var random = new FileStream(this["tree/usr/lib/large"], FileMode.Create))
            random.Write(Noise(1, 300_000));
        Repository = Repository.Create(this["repo"], mode);
        Key = Ed25519Key.Generate();
        File.WriteAllText(this["public"], $"{Key.Public}\n");
        File.WriteAllText(this["secret"], Convert.ToBase64String([.. Key.ToSeed(), .. Convert.FromBase64String(Key.Public.ToString())]));
    }

    public string Root { get; }

    public string this[string name] => Path.Combine(Root, name);

    public Repository Repository { get; }

    public Ed25519Key Key { get; }

    /// <summary>Another version of the branch: some files of its own, most as before.</summary>
    public Checksum Commit(string branch = Branch, int files = 20)
    {
        int version = ++versions;
        for (int at = 0; at < files; at++)
            File.WriteAllBytes(this[$"tree/usr/lib/{at % 50}"], Noise((version * 1000) + at, 2000 + at));
        File.WriteAllText(this["tree/usr/version"], $"{version}\n");
        return Repository.CommitDirectory(this["tree"], new CommitOptions
        {
            Branches = [branch], Subject = $"version {version}", Timestamp = DateTimeOffset.UnixEpoch.AddDays(20_000).AddMinutes(version),
            Metadata = VariantDictionary.Empty.With("version", $"{version}"),
        });
    }

    /// <summary>Signs as <c>--sign-from-file</c> does.</summary>
    public VariantDictionary Sign(byte[] bytes) =>
        VariantDictionary.Empty.With(CommitSignatures.Key, GVariant.Array(GVariantType.Parse("ay"), GVariant.Of(Key.Sign(bytes))));

    /// <summary>Publishes to a directory of this place, signed.</summary>
    public async Task<PublishReport> Publish(string to = "www", PublishOptions? options = null, IProgress<PublishProgress>? progress = null)
    {
        await using var place = new DirectoryPlace(this[to]) { Staleness = TimeSpan.Zero };
        return await new Publisher(Repository, place, options ?? Signed()).Run(progress, TestContext.Current.CancellationToken);
    }

    public PublishOptions Signed() => new() { Sign = Sign };

    /// <summary>A reader's repository, made by real ostree. Debian's knows signatures of GPG alone: given a key, it asks for a summary signed by it.</summary>
    public string NewReader(string url, string name, string? gpgKey = null)
    {
        string reader = this[name];
        Judge.HostOstree.Run("init", $"--repo={reader}", "--mode=bare-user"); // an archive takes no deltas
        Judge.HostOstree.Run("remote", $"--repo={reader}", "add", "--no-gpg-verify", "origin", url);
        if (gpgKey is null)
            return reader;
        File.AppendAllText($"{reader}/config", "\ngpg-verify-summary=true\n");
        Judge.HostOstree.Run("remote", $"--repo={reader}", "gpg-import", "-k", gpgKey, "origin");
        return reader;
    }

    /// <summary>Has real ostree pull the branch and check every object of it.</summary>
    /// <returns>The commit that came.</returns>
    public static Checksum Pull(string reader, params string[] more)
    {
        Judge.HostOstree.Run(["pull", $"--repo={reader}", .. more, "origin", Branch]);
        Assert.Contains("no errors found", Judge.HostOstree.Run("fsck", $"--repo={reader}"), StringComparison.Ordinal);
        return Checksum.Parse(Judge.HostOstree.Run("rev-parse", $"--repo={reader}", $"origin:{Branch}").Trim());
    }

    /// <summary>Serves a directory of this place; until the end.</summary>
    public string Serve(string name = "www", IProgress<ServedRequest>? requests = null, ServeOptions? options = null)
    {
        var running = new RunningServer(this[name], requests, options);
        open.Add(running);
        return running.Url;
    }

    public void Dispose()
    {
        open.ForEach(static each => each.Dispose());
        Repository.Dispose();
        Key.Dispose();
        using Dir parent = Dir.Open("/var/tmp");
        parent.RemoveAll(Path.GetFileName(Root));
    }

    public static byte[] Noise(int seed, int size)
    {
        var bytes = new byte[size];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}

/// <summary>Our own server on a port of its own, until it is disposed.</summary>
internal sealed class RunningServer : IDisposable
{
    private readonly CancellationTokenSource stop = new();
    private readonly RepositoryServer server;
    private readonly Task running;

    public RunningServer(string path, IProgress<ServedRequest>? requests = null, ServeOptions? options = null)
    {
        server = new RepositoryServer(path, new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0), options, requests);
        running = server.Run(stop.Token);
    }

    public string Url => $"{(server.IsEncrypted ? "https" : "http")}://{server.Endpoint}";

    public int Port => server.Endpoint.Port;

    public void Dispose()
    {
        stop.Cancel();
        running.Wait();
        server.Dispose();
        stop.Dispose();
    }
}
