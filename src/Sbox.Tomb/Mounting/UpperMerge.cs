using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>What a merge counted.</summary>
internal sealed class MergeCounts
{
    public long Files, FilesNew, Directories, DirectoriesNew, BytesRead;

    /// <summary>Inodes of files that were read, those that are gone again too; <see cref="Files"/> counts the names of those that are there.</summary>
    public HashSet<ulong> Read { get; } = [];

    /// <summary>Those of them that an earlier save had read too: they are not new, although the lower layer does not have them.</summary>
    public HashSet<ulong> Again { get; } = [];

    /// <summary>How much more there is than in the lower layer.</summary>
    public MergeTotals Totals { get; private set; } = new();

    /// <summary>All is looked at once more; what was read was read.</summary>
    public void Restart() => (Files, FilesNew, Directories, DirectoriesNew, Totals) = (0, 0, 0, 0, new MergeTotals());
}

/// <summary>
/// Makes the trees of what an overlay shows, out of the trees of its lower layer and the files of its upper one. Only what is in the
/// upper layer is looked at; a tree below that nothing touches keeps its id without being read.
/// </summary>
/// <remarks>The kernel's Documentation/filesystems/overlayfs.rst tells what deletions, opaque directories, redirects and metacopies look like.</remarks>
internal sealed class UpperMerge
{
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
        (this.packs, this.saved, this.load, this.device, this.cancel) = (packs, saved, load, device, cancel);
        lowerTop = lower is { } top ? load(top) : null;
        reader = new ContentReader(tomb, packs, cancel);
    }

    /// <summary>What was done.</summary>
    public MergeCounts Counts { get; } = new();

    /// <summary>Merges all of the upper layer. Done again, only what changed since is read.</summary>
    /// <returns>The tree of the merged top.</returns>
    public Checksum Merge(IUpperDirectory upper)
    {
        Counts.Restart();
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

    /// <summary>A file's blobs where it has not changed since it was read and they are in the tomb, or on their way to it; null otherwise.</summary>
    public IReadOnlyList<Checksum>? Known(in FileStat stat) => saved.Content(stat) is { } content && content.All(packs.Has) ? content : null;

    /// <summary>The node of a name, without its tree or its content.</summary>
    public Node Describe(UpperEntry entry)
    {
        FileStat stat = entry.Stat;
        NodeType type = GoMode.Type(stat.Kind);
        bool counted = type is NodeType.File or NodeType.Symlink or NodeType.BlockDevice or NodeType.CharacterDevice;
        var modified = new Moment(stat.ModifiedSeconds, stat.ModifiedNanoseconds);

        // overlayfs marks a directory of its upper layer when it is only looked at; that is no change to save.
        Moment changed = type == NodeType.Directory ? modified : new Moment(stat.ChangedSeconds, stat.ChangedNanoseconds);
        return new Node
        {
            Name = entry.Name, Type = type, Mode = GoMode.FromStat(stat.Mode), Modified = modified, Accessed = modified,
            Changed = changed, Uid = stat.Uid, Gid = stat.Gid, User = accounts.User(stat.Uid), Group = accounts.Group(stat.Gid),
            Inode = stat.Inode, DeviceId = counted && stat.Links > 1 ? device : 0, Size = type == NodeType.File ? (ulong)stat.Size : 0, Links = counted ? stat.Links : 0,
            LinkTarget = entry.LinkTarget, Xattrs = entry.Attributes,
            Device = type is NodeType.BlockDevice or NodeType.CharacterDevice ? stat.RawDevice : 0,
        };
    }

    private Checksum Directory(IUpperDirectory upper, Tree? lower)
    {
        cancel.ThrowIfCancellationRequested();
        var nodes = new List<Node>();
        int below = 0;
        foreach (UpperEntry entry in upper.Entries())
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

    private Node? Entry(IUpperDirectory upper, UpperEntry entry, Node? before, Tree? lower)
    {
        if (entry.Kind == UpperKind.Deleted)
        {
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
            if (node.Type == NodeType.File && Counts.Read.Contains(node.Inode))
            {
                Counts.Files++;
                Counts.FilesNew += before is null && !Counts.Again.Contains(node.Inode) ? 1 : 0;
            }

            return node;
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ENOENT)
        {
            return null; // deleted while it was looked at: the next save sees its end
        }
    }

    private Node Other(IUpperDirectory upper, UpperEntry entry, Node? before, Tree? lower)
    {
        if (entry.Kind != UpperKind.AttributesOnly)
            return entry.Stat.IsRegular ? File(upper, entry) : Describe(entry);
        Node below = (entry.Redirect is { } moved ? Redirected(moved, lower) : before) ?? throw Lost(upper, entry);
        return below.Type == NodeType.File
            ? Describe(entry) with { Content = below.Content ?? [], Size = below.Size }
            : throw Lost(upper, entry);
    }

    private Node Subdirectory(IUpperDirectory upper, UpperEntry entry, Node? before, Tree? lower)
    {
        Node node = Describe(entry);
        Node? below = entry.Kind == UpperKind.Replaced ? null : entry.Redirect is { } moved ? Redirected(moved, lower) : before;
        using IUpperDirectory inner = upper.Enter(entry);
        Counts.Directories++;
        if (below is not { Type: NodeType.Directory } || below != before)
        {
            Counts.DirectoriesNew++;
            Counts.Totals.Remove(before);
            Counts.Totals.Add(below is { Type: NodeType.Directory } ? below : null);
        }

        return node with { Subtree = Directory(inner, below is { Type: NodeType.Directory, Subtree: { } tree } ? load(tree) : null) };
    }

    private Node File(IUpperDirectory upper, UpperEntry entry)
    {
        if (Known(entry.Stat) is { } known)
            return Describe(entry) with { Content = known };
        UpperContent read = upper.Read(entry, reader);
        if (Counts.Read.Add(entry.Stat.Inode) && saved.Knew(entry.Stat))
            Counts.Again.Add(entry.Stat.Inode);
        if (read.Still)
            saved.Add(read.Entry.Stat, read.Content);
        return Describe(read.Entry) with { Content = read.Content, Size = (ulong)read.Size };
    }

    private static LinuxException Lost(IUpperDirectory upper, UpperEntry entry) =>
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
