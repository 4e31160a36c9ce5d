using System.Text;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Finds what to fetch from a repository behind a web server: by the checksum that was asked for, by its summary, or by a ref's file.</summary>
/// <param name="fetcher">Where its small files are.</param>
/// <param name="summary">Its summary.</param>
/// <param name="options">What is asked for.</param>
/// <param name="remote">The remote's settings; null where there is none.</param>
/// <param name="summaryOnly">Only the summary says what a ref leads to: it is signed.</param>
internal sealed class WantedCommits(HttpFetcher fetcher, SummarySource summary, PullOptions options, RemoteSettings? remote, bool summaryOnly)
{
    private const int SmallFile = 256 * 1024;

    private string? Collection => options.Collection ?? remote?.CollectionId;

    /// <summary>Commits by ref, or by checksum where one was asked for.</summary>
    /// <exception cref="PullException">Nothing says what a ref leads to.</exception>
    public async Task<Dictionary<string, Checksum>> Find(CancellationToken cancel)
    {
        IReadOnlyList<string> names = options.Refs.Count > 0 ? options.Refs : remote?.Branches ?? [];
        if (names.Count == 0)
            return await All(cancel).ConfigureAwait(false);
        if (summaryOnly)
            await summary.Get(cancel).ConfigureAwait(false); // also where only checksums are asked for: that much was promised
        var wanted = new Dictionary<string, Checksum>();
        foreach (string name in names)
        {
            int at = name.IndexOf('@', StringComparison.Ordinal);
            string branch = at < 0 ? name : name[..at];
            if (Checksum.TryParse(branch, out Checksum checksum) || (at >= 0 && Checksum.TryParse(name.AsSpan(at + 1), out checksum)))
                wanted[branch] = checksum;
            else if (!wanted.ContainsKey(branch))
                wanted[branch] = await Resolve(branch, cancel).ConfigureAwait(false);
        }

        return wanted;
    }

    private async Task<Dictionary<string, Checksum>> All(CancellationToken cancel)
    {
        if (remote is not null && !options.Mirror)
            throw new PullException(remote.Name, "a branch to pull, or some in the remote's settings", "none") { Words = $"No configured branches for remote {remote.Name}" };
        FoundSummary found = await summary.Get(cancel).ConfigureAwait(false) ??
            throw new PullException(fetcher.UrlOf("summary"), "a summary, since no branch was named", "status 404 (there is none)");
        return RefsOf(found).ToDictionary();
    }

    private async Task<Checksum> Resolve(string branch, CancellationToken cancel)
    {
        RefStore.Split(branch);
        FoundSummary? found = await summary.Get(cancel).ConfigureAwait(false);
        if (found is not null && RefsOf(found).TryGetValue(branch, out Checksum listed))
            return listed;
        // Where the summary must be signed, it alone says what a branch leads to.
        foreach (string path in summaryOnly ? [] : Paths(branch))
        {
            if (await fetcher.TryFetch(path, SmallFile, cancel).ConfigureAwait(false) is { } bytes)
                return Parse(branch, path, bytes);
        }

        throw new PullException(fetcher.UrlOf($"refs/heads/{branch}"), $"the branch '{branch}'", "status 404 (there is none)");
    }

    private string[] Paths(string branch) => Collection is { } collection ? [$"refs/heads/{branch}", $"refs/mirrors/{collection}/{branch}"] : [$"refs/heads/{branch}"];

    private IReadOnlyDictionary<string, Checksum> RefsOf(FoundSummary found) => found.Parsed.RefsFor(Collection);

    private Checksum Parse(string branch, string path, byte[] bytes)
    {
        string text = Encoding.ASCII.GetString(bytes).Trim();
        if (Checksum.TryParse(text, out Checksum checksum))
            return checksum;
        string flat = text.ReplaceLineEndings(" ");
        throw new PullException(fetcher.UrlOf(path), "a commit's checksum", $"'{(text.Length > 80 ? text[..80] : text)}'")
        {
            Words = $"Fetching checksum for ref ({Collection ?? "(empty)"}, {branch}): Invalid rev {(flat.Length > 160 ? flat[..160] : flat)}",
        };
    }
}
