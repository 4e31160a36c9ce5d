namespace Sbox.Codecs.Composefs;

/// <summary>A file of any type in the tree of a composefs image. Its name is its directory's business.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
/// <remarks>
/// Nodes are immutable. A node that stands under two names gives two inodes; one inode with two names is said with <see cref="HardLink"/>,
/// because ostree makes images with an inode for each name.
/// </remarks>
public abstract record Node(Attributes Attributes)
{
    /// <summary>
    /// The link count to store, or null for the number of the node's names. Dumps carry a count of their own. Directories ignore it: they
    /// have two and one for each subdirectory.
    /// </summary>
    public uint? Links { get; init; }
}

/// <summary>What every inode has beside its type and content.</summary>
/// <param name="Permissions">The lower twelve bits of the mode, such as octal 4755.</param>
/// <param name="Uid">The owner.</param>
/// <param name="Gid">The group.</param>
/// <param name="Seconds">Modification time since 1970; ostree has 0 everywhere.</param>
/// <param name="Nanoseconds">The part of a second.</param>
/// <param name="Xattrs">In any order, each name once; 32 KiB together at most.</param>
public sealed record Attributes(uint Permissions, uint Uid, uint Gid, long Seconds, uint Nanoseconds, IReadOnlyList<Xattr> Xattrs);

/// <summary>An extended attribute.</summary>
/// <param name="Name">1 to 255 bytes with the namespace, such as <c>security.capability</c>.</param>
/// <param name="Value">Any bytes.</param>
public readonly record struct Xattr(ReadOnlyMemory<byte> Name, ReadOnlyMemory<byte> Value);

/// <summary>A name in a directory.</summary>
/// <param name="Name">1 to 255 bytes, without slash and zero, neither "." nor "..".</param>
/// <param name="Node">What it names.</param>
public readonly record struct Entry(ReadOnlyMemory<byte> Name, Node Node);

/// <summary>A directory.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
/// <param name="Entries">Its names, in any order, each once.</param>
public sealed record DirectoryNode(Attributes Attributes, IReadOnlyList<Entry> Entries) : Node(Attributes);

/// <summary>A regular file whose content lies in a file of the object store, or nowhere when it is empty.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
/// <param name="Size">Bytes.</param>
/// <param name="BackingPath">The content's path below the store, such as <c>44/6a0e….file</c>; empty for none.</param>
/// <param name="Digest">The fs-verity digest that the content must have, or null when it is not checked.</param>
public sealed record BackedFile(Attributes Attributes, ulong Size, ReadOnlyMemory<byte> BackingPath, Checksum? Digest) : Node(Attributes);

/// <summary>A regular file that lies in the image itself.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
/// <param name="Content">At most 5000 bytes, libcomposefs's limit.</param>
public sealed record InlineFile(Attributes Attributes, ReadOnlyMemory<byte> Content) : Node(Attributes);

/// <summary>A symbolic link.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
/// <param name="Target">1 to 4095 bytes.</param>
public sealed record SymbolicLink(Attributes Attributes, ReadOnlyMemory<byte> Target) : Node(Attributes);

/// <summary>A device. The character device 0 is an overlay's whiteout and is stored so that the mounted tree shows one.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
/// <param name="IsBlock">A block device, else a character device.</param>
/// <param name="Number">Major and minor in the kernel's 32-bit encoding.</param>
public sealed record DeviceNode(Attributes Attributes, bool IsBlock, uint Number) : Node(Attributes);

/// <summary>A named pipe.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
public sealed record NamedPipe(Attributes Attributes) : Node(Attributes);

/// <summary>A socket.</summary>
/// <param name="Attributes">Permissions, owner, time and extended attributes.</param>
public sealed record SocketNode(Attributes Attributes) : Node(Attributes);

/// <summary>Another name for a node that stands elsewhere in the tree.</summary>
/// <param name="Target">The very instance that stands elsewhere; not a directory. Its attributes count, not the link's.</param>
public sealed record HardLink(Node Target) : Node(Target.Attributes);
