using Sbox.Codecs;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Fetches a remote's summary, verified as its settings ask.</summary>
    /// <param name="remote">The remote.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>The files <c>summary</c> and <c>summary.sig</c>; nulls where there are none.</returns>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    /// <exception cref="SignatureException">It is not signed as it must be.</exception>
    /// <exception cref="PullException">It could not be fetched.</exception>
    public async Task<(byte[]? Summary, byte[]? Signature)> FetchSummary(string remote, PullOptions? options = null, CancellationToken cancel = default)
    {
        options ??= new PullOptions();
        if (options.Url is null && RemoteConfig(remote) is not null && RemoteUrl(remote) is null)
            throw new PullException(remote, "a remote with a url", "none") { Words = $"No \"url\" option in remote \"{remote}\"" };
        RemoteSettings settings = Remote(remote) ?? throw new RemoteNotFoundException(Path, remote);
        string url = options.Url ?? settings.Url ?? throw new PullException(remote, "a remote with a url", "none");
        RemoteTrust trust = RemoteTrust.Of(this, settings);
        if (!Mirrors.IsList(url) && new Uri(Mirrors.Checked(url)) is { IsFile: true } file)
        {
            using Repository source = Open(file.LocalPath);
            byte[]? bytes = source.Dir.TryReadAll("summary"), signature = source.Dir.TryReadAll("summary.sig");
            trust.VerifySummary(source.Dir.Of("summary"), bytes, signature);
            return (bytes, signature);
        }

        using var transport = new HttpTransport(this, settings, options);
        using SummaryCache? cache = SummaryCache.Open(this, remote, options.CacheDirectory);
        Mirrors mirrors = await Mirrors.Find(url, transport, options, cancel).ConfigureAwait(false);
        var there = new SummarySource(new HttpFetcher(transport, mirrors.Urls, options), trust, cache, mirrors.Summary, withSignature: true);
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
