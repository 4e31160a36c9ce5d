using System.Numerics;
using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>The blocks of an ext4 that hold anything, by its own account. The file system must be at rest: not mounted, its journal empty.</summary>
internal sealed class UsedBlocks
{
    /// <summary>Reads bytes of the device, all that are asked for.</summary>
    public delegate void Reader(long offset, Span<byte> bytes);

    // One bit a block, the first block's group at a whole byte.
    private readonly byte[] map;
    private readonly Ext4Layout layout;

    private UsedBlocks(Ext4Layout layout) => (this.layout, map) = (layout, new byte[(layout.Blocks + 7) / 8 + 1]);

    /// <summary>How its blocks lie.</summary>
    public Ext4Layout Layout => layout;

    /// <summary>How many are in use.</summary>
    public long Count => map.Sum(static bits => (long)BitOperations.PopCount(bits));

    /// <summary>Reads the account.</summary>
    /// <exception cref="MalformedException">It is not an ext4's, or cannot be read here.</exception>
    public static UsedBlocks Read(Reader read)
    {
        var superblock = new byte[Ext4Layout.SuperblockLength];
        read(Ext4Layout.SuperblockAt, superblock);
        var layout = Ext4Layout.Parse(superblock);
        var used = new UsedBlocks(layout);
        used.Set(new BlockRange(layout.FirstBlock, 1), inUse: true);
        byte[] descriptors = new byte[layout.BlockSize], bitmap = new byte[layout.BlockSize];
        var unused = new List<BlockRange>();
        for (int block = 0, group = 0; block < layout.DescriptorBlocks; block++)
        {
            long at = layout.DescriptorBlock(block);
            read(at * layout.BlockSize, descriptors);
            used.Set(new BlockRange(at, 1), inUse: true);
            for (int slot = 0; slot < layout.DescriptorsInBlock && group < layout.Groups; slot++, group++)
            {
                Ext4Group described = layout.Describe(group, descriptors.AsSpan(slot * layout.DescriptorSize, layout.DescriptorSize));
                if (described.BlockBitmap is { } bits)
                {
                    read(bits * layout.BlockSize, bitmap);
                    used.Take(layout.Group(group), bitmap);
                    used.Set(new BlockRange(bits, 1), inUse: true);
                }

                // A group without a bitmap has these, and what others keep in it is told by those.
                used.Set(layout.Overhead(group), inUse: true);
                used.Set(new BlockRange(described.InodeBitmap, 1), inUse: true);
                used.Set(described.Inodes, inUse: true);
                unused.Add(described.UnusedInodes);
            }
        }

        // Last of all: they count as taken in the bitmap of the group that they lie in, which may be another.
        foreach (BlockRange each in unused)
            used.Set(each, inUse: false);
        return used;
    }

    /// <summary>The blocks in use, in their order.</summary>
    /// <param name="longest">No range is longer than this.</param>
    public IEnumerable<BlockRange> Ranges(long longest)
    {
        for (long at = layout.FirstBlock; at < layout.Blocks;)
        {
            long first = Next(at, inUse: true), end = first < layout.Blocks ? Next(first, inUse: false) : first;
            for (long part = first; part < end; part += longest)
                yield return new BlockRange(part, Math.Min(longest, end - part));
            at = end;
        }
    }

    private long Next(long block, bool inUse)
    {
        byte none = inUse ? (byte)0 : (byte)0xFF;
        long bit = block - layout.FirstBlock, bits = layout.Blocks - layout.FirstBlock;
        while (bit < bits && IsSet(bit) != inUse)
            bit += (bit & 7) == 0 && map[bit >> 3] == none ? 8 : 1;
        return layout.FirstBlock + Math.Min(bit, bits);
    }

    private bool IsSet(long bit) => (map[bit >> 3] & (1 << (int)(bit & 7))) != 0;

    // Groups have a multiple of eight blocks, so each begins a byte; behind the last block a bitmap is filled with ones.
    private void Take(BlockRange group, ReadOnlySpan<byte> bitmap)
    {
        long from = group.First - layout.FirstBlock;
        bitmap[..(int)(group.Count / 8)].CopyTo(map.AsSpan((int)(from >> 3)));
        for (long rest = group.Count & ~7L; rest < group.Count; rest++)
        {
            if ((bitmap[(int)(rest >> 3)] & (1 << (int)(rest & 7))) != 0)
                Set(new BlockRange(group.First + rest, 1), inUse: true);
        }
    }

    private void Set(BlockRange range, bool inUse)
    {
        if (range.Count < 0 || range.First < layout.FirstBlock || range.End > layout.Blocks)
            throw new MalformedException("ext4", "place", $"blocks from {layout.FirstBlock} to {layout.Blocks}", $"{range.First} to {range.End}");
        for (long bit = range.First - layout.FirstBlock, end = range.End - layout.FirstBlock; bit < end; bit++)
        {
            byte mask = (byte)(1 << (int)(bit & 7));
            map[bit >> 3] = (byte)(inUse ? map[bit >> 3] | mask : map[bit >> 3] & ~mask);
        }
    }
}
