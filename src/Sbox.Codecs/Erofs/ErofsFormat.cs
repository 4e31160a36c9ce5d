namespace Sbox.Codecs.Erofs;

/// <summary>Sizes and codes of EROFS on disk, as the kernel's fs/erofs/erofs_fs.h has them.</summary>
internal static class ErofsFormat
{
    public const int BlockSize = 4096;
    public const int BlockBits = 12;

    /// <summary>Inodes start on multiples of this; a node id (nid) counts them.</summary>
    public const int SlotSize = 32;

    public const int SuperblockOffset = 1024;
    public const int SuperblockSize = 128;
    public const uint SuperblockMagic = 0xE0F5E1E2;
    public const uint FeatureMtime = 0x2;
    public const uint FeatureXattrFilter = 0x4;

    public const int CompactInodeSize = 32;
    public const int ExtendedInodeSize = 64;
    public const int DirentSize = 12;

    public const int XattrHeaderSize = 12;
    public const int XattrEntrySize = 4;

    /// <summary>The header counts shared xattrs in a byte; its upper half is kept for another use.</summary>
    public const int MaxSharedXattrs = 128;

    public const int LayoutFlatPlain = 0;
    public const int LayoutFlatInline = 2;
    public const int LayoutChunkBased = 4;

    /// <summary>The block address of a chunk that holds nothing but zeros.</summary>
    public const uint HoleAddress = uint.MaxValue;

    /// <summary>Chunks are 2^0 to 2^31 blocks.</summary>
    public const int MaxChunkBlockBits = 31;

    public static long AlignUp(long position, int to) => (position + to - 1) / to * to;
}

/// <summary>Type bits of a mode (S_IFMT), which Linux and EROFS share.</summary>
internal static class FileType
{
    public const uint Mask = 0xF000;
    public const uint Fifo = 0x1000;
    public const uint CharacterDevice = 0x2000;
    public const uint Directory = 0x4000;
    public const uint BlockDevice = 0x6000;
    public const uint Regular = 0x8000;
    public const uint SymbolicLink = 0xA000;
    public const uint Socket = 0xC000;

    /// <summary>The code of the type in a directory entry.</summary>
    public static byte DirentCode(uint mode) => (mode & Mask) switch
    {
        Regular => 1,
        Directory => 2,
        CharacterDevice => 3,
        BlockDevice => 4,
        Fifo => 5,
        Socket => 6,
        SymbolicLink => 7,
        _ => 0,
    };
}
