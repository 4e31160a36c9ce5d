using System.Text;

namespace Sbox.Store;

/// <summary>What an address of a remote stands for: one place, a list of mirrors (<c>mirrorlist=URL</c>), or a signed list (<c>metalink=URL</c>).</summary>
/// <param name="Urls">Addresses of repositories, without a slash at their ends.</param>
/// <param name="Summary">The summary, where the list said what it hashes to.</param>
internal sealed record Mirrors(IReadOnlyList<string> Urls, byte[]? Summary)
{
    private const int MaximumList = 1024 * 1024;
    private const string List = "mirrorlist=", Link = "metalink=";

    /// <summary>Whether an address must be looked up.</summary>
    public static bool IsList(string url) => url.StartsWith(List, StringComparison.Ordinal) || url.StartsWith(Link, StringComparison.Ordinal);

    /// <summary>The address in what a remote has for one, without what says that it is a list's.</summary>
    public static string AddressIn(string url) => IsList(url) ? url[(url.IndexOf('=', StringComparison.Ordinal) + 1)..] : url;

    /// <summary>Looks an address up.</summary>
    /// <exception cref="PullException">The list cannot be had, is none, or has nothing of use.</exception>
    public static async Task<Mirrors> Find(string url, HttpTransport transport, PullOptions options, CancellationToken cancel)
    {
        if (url.StartsWith(List, StringComparison.Ordinal))
            return new Mirrors(await FromList(url[List.Length..], transport, options, cancel).ConfigureAwait(false), null);
        if (url.StartsWith(Link, StringComparison.Ordinal))
            return await FromMetalink(url[Link.Length..], transport, options, cancel).ConfigureAwait(false);
        return new Mirrors([Checked(url)], null);
    }

    /// <summary>An address that can be fetched from.</summary>
    /// <exception cref="PullException">It cannot.</exception>
    public static string Checked(string url) => Uri.TryCreate(url, UriKind.Absolute, out Uri? address) && address.Scheme is "http" or "https" or "file"
        ? url.TrimEnd('/')
        : throw new PullException(url, "an address with http, https or file", "another one") { Words = $"Invalid URI scheme in {HttpTransport.Shown(url)}" };

    private static async Task<IReadOnlyList<string>> FromList(string url, HttpTransport transport, PullOptions options, CancellationToken cancel)
    {
        byte[] bytes = await Document(url, "a list of mirrors", transport, options, cancel).ConfigureAwait(false);
        string[] mirrors = [.. Encoding.UTF8.GetString(bytes).Split('\n').Select(static line => line.Trim()).Where(static line => line.Length > 0 && line[0] != '#')];
        foreach (string mirror in mirrors)
        {
            if (!Uri.TryCreate(mirror, UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https"))
                throw new PullException(url, "addresses with http or https", $"'{HttpTransport.Shown(mirror)}'");
        }

        // One that has no repository is passed over once, not at every object.
        foreach (string mirror in mirrors)
        {
            var fetcher = new HttpFetcher(transport, [mirror.TrimEnd('/')], options);
            if (mirrors.Length > 1 && await IsThere(fetcher, cancel).ConfigureAwait(false) is false)
                continue;
            return [.. mirrors[Array.IndexOf(mirrors, mirror)..].Select(static each => each.TrimEnd('/'))];
        }

        throw new PullException(url, "a mirror with a repository", "No valid mirrors were found in mirrorlist");
    }

    private static async Task<bool> IsThere(HttpFetcher fetcher, CancellationToken cancel)
    {
        try
        {
            return await fetcher.TryFetch("config", MaximumList, cancel).ConfigureAwait(false) is not null;
        }
        catch (PullException)
        {
            return false; // another one is asked
        }
    }

    private static async Task<Mirrors> FromMetalink(string url, HttpTransport transport, PullOptions options, CancellationToken cancel)
    {
        const string summary = "summary";
        byte[] bytes = await Document(url, "a metalink", transport, options, cancel).ConfigureAwait(false);
        Metalink link;
        try
        {
            link = Metalink.Parse(bytes, summary);
        }
        catch (Codecs.MalformedException malformed)
        {
            throw new PullException(url, "a metalink", malformed.Message, malformed);
        }

        PullException? failure = null;
        foreach (string each in link.Urls)
        {
            if (!each.EndsWith("/" + summary, StringComparison.Ordinal))
                continue;
            try
            {
                byte[]? found = await new HttpFetcher(transport, [each], options).TryFetch("", ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
                if (found is not null && link.Finding(found) is not { } finding)
                    return new Mirrors([each[..^(summary.Length + 1)]], found);
                failure = new PullException(each, "the summary that the metalink has the hash of", found is null ? "status 404 (there is none)" : link.Finding(found)!);
            }
            catch (PullException failed)
            {
                failure = failed; // the next address may do better
            }
        }

        throw failure ?? new PullException(url, "an address that ends in /summary", "none");
    }

    private static async Task<byte[]> Document(string url, string what, HttpTransport transport, PullOptions options, CancellationToken cancel) =>
        await new HttpFetcher(transport, [url], options).TryFetch("", MaximumList, cancel).ConfigureAwait(false) ??
        throw new PullException(url, what, "status 404 (there is none)");
}
