namespace Sbox.Codecs.Erofs;

/// <summary>A file of any type while its image is made: first what it is, then (set by <see cref="Layout"/>) where it lies.</summary>
internal sealed class Inode
{
    public uint Mode;
    public uint Links = 1;
    public uint Uid;
    public uint Gid;
    public long Seconds;
    public uint Nanoseconds;
    public uint Device;

    /// <summary>Bytes of a regular file or a link's target; a directory's follows from its entries.</summary>
    public ulong Size;

    /// <summary>A link's target, or what a regular file holds; a file with a size and no bytes reads as zeros (a hole).</summary>
    public ReadOnlyMemory<byte> Content;

    /// <summary>Sorted by name before the layout.</summary>
    public List<XattrEntry> Xattrs = [];

    /// <summary>A directory's names in order, "." and ".." among them.</summary>
    public Dirent[] Entries = [];

    /// <summary>Position among all inodes, breadth first.</summary>
    public uint Number;

    public bool IsCompact;

    /// <summary>Zero bytes before the inode.</summary>
    public int Padding;
    public int XattrBytes;
    public ulong Nid;

    /// <summary>Blocks in the data area.</summary>
    public uint Blocks;

    /// <summary>Bytes that follow the inode itself (tail packing).</summary>
    public int TailBytes;

    public uint Type => Mode & FileType.Mask;
    public bool IsDirectory => Type == FileType.Directory;
    public bool IsHole => Type == FileType.Regular && Size > 0 && Content.IsEmpty;
    public int HeaderBytes => IsCompact ? ErofsFormat.CompactInodeSize : ErofsFormat.ExtendedInodeSize;

    public void SetXattr(ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> value)
    {
        Xattrs.RemoveAll(x => x.Name.Span.SequenceEqual(name.Span));
        Xattrs.Add(new XattrEntry(name, value));
    }

    public ReadOnlyMemory<byte>? FindXattr(ReadOnlySpan<byte> name)
    {
        foreach (XattrEntry xattr in Xattrs)
            if (xattr.Name.Span.SequenceEqual(name))
                return xattr.Value;
        return null;
    }
}

/// <summary>A name in a directory and the inode it leads to, which several names may share.</summary>
internal struct Dirent(ReadOnlyMemory<byte> name, Inode? inode)
{
    public readonly ReadOnlyMemory<byte> Name = name;
    public Inode? Inode = inode;

    public readonly int Bytes => ErofsFormat.DirentSize + Name.Length;
}
