using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>How an entry differs between two snapshots.</summary>
public enum ChangeKind
{
    /// <summary>Only the second has it.</summary>
    Added,
    /// <summary>Only the first has it.</summary>
    Removed,
    /// <summary>Its content differs.</summary>
    Content,
    /// <summary>Only what is known about it differs: times, owner, mode, attributes.</summary>
    Metadata,
    /// <summary>It is of another kind.</summary>
    Type,
}

/// <summary>One difference.</summary>
/// <param name="Kind">How.</param>
/// <param name="Path">Where, from the snapshots' top.</param>
/// <param name="Before">What it was; null when it is new.</param>
/// <param name="After">What it is; null when it is gone.</param>
public sealed record SnapshotChange(ChangeKind Kind, string Path, Node? Before, Node? After);

/// <summary>Compares two snapshots; directories that are the same tree are not looked into.</summary>
public static class SnapshotDiff
{
    /// <summary>All differences, in the order of their paths.</summary>
    public static async IAsyncEnumerable<SnapshotChange> Compare(
        TombRepository tomb, Checksum before, Checksum after, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        await foreach (SnapshotChange change in Trees(tomb, before, after, "", cancel))
            yield return change;
    }

    private static async IAsyncEnumerable<SnapshotChange> Trees(
        TombRepository tomb, Checksum? before, Checksum? after, string path, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        if (before == after)
            yield break;
        IReadOnlyList<Node> left = before is { } old ? (await tomb.LoadTree(old, cancel)).Nodes : [], right = after is { } now ? (await tomb.LoadTree(now, cancel)).Nodes : [];
        for (int l = 0, r = 0; l < left.Count || r < right.Count;)
        {
            int order = l == left.Count ? 1 : r == right.Count ? -1 : Dir.CompareNames(left[l].Name, right[r].Name);
            Node? a = order <= 0 ? left[l++] : null, b = order >= 0 ? right[r++] : null;
            string at = $"{path}/{(a ?? b)!.Name}";
            if (Difference(a, b) is { } kind)
                yield return new SnapshotChange(kind, at, a, b);
            await foreach (SnapshotChange change in Trees(tomb, a?.Subtree, b?.Subtree, at, cancel))
                yield return change;
        }
    }

    private static ChangeKind? Difference(Node? a, Node? b)
    {
        if (a is null)
            return ChangeKind.Added;
        if (b is null)
            return ChangeKind.Removed;
        if (a.Type != b.Type)
            return ChangeKind.Type;
        if (a.LinkTarget != b.LinkTarget || !(a.Content ?? []).SequenceEqual(b.Content ?? []))
            return ChangeKind.Content;
        return NodeEquality.Same(a with { Subtree = null }, b with { Subtree = null }) ? null : ChangeKind.Metadata;
    }
}
