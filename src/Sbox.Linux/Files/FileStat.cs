namespace Sbox.Linux;

/// <summary>What kind of thing a name leads to, by the type bits of <c>st_mode</c>.</summary>
public enum FileKind
{
    /// <summary>None of the kinds below; the bits were not a file's.</summary>
    Unknown = 0,
    /// <summary>A FIFO.</summary>
    Fifo = 0x1000,
    /// <summary>A character device.</summary>
    CharacterDevice = 0x2000,
    /// <summary>A directory.</summary>
    Directory = 0x4000,
    /// <summary>A block device.</summary>
    BlockDevice = 0x6000,
    /// <summary>A regular file.</summary>
    Regular = 0x8000,
    /// <summary>A symbolic link.</summary>
    Symlink = 0xA000,
    /// <summary>A socket.</summary>
    Socket = 0xC000,
}

/// <summary>What stat(2) says of one inode.</summary>
/// <param name="Device">The device it is on, as the kernel numbers them.</param>
/// <param name="Inode">Its number there.</param>
/// <param name="Mode">Type and permission bits, as <c>st_mode</c>.</param>
/// <param name="Links">How many names it has.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Size">Bytes.</param>
/// <param name="ModifiedSeconds">Seconds since 1970.</param>
/// <param name="ModifiedNanoseconds">0 to 999,999,999.</param>
/// <param name="Blocks">512-byte blocks allocated.</param>
/// <param name="RawDevice">For device nodes, which device.</param>
public readonly record struct FileStat(
    ulong Device, ulong Inode, uint Mode, uint Links, uint Uid, uint Gid, long Size,
    long ModifiedSeconds, uint ModifiedNanoseconds, long Blocks, ulong RawDevice)
{
    /// <summary>Seconds since 1970 of the inode's last change, which nobody can set.</summary>
    public long ChangedSeconds { get; init; }

    /// <summary>0 to 999,999,999.</summary>
    public uint ChangedNanoseconds { get; init; }

    /// <summary>The kind, from <see cref="Mode"/>.</summary>
    public FileKind Kind => (FileKind)(Mode & 0xF000);

    /// <summary>The twelve permission bits.</summary>
    public uint Permissions => Mode & 0xFFF;

    /// <summary>Whether this is a directory.</summary>
    public bool IsDirectory => Kind == FileKind.Directory;

    /// <summary>Whether this is a regular file.</summary>
    public bool IsRegular => Kind == FileKind.Regular;

    /// <summary>Whether this is a symbolic link.</summary>
    public bool IsSymlink => Kind == FileKind.Symlink;
}
