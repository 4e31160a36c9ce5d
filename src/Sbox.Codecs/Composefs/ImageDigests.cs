using System.Buffers.Binary;
using Sbox.Codecs.Erofs;

namespace Sbox.Codecs.Composefs;

/// <summary>What an image says of one content: where it lies in the store, and which digest it must have.</summary>
/// <param name="BackingPath">The content's path below the store, without a slash before it, such as <c>44/6a0e….file</c>; a part of the image's bytes.</param>
/// <param name="Digest">Its fs-verity digest.</param>
public readonly record struct ContentDigest(ReadOnlyMemory<byte> BackingPath, Checksum Digest)
{
    /// <summary>All of the file that has this content; null where it has extended attributes of its own.</summary>
    public BackedFile? File { get; init; }
}

/// <summary>
/// Reads out of an image which contents it leads to and what the files are that have them, and no names. Nothing is proved by it: an image is what it claims to be when its own
/// digest says so.
/// </summary>
/// <remarks>EROFS as the kernel's fs/erofs/erofs_fs.h has it, in the part of it that libcomposefs uses: docs/formats/composefs-image.md.</remarks>
internal sealed class ImageDigests
{
    private const int RootNidAt = 14, InodeCountAt = 16, MetaBlockAt = 40, XattrBlockAt = 44;
    private const byte Trusted = 4, DirectoryCode = 2;

    private readonly ReadOnlyMemory<byte> image;
    private readonly long metaStart, sharedStart;
    private readonly ulong root, inodeCount;
    private readonly List<ContentDigest> found = [];
    private readonly HashSet<ulong> seen = [];
    private readonly Dictionary<(uint Permissions, uint Uid, uint Gid), Attributes> plain = []; // most files are root's, and readable

    private ImageDigests(ReadOnlyMemory<byte> image)
    {
        this.image = image;
        ReadOnlySpan<byte> superblock = Bytes(ErofsFormat.SuperblockOffset, ErofsFormat.SuperblockSize, "superblock");
        uint magic = BinaryPrimitives.ReadUInt32LittleEndian(superblock);
        if (magic != ErofsFormat.SuperblockMagic || superblock[12] != ErofsFormat.BlockBits)
            throw Malformed("superblock", $"EROFS (0x{ErofsFormat.SuperblockMagic:x}) with blocks of 2^{ErofsFormat.BlockBits} bytes", $"0x{magic:x}, 2^{superblock[12]}");
        root = BinaryPrimitives.ReadUInt16LittleEndian(superblock[RootNidAt..]);
        inodeCount = BinaryPrimitives.ReadUInt64LittleEndian(superblock[InodeCountAt..]);
        metaStart = (long)BinaryPrimitives.ReadUInt32LittleEndian(superblock[MetaBlockAt..]) * ErofsFormat.BlockSize;
        sharedStart = (long)BinaryPrimitives.ReadUInt32LittleEndian(superblock[XattrBlockAt..]) * ErofsFormat.BlockSize;
    }

    public static IReadOnlyList<ContentDigest> Read(ReadOnlyMemory<byte> image)
    {
        var reader = new ImageDigests(image);
        var directories = new Queue<ulong>([reader.root]);
        while (directories.TryDequeue(out ulong directory))
            reader.ReadDirectory(reader.InodeAt(directory), directories);
        return reader.found;
    }

    private readonly record struct InodeHead(long At, int HeaderBytes, int XattrBytes, int DataLayout, ulong Size, uint Place)
    {
        public uint Mode { get; init; }

        public uint Uid { get; init; }

        public uint Gid { get; init; }

        public long TailAt => At + HeaderBytes + XattrBytes;
    }

    private InodeHead InodeAt(ulong nid)
    {
        if (nid > (ulong)(image.Length / ErofsFormat.SlotSize))
            throw Malformed("directory entry", $"an inode within {image.Length} bytes", $"number {nid}");
        long at = metaStart + ((long)nid * ErofsFormat.SlotSize);
        ReadOnlySpan<byte> header = Bytes(at, ErofsFormat.CompactInodeSize, "inode");
        ushort format = BinaryPrimitives.ReadUInt16LittleEndian(header);
        bool isCompact = (format & 1) == 0;
        int xattrCount = BinaryPrimitives.ReadUInt16LittleEndian(header[2..]);
        ReadOnlySpan<byte> owner = isCompact ? header[24..] : Bytes(at, ErofsFormat.ExtendedInodeSize, "inode")[24..];
        return new InodeHead(
            at, isCompact ? ErofsFormat.CompactInodeSize : ErofsFormat.ExtendedInodeSize,
            xattrCount == 0 ? 0 : ErofsFormat.XattrHeaderSize + ((xattrCount - 1) * sizeof(uint)), (format >> 1) & 7,
            isCompact ? BinaryPrimitives.ReadUInt32LittleEndian(header[8..]) : BinaryPrimitives.ReadUInt64LittleEndian(header[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(header[16..]))
        {
            Mode = BinaryPrimitives.ReadUInt16LittleEndian(header[4..]),
            Uid = isCompact ? BinaryPrimitives.ReadUInt16LittleEndian(owner) : BinaryPrimitives.ReadUInt32LittleEndian(owner),
            Gid = isCompact ? BinaryPrimitives.ReadUInt16LittleEndian(owner[2..]) : BinaryPrimitives.ReadUInt32LittleEndian(owner[4..]),
        };
    }

    // Whole blocks first, then, where the layout says so, a tail behind the inode.
    private void ReadDirectory(InodeHead directory, Queue<ulong> directories)
    {
        bool hasTail = directory.DataLayout == ErofsFormat.LayoutFlatInline;
        if (!hasTail && directory.DataLayout != ErofsFormat.LayoutFlatPlain || directory.Size > (ulong)image.Length)
            throw Malformed("directory", "flat data within the image", $"layout {directory.DataLayout}, {directory.Size} bytes");
        long size = (long)directory.Size, blocks = hasTail ? size / ErofsFormat.BlockSize : (size + ErofsFormat.BlockSize - 1) / ErofsFormat.BlockSize;
        for (long block = 0; block < blocks; block++)
        {
            int length = (int)Math.Min(ErofsFormat.BlockSize, size - (block * ErofsFormat.BlockSize));
            ReadEntries(Bytes((directory.Place + block) * ErofsFormat.BlockSize, length, "directory"), directories);
        }

        if (size > blocks * ErofsFormat.BlockSize)
            ReadEntries(Bytes(directory.TailAt, (int)(size - (blocks * ErofsFormat.BlockSize)), "directory"), directories);
    }

    private void ReadEntries(ReadOnlySpan<byte> run, Queue<ulong> directories)
    {
        if (run.Length < ErofsFormat.DirentSize)
            throw Malformed("directory", "entries of 12 bytes", $"{run.Length} bytes");
        int names = BinaryPrimitives.ReadUInt16LittleEndian(run[8..]); // where the first name is, the entries end
        if (names % ErofsFormat.DirentSize != 0 || names > run.Length)
            throw Malformed("directory", $"names within {run.Length} bytes behind whole entries", $"the first at {names}");
        for (int at = 0; at < names; at += ErofsFormat.DirentSize)
        {
            ulong nid = BinaryPrimitives.ReadUInt64LittleEndian(run[at..]);
            // Also . and .., so each is looked at once; more of them than the superblock tells of would be a loop that somebody made.
            if (!seen.Add(nid))
                continue;
            if ((ulong)seen.Count > inodeCount)
                throw Malformed("directory", $"{inodeCount} inodes, as the superblock has it", "more");
            if (run[at + 10] == DirectoryCode)
            {
                if (nid != root)
                    directories.Enqueue(nid);
            }
            else
                ReadFile(InodeAt(nid));
        }
    }

    private void ReadFile(InodeHead file)
    {
        if (file.XattrBytes == 0)
            return;
        ReadOnlyMemory<byte> xattrs = Slice(file.At + file.HeaderBytes, file.XattrBytes, "extended attributes");
        int shared = xattrs.Span[4], at = ErofsFormat.XattrHeaderSize + (shared * sizeof(uint));
        if (at > xattrs.Length)
            throw Malformed("extended attributes", $"references within {xattrs.Length} bytes", $"{shared} of them");
        var said = new Said();
        for (int each = 0; each < shared; each++)
        {
            long place = sharedStart + ((long)BinaryPrimitives.ReadUInt32LittleEndian(xattrs.Span[(ErofsFormat.XattrHeaderSize + (each * sizeof(uint)))..]) * sizeof(uint));
            Take(Slice(place, (int)Math.Clamp(image.Length - place, 0, ErofsFormat.XattrEntrySize + byte.MaxValue + ushort.MaxValue), "shared attribute"), ref said);
        }

        while (at < xattrs.Length)
            at += Take(xattrs[at..], ref said);
        if (said is not { Digest: { } known, Path: { Length: > 1 } path } || path.Span[0] != '/')
            return;
        if (!TreeRules.CanHave(file.Size))
            throw Malformed("inode", "a size that an image can have", $"{file.Size}");
        found.Add(new ContentDigest(path[1..], known) { File = said.Others ? null : new BackedFile(PlainOf(file), file.Size, path[1..], known) });
    }

    private Attributes PlainOf(InodeHead file)
    {
        (uint Permissions, uint Uid, uint Gid) key = (file.Mode & 0xFFF, file.Uid, file.Gid);
        if (!plain.TryGetValue(key, out Attributes? attributes))
            plain.Add(key, attributes = new Attributes(key.Permissions, key.Uid, key.Gid, 0, 0, []));
        return attributes;
    }

    // What the attributes of a file tell: where its content lies, the digest, and whether there are any that are the file's own.
    private struct Said
    {
        public ReadOnlyMemory<byte> Path;
        public Checksum? Digest;
        public bool Others;
    }

    // One attribute; returns its bytes with those that align the next.
    private static int Take(ReadOnlyMemory<byte> entry, ref Said said)
    {
        var reader = new SpanReader(entry.Span, "composefs image");
        int nameLength = reader.ReadByte("attribute");
        byte prefix = reader.ReadByte("attribute");
        int valueLength = reader.ReadUInt16LittleEndian("attribute");
        ReadOnlySpan<byte> name = reader.ReadBytes(nameLength, "attribute's name"), value = reader.ReadBytes(valueLength, "attribute's value");
        if (prefix == Trusted && name.SequenceEqual(OverlayXattr.Redirect.AsSpan("trusted.".Length)))
            said.Path = entry.Slice(reader.Position - valueLength, valueLength);
        else if (prefix == Trusted && name.SequenceEqual(OverlayXattr.Metacopy.AsSpan("trusted.".Length)))
            said.Digest = OverlayXattr.DigestOf(value);
        else
            said.Others = true;
        return (int)ErofsFormat.AlignUp(reader.Position, sizeof(uint));
    }

    private ReadOnlySpan<byte> Bytes(long at, int count, string part) => Slice(at, count, part).Span;

    private ReadOnlyMemory<byte> Slice(long at, int count, string part) => at >= 0 && at + count <= image.Length
        ? image.Slice((int)at, count)
        : throw Malformed(part, $"{count} bytes at {at}", $"an image of {image.Length} bytes");

    private static MalformedException Malformed(string part, string expected, string found) => new("composefs image", part, expected, found);
}
