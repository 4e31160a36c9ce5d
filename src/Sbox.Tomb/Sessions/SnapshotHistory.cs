using Sbox.Codecs;

namespace Sbox.Tomb.Sessions;

/// <summary>Which snapshot came out of which. Clocks may be wrong; what a snapshot names as its parent is not.</summary>
public sealed class SnapshotHistory
{
    private readonly Dictionary<Checksum, Snapshot> byId;
    private readonly HashSet<Checksum> parents;

    /// <param name="snapshots">All snapshots of a tomb.</param>
    public SnapshotHistory(IReadOnlyList<Snapshot> snapshots)
    {
        Snapshots = snapshots;
        byId = snapshots.ToDictionary(static each => each.Id);
        parents = [.. snapshots.SelectMany(Parents)];
    }

    /// <summary>All of them.</summary>
    public IReadOnlyList<Snapshot> Snapshots { get; }

    /// <summary>A snapshot that brings two histories together names the second one by this tag and its id.</summary>
    public const string MergedTag = "sbox-merged-";

    /// <summary>The snapshots that nothing came out of, oldest first.</summary>
    public IEnumerable<Snapshot> Heads => Snapshots.Where(each => !parents.Contains(each.Id));

    /// <summary>The newest head; null for an empty tomb.</summary>
    public Snapshot? Newest => Heads.LastOrDefault();

    /// <summary>
    /// The newest snapshot of a home: of those of just that path, which came out of each other whatever else was saved into the tomb; where
    /// there is none, the newest head of the one place that the tomb is of.
    /// </summary>
    /// <param name="path">Where the home is: an absolute path.</param>
    /// <returns>Null for an empty tomb, and where no snapshot is of that path while the heads are of several others: see <see cref="Places"/>.</returns>
    public Snapshot? NewestOf(string path)
    {
        Snapshot[] own = [.. Snapshots.Where(each => PlaceOf(each) == path)];
        if (own.Length == 0)
            return Places.Count == 1 ? Newest : null;
        var before = new HashSet<Checksum>(own.SelectMany(Parents));
        return own.LastOrDefault(each => !before.Contains(each.Id)) ?? own[^1];
    }

    /// <summary>What the heads are of: the saved paths of each, joined by commas.</summary>
    public IReadOnlyList<string> Places => [.. Heads.Select(PlaceOf).Distinct(StringComparer.Ordinal)];

    /// <summary>The newest head that others have parted from; null where nothing has parted.</summary>
    public Snapshot? NewestParted => Heads.LastOrDefault(head => Diverged(head).Count > 0);

    /// <summary>Heads that share an ancestor with a snapshot and are not among its own ancestors or descendants: what another box saved meanwhile.</summary>
    public IReadOnlyList<Snapshot> Diverged(Snapshot from)
    {
        HashSet<Checksum> own = Ancestors(from);
        return [.. Heads.Where(head => !own.Contains(head.Id) && head.Id != from.Id && Ancestors(head) is var theirs && !theirs.Contains(from.Id) && theirs.Overlaps(own))];
    }

    /// <summary>The newest snapshot that both came out of; null where there is none.</summary>
    public Snapshot? CommonAncestor(Snapshot a, Snapshot b)
    {
        HashSet<Checksum> own = Ancestors(a);
        own.Add(a.Id);
        var next = new PriorityQueue<Snapshot, long>();
        next.Enqueue(b, -b.Time.Seconds);
        while (next.TryDequeue(out Snapshot? at, out _))
        {
            if (own.Contains(at.Id))
                return at;
            foreach (Checksum parent in Parents(at))
            {
                if (byId.TryGetValue(parent, out Snapshot? known))
                    next.Enqueue(known, -known.Time.Seconds);
            }
        }

        return null;
    }

    /// <summary>All that a snapshot came out of, the forgotten included as far as they are named.</summary>
    public HashSet<Checksum> Ancestors(Snapshot of)
    {
        var found = new HashSet<Checksum>();
        var next = new Queue<Checksum>(Parents(of));
        while (next.TryDequeue(out Checksum id))
        {
            if (!found.Add(id) || !byId.TryGetValue(id, out Snapshot? known))
                continue;
            foreach (Checksum parent in Parents(known))
                next.Enqueue(parent);
        }

        return found;
    }

    private static string PlaceOf(Snapshot of) => string.Join(", ", of.Paths.Select(static path => path.Length > 1 ? path.TrimEnd('/') : path));

    private static IEnumerable<Checksum> Parents(Snapshot of)
    {
        if (of.Parent is { } parent)
            yield return parent;
        foreach (string tag in of.Tags)
        {
            if (tag.StartsWith(MergedTag, StringComparison.Ordinal) && Checksum.TryParse(tag.AsSpan(MergedTag.Length), out Checksum merged))
                yield return merged;
        }
    }
}
