using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    private readonly string? remotesDirectory;
    private RemoteDefinitions? definitions;

    /// <summary>A remote's settings; null where there is none by that name.</summary>
    /// <exception cref="PullException">It is fetched from by another program.</exception>
    /// <exception cref="RemotesException">The definitions of remotes contradict each other, or cannot be read.</exception>
    public RemoteSettings? Remote(string name) => RemoteConfig(name) is { } config ? RemoteSettings.From(config, name) : null;

    /// <summary>The names of all remotes, those of parent repositories included, in order.</summary>
    /// <exception cref="RemotesException">The definitions of remotes contradict each other, or cannot be read.</exception>
    public IReadOnlyList<string> RemoteNames() => [.. WithParents().SelectMany(static each => each.Definitions.Names).Distinct().Order(StringComparer.Ordinal)];

    /// <summary>A remote's address, whatever else its settings ask for; null where there is none.</summary>
    public string? RemoteUrl(string name) => RemoteConfig(name)?.GetString(RemoteSettings.Group(name), "url");

    /// <summary>Whether this repository itself, and not a parent, defines a remote.</summary>
    public bool DefinesRemote(string name) => Definitions.Find(name) is not null;

    /// <summary>The file of <c>remotes.d</c> that a remote is defined in; null for the config, and where there is none by that name.</summary>
    public string? RemoteFile(string name) => Definitions.FileOf(name);

    /// <summary>
    /// Adds a remote, or changes one: in the file of <c>remotes.d</c>, or the config, that has it. A new one goes to <c>remotes.d</c> where the
    /// repository has that, unless <c>core.add-remotes-config-dir</c> is false.
    /// </summary>
    /// <param name="name">The remote.</param>
    /// <param name="change">Makes of that file what it shall be, with a group <c>remote "NAME"</c>.</param>
    /// <exception cref="RemotesException">It is new, and its name is none.</exception>
    public void ChangeRemote(string name, Func<KeyFile, KeyFile> change)
    {
        Definitions.Change(name, change);
        definitions = null;
    }

    /// <summary>Removes a remote and the keys that it was believed by; what was pulled stays.</summary>
    public void DeleteRemote(string name)
    {
        if (DefinesRemote(name))
            ChangeRemote(name, file => file.WithoutGroup(RemoteSettings.Group(name)));
        foreach (string left in (string[])[$"{name}.trustedkeys.gpg", $"{name}.cookies.txt"])
            Dir.TryUnlink(left);
        EndTrust(name);
    }

    /// <summary>What has a remote's group: the config, or a file of <c>remotes.d</c>, of this repository or a parent. Null where nothing has.</summary>
    internal KeyFile? RemoteConfig(string name) => WithParents().Select(each => each.Definitions.Find(name)).FirstOrDefault(static found => found is not null);

    // Read when they are asked for: what is wrong with them hinders nothing that needs no remote.
    private RemoteDefinitions Definitions => definitions ??= new RemoteDefinitions(this, remotesDirectory is null ? RemotesOfMachine() : remotesDirectory.Length > 0 ? remotesDirectory : null);

    // As libostree: only of the machine's own repository, by whatever path it was opened.
    private string? RemotesOfMachine() => IsOfMachine ? "/etc/ostree/remotes.d" : null;

    /// <summary>Fetches a remote's summary, verified as its settings ask.</summary>
    /// <param name="remote">The remote.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>The files <c>summary</c> and <c>summary.sig</c>; nulls where there are none.</returns>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    /// <exception cref="SignatureException">It is not signed as it must be.</exception>
    /// <exception cref="TrustException">It is not to be believed by the remote's trust document.</exception>
    /// <exception cref="PullException">It could not be fetched.</exception>
    public async Task<(byte[]? Summary, byte[]? Signature)> FetchSummary(string remote, PullOptions? options = null, CancellationToken cancel = default)
    {
        options ??= new PullOptions();
        if (options.Url is null && RemoteConfig(remote) is not null && RemoteUrl(remote) is null)
            throw new PullException(remote, "a remote with a url", "none") { Words = $"No \"url\" option in remote \"{remote}\"" };
        RemoteSettings settings = Remote(remote) ?? throw new RemoteNotFoundException(Path, remote);
        string url = options.Url ?? settings.Url ?? throw new PullException(remote, "a remote with a url", "none");
        RemoteTrust trust = RemoteTrust.Of(this, settings, options.Clock);
        if (!Mirrors.IsList(url) && new Uri(Mirrors.Checked(url)) is { IsFile: true } file)
        {
            using Repository source = Open(file.LocalPath);
            trust.FollowFiles(source, cancel);
            byte[]? bytes = source.Dir.TryReadAll("summary"), signature = source.Dir.TryReadAll("summary.sig");
            trust.VerifySummary(source.Dir.Of("summary"), bytes, signature);
            return (bytes, signature);
        }

        using var transport = new HttpTransport(this, settings, options);
        using SummaryCache? cache = SummaryCache.Open(this, remote, options.CacheDirectory);
        Mirrors mirrors = await Mirrors.Find(url, transport, options, cancel).ConfigureAwait(false);
        var fetcher = new HttpFetcher(transport, new MirrorRace(mirrors.ForWhatChanges), options);
        var there = await SummarySource.Follow(fetcher, trust, () => new SummarySource(fetcher, trust, cache, mirrors.Summary, withSignature: true), cancel).ConfigureAwait(false);
        return await there.Get(cancel).ConfigureAwait(false) is { } found ? (found.Bytes, found.Signature) : (null, null);
    }

    /// <summary>What GPG says of the signatures on a summary, by a remote's keys; none where there are none.</summary>
    /// <param name="summary">The file <c>summary</c>.</param>
    /// <param name="signature">The file <c>summary.sig</c>.</param>
    /// <param name="remote">The remote.</param>
    public IReadOnlyList<GpgSignature> GpgSummarySignatures(byte[] summary, byte[]? signature, string remote)
    {
        IReadOnlyList<byte[]> signatures = signature is null ? [] : CommitSignatures.Of(RemoteTrust.ParseOrEmpty(signature), CommitSignatures.GpgKey);
        return signatures.Count == 0 ? [] : GpgSignatures(summary, signatures, remote, home: null);
    }

    /// <summary>The cookies that are sent to a remote's server.</summary>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    public IReadOnlyList<RemoteCookie> Cookies(string remote) => CookieFile.Read(this, RequireRemote(remote));

    /// <summary>Adds a cookie, in place of one of that name for the same place.</summary>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    public void AddCookie(string remote, string domain, string path, string name, string value)
    {
        RemoteCookie added = CookieFile.Make(domain, path, name, value, TimeProvider.System.GetUtcNow());
        CookieFile.Change(this, RequireRemote(remote), each => IsIt(each, domain, path, name), added);
    }

    /// <summary>Takes a cookie away.</summary>
    /// <returns>Whether there was one.</returns>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    public bool DeleteCookie(string remote, string domain, string path, string name)
    {
        if (!Cookies(remote).Any(each => IsIt(each, domain, path, name)))
            return false;
        CookieFile.Change(this, remote, each => IsIt(each, domain, path, name), added: null);
        return true;
    }

    private string RequireRemote(string remote) => RemoteConfig(remote) is null ? throw new RemoteNotFoundException(Path, remote) : remote;

    private static bool IsIt(RemoteCookie cookie, string domain, string path, string name) => cookie.Domain == domain && cookie.Path == path && cookie.Name == name;
}
