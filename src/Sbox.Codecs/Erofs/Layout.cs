using System.Numerics;

namespace Sbox.Codecs.Erofs;

/// <summary>
/// Where everything lies in an image: superblock, inodes with their tails, shared xattrs, then whole blocks of directories and content.
/// </summary>
/// <remarks>
/// EROFS leaves much of this to whoever makes the image. These are libcomposefs's choices, byte for byte, since the image's digest is
/// its name: docs/formats/composefs-image.md.
/// </remarks>
internal sealed class Layout
{
    private Layout(SharedXattrs shared, long inodesEnd, uint dataBlocks, long buildSeconds, uint buildNanoseconds)
    {
        Shared = shared;
        InodesEnd = inodesEnd;
        DataBlocks = dataBlocks;
        BuildSeconds = buildSeconds;
        BuildNanoseconds = buildNanoseconds;
    }

    public SharedXattrs Shared { get; }
    public long InodesEnd { get; }
    public uint DataBlocks { get; }

    /// <summary>The oldest time in the tree: inodes with just that time need not store one.</summary>
    public long BuildSeconds { get; }
    public uint BuildNanoseconds { get; }

    public long DataStart => ErofsFormat.AlignUp(InodesEnd + Shared.Bytes, ErofsFormat.BlockSize);

    /// <summary>Places every inode; they are given, and written, breadth first.</summary>
    public static Layout Of(IReadOnlyList<Inode> inodes)
    {
        SharedXattrs shared = SharedXattrs.Assign(inodes);
        (long seconds, uint nanoseconds) = inodes.Min(inode => (inode.Seconds, inode.Nanoseconds));

        long position = ErofsFormat.SuperblockOffset + ErofsFormat.SuperblockSize;
        uint dataBlocks = 0;
        foreach (Inode inode in inodes)
        {
            Measure(inode);
            inode.IsCompact = FitsCompact(inode, seconds, nanoseconds);
            inode.XattrBytes = XattrBytes(inode);

            long start = ErofsFormat.AlignUp(position, ErofsFormat.SlotSize);
            start += PaddingForTail(inode, start);
            inode.Padding = (int)(start - position);
            inode.Nid = (ulong)start / ErofsFormat.SlotSize;
            position = start + inode.HeaderBytes + inode.XattrBytes + inode.TailBytes;
            dataBlocks += inode.Blocks;
        }

        return new Layout(shared, ErofsFormat.AlignUp(position, ErofsFormat.SlotSize), dataBlocks, seconds, nanoseconds);
    }

    /// <summary>The runs of entries that share a block, or the tail: no entry crosses from one to the next.</summary>
    /// <returns>Index behind the last entry of the run that starts at <paramref name="first"/>, and the run's bytes.</returns>
    public static (int End, int Bytes) NextRun(ReadOnlySpan<Dirent> entries, int first)
    {
        int bytes = 0;
        int end = first;
        for (; end < entries.Length && bytes + entries[end].Bytes <= ErofsFormat.BlockSize; end++)
            bytes += entries[end].Bytes;
        return (end, bytes);
    }

    /// <summary>How a hole is described: chunks as large as the file if possible.</summary>
    public static (int BlockBits, int Count) Chunks(ulong size)
    {
        int bits = size <= 1 ? 0 : BitOperations.Log2(size - 1) + 1;
        bits = Math.Clamp(bits, ErofsFormat.BlockBits, ErofsFormat.BlockBits + ErofsFormat.MaxChunkBlockBits);
        ulong count = ((size - 1) >> bits) + 1;
        return (bits - ErofsFormat.BlockBits, checked((int)count));
    }

    /// <summary>Splits content into whole blocks and a tail; more than half a block is never a tail.</summary>
    private static void Measure(Inode inode)
    {
        if (inode.IsDirectory)
            MeasureDirectory(inode);
        else if (inode.IsHole)
            inode.TailBytes = Chunks(inode.Size).Count * sizeof(uint);
        else if (inode.Type == FileType.SymbolicLink)
            inode.TailBytes = inode.Content.Length;
        else
            SetBlocksAndTail(inode, (uint)inode.Content.Length / ErofsFormat.BlockSize, inode.Content.Length % ErofsFormat.BlockSize);
    }

    private static void MeasureDirectory(Inode inode)
    {
        uint blocks = 0;
        (int end, int bytes) = NextRun(inode.Entries, 0);
        for (; end < inode.Entries.Length; (end, bytes) = NextRun(inode.Entries, end))
            blocks++;
        SetBlocksAndTail(inode, blocks, bytes);
    }

    private static void SetBlocksAndTail(Inode inode, uint blocks, int tail)
    {
        bool tailIsBlock = tail > ErofsFormat.BlockSize / 2;
        inode.Blocks = tailIsBlock ? blocks + 1 : blocks;
        inode.TailBytes = tailIsBlock ? 0 : tail;
    }

    private static bool FitsCompact(Inode inode, long seconds, uint nanoseconds)
    {
        ulong size = inode.IsDirectory ? ((ulong)inode.Blocks * ErofsFormat.BlockSize) + (ulong)inode.TailBytes : inode.Size;
        return inode.Seconds == seconds && inode.Nanoseconds == nanoseconds
            && inode.Links <= ushort.MaxValue && inode.Uid <= ushort.MaxValue && inode.Gid <= ushort.MaxValue
            && size <= uint.MaxValue;
    }

    private static int XattrBytes(Inode inode)
    {
        if (inode.Xattrs.Count == 0)
            return 0;
        int bytes = ErofsFormat.XattrHeaderSize;
        foreach (XattrEntry xattr in inode.Xattrs)
            bytes += xattr.IsShared ? sizeof(uint) : xattr.Bytes;
        return bytes;
    }

    /// <summary>Moves an inode so that its tail does not cross a block's end, or turns the tail into a block when that can't be.</summary>
    private static long PaddingForTail(Inode inode, long start)
    {
        int beforeTail = inode.HeaderBytes + inode.XattrBytes;
        long toBlockEnd = ErofsFormat.AlignUp(start, ErofsFormat.BlockSize) - start;
        if (inode.Type == FileType.SymbolicLink)
            return PaddingForLink(inode, start, beforeTail, toBlockEnd);

        long room = RoomInBlock(start + beforeTail);
        if (inode.TailBytes <= room)
            return 0;
        long padding = ErofsFormat.AlignUp(room, ErofsFormat.SlotSize);
        if (inode.TailBytes <= RoomInBlock(start + beforeTail + padding))
            return padding;

        TurnTailIntoBlock(inode);
        return toBlockEnd;
    }

    /// <summary>A link's inode and target lie in one block, else the kernel could not read the link in one go.</summary>
    private static long PaddingForLink(Inode inode, long start, int beforeTail, long toBlockEnd)
    {
        int total = beforeTail + inode.TailBytes;
        if (total >= ErofsFormat.BlockSize)
            TurnTailIntoBlock(inode);
        return start / ErofsFormat.BlockSize == (start + total - 1) / ErofsFormat.BlockSize ? 0 : toBlockEnd;
    }

    private static void TurnTailIntoBlock(Inode inode)
    {
        inode.Blocks++;
        inode.TailBytes = 0;
    }

    private static long RoomInBlock(long position) => ErofsFormat.BlockSize - (position % ErofsFormat.BlockSize);
}
