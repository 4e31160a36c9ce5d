using System.Text;
using Sbox.Codecs.Erofs;

namespace Sbox.Codecs.Composefs;

/// <summary>Turns a tree into the inodes of an image that overlayfs shows as that tree: breadth first, names in order.</summary>
internal sealed class OverlayTree
{
    private static readonly ReadOnlyMemory<byte> Self = "."u8.ToArray();
    private static readonly ReadOnlyMemory<byte> Above = ".."u8.ToArray();

    private readonly List<File> files = [];
    private readonly List<(Inode Directory, int Entry, Node Target)> links = [];

    private OverlayTree(DirectoryNode root)
    {
        Add(root, parent: null);
        for (int i = 0; i < files.Count; i++)
            if (files[i].Source is DirectoryNode directory)
                AddEntries(files[i], directory);
        ResolveLinks();
    }

    /// <summary>The root first, breadth first, numbered, their xattrs in order: as <see cref="Layout"/> wants them.</summary>
    public List<Inode> Inodes => files.ConvertAll(static file => file.Inode);

    /// <summary>The format version that the tree needs and the caller allows.</summary>
    public uint Version { get; private set; }

    /// <summary>Whether any inode has a POSIX ACL.</summary>
    public bool HasAcl { get; private set; }

    /// <exception cref="ArgumentException">The tree cannot be an image; the message names what is wrong.</exception>
    public static OverlayTree Build(DirectoryNode root, uint minVersion, uint maxVersion)
    {
        var tree = new OverlayTree(root);
        bool needsVersion1 = tree.files.Exists(IsWhiteout);
        tree.Version = needsVersion1 ? Math.Max(minVersion, Math.Min(maxVersion, 1)) : minVersion;
        foreach (File whiteout in tree.files.Where(IsWhiteout))
            tree.Mark(whiteout);

        tree.files[0].Inode.SetXattr(OverlayXattr.Opaque, "y"u8.ToArray());
        foreach (File file in tree.files)
            tree.Settle(file.Inode);
        return tree;
    }

    private Inode Add(Node node, Inode? parent)
    {
        Inode inode = NodeInode.Of(node);
        Add(inode, node, parent);
        return inode;
    }

    private void Add(Inode inode, Node? source, Inode? parent)
    {
        inode.Number = (uint)files.Count;
        files.Add(new File(inode, source, parent ?? inode));
    }

    private void AddEntries(File file, DirectoryNode directory)
    {
        List<(ReadOnlyMemory<byte> Name, Node? Node)> entries = InOrder(directory, withStubs: file.Inode.Number == 0);
        var dirents = new Dirent[entries.Count];
        uint subdirectories = 0;
        for (int i = 0; i < dirents.Length; i++)
        {
            (ReadOnlyMemory<byte> name, Node? node) = entries[i];
            if (node is HardLink link)
                links.Add((file.Inode, i, link.Target));
            if (node is DirectoryNode)
                subdirectories++;
            dirents[i] = new Dirent(name, node switch
            {
                HardLink => null, // until all inodes are known
                not null => Add(node, file.Inode),
                null when name.Equals(Self) => file.Inode,
                null when name.Equals(Above) => file.Parent,
                null => AddStub(file.Inode),
            });
        }

        file.Inode.Entries = dirents;
        file.Inode.Links = 2 + subdirectories;
    }

    /// <summary>A directory's names in the order of their bytes, with "." and ".." and in the root the stubs; those have no node.</summary>
    private static List<(ReadOnlyMemory<byte> Name, Node? Node)> InOrder(DirectoryNode directory, bool withStubs)
    {
        var entries = new List<(ReadOnlyMemory<byte> Name, Node? Node)>(directory.Entries.Count + 2) { (Self, null), (Above, null) };
        foreach (Entry entry in directory.Entries)
        {
            TreeRules.CheckName(entry.Name.Span);
            entries.Add((entry.Name, entry.Node));
        }

        if (withStubs)
            entries.AddRange(MissingStubs(directory));
        entries.Sort(static (one, other) => one.Name.Span.SequenceCompareTo(other.Name.Span));
        for (int i = 1; i < entries.Count; i++)
            if (entries[i - 1].Name.Span.SequenceEqual(entries[i].Name.Span))
                throw new ArgumentException($"A directory has two entries named '{Encoding.UTF8.GetString(entries[i].Name.Span)}'.");
        return entries;
    }

    // An object store below the overlay would show its directories 00 to ff in the root: whiteouts hide them.
    private static IEnumerable<(ReadOnlyMemory<byte> Name, Node? Node)> MissingStubs(DirectoryNode root)
    {
        var taken = root.Entries.Where(static entry => entry.Name.Length == 2).Select(static entry => Encoding.Latin1.GetString(entry.Name.Span)).ToHashSet();
        return Enumerable.Range(0, 256).Select(static i => i.ToString("x2")).Where(name => !taken.Contains(name))
            .Select(static name => ((ReadOnlyMemory<byte>)Encoding.Latin1.GetBytes(name), (Node?)null));
    }

    private Inode AddStub(Inode root)
    {
        var stub = new Inode
        {
            Mode = FileType.CharacterDevice | 0b110_100_100,
            Uid = root.Uid,
            Gid = root.Gid,
            Seconds = root.Seconds,
            Nanoseconds = root.Nanoseconds,
        };
        if (root.FindXattr(OverlayXattr.SelinuxLabel) is { } label)
            stub.SetXattr(OverlayXattr.SelinuxLabel, label);
        Add(stub, source: null, root);
        return stub;
    }

    private void ResolveLinks()
    {
        if (links.Count == 0)
            return;
        var inodeOf = new Dictionary<Node, Inode>(files.Count, ReferenceEqualityComparer.Instance);
        foreach (File file in files)
            if (file.Source is { } source)
                inodeOf.TryAdd(source, file.Inode);

        foreach ((Inode directory, int entry, Node named) in links)
        {
            Node target = named;
            while (target is HardLink further)
                target = further.Target;
            string name = Encoding.UTF8.GetString(directory.Entries[entry].Name.Span);
            if (target is DirectoryNode)
                throw new ArgumentException($"The hard link '{name}' leads to a directory.");
            if (!inodeOf.TryGetValue(target, out Inode? inode))
                throw new ArgumentException($"The hard link '{name}' leads to a node outside the tree.");
            directory.Entries[entry].Inode = inode;
            if (target.Links is null)
                inode.Links++;
        }
    }

    private static bool IsWhiteout(File file) => file.Source is DeviceNode { IsBlock: false, Number: 0 };

    /// <summary>Makes a whiteout of the tree show as one: a bare one would hide itself.</summary>
    private void Mark(File whiteout)
    {
        Inode inode = whiteout.Inode;
        inode.Mode = FileType.Regular | (inode.Mode & ~FileType.Mask);
        foreach (byte[] name in OverlayXattr.Whiteout)
            inode.SetXattr(name, default);
        foreach (byte[] name in OverlayXattr.HasWhiteouts)
            whiteout.Parent.SetXattr(name, default);
        if (Version >= 1)
            foreach (byte[] name in OverlayXattr.OpaqueForWhiteouts)
                whiteout.Parent.SetXattr(name, "x"u8.ToArray());
    }

    private void Settle(Inode inode)
    {
        inode.Xattrs.Sort(static (one, other) => one.Name.Span.SequenceCompareTo(other.Name.Span));
        for (int i = 0; i < inode.Xattrs.Count; i++)
        {
            ReadOnlySpan<byte> name = inode.Xattrs[i].Name.Span;
            if (i > 0 && name.SequenceEqual(inode.Xattrs[i - 1].Name.Span))
                throw new ArgumentException($"A node has two extended attributes named '{Encoding.UTF8.GetString(name)}'.");
            HasAcl |= name.SequenceEqual("system.posix_acl_access"u8) || name.SequenceEqual("system.posix_acl_default"u8);
        }
    }

    /// <param name="Inode">What the image gets.</param>
    /// <param name="Source">Where it came from; null for a stub.</param>
    /// <param name="Parent">Its directory; the root is its own.</param>
    private readonly record struct File(Inode Inode, Node? Source, Inode Parent);
}
