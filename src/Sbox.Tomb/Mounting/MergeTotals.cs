using Sbox.Codecs;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// How many files a merge adds to the lower layer, and their bytes. Whole directories that come and go are only noted: one that was renamed comes as
/// often as it goes, and is never looked into.
/// </summary>
internal sealed class MergeTotals
{
    private readonly Dictionary<Checksum, int> directories = [];

    /// <summary>Files more than below, those in noted directories not counted.</summary>
    public long Files { get; private set; }

    /// <summary>Bytes of files more than below, likewise.</summary>
    public long Bytes { get; private set; }

    /// <summary>A node that is there now, with all that is below it in the snapshot.</summary>
    public void Add(Node? node) => Count(node, 1);

    /// <summary>A node that is there no more, with all that is below it in the snapshot.</summary>
    public void Remove(Node? node) => Count(node, -1);

    /// <summary>Looks into the directories that came or went, and counts what is in them.</summary>
    /// <param name="load">Reads a tree.</param>
    /// <param name="cancel">Ends it.</param>
    public void Finish(Func<Checksum, Tree> load, CancellationToken cancel)
    {
        while (directories.FirstOrDefault(static each => each.Value != 0) is { Value: not 0 } next)
        {
            cancel.ThrowIfCancellationRequested();
            directories.Remove(next.Key);
            foreach (Node node in load(next.Key).Nodes)
                Count(node, next.Value);
        }
    }

    private void Count(Node? node, int times)
    {
        if (node is { Type: NodeType.File })
            (Files, Bytes) = (Files + times, Bytes + (times * (long)node.Size));
        else if (node is { Type: NodeType.Directory, Subtree: { } tree })
            directories[tree] = directories.GetValueOrDefault(tree) + times;
    }
}
