using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    private static readonly string[] StandardPlaces = ["ostree/repo", ".ostree/repo"];

    /// <summary>Finds repositories that have refs, by the collections that these belong to.</summary>
    /// <param name="refs">What to look for.</param>
    /// <param name="kinds">Where.</param>
    /// <param name="options">How summaries are fetched; null for the defaults.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>Those to take from, the best first. What could not be asked, or not believed, is not among them.</returns>
    public Task<IReadOnlyList<FoundRemote>> FindRemotes(
        IReadOnlyList<CollectionRef> refs, IReadOnlyList<FinderKind> kinds, PullOptions? options = null, CancellationToken cancel = default) =>
        new RemoteFinder(this, refs, options ?? new PullOptions()).Find(kinds, cancel);

    /// <summary>Takes what was found from where it was found. Every commit must be signed by GPG with a key of the remote that it was found by.</summary>
    /// <param name="found">What <see cref="FindRemotes"/> found.</param>
    /// <param name="options">How; its remote, address and refs are not used.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>The refs that came.</returns>
    public async Task<IReadOnlySet<CollectionRef>> PullFound(
        IReadOnlyList<FoundRemote> found, PullOptions? options = null, IProgress<PullProgress>? progress = null, CancellationToken cancel = default)
    {
        var came = new HashSet<CollectionRef>();
        foreach (FoundRemote remote in found)
        {
            KeyValuePair<CollectionRef, Checksum?>[] wanted = [.. remote.Refs.Where(item => item.Value is not null && !came.Contains(item.Key))];
            if (wanted.Length == 0)
                continue;
            PullOptions pull = (options ?? new PullOptions()) with
            {
                Remote = remote.Remote, Url = remote.Url, Collection = wanted[0].Key.Collection, RequireGpg = true,
                Refs = [.. wanted.Select(static item => $"{item.Key.Name}@{item.Value}")],
            };
            try
            {
                await Pull(pull, progress, cancel).ConfigureAwait(false);
                came.UnionWith(wanted.Select(static item => item.Key));
            }
            catch (Exception failed) when (failed is RepositoryException or LinuxException)
            {
                continue; // the next that has them may do; the caller sees what did not come
            }
        }

        return came;
    }

    /// <summary>Copies refs, with their collections, to a repository on a stick, and writes its summary.</summary>
    /// <param name="mount">The stick's directory.</param>
    /// <param name="refs">The refs; of one of them another commit may be asked for.</param>
    /// <param name="place">The repository below it; made in mode archive where there is none. Null: <c>.ostree/repo</c>.</param>
    /// <param name="durable">Whether it is all on the stick on return.</param>
    /// <param name="commit">The commit that the only ref shall lead to there; null for the one it leads to here.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Looked at between objects.</param>
    /// <returns>What a person should know, a line each.</returns>
    /// <exception cref="RefNotFoundException">There is no such ref of such a collection.</exception>
    public IReadOnlyList<string> CopyToStick(
        string mount, IReadOnlyList<CollectionRef> refs, string? place = null, bool durable = true, Checksum? commit = null,
        IProgress<PullProgress>? progress = null, CancellationToken cancel = default)
    {
        place ??= StandardPlaces[1];
        using var stick = Dir.Open(mount);
        IReadOnlyDictionary<CollectionRef, Checksum> all = CollectionRefs();
        foreach (CollectionRef name in refs.Where(name => !all.ContainsKey(name)))
            throw new RefNotFoundException(Path, name.ToString());
        using Repository target = Create($"{mount}/{place}", RepositoryMode.Archive);
        target.Fsync &= durable;
        if (target.Config.Get("core", "indexed-deltas") is null)
            target.WriteConfig(target.Config.With("core", "indexed-deltas", "true"));
        target.Fsync &= durable;
        foreach (IGrouping<string, CollectionRef> collection in refs.GroupBy(static each => each.Collection))
        {
            var targets = new PullTargets { Repository = target, Mirror = true, Collection = collection.Key };
            var options = new PullLocalOptions { Refs = [.. collection.Select(each => $"{each.Name}@{commit ?? all[each]}")] };
            new LocalPull(this, targets, options, trust: null, progress, cancel).Run();
        }

        // Nobody has signed its summary, so that boxes with a trust document take nothing from it; what has become of their document, they learn there all the same.
        string? note = CarriedTrust.Take(target, CarriedTrust.Newest(OwnSummary(), trust: null), TrustFiles.Of(this), cancel).GetAwaiter().GetResult(); // of files: nothing is waited for
        target.WriteSummary();
        if (!StandardPlaces.Contains(place))
            NameOnStick(stick, place);
        return note is null ? [] : [note];
    }

    // One that cannot be read knows of no documents, and nothing else is asked of it.
    private Summary? OwnSummary()
    {
        try
        {
            return Dir.TryReadAll("summary") is { } announced ? Summary.Parse(announced) : null;
        }
        catch (MalformedException)
        {
            return null;
        }
    }

    // Whoever looks for repositories on sticks looks here for those in other places.
    private static void NameOnStick(Dir stick, string place)
    {
        const string directory = ".ostree/repos.d";
        stick.MakeDirs(directory);
        using Dir names = stick.OpenDir(directory);
        string target = $"../../{place}";
        for (int number = 0; ; number++)
        {
            string name = $"{number:00}-generated";
            if (names.TryStat(name) is not { } there)
            {
                names.Symlink(target, name);
                return;
            }

            if (there.IsSymlink && names.ReadLink(name) == target)
                return;
        }
    }
}
