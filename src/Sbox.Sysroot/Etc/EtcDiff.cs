using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>How the owner's /etc differs from the defaults at one path; the letters are <c>ostree admin config-diff</c>'s.</summary>
public enum EtcChangeKind
{
    /// <summary>M: other bytes, owner, mode or kind.</summary>
    Modified,
    /// <summary>D: a default that the owner removed.</summary>
    Removed,
    /// <summary>A: the owner's own.</summary>
    Added,
}

/// <summary>One difference.</summary>
/// <param name="Kind">What was done.</param>
/// <param name="Path">Relative to /etc, without a leading slash.</param>
public sealed record EtcChange(EtcChangeKind Kind, string Path)
{
    /// <summary>As <c>ostree admin config-diff</c> prints it: the letter, four spaces, the path.</summary>
    public override string ToString() => $"{Kind switch { EtcChangeKind.Modified => 'M', EtcChangeKind.Removed => 'D', _ => 'A' }}    {Path}";
}

/// <summary>The owner's changes to /etc.</summary>
public static class EtcDiff
{
    /// <summary>
    /// All differences, modified first, then removed, then added, each in the order of their paths. Of a removed directory only
    /// the directory itself is listed, of an added one everything, as libostree does.
    /// </summary>
    /// <param name="defaults">The deployment's <c>usr/etc</c>.</param>
    /// <param name="local">The deployment's <c>etc</c>.</param>
    public static IReadOnlyList<EtcChange> Between(EtcNode defaults, EtcNode local)
    {
        var changes = new List<EtcChange>();
        Compare("", defaults, local, changes);
        return [.. changes.OrderBy(static change => change.Kind).ThenBy(static change => change.Path, Comparer<string>.Create(Dir.CompareNames))];
    }

    /// <summary>The same from two directories. What was given to another account when this /etc was made is none of the owner's changes; <c>ostree admin config-diff</c> lists it.</summary>
    public static IReadOnlyList<EtcChange> Between(Dir defaults, Dir local)
    {
        EtcNode mine = EtcTree.Read(local);
        return Between(EtcOwners.AsGiven(EtcTree.Read(defaults), mine, EtcContents.Reader(defaults), EtcContents.Reader(local)), mine);
    }

    /// <summary>
    /// The same for who only wants to know whether there is something: a file or link counts as the default where it has the default's size and time, and bytes are read only where the size is the same and
    /// the time is not.
    /// </summary>
    public static IReadOnlyList<EtcChange> Glance(Dir defaults, Dir local)
    {
        (EtcNode before, EtcNode mine) = EtcGlance.Unlike(defaults, local);
        return Between(EtcOwners.AsGiven(before, mine, EtcContents.Reader(defaults), EtcContents.Reader(local)), mine);
    }

    /// <summary>Whether what both have by a path differs; likewise.</summary>
    internal static bool Differs(Dir defaults, Dir local, string path)
    {
        (EtcNode before, EtcNode mine) = (Alone(defaults), Alone(local));
        return !EtcNode.Same(EtcOwners.AsGiven(before, mine, EtcContents.Reader(defaults), EtcContents.Reader(local)), mine);

        EtcNode Alone(Dir dir) => new(
            new EtcEntry(FileKind.Directory, 0x1ED, 0, 0, default), EtcTree.ReadOne(dir, path) is { } node ? new Dictionary<string, EtcNode> { [path] = node } : EtcNode.NoChildren);
    }

    private static void Compare(string parent, EtcNode defaults, EtcNode local, List<EtcChange> changes)
    {
        foreach (string name in EtcNode.Names(defaults, local))
        {
            string path = Join(parent, name);
            bool isDefault = defaults.Children.TryGetValue(name, out EtcNode? before);
            bool isLocal = local.Children.TryGetValue(name, out EtcNode? after);
            if (!isLocal)
                changes.Add(new EtcChange(EtcChangeKind.Removed, path));
            else if (!isDefault)
                AddAll(path, after!, changes);
            else
            {
                if (before!.Entry != after!.Entry)
                    changes.Add(new EtcChange(EtcChangeKind.Modified, path));
                if (before.IsDirectory && after.IsDirectory)
                    Compare(path, before, after, changes);
            }
        }
    }

    private static void AddAll(string path, EtcNode node, List<EtcChange> changes)
    {
        changes.Add(new EtcChange(EtcChangeKind.Added, path));
        foreach ((string name, EtcNode child) in node.Children)
            AddAll(Join(path, name), child, changes);
    }

    internal static string Join(string parent, string name) => parent.Length == 0 ? name : $"{parent}/{name}";
}
