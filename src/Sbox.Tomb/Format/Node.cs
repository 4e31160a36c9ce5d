using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>What an entry of a tree is.</summary>
public enum NodeType
{
    /// <summary>restic could not tell, or a newer restic knows more kinds.</summary>
    Irregular,
    /// <summary>A regular file.</summary>
    File,
    /// <summary>A directory.</summary>
    Directory,
    /// <summary>A symbolic link.</summary>
    Symlink,
    /// <summary>A block device.</summary>
    BlockDevice,
    /// <summary>A character device.</summary>
    CharacterDevice,
    /// <summary>A FIFO.</summary>
    Fifo,
    /// <summary>A socket.</summary>
    Socket,
}

/// <summary>One entry of a tree: all that restic keeps of a file but its bytes.</summary>
/// <remarks>docs/formats/restic-repository.md has the JSON. Unset numbers are 0, unset strings empty, as in restic.</remarks>
public sealed record Node
{
    /// <summary>Its name, by <see cref="FileName"/>; never a path.</summary>
    public required string Name { get; init; }

    /// <summary>What it is.</summary>
    public required NodeType Type { get; init; }

    /// <summary>Type and permission bits as Go has them, not as st_mode; <see cref="GoMode"/> translates.</summary>
    public uint Mode { get; init; }

    /// <summary>Last change of the content.</summary>
    public Moment Modified { get; init; }

    /// <summary>Last reading; restic writes <see cref="Modified"/> here unless told otherwise, and so do we.</summary>
    public Moment Accessed { get; init; }

    /// <summary>Last change of the inode.</summary>
    public Moment Changed { get; init; }

    /// <summary>Owner.</summary>
    public uint Uid { get; init; }

    /// <summary>Group.</summary>
    public uint Gid { get; init; }

    /// <summary>The owner's name on the machine that wrote it.</summary>
    public string User { get; init; } = "";

    /// <summary>The group's name there.</summary>
    public string Group { get; init; } = "";

    /// <summary>Inode number there.</summary>
    public ulong Inode { get; init; }

    /// <summary>Device that the inode was on: equal inode and device with two links or more are one file.</summary>
    public ulong DeviceId { get; init; }

    /// <summary>Bytes.</summary>
    public ulong Size { get; init; }

    /// <summary>Names that it has.</summary>
    public ulong Links { get; init; }

    /// <summary>Where a symbolic link points, by <see cref="FileName"/>.</summary>
    public string LinkTarget { get; init; } = "";

    /// <summary>Extended attributes, in the order of the file.</summary>
    public IReadOnlyList<Xattr> Xattrs { get; init; } = [];

    /// <summary>JSON of attributes of other systems (Windows), kept as it is; null for none.</summary>
    public byte[]? GenericAttributes { get; init; }

    /// <summary>Of a device: which.</summary>
    public ulong Device { get; init; }

    /// <summary>A file's data blobs in order; null for what is no file.</summary>
    public IReadOnlyList<Checksum>? Content { get; init; }

    /// <summary>A directory's tree.</summary>
    public Checksum? Subtree { get; init; }

    /// <summary>What restic could not read of it; empty for nothing.</summary>
    public string Error { get; init; } = "";

    /// <summary>Whether other names may lead to the same file.</summary>
    public bool IsHardlinked => Type == NodeType.File && Links > 1;

    /// <summary>The permission bits, all twelve.</summary>
    public uint Permissions => GoMode.Permissions(Mode);
}

/// <summary>Go's fs.FileMode and the kernel's st_mode.</summary>
public static class GoMode
{
    private const uint Directory = 1u << 31, Symlink = 1u << 27, Device = 1u << 26, Pipe = 1u << 25, Socket = 1u << 24;
    private const uint SetUid = 1u << 23, SetGid = 1u << 22, Character = 1u << 21, Sticky = 1u << 20;

    /// <summary>Go's bits for st_mode.</summary>
    public static uint FromStat(uint mode)
    {
        uint bits = mode & 0x1FF;
        bits |= (mode & 0x800) != 0 ? SetUid : 0;
        bits |= (mode & 0x400) != 0 ? SetGid : 0;
        bits |= (mode & 0x200) != 0 ? Sticky : 0;
        return bits | (FileKind)(mode & 0xF000) switch
        {
            FileKind.Directory => Directory,
            FileKind.Symlink => Symlink,
            FileKind.BlockDevice => Device,
            FileKind.CharacterDevice => Device | Character,
            FileKind.Fifo => Pipe,
            FileKind.Socket => Socket,
            _ => 0u,
        };
    }

    /// <summary>The twelve permission bits of st_mode.</summary>
    public static uint Permissions(uint mode) =>
        (mode & 0x1FF) | ((mode & SetUid) != 0 ? 0x800u : 0) | ((mode & SetGid) != 0 ? 0x400u : 0) | ((mode & Sticky) != 0 ? 0x200u : 0);

    /// <summary>The kernel's kind for a node's.</summary>
    public static FileKind Kind(NodeType type) => type switch
    {
        NodeType.File => FileKind.Regular,
        NodeType.Directory => FileKind.Directory,
        NodeType.Symlink => FileKind.Symlink,
        NodeType.BlockDevice => FileKind.BlockDevice,
        NodeType.CharacterDevice => FileKind.CharacterDevice,
        NodeType.Fifo => FileKind.Fifo,
        NodeType.Socket => FileKind.Socket,
        _ => FileKind.Unknown,
    };

    /// <summary>The node's kind for the kernel's.</summary>
    public static NodeType Type(FileKind kind) => kind switch
    {
        FileKind.Regular => NodeType.File,
        FileKind.Directory => NodeType.Directory,
        FileKind.Symlink => NodeType.Symlink,
        FileKind.BlockDevice => NodeType.BlockDevice,
        FileKind.CharacterDevice => NodeType.CharacterDevice,
        FileKind.Fifo => NodeType.Fifo,
        FileKind.Socket => NodeType.Socket,
        _ => NodeType.Irregular,
    };
}
