using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>What the kernel asks for; linux/fuse.h has the numbers.</summary>
internal enum FuseOperation : uint
{
    Lookup = 1,
    Forget = 2,
    GetAttributes = 3,
    SetAttributes = 4,
    ReadLink = 5,
    Symlink = 6,
    MakeNode = 8,
    MakeDirectory = 9,
    Unlink = 10,
    RemoveDirectory = 11,
    Rename = 12,
    Link = 13,
    Open = 14,
    Read = 15,
    Write = 16,
    StatFs = 17,
    SetXattr = 21,
    GetXattr = 22,
    ListXattr = 23,
    RemoveXattr = 24,
    Init = 26,
    OpenDirectory = 27,
    ReadDirectory = 28,
    Create = 35,
    Interrupt = 36,
    Destroy = 38,
    BatchForget = 42,
    FileAllocate = 43,
    ReadDirectoryPlus = 44,
    RenameTwo = 45,
    CopyFileRange = 47,
    TemporaryFile = 51,
}

/// <summary>The structures of protocol 7.31 and later that a read-only tree needs: same sizes and offsets as linux/fuse.h has.</summary>
internal static class FuseProtocol
{
    public const uint Major = 7;
    public const uint Minor = 31;

    // Flags of INIT.
    public const uint AsyncRead = 1 << 0;
    public const uint ExportSupport = 1 << 4; // "." and ".." may be looked up: overlayfs's index and xino ask for it
    public const uint DoReadDirectoryPlus = 1 << 13;
    public const uint AsyncDirectIo = 1 << 15;
    public const uint NoOpenSupport = 1 << 17; // OPEN answered with ENOSYS is never asked again, and caches are kept
    public const uint ParallelDirectories = 1 << 18;
    public const uint PosixAcl = 1 << 20;
    public const uint MaxPages = 1 << 22;
    public const uint CacheSymlinks = 1 << 23;
    public const uint NoOpenDirectorySupport = 1 << 24;

    /// <summary>"For ever" as the time that the kernel may keep what it was told, in seconds.</summary>
    public const ulong Always = 1 << 30;

    public const int OutHeaderSize = 16;

    [StructLayout(LayoutKind.Sequential)]
    public struct InHeader
    {
        public uint Length;
        public FuseOperation Operation;
        public ulong Unique, Node;
        public uint Uid, Gid, Process;
        public ushort ExtensionLength, Padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct OutHeader
    {
        public uint Length;
        public int Error;
        public ulong Unique;
    }

    /// <summary>What is told without having been asked, in place of an error; the request's number is 0 then.</summary>
    public const int NotifyStore = 4;

    [StructLayout(LayoutKind.Sequential)]
    public struct StoreOut
    {
        public ulong Node;
        public ulong Offset;
        public uint Size;
        public uint Padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct InitIn
    {
        public uint Major, Minor, MaxReadAhead, Flags;
    }

    [StructLayout(LayoutKind.Sequential, Size = 64)]
    public struct InitOut
    {
        public uint Major, Minor, MaxReadAhead, Flags;
        public ushort MaxBackground, CongestionThreshold;
        public uint MaxWrite, TimeGranularity;
        public ushort MaxPages, MapAlignment;
        public uint MoreFlags;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Attr
    {
        public ulong Inode, Size, Blocks;
        public long Accessed, Modified, Changed;
        public uint AccessedNanoseconds, ModifiedNanoseconds, ChangedNanoseconds;
        public uint Mode, Links, Uid, Gid, RawDevice, BlockSize, Flags;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct EntryOut
    {
        public ulong Node, Generation, EntryValid, AttributesValid;
        public uint EntryValidNanoseconds, AttributesValidNanoseconds;
        public Attr Attr;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct AttrOut
    {
        public ulong Valid;
        public uint ValidNanoseconds, Dummy;
        public Attr Attr;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct ReadIn
    {
        public ulong Handle, Offset;
        public uint Size, ReadFlags;
        public ulong LockOwner;
        public uint Flags, Padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct XattrIn
    {
        public uint Size, Padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct ForgetOne
    {
        public ulong Node, Times;
    }

    [StructLayout(LayoutKind.Sequential, Size = 80)]
    public struct StatFsOut
    {
        public ulong Blocks, BlocksFree, BlocksAvailable, Files, FilesFree;
        public uint BlockSize, NameLength, FragmentSize, Padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct DirectoryEntry
    {
        public ulong Inode, Offset;
        public uint NameLength, Type;
    }

    public static Attr AttrOf(in FuseAttributes of) => new()
    {
        Inode = of.Node,
        Size = (ulong)of.Size,
        Blocks = (ulong)(of.Size + 511) / 512,
        Accessed = of.Accessed.Seconds,
        AccessedNanoseconds = of.Accessed.Nanoseconds,
        Modified = of.Modified.Seconds,
        ModifiedNanoseconds = of.Modified.Nanoseconds,
        Changed = of.Changed.Seconds,
        ChangedNanoseconds = of.Changed.Nanoseconds,
        Mode = of.Mode,
        Links = of.Links,
        Uid = of.Uid,
        Gid = of.Gid,
        RawDevice = (uint)of.RawDevice,
    };

    public static EntryOut EntryOf(in FuseAttributes of) =>
        new() { Node = of.Node, EntryValid = Always, AttributesValid = Always, Attr = AttrOf(of) };
}
