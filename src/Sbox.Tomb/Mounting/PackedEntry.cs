namespace Sbox.Tomb.Mounting;

/// <summary>What the kernel is told of an entry of a <see cref="PackedTree"/>: no object is made for it. Borrowed from the tree.</summary>
internal readonly ref struct PackedEntry
{
    /// <summary>Its name as the kernel has it.</summary>
    public ReadOnlySpan<byte> Name { get; init; }

    public NodeType Type { get; init; }

    /// <summary>Type and permission bits as Go has them.</summary>
    public uint Mode { get; init; }

    public uint Uid { get; init; }

    public uint Gid { get; init; }

    public ulong Size { get; init; }

    public ulong Links { get; init; }

    /// <summary>Of a file with several names, what makes them one; else 0.</summary>
    public ulong Inode { get; init; }

    /// <inheritdoc cref="Inode"/>
    public ulong DeviceId { get; init; }

    public Moment Modified { get; init; }

    public Moment Accessed { get; init; }

    public Moment Changed { get; init; }

    /// <summary>A directory's tree.</summary>
    public Codecs.Checksum? Subtree { get; init; }

    /// <summary>Bytes of a symbolic link's target.</summary>
    public int LinkLength { get; init; }

    /// <summary>Of a device: which.</summary>
    public ulong Device { get; init; }

    /// <summary>Whether other names may lead to the same file.</summary>
    public bool IsHardlinked => Type == NodeType.File && Links > 1;
}
