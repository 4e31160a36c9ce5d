using System.Buffers.Binary;

namespace Sbox.Codecs.Erofs;

/// <summary>Writes an EROFS image as <see cref="Layout"/> planned it, front to back, never seeking.</summary>
internal sealed class ImageWriter(IReadOnlyList<Inode> inodes, Layout layout, ImageSink sink)
{
    private uint nextBlock;

    /// <param name="bootArea">What stands before the superblock, which EROFS leaves to others: at most 1024 bytes.</param>
    public void Write(ReadOnlySpan<byte> bootArea)
    {
        sink.Write(bootArea);
        sink.Zeros(ErofsFormat.SuperblockOffset - bootArea.Length);
        WriteSuperblock();

        nextBlock = (uint)(layout.DataStart / ErofsFormat.BlockSize);
        foreach (Inode inode in inodes)
            WriteInode(inode);
        sink.AlignTo(ErofsFormat.SlotSize);

        foreach (XattrEntry xattr in layout.Shared.Entries)
            WriteXattr(xattr);
        sink.AlignTo(ErofsFormat.BlockSize);

        foreach (Inode inode in inodes)
            WriteBlocks(inode);
    }

    private void WriteSuperblock()
    {
        Span<byte> block = stackalloc byte[ErofsFormat.SuperblockSize];
        block.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block, ErofsFormat.SuperblockMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(block[8..], ErofsFormat.FeatureMtime | ErofsFormat.FeatureXattrFilter);
        block[12] = ErofsFormat.BlockBits;
        BinaryPrimitives.WriteUInt16LittleEndian(block[14..], checked((ushort)inodes[0].Nid));
        BinaryPrimitives.WriteUInt64LittleEndian(block[16..], (ulong)inodes.Count);
        BinaryPrimitives.WriteInt64LittleEndian(block[24..], layout.BuildSeconds);
        BinaryPrimitives.WriteUInt32LittleEndian(block[32..], layout.BuildNanoseconds);
        BinaryPrimitives.WriteUInt32LittleEndian(block[36..], checked((uint)(layout.DataStart / ErofsFormat.BlockSize) + layout.DataBlocks));
        BinaryPrimitives.WriteUInt32LittleEndian(block[44..], (uint)(layout.InodesEnd / ErofsFormat.BlockSize)); // shared xattrs
        sink.Write(block);
    }

    private void WriteInode(Inode inode)
    {
        sink.Zeros(inode.Padding);
        WriteHeader(inode);
        if (inode.XattrBytes > 0)
            WriteXattrs(inode);

        if (inode.TailBytes == 0)
            return;
        if (inode.IsDirectory)
            WriteEntries(inode, blocks: false);
        else if (inode.IsHole)
            WriteHoleAddresses(inode.TailBytes / sizeof(uint));
        else
            sink.Write(inode.Content.Span[^inode.TailBytes..]);
    }

    private void WriteHeader(Inode inode)
    {
        Span<byte> header = stackalloc byte[ErofsFormat.ExtendedInodeSize];
        header.Clear();
        int dataLayout = inode.IsHole ? ErofsFormat.LayoutChunkBased : inode.TailBytes > 0 ? ErofsFormat.LayoutFlatInline : ErofsFormat.LayoutFlatPlain;
        int xattrCount = inode.XattrBytes == 0 ? 0 : ((inode.XattrBytes - ErofsFormat.XattrHeaderSize) / sizeof(uint)) + 1;
        BinaryPrimitives.WriteUInt16LittleEndian(header, (ushort)((dataLayout << 1) | (inode.IsCompact ? 0 : 1)));
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], checked((ushort)xattrCount));
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], (ushort)inode.Mode);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], Place(inode));
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], inode.Number);
        if (inode.IsCompact)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(header[6..], (ushort)inode.Links);
            BinaryPrimitives.WriteUInt32LittleEndian(header[8..], (uint)SizeOf(inode));
            BinaryPrimitives.WriteUInt16LittleEndian(header[24..], (ushort)inode.Uid);
            BinaryPrimitives.WriteUInt16LittleEndian(header[26..], (ushort)inode.Gid);
        }
        else
        {
            BinaryPrimitives.WriteUInt64LittleEndian(header[8..], SizeOf(inode));
            BinaryPrimitives.WriteUInt32LittleEndian(header[24..], inode.Uid);
            BinaryPrimitives.WriteUInt32LittleEndian(header[28..], inode.Gid);
            BinaryPrimitives.WriteInt64LittleEndian(header[32..], inode.Seconds);
            BinaryPrimitives.WriteUInt32LittleEndian(header[40..], inode.Nanoseconds);
            BinaryPrimitives.WriteUInt32LittleEndian(header[44..], inode.Links);
        }

        sink.Write(header[..inode.HeaderBytes]);
    }

    private static ulong SizeOf(Inode inode) => inode.Type switch
    {
        FileType.Directory => ((ulong)inode.Blocks * ErofsFormat.BlockSize) + (ulong)inode.TailBytes,
        FileType.Regular or FileType.SymbolicLink => inode.Size,
        _ => 0,
    };

    /// <summary>The field that tells by type where the content is, or which device it is; takes the content's blocks.</summary>
    private uint Place(Inode inode)
    {
        if (inode.Type is FileType.CharacterDevice or FileType.BlockDevice)
            return inode.Device;

        uint place = 0;
        if (inode.Blocks > 0)
        {
            place = nextBlock;
            nextBlock += inode.Blocks;
        }

        // The chunk format takes the lower half only, also over a block's address: so does libcomposefs.
        return inode.IsHole ? (place & 0xFFFF0000) | (uint)Layout.Chunks(inode.Size).BlockBits : place;
    }

    private void WriteXattrs(Inode inode)
    {
        Span<byte> header = stackalloc byte[ErofsFormat.XattrHeaderSize];
        header.Clear();
        uint filter = uint.MaxValue;
        foreach (XattrEntry xattr in inode.Xattrs)
        {
            filter &= ~xattr.FilterBit;
            if (xattr.IsShared)
                header[4]++;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(header, filter);
        sink.Write(header);

        Span<byte> reference = stackalloc byte[sizeof(uint)];
        foreach (XattrEntry xattr in inode.Xattrs)
            if (xattr.IsShared)
            {
                long offset = (layout.InodesEnd % ErofsFormat.BlockSize) + xattr.SharedOffset;
                BinaryPrimitives.WriteUInt32LittleEndian(reference, (uint)(offset / sizeof(uint)));
                sink.Write(reference);
            }

        foreach (XattrEntry xattr in inode.Xattrs)
            if (!xattr.IsShared)
                WriteXattr(xattr);
    }

    private void WriteXattr(XattrEntry xattr)
    {
        Span<byte> entry = stackalloc byte[ErofsFormat.XattrEntrySize];
        entry[0] = checked((byte)xattr.Suffix.Length);
        entry[1] = xattr.Index;
        BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], checked((ushort)xattr.Value.Length));
        sink.Write(entry);
        sink.Write(xattr.Suffix.Span);
        sink.Write(xattr.Value.Span);
        sink.AlignTo(sizeof(uint));
    }

    private void WriteBlocks(Inode inode)
    {
        if (inode.Blocks == 0)
            return;
        if (inode.IsDirectory)
            WriteEntries(inode, blocks: true);
        else if (inode.IsHole)
            WriteHoleAddresses(ErofsFormat.BlockSize / sizeof(uint));
        else
        {
            sink.Write(inode.Content.Span[..^inode.TailBytes]);
            sink.AlignTo(ErofsFormat.BlockSize);
        }
    }

    private void WriteHoleAddresses(int count)
    {
        Span<byte> address = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(address, ErofsFormat.HoleAddress);
        for (int i = 0; i < count; i++)
            sink.Write(address);
    }

    /// <summary>Writes the runs that are whole blocks, or the run that is the tail.</summary>
    private void WriteEntries(Inode directory, bool blocks)
    {
        uint run = 0;
        for (int first = 0; first < directory.Entries.Length; run++)
        {
            int end = Layout.NextRun(directory.Entries, first).End;
            if (run < directory.Blocks == blocks)
            {
                WriteRun(directory.Entries.AsSpan(first, end - first));
                if (blocks)
                    sink.AlignTo(ErofsFormat.BlockSize);
            }

            first = end;
        }
    }

    private void WriteRun(ReadOnlySpan<Dirent> run)
    {
        Span<byte> entry = stackalloc byte[ErofsFormat.DirentSize];
        entry.Clear();
        int nameOffset = run.Length * ErofsFormat.DirentSize;
        foreach (Dirent dirent in run)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(entry, dirent.Inode!.Nid);
            BinaryPrimitives.WriteUInt16LittleEndian(entry[8..], (ushort)nameOffset);
            entry[10] = FileType.DirentCode(dirent.Inode.Mode);
            sink.Write(entry);
            nameOffset += dirent.Name.Length;
        }

        foreach (Dirent dirent in run)
            sink.Write(dirent.Name.Span);
    }
}
