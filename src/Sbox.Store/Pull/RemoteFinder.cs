using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Where remotes are looked for.</summary>
public enum FinderKind
{
    /// <summary>Among those of the config that say their collection.</summary>
    Config,
    /// <summary>On what is mounted below <c>/media</c>, <c>/run/media</c> and <c>/mnt</c>: <c>.ostree/repos.d/*</c>, <c>.ostree/repo</c>, <c>ostree/repo</c>.</summary>
    Mount,
}

/// <summary>A repository that has refs which were looked for.</summary>
/// <param name="Url">Where it is.</param>
/// <param name="Remote">The remote by whose keys its commits are believed.</param>
/// <param name="Kind">How it was found.</param>
/// <param name="SummaryModified">When its summary was made, as that says; null where it does not.</param>
/// <param name="Refs">What was looked for, with what it leads to there; null where it has no such ref, or an older one than another has.</param>
public sealed record FoundRemote(string Url, string Remote, FinderKind Kind, DateTimeOffset? SummaryModified, IReadOnlyDictionary<CollectionRef, Checksum?> Refs)
{
    /// <summary>The less, the sooner it is taken from; libostree's numbers.</summary>
    public int Priority => Kind == FinderKind.Mount ? 50 : 100;
}

/// <summary>Finds repositories that have refs, by the collections that these belong to.</summary>
internal sealed class RemoteFinder(Repository repository, IReadOnlyList<CollectionRef> wanted, PullOptions options)
{
    private static readonly string[] MountRoots = ["/media/", "/run/media/", "/mnt/"];
    private static readonly string[] WellKnown = [".ostree/repo", "ostree/repo"];

    public async Task<IReadOnlyList<FoundRemote>> Find(IReadOnlyList<FinderKind> kinds, CancellationToken cancel)
    {
        var found = new List<Candidate>();
        foreach (string remote in repository.RemoteNames())
        {
            if (repository.RemoteConfig(remote)?.GetString(RemoteSettings.Group(remote), "collection-id") is not { Length: > 0 } collection || !wanted.Any(each => each.Collection == collection))
                continue;
            if (kinds.Contains(FinderKind.Config) && repository.RemoteUrl(remote) is { } url)
                await Add(found, url, remote, collection, FinderKind.Config, cancel).ConfigureAwait(false);
            foreach (string path in kinds.Contains(FinderKind.Mount) ? Mounted() : [])
                await Add(found, $"file://{path}", remote, collection, FinderKind.Mount, cancel).ConfigureAwait(false);
        }

        return [.. Newest(found).Where(static each => each.Refs.Values.Any(static target => target is not null))
            .OrderBy(static each => each.Priority).ThenBy(static each => each.Remote, StringComparer.Ordinal)];
    }

    private async Task Add(List<Candidate> found, string url, string remote, string collection, FinderKind kind, CancellationToken cancel)
    {
        try
        {
            (byte[]? bytes, _) = await repository.FetchSummary(remote, options with { Url = url }, cancel).ConfigureAwait(false);
            if (bytes is null)
                return;
            Summary summary = Summary.Parse(bytes);
            IReadOnlyDictionary<string, Checksum> refs = summary.RefsOf(collection);
            GVariant? modified = summary.Metadata["ostree.summary.last-modified"];
            found.Add(new Candidate(
                new FoundRemote(
                    url, remote, kind, modified is { Type.Signature: "t" } ? DateTimeOffset.FromUnixTimeSeconds((long)Math.Min(BigEndian.From64(modified), 253402300799)) : null,
                    wanted.ToDictionary(static each => each, each => each.Collection == collection && refs.TryGetValue(each.Name, out Checksum target) ? target : (Checksum?)null)),
                summary.TimesOf(collection)));
        }
        catch (Exception unusable) when (unusable is RepositoryException or MalformedException or LinuxException)
        {
            return; // what cannot be asked, or believed, has not been found
        }
    }

    // Only the newest commit of each ref is worth having; where a summary says no time, nothing is newer than it.
    private IEnumerable<FoundRemote> Newest(List<Candidate> found)
    {
        foreach (CollectionRef each in wanted)
        {
            ulong newest = found.Where(one => one.Remote.Refs[each] is not null).Select(one => one.Times.GetValueOrDefault(each.Name)).DefaultIfEmpty().Max();
            foreach (Candidate old in found.Where(one => one.Remote.Refs[each] is not null && one.Times.TryGetValue(each.Name, out ulong time) && time < newest))
                old.Dropped.Add(each);
        }

        return found.Select(static one => one.Remote with { Refs = one.Remote.Refs.ToDictionary(static item => item.Key, item => one.Dropped.Contains(item.Key) ? null : item.Value) });
    }

    private static IEnumerable<string> Mounted()
    {
        foreach (MountEntry mount in MountTable.Read().Where(static each => MountRoots.Any(root => each.MountPoint.StartsWith(root, StringComparison.Ordinal))))
        {
            string listed = $"{mount.MountPoint}/.ostree/repos.d";
            IEnumerable<string> generated = Directory.Exists(listed) ? Directory.EnumerateFileSystemEntries(listed).Order(StringComparer.Ordinal) : [];
            foreach (string path in generated.Concat(WellKnown.Select(name => $"{mount.MountPoint}/{name}")).Where(static path => File.Exists($"{path}/config")))
                yield return path;
        }
    }

    private sealed record Candidate(FoundRemote Remote, IReadOnlyDictionary<string, ulong> Times)
    {
        public HashSet<CollectionRef> Dropped { get; } = [];
    }
}
