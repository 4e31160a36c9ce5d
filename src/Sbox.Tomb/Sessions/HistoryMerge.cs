using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>What a merge of two histories found.</summary>
/// <param name="Snapshot">The snapshot that brings both together.</param>
/// <param name="Twice">Paths that both sides changed: the second side's is beside it, with its machine's name.</param>
/// <param name="Kept">Paths that one side deleted and the other changed: they are there.</param>
public sealed record HistoryMerged(Snapshot Snapshot, IReadOnlyList<string> Twice, IReadOnlyList<string> Kept);

/// <summary>
/// Brings together what two boxes saved out of one snapshot. What one side changed is taken; what both changed is kept twice, the second
/// with its machine's name; nothing is left out. No file is read: only trees.
/// </summary>
public sealed class HistoryMerge
{
    private readonly TombRepository tomb;
    private readonly PackWriter packs;
    private readonly string label;
    private readonly List<string> twice = [], kept = [];
    private readonly CancellationToken cancel;

    private HistoryMerge(TombRepository tomb, PackWriter packs, string label, CancellationToken cancel) =>
        (this.tomb, this.packs, this.label, this.cancel) = (tomb, packs, label, cancel);

    /// <summary>Merges two heads, and writes the snapshot. The index is loaded, and a shared lock is held, by the caller.</summary>
    /// <param name="tomb">The tomb.</param>
    /// <param name="history">All of its snapshots.</param>
    /// <param name="first">The side whose names stay.</param>
    /// <param name="second">The side whose changed files get its machine's name where both changed them.</param>
    /// <param name="programVersion">What writes the snapshot.</param>
    /// <param name="clock">For its time.</param>
    /// <param name="cancel">Ends it; nothing was changed then.</param>
    /// <exception cref="TombException">A tree cannot be read, or the tomb did not take what was merged.</exception>
    public static async Task<HistoryMerged> Run(
        TombRepository tomb, SnapshotHistory history, Snapshot first, Snapshot second, string programVersion, TimeProvider clock, CancellationToken cancel)
    {
        Snapshot? ancestor = history.CommonAncestor(first, second);
        await using var packs = new PackWriter(tomb, clock, cancel);
        var merge = new HistoryMerge(tomb, packs, second.Hostname.Length > 0 ? second.Hostname : second.Id.ToString()[..8], cancel);
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
        return new HistoryMerged(snapshot, merge.twice, merge.kept);
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
        return packs.AddTree(new Tree([.. nodes.Values]));
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
        && (a.Content ?? []).SequenceEqual(b.Content ?? []) && a.Xattrs.Count == b.Xattrs.Count && a.Modified.IsSameAs(b.Modified);
}
