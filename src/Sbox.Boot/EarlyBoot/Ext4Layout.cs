using System.Buffers.Binary;
using System.Numerics;
using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>Blocks one after the other.</summary>
/// <param name="First">The first one's number.</param>
/// <param name="Count">How many.</param>
internal readonly record struct BlockRange(long First, long Count)
{
    /// <summary>The block behind the last one.</summary>
    public long End => First + Count;
}

/// <summary>Where an ext4 keeps the account of its blocks: as much of its superblock and descriptors as tells which blocks are in use.</summary>
/// <param name="BlockSize">Bytes in a block.</param>
/// <param name="Blocks">How many it has, those before the first group's included.</param>
/// <param name="FirstBlock">The block that the first group begins with: 1 where blocks have 1024 bytes, else 0.</param>
/// <param name="BlocksPerGroup">Blocks in each group but the last.</param>
/// <param name="InodesPerGroup">Inodes in each group.</param>
/// <param name="InodeSize">Bytes in an inode.</param>
/// <param name="DescriptorSize">Bytes in a group's descriptor.</param>
/// <remarks>The kernel's Documentation/filesystems/ext4: super.rst, group_descr.rst, bitmaps.rst. Judges: mke2fs, e2fsck, the host's kernel.</remarks>
internal sealed record Ext4Layout(int BlockSize, long Blocks, long FirstBlock, int BlocksPerGroup, int InodesPerGroup, int InodeSize, int DescriptorSize)
{
    /// <summary>Where the superblock is.</summary>
    public const int SuperblockAt = 1024;

    /// <summary>How long it is.</summary>
    public const int SuperblockLength = 1024;

    private const string Format = "ext4";
    private const uint HasJournal = 0x4, SparseTwo = 0x200; // compatible
    private const uint SparseOne = 0x1, DescriptorSums = 0x10, BigAlloc = 0x200, MetadataSums = 0x400; // for those who write
    private const uint NeedsRecovery = 0x4, IsJournal = 0x8, MetaGroups = 0x10, Has64Bit = 0x80; // for all
    // File types, the above, extents, multiple mount protection, flexible groups, attributes in inodes, the seed of sums, large directories, data in inodes, encryption, folded names.
    private const uint Understood = 0x2 | NeedsRecovery | IsJournal | MetaGroups | 0x40 | Has64Bit | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000;
    private const ushort InodesUninitialized = 1, BlocksUninitialized = 2;

    private bool HasMetaGroups { get; init; }

    private bool CountsUnusedInodes { get; init; }

    private long FirstMetaGroup { get; init; }

    private int ReservedDescriptorBlocks { get; init; }

    // Groups with a copy of the superblock: all, those of the old rule, or two that are named.
    private bool IsSparse { get; init; }

    private (uint One, uint Other)? NamedCopies { get; init; }

    /// <summary>How many groups there are.</summary>
    public int Groups => (int)((Blocks - FirstBlock + BlocksPerGroup - 1) / BlocksPerGroup);

    /// <summary>How many descriptors a block holds.</summary>
    public int DescriptorsInBlock => BlockSize / DescriptorSize;

    /// <summary>How many blocks all descriptors take.</summary>
    public int DescriptorBlocks => (Groups + DescriptorsInBlock - 1) / DescriptorsInBlock;

    /// <summary>Bytes of all of it.</summary>
    public long Bytes => Blocks * BlockSize;

    /// <summary>Reads the superblock of a file system that is not mounted.</summary>
    /// <param name="superblock">Its <see cref="SuperblockLength"/> bytes.</param>
    /// <exception cref="MalformedException">It is none, or of a kind whose blocks are accounted for in another way, or not whole without its journal.</exception>
    public static Ext4Layout Parse(ReadOnlySpan<byte> superblock)
    {
        if (superblock.Length < SuperblockLength || Short(superblock, 0x38) != 0xEF53)
            throw new MalformedException(Format, "superblock", "its magic number", "something else");
        uint compatible = Word(superblock, 0x5C), incompatible = Word(superblock, 0x60), readOnly = Word(superblock, 0x64);
        if ((incompatible & ~Understood) != 0 || (incompatible & IsJournal) != 0 || (readOnly & BigAlloc) != 0)
            throw new MalformedException(Format, "features", "those that are known here, and no clusters (bigalloc)", $"{incompatible:x}, {readOnly:x}");
        if ((incompatible & NeedsRecovery) != 0)
            throw new MalformedException(Format, "journal", "an empty one", "changes that are not in their places yet");
        if ((compatible & HasJournal) != 0 && Word(superblock, 0xE0) == 0)
            throw new MalformedException(Format, "journal", "one on the same device", "one on another");

        bool has64 = (incompatible & Has64Bit) != 0;
        uint log = Word(superblock, 0x18);
        int descriptor = has64 ? Short(superblock, 0xFE) : 32, inodeSize = Word(superblock, 0x4C) == 0 ? 128 : Short(superblock, 0x58);
        ulong blocks = Word(superblock, 0x4) | (has64 ? (ulong)Word(superblock, 0x150) << 32 : 0);
        uint first = Word(superblock, 0x14), perGroup = Word(superblock, 0x20), inodes = Word(superblock, 0x28);
        int blockSize = log <= 6 ? 1024 << (int)log : 0;
        // What follows divides and multiplies by these.
        if (blockSize == 0 || blocks <= first || blocks > 1UL << 33 || first > 1 || perGroup == 0 || perGroup % 8 != 0 || perGroup > blockSize * 8 || inodes == 0 || inodes > blockSize * 8
            || descriptor < 32 || !BitOperations.IsPow2(descriptor) || descriptor > blockSize || inodeSize < 128 || !BitOperations.IsPow2(inodeSize) || inodeSize > blockSize)
            throw new MalformedException(Format, "sizes", "sizes of a file system", $"blocks {blocks} of {blockSize}, {perGroup} and {inodes} inodes of {inodeSize} in a group, descriptors of {descriptor}");
        return new Ext4Layout(blockSize, (long)blocks, first, (int)perGroup, (int)inodes, inodeSize, descriptor)
        {
            HasMetaGroups = (incompatible & MetaGroups) != 0,
            FirstMetaGroup = Word(superblock, 0x104),
            CountsUnusedInodes = (readOnly & (DescriptorSums | MetadataSums)) != 0,
            ReservedDescriptorBlocks = Short(superblock, 0xCE),
            IsSparse = (readOnly & SparseOne) != 0,
            NamedCopies = (compatible & SparseTwo) != 0 ? (Word(superblock, 0x24C), Word(superblock, 0x250)) : null,
        };
    }

    /// <summary>The blocks of a group.</summary>
    public BlockRange Group(int number)
    {
        long first = FirstBlock + ((long)number * BlocksPerGroup);
        return new BlockRange(first, Math.Min(BlocksPerGroup, Blocks - first));
    }

    /// <summary>Where a block of descriptors is.</summary>
    /// <param name="number">Which one: each holds <see cref="DescriptorsInBlock"/>.</param>
    public long DescriptorBlock(int number)
    {
        if (!HasMetaGroups || number < FirstMetaGroup)
            return SuperblockBlock + 1 + number;
        int group = number * DescriptorsInBlock;
        return Group(group).First + (HasCopy(group) ? 1 : 0);
    }

    /// <summary>What a group has besides files whose bitmap was never written: a copy of the superblock and of the descriptors, where it has them.</summary>
    public BlockRange Overhead(int group)
    {
        int copy = HasCopy(group) ? 1 : 0, meta = group / DescriptorsInBlock, inMeta = group % DescriptorsInBlock;
        int descriptors = !HasMetaGroups || meta < FirstMetaGroup
            ? copy * ((HasMetaGroups ? (int)Math.Min(FirstMetaGroup, DescriptorBlocks) : DescriptorBlocks) + ReservedDescriptorBlocks)
            : inMeta is 0 or 1 || inMeta == DescriptorsInBlock - 1 ? 1 : 0;
        BlockRange all = Group(group);
        return all with { Count = Math.Min(all.Count, copy + descriptors) };
    }

    /// <summary>Reads a group's descriptor.</summary>
    /// <param name="number">Which group.</param>
    /// <param name="descriptor">Its <see cref="DescriptorSize"/> bytes.</param>
    /// <exception cref="MalformedException">It names blocks that there are not.</exception>
    public Ext4Group Describe(int number, ReadOnlySpan<byte> descriptor)
    {
        int flags = Short(descriptor, 0x12), unused = Short(descriptor, 0x1C);
        long blockBitmap = Word(descriptor, 0), inodeBitmap = Word(descriptor, 4), table = Word(descriptor, 8);
        if (DescriptorSize >= 64)
        {
            blockBitmap |= (long)Word(descriptor, 0x20) << 32;
            inodeBitmap |= (long)Word(descriptor, 0x24) << 32;
            table |= (long)Word(descriptor, 0x28) << 32;
            unused |= Short(descriptor, 0x32) << 16;
        }

        int perBlock = BlockSize / InodeSize, length = (InodesPerGroup + perBlock - 1) / perBlock;
        foreach (long each in (long[])[blockBitmap, inodeBitmap, table, table + length - 1])
        {
            if (each < FirstBlock || each >= Blocks)
                throw new MalformedException(Format, $"descriptor of group {number}", $"blocks below {Blocks}", $"{each}");
        }

        int used = !CountsUnusedInodes ? InodesPerGroup : (flags & InodesUninitialized) != 0 ? 0 : InodesPerGroup - Math.Min(unused, InodesPerGroup);
        int usedBlocks = (used + perBlock - 1) / perBlock;
        return new Ext4Group(
            CountsUnusedInodes && (flags & BlocksUninitialized) != 0 ? null : blockBitmap, inodeBitmap, new BlockRange(table, usedBlocks), new BlockRange(table + usedBlocks, length - usedBlocks));
    }

    private long SuperblockBlock => SuperblockAt / BlockSize;

    private bool HasCopy(int group) => group == 0 || (NamedCopies is { } named ? group == named.One || group == named.Other
        : !IsSparse || group == 1 || IsPowerOf(3, group) || IsPowerOf(5, group) || IsPowerOf(7, group));

    private static bool IsPowerOf(long factor, int number)
    {
        long power = factor;
        while (power < number)
            power *= factor;
        return power == number;
    }

    private static ushort Short(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint Word(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
}

/// <summary>What the descriptor of a group of blocks says.</summary>
/// <param name="BlockBitmap">The block of its bitmap of blocks; null where that was never written.</param>
/// <param name="InodeBitmap">The block of its bitmap of inodes.</param>
/// <param name="Inodes">The blocks of its inodes.</param>
/// <param name="UnusedInodes">The blocks behind them that were never used, and may hold anything.</param>
internal sealed record Ext4Group(long? BlockBitmap, long InodeBitmap, BlockRange Inodes, BlockRange UnusedInodes);
