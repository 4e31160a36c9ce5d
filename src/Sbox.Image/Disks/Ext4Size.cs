using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>How large an ext4 file system must be to have room for a number of blocks and inodes, all of its own structures counted.</summary>
/// <param name="Blocks">Blocks of 4096 bytes, a whole number of MiB.</param>
/// <param name="Inodes">What <c>mkfs.ext4 -N</c> is told.</param>
/// <param name="OverheadBlocks">Of them, what ext4 needs for itself.</param>
public readonly record struct Ext4Size(long Blocks, long Inodes, long OverheadBlocks)
{
    /// <summary>MiB of the journal.</summary>
    public const int JournalMebibytes = RootFileSystem.JournalMebibytes;

    /// <summary>Percent kept for root.</summary>
    public const int ReservedPercent = RootFileSystem.ReservedPercent;

    private const long BlocksInGroup = 8L * RootMeasure.BlockSize; // as many as one bitmap block has bits
    private const long InodesInBlock = RootMeasure.BlockSize / 256;
    private const long DescriptorsInBlock = RootMeasure.BlockSize / 64;
    private const long BlocksInMebibyte = (1 << 20) / RootMeasure.BlockSize;

    /// <summary>The smallest that fits.</summary>
    public static Ext4Size For(long blocks, long inodes)
    {
        // The structures grow with the whole, so the answer is where adding them changes nothing any more.
        // mkfs refuses a journal that takes half of what is free.
        long total = Math.Max(blocks, 4 * JournalMebibytes * BlocksInMebibyte);
        while (true)
        {
            long overhead = Overhead(total, inodes);
            long needed = RootMeasure.Ceiling((blocks + overhead) * 100, (100 - ReservedPercent) * BlocksInMebibyte) * BlocksInMebibyte;

            // mkfs drops a last group that is too small to hold its own tables, so one is never left.
            long rest = needed % BlocksInGroup;
            if (rest > 0 && rest < BlocksInGroup / 8)
                needed += (BlocksInGroup / 8) - rest;
            if (needed <= total)
                return new Ext4Size(total, inodes, Overhead(total, inodes));
            total = needed;
        }
    }

    // Each group: two bitmaps and its part of the inode table. Some groups: copies of the superblock and the descriptors, and room for
    // descriptors of a file system 1024 times as large. Once: the journal and lost+found.
    private static long Overhead(long blocks, long inodes)
    {
        long groups = RootMeasure.Ceiling(blocks, BlocksInGroup);
        long table = RootMeasure.Ceiling(RootMeasure.Ceiling(inodes, groups), InodesInBlock);
        long descriptors = RootMeasure.Ceiling(groups, DescriptorsInBlock);
        long growth = Math.Min(1024, RootMeasure.Ceiling(groups * 1024, DescriptorsInBlock));
        long copies = Enumerable.Range(0, (int)groups).LongCount(HasCopy);
        return (groups * (2 + table)) + (copies * (1 + descriptors + growth)) + (JournalMebibytes * BlocksInMebibyte) + 8;
    }

    // sparse_super: groups 0 and 1 and the powers of 3, 5 and 7.
    private static bool HasCopy(int group) => group <= 1 || PowerOf(group, 3) || PowerOf(group, 5) || PowerOf(group, 7);

    private static bool PowerOf(int number, int root)
    {
        while (number % root == 0)
            number /= root;
        return number == 1;
    }
}
