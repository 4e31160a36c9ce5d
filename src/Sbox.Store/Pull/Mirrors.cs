using System.Text;

namespace Sbox.Store;

/// <summary>What an address of a remote stands for: one place, a list of mirrors (<c>mirrorlist=URL</c>), or a signed list (<c>metalink=URL</c>).</summary>
/// <param name="Urls">Addresses of repositories, without a slash at their ends.</param>
/// <param name="Summary">The summary, where the list said what it hashes to.</param>
internal sealed record Mirrors(IReadOnlyList<string> Urls, byte[]? Summary)
{
    private const int MaximumList = 1024 * 1024;
    private const int MostOfLink = 8; // addresses of a metalink: hundreds would all be asked for what none has
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(2); // to a far one too
    private const string List = "mirrorlist=", Link = "metalink=", SummaryName = "summary";

    /// <summary>Who is asked for what changes, in order. A metalink says of one summary that it is right; the rest of the list was not looked at, and may be dead, or of another day.</summary>
    public IReadOnlyList<string> ForWhatChanges => Summary is null ? Urls : [Urls[0]];

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

        string[] urls = [.. mirrors.Select(static each => each.TrimEnd('/')).Distinct()];
        if (urls.Length == 1)
            return urls;
        foreach (PullOptions how in new[] { HttpFetcher.Hasty(options), options })
        {
            if (await WithRepository(urls, transport, how, cancel).ConfigureAwait(false) is { Count: > 0 } found)
                return found;
        }

        throw new PullException(url, "a mirror with a repository", "No valid mirrors were found in mirrorlist");
    }

    // One that has no repository is passed over once, not at every object; one that says nothing yet stands behind those that have one.
    private static async Task<IReadOnlyList<string>> WithRepository(string[] urls, HttpTransport transport, PullOptions options, CancellationToken cancel)
    {
        var silent = new List<string>();
        for (int at = 0; at < urls.Length; at += MirrorRace.AtOnce)
        {
            string[] few = [.. urls.Skip(at).Take(MirrorRace.AtOnce)];
            bool?[] answers = await AskAll(few, transport, options, cancel).ConfigureAwait(false);
            silent.AddRange(few.Where((_, index) => answers[index] is null));
            if (answers.Contains(true))
                return [.. few.Where((_, index) => answers[index] == true), .. urls.Skip(at + few.Length), .. silent];
        }

        return [];
    }

    // All at once; from the first that has one on, the others have a moment to say so too.
    private static async Task<bool?[]> AskAll(string[] urls, HttpTransport transport, PullOptions options, CancellationToken cancel)
    {
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<bool?>[] asked = [.. urls.Select(url => IsThere(new HttpFetcher(transport, url, options), enough.Token))];
        await foreach (Task<bool?> answer in Task.WhenEach(asked).ConfigureAwait(false))
        {
            if (await answer.ConfigureAwait(false) == true)
                enough.CancelAfter(Grace);
        }

        cancel.ThrowIfCancellationRequested();
        return await Task.WhenAll(asked).ConfigureAwait(false);
    }

    // Null: it did not say.
    private static async Task<bool?> IsThere(HttpFetcher fetcher, CancellationToken cancel)
    {
        try
        {
            return await fetcher.TryFetch("config", MaximumList, cancel).ConfigureAwait(false) is not null;
        }
        catch (PullException failed)
        {
            return failed.IsOfTheNetwork ? null : false; // another one is asked
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    private static async Task<Mirrors> FromMetalink(string url, HttpTransport transport, PullOptions options, CancellationToken cancel)
    {
        byte[] bytes = await Document(url, "a metalink", transport, options, cancel).ConfigureAwait(false);
        Metalink link;
        try
        {
            link = Metalink.Parse(bytes, SummaryName);
        }
        catch (Codecs.MalformedException malformed)
        {
            throw new PullException(url, "a metalink", malformed.Message, malformed);
        }

        string[] urls = [.. link.Urls.Where(static each => each.EndsWith("/" + SummaryName, StringComparison.Ordinal)).Select(static each => each[..^(SummaryName.Length + 1)]).Distinct()];
        PullException? failure = null;
        foreach (PullOptions how in urls.Length > 1 ? [HttpFetcher.Hasty(options), options] : new[] { options })
        {
            foreach (string each in urls)
            {
                try
                {
                    byte[]? found = await new HttpFetcher(transport, each, how).TryFetch(SummaryName, ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
                    if (found is not null && link.Finding(found) is not { } finding)
                        return new Mirrors([each, .. urls.Where(other => other != each).Take(MostOfLink - 1)], found);
                    failure = new PullException($"{each}/{SummaryName}", "the summary that the metalink has the hash of", found is null ? "status 404 (there is none)" : link.Finding(found)!);
                }
                catch (PullException failed)
                {
                    failure = failed; // the next address may do better
                }
            }

            if (failure is null or { IsOfTheNetwork: false })
                break;
        }

        throw failure ?? new PullException(url, "an address that ends in /summary", "none");
    }

    private static async Task<byte[]> Document(string url, string what, HttpTransport transport, PullOptions options, CancellationToken cancel) =>
        await new HttpFetcher(transport, url, options).TryFetch("", MaximumList, cancel).ConfigureAwait(false) ??
        throw new PullException(url, what, "status 404 (there is none)");
}
