using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>Which side of a path that both changed is taken.</summary>
public enum MergeSide
{
    /// <summary>Both are there; what one side deleted and the other changed is there.</summary>
    Both,
    /// <summary>The first side's, gone where it deleted it.</summary>
    First,
    /// <summary>The second side's, likewise.</summary>
    Second,
}

/// <summary>What a merge of two histories found.</summary>
/// <param name="Snapshot">The snapshot that brings both together; null where it was only asked what it would be.</param>
/// <param name="Twice">Paths that both sides changed: the second side's is beside it, with its machine's name.</param>
/// <param name="Kept">Paths that one side deleted and the other changed: they are there.</param>
/// <param name="Chosen">Paths of either kind of which one side was chosen, and which.</param>
public sealed record HistoryMerged(Snapshot? Snapshot, IReadOnlyList<string> Twice, IReadOnlyList<string> Kept, IReadOnlyList<(string Path, MergeSide Side)> Chosen);

/// <summary>
/// Brings together what two boxes saved out of one snapshot. What one side changed is taken; what both changed is kept twice, the second
/// with its machine's name; nothing is left out. No file is read: only trees.
/// </summary>
public sealed class HistoryMerge
{
    private readonly TombRepository tomb;
    private readonly PackWriter? packs;
    private readonly string label;
    private readonly Func<string, MergeSide> choose;
    private readonly List<string> twice = [], kept = [];
    private readonly List<(string Path, MergeSide Side)> chosen = [];
    private readonly CancellationToken cancel;

    private HistoryMerge(TombRepository tomb, PackWriter? packs, Snapshot second, Func<string, MergeSide> choose, CancellationToken cancel)
    {
        (this.tomb, this.packs, this.choose, this.cancel) = (tomb, packs, choose, cancel);
        label = second.Hostname.Length > 0 ? second.Hostname : second.Id.ToString()[..8];
    }

    /// <summary>What <see cref="Run"/> would find; nothing is written. The index is loaded.</summary>
    /// <exception cref="TombException">A tree cannot be read.</exception>
    public static async Task<HistoryMerged> Plan(TombRepository tomb, SnapshotHistory history, Snapshot first, Snapshot second, Func<string, MergeSide> choose, CancellationToken cancel)
    {
        var merge = new HistoryMerge(tomb, null, second, choose, cancel);
        await merge.Trees(history.CommonAncestor(first, second)?.Tree, first.Tree, second.Tree, "");
        return new HistoryMerged(null, merge.twice, merge.kept, merge.chosen);
    }

    /// <summary>Merges two heads, and writes the snapshot. The index is loaded, and a shared lock is held, by the caller.</summary>
    /// <param name="tomb">The tomb.</param>
    /// <param name="history">All of its snapshots.</param>
    /// <param name="first">The side whose names stay.</param>
    /// <param name="second">The side whose changed files get its machine's name where both changed them.</param>
    /// <param name="choose">Which side is taken of a path that both changed.</param>
    /// <param name="programVersion">What writes the snapshot.</param>
    /// <param name="clock">For its time.</param>
    /// <param name="cancel">Ends it; nothing was changed then.</param>
    /// <exception cref="TombException">A tree cannot be read, or the tomb did not take what was merged.</exception>
    public static async Task<HistoryMerged> Run(
        TombRepository tomb, SnapshotHistory history, Snapshot first, Snapshot second, Func<string, MergeSide> choose, string programVersion, TimeProvider clock, CancellationToken cancel)
    {
        Snapshot? ancestor = history.CommonAncestor(first, second);
        await using var packs = new PackWriter(tomb, clock, cancel);
        var merge = new HistoryMerge(tomb, packs, second, choose, cancel);
        Checksum tree = await merge.Trees(ancestor?.Tree, first.Tree, second.Tree, "");
        await packs.Finish();
        Moment time = Moment.Of(clock.GetUtcNow());
        Moment newest = first.Time.CompareTo(second.Time) > 0 ? first.Time : second.Time;
        if (time.CompareTo(newest) <= 0)
            time = newest with { Seconds = newest.Seconds + 1 };
        var snapshot = new Snapshot
        {
            Time = time, Parent = first.Id, Tree = tree, Paths = first.Paths, Hostname = Environment.MachineName, Username = Environment.UserName, Uid = first.Uid, Gid = first.Gid,
            Tags = [$"{SnapshotHistory.MergedTag}{second.Id}"], ProgramVersion = programVersion,
        };
        snapshot = snapshot with { Id = await tomb.SaveDocument(StoredFileType.Snapshot, snapshot.ToBytes(), cancel) };
        return new HistoryMerged(snapshot, merge.twice, merge.kept, merge.chosen);
    }

    private async Task<Checksum> Trees(Checksum? before, Checksum one, Checksum two, string path)
    {
        cancel.ThrowIfCancellationRequested();
        if (one == two || before == two)
            return one;
        if (before == one)
            return two;
        Tree old = before is { } known ? await tomb.LoadTree(known, cancel) : new Tree([]);
        Tree left = await tomb.LoadTree(one, cancel), right = await tomb.LoadTree(two, cancel);
        var nodes = new SortedList<string, Node>(Comparer<string>.Create(Dir.CompareNames));
        foreach (string name in left.Nodes.Concat(right.Nodes).Select(static node => node.Name).Distinct(StringComparer.Ordinal))
            await Entry(old.Find(name), left.Find(name), right.Find(name), $"{path}/{name}", nodes, taken => left.Find(taken) is not null || right.Find(taken) is not null);
        return packs?.AddTree(new Tree([.. nodes.Values])) ?? default;
    }

    private async Task Entry(Node? old, Node? left, Node? right, string path, SortedList<string, Node> into, Func<string, bool> isTaken)
    {
        if (IsSame(old, left) || IsSame(old, right) || Agree(left, right))
        {
            if ((IsSame(old, left) ? right : left) is { } changed)
                into.Add(changed.Name, changed);
            return;
        }

        if (left is { Type: NodeType.Directory, Subtree: { } one } && right is { Type: NodeType.Directory, Subtree: { } two })
        {
            Checksum? before = old is { Type: NodeType.Directory } ? old.Subtree : null;
            Node attributes = old is not null && IsSame(old with { Subtree = null }, left with { Subtree = null }) ? right : left;
            into.Add(left.Name, attributes with { Subtree = await Trees(before, one, two, path) });
            return;
        }

        MergeSide side = choose(path);
        if (side != MergeSide.Both)
        {
            if ((side == MergeSide.First ? left : right) is { } taken)
                into.Add(taken.Name, taken);
            chosen.Add((path, side));
            return;
        }

        if (left is null || right is null)
        {
            Node survivor = (left ?? right)!;
            into.Add(survivor.Name, survivor);
            kept.Add(path);
            return;
        }

        into.Add(left.Name, left);
        string name = $"{right.Name} ({label})";
        for (int number = 2; isTaken(name) || into.ContainsKey(name); number++)
            name = $"{right.Name} ({label} {number})";
        into.Add(name, right with { Name = name });
        twice.Add(path);
    }

    private static bool IsSame(Node? a, Node? b) => a is null || b is null ? a is null && b is null : NodeEquality.Same(a, b);

    // Both sides came to the same file: whose inode it was does not matter.
    private static bool Agree(Node? a, Node? b) => a is not null && b is not null && a.Type == b.Type && a.Type != NodeType.Directory
        && a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Size == b.Size && a.LinkTarget == b.LinkTarget
        && (a.Content ?? []).SequenceEqual(b.Content ?? []) && SameXattrs(a, b) && a.Modified.IsSameAs(b.Modified);

    private static bool SameXattrs(Node a, Node b) => a.Xattrs.Count == b.Xattrs.Count
        && a.Xattrs.All(one => b.Xattrs.Any(other => one.Name == other.Name && one.Value.AsSpan().SequenceEqual(other.Value)));
}
