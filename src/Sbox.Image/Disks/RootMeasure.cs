using Sbox.Linux;

namespace Sbox.Image;

/// <summary>What a directory takes on ext4: every inode once, however many names it has.</summary>
/// <param name="Inodes">Files, directories and links.</param>
/// <param name="Blocks">Blocks of 4096 bytes for their content, names and attributes.</param>
/// <param name="VerityBlocks">Blocks more when every file gets its fs-verity tree.</param>
public readonly record struct RootMeasure(long Inodes, long Blocks, long VerityBlocks)
{
    /// <summary>Bytes in a block.</summary>
    public const int BlockSize = 4096;

    private const int InlineLinkBytes = 59; // a shorter target lives in the inode
    private const int InlineXattrBytes = 90; // what a 256-byte inode has left for attributes
    private const int HashesInBlock = BlockSize / Codecs.Checksum.Size;

    /// <summary>Walks a directory.</summary>
    public static RootMeasure Of(string directory)
    {
        using Dir dir = Dir.Open(directory);
        var seen = new HashSet<(ulong, ulong)>();
        RootMeasure sum = default;
        Add(dir, seen, ref sum);
        return sum;
    }

    private static void Add(Dir dir, HashSet<(ulong Device, ulong Inode)> seen, ref RootMeasure sum)
    {
        IReadOnlyList<DirEntry> entries = dir.Entries();
        sum = sum.Plus(inodes: 1, blocks: DirectoryBlocks(entries), verity: 0);
        foreach (DirEntry entry in entries)
        {
            FileStat stat = dir.Stat(entry.Name);
            if (stat.IsDirectory)
            {
                using Dir inner = dir.OpenDir(entry.Name);
                Add(inner, seen, ref sum);
            }
            else if (stat.Links == 1 || seen.Add((stat.Device, stat.Inode)))
            {
                sum = sum.Plus(inodes: 1, FileBlocks(stat) + XattrBlocks(dir, entry.Name), stat.IsRegular ? VerityOf(stat.Size) : 0);
            }
        }
    }

    private RootMeasure Plus(long inodes, long blocks, long verity) => new(Inodes + inodes, Blocks + blocks, VerityBlocks + verity);

    private static long FileBlocks(FileStat stat) => stat switch
    {
        { IsRegular: true } => Ceiling(stat.Size, BlockSize),
        { IsSymlink: true, Size: > InlineLinkBytes } => 1,
        _ => 0,
    };

    // struct ext4_dir_entry_2: 8 bytes and the name, in steps of 4. Half-full blocks are what splitting leaves at worst; one more for the index.
    private static long DirectoryBlocks(IReadOnlyList<DirEntry> entries)
    {
        long bytes = entries.Sum(entry => 8 + ((FileName.ToBytes(entry.Name).Length + 3L) & ~3L)) + 24;
        return bytes <= BlockSize ? 1 : 1 + Ceiling(2 * bytes, BlockSize);
    }

    private static long XattrBlocks(Dir dir, string name) =>
        Xattrs.Read(dir, name).Sum(xattr => 16L + xattr.Name.Length + xattr.Value.Length) > InlineXattrBytes ? 1 : 0;

    // The Merkle tree's levels, and the descriptor in a block of its own.
    private static long VerityOf(long size)
    {
        long blocks = 1;
        for (long level = Ceiling(size, BlockSize); level > 1; blocks += level)
            level = Ceiling(level, HashesInBlock);
        return blocks;
    }

    internal static long Ceiling(long value, long unit) => (value + unit - 1) / unit;
}
