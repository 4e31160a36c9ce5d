using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>What a merge counted.</summary>
internal sealed class MergeCounts
{
    public long Files, FilesNew, Directories, DirectoriesNew, Deleted, BytesRead;

    /// <summary>How much more there is than in the lower layer.</summary>
    public MergeTotals Totals { get; } = new();

    public List<Unsaved> Unsaved { get; } = [];
}

/// <summary>
/// Makes the trees of what an overlay shows, out of the trees of its lower layer and the files of its upper one. Only what is in the
/// upper layer is looked at; a tree below that nothing touches keeps its id without being read.
/// </summary>
/// <remarks>The kernel's Documentation/filesystems/overlayfs.rst tells what deletions, opaque directories, redirects and metacopies look like.</remarks>
internal sealed class UpperMerge
{
    private const int TriesOfAMovingFile = 3;

    private readonly TombRepository tomb;
    private readonly PackWriter packs;
    private readonly SavedFiles saved;
    private readonly ContentReader reader;
    private readonly Func<Checksum, Tree> load;
    private readonly Accounts accounts = new();
    private readonly Tree? lowerTop;
    private readonly ulong device;
    private readonly CancellationToken cancel;

    /// <param name="tomb">Where trees go.</param>
    /// <param name="packs">Takes blobs.</param>
    /// <param name="saved">What need not be read again.</param>
    /// <param name="lower">The lower layer's top; null where it is empty.</param>
    /// <param name="load">Reads a tree of the lower layer.</param>
    /// <param name="device">Stands for the upper layer's device in nodes of files with several names: another one for every session, since inode numbers come again.</param>
    /// <param name="cancel">Ends it.</param>
    public UpperMerge(TombRepository tomb, PackWriter packs, SavedFiles saved, Checksum? lower, Func<Checksum, Tree> load, ulong device, CancellationToken cancel)
    {
        (this.tomb, this.packs, this.saved, this.load, this.device, this.cancel) = (tomb, packs, saved, load, device, cancel);
        lowerTop = lower is { } top ? load(top) : null;
        reader = new ContentReader(tomb, packs, cancel);
    }

    /// <summary>What was done.</summary>
    public MergeCounts Counts { get; } = new();

    /// <summary>Merges all of the upper layer.</summary>
    /// <returns>The tree of the merged top.</returns>
    public Checksum Merge(Dir upper)
    {
        try
        {
            return Directory(upper, lowerTop);
        }
        finally
        {
            Counts.BytesRead = reader.BytesRead;
            reader.Free();
        }
    }

    /// <summary>The node of a directory of the upper layer, without its tree.</summary>
    public Node Describe(Dir parent, string name, in FileStat stat)
    {
        NodeType type = GoMode.Type(stat.Kind);
        bool counted = type is NodeType.File or NodeType.Symlink or NodeType.BlockDevice or NodeType.CharacterDevice;
        var modified = new Moment(stat.ModifiedSeconds, stat.ModifiedNanoseconds);

        // overlayfs marks a directory of its upper layer when it is only looked at; that is no change to save.
        Moment changed = type == NodeType.Directory ? modified : new Moment(stat.ChangedSeconds, stat.ChangedNanoseconds);
        return new Node
        {
            Name = name, Type = type, Mode = GoMode.FromStat(stat.Mode), Modified = modified, Accessed = modified,
            Changed = changed, Uid = stat.Uid, Gid = stat.Gid, User = accounts.User(stat.Uid), Group = accounts.Group(stat.Gid),
            Inode = stat.Inode, DeviceId = counted && stat.Links > 1 ? device : 0, Size = type == NodeType.File ? (ulong)stat.Size : 0, Links = counted ? stat.Links : 0,
            LinkTarget = type == NodeType.Symlink ? parent.ReadLink(name) : "", Xattrs = UpperEntry.Own(Xattrs.Read(parent, name)),
            Device = type is NodeType.BlockDevice or NodeType.CharacterDevice ? stat.RawDevice : 0,
        };
    }

    private Checksum Directory(Dir upper, Tree? lower)
    {
        cancel.ThrowIfCancellationRequested();
        var nodes = new List<Node>();
        int below = 0;
        foreach (UpperEntry entry in UpperEntry.In(upper))
        {
            Node? before = null;
            for (; lower is not null && below < lower.Nodes.Count; below++)
            {
                int order = Dir.CompareNames(lower.Nodes[below].Name, entry.Name);
                if (order > 0)
                    break;
                if (order == 0)
                    before = lower.Nodes[below];
                else
                    nodes.Add(lower.Nodes[below]);
            }

            if (Entry(upper, entry, before, lower) is { } node)
                nodes.Add(node);
        }

        for (; lower is not null && below < lower.Nodes.Count; below++)
            nodes.Add(lower.Nodes[below]);
        return packs.AddTree(new Tree(nodes));
    }

    private Node? Entry(Dir upper, UpperEntry entry, Node? before, Tree? lower)
    {
        if (entry.Kind == UpperKind.Deleted)
        {
            Counts.Deleted++;
            Counts.Totals.Remove(before);
            return null;
        }

        try
        {
            if (entry.Kind is UpperKind.Replaced or UpperKind.Merged)
                return Subdirectory(upper, entry, before, lower);
            Node node = Other(upper, entry, before, lower);
            Counts.Totals.Remove(before);
            Counts.Totals.Add(node);
            if (before is null && node.Type == NodeType.File)
                Counts.FilesNew++;
            return node;
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ENOENT)
        {
            return null; // deleted while it was looked at: the next save sees its end
        }
    }

    private Node Other(Dir upper, UpperEntry entry, Node? before, Tree? lower)
    {
        if (entry.Kind != UpperKind.AttributesOnly)
            return entry.Stat.IsRegular ? File(upper, entry) : Describe(upper, entry.Name, entry.Stat);
        Node below = (entry.Redirect is { } moved ? Redirected(moved, lower) : before) ?? throw Lost(upper, entry);
        return below.Type == NodeType.File
            ? Describe(upper, entry.Name, entry.Stat) with { Content = below.Content ?? [], Size = below.Size }
            : throw Lost(upper, entry);
    }

    private Node Subdirectory(Dir upper, UpperEntry entry, Node? before, Tree? lower)
    {
        Node node = Describe(upper, entry.Name, entry.Stat);
        Node? below = entry.Kind == UpperKind.Replaced ? null : entry.Redirect is { } moved ? Redirected(moved, lower) : before;
        using Dir inner = upper.OpenDir(entry.Name);
        Counts.Directories++;
        if (below is not { Type: NodeType.Directory } || below != before)
        {
            Counts.DirectoriesNew++;
            Counts.Totals.Remove(before);
            Counts.Totals.Add(below is { Type: NodeType.Directory } ? below : null);
        }

        return node with { Subtree = Directory(inner, below is { Type: NodeType.Directory, Subtree: { } tree } ? load(tree) : null) };
    }

    private Node File(Dir upper, UpperEntry entry)
    {
        if (saved.Content(entry.Stat) is { } known && known.All(id => tomb.Index.Contains(BlobType.Data, id)))
            return Describe(upper, entry.Name, entry.Stat) with { Content = known };
        using SafeFileHandle file = upper.OpenFile(entry.Name);
        string path = upper.Of(entry.Name);
        FileStat stat = Files.Stat(file, path);
        for (int tries = 1; ; tries++)
        {
            (IReadOnlyList<Checksum> content, long size) = reader.Read(file, path);
            FileStat after = Files.Stat(file, path);
            bool still = after == stat && size == stat.Size;
            if (!still && tries < TriesOfAMovingFile)
            {
                stat = after;
                continue;
            }

            // A file that never holds still is saved as it was read; not noted as saved, it is read again the next time.
            Counts.Files++;
            if (still && Settled(stat))
                saved.Add(stat, content);
            return Describe(upper, entry.Name, stat) with { Content = content, Size = (ulong)size };
        }
    }

    // Within one tick of the kernel's clock a second change leaves no trace in the times.
    private static bool Settled(in FileStat stat) =>
        DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - (stat.ChangedSeconds * 1000) - (stat.ChangedNanoseconds / 1_000_000) > 50;

    private static LinuxException Lost(Dir upper, UpperEntry entry) =>
        new(Errno.EIO, "overlay", $"{upper.Of(entry.Name)}: only its attributes are here, and the snapshot below has no file for it");

    private Node? Redirected(string redirect, Tree? lower)
    {
        if (!redirect.StartsWith('/'))
            return lower?.Find(redirect);
        Tree? at = lowerTop;
        Node? found = null;
        foreach (string name in redirect.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            found = at?.Find(name);
            at = found?.Subtree is { } tree ? load(tree) : null;
        }

        return found;
    }
}
