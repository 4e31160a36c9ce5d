using System.Buffers.Binary;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>One object that a delta shall bring.</summary>
/// <param name="Name">The object.</param>
/// <param name="Size">Bytes that it is.</param>
/// <param name="Header">What a file says beside its content; null for an object that is none.</param>
/// <param name="Old">Its old version, where it is made from that.</param>
/// <param name="PatchAt">Where the differences lie among all of them.</param>
/// <param name="PatchSize">Bytes of those.</param>
/// <param name="Stretches">What of the old version is copied as it is, and what is new, where it is made so; else null.</param>
/// <param name="Recompression">How it is compressed, where the differences are of what both versions unpack to; else null.</param>
internal sealed record DeltaItem(
    ObjectName Name, long Size, FileHeader? Header = null, Checksum? Old = null, long PatchAt = 0, long PatchSize = 0, IReadOnlyList<BlockStretch>? Stretches = null,
    Recompression? Recompression = null)
{
    /// <summary>Bytes of it that the old version does not have.</summary>
    public long NewBytes { get; } = Stretches?.Sum(static stretch => stretch.OldAt is null ? stretch.Size : 0) ?? 0;

    /// <summary>Bytes that it adds to a part before it is compressed.</summary>
    public long RawSize => Stretches is not null ? NewBytes + Checksum.Size : Old is not null ? PatchSize + Checksum.Size : Header?.SymlinkTarget is { } target ? FileName.ToBytes(target).Length : Size;
}

/// <summary>Gathers the objects of one part, then compresses them into a file without a name. Contents are read when that is done, not before.</summary>
/// <param name="repository">Where the objects are.</param>
/// <param name="tmp">Where contents wait that cannot be read anywhere as they are.</param>
/// <param name="patches">The differences of all parts.</param>
/// <param name="isCode">Whether most of it is code of x86 processors.</param>
internal sealed class DeltaPartWriter(Repository repository, Dir tmp, Spool patches, bool isCode)
{
    private const uint NiceLength = 64; // differences are mostly zeros: with 32 they are a sixteenth larger, with 128 smaller by 2 or 3 in 100 for a third more time
    private readonly MemoryStream operations = new(), modes = new();
    private readonly List<GVariant> xattrs = [];
    private readonly Dictionary<(uint, uint, uint), int> modeIndexes = [];
    private readonly Dictionary<XattrList, int> xattrIndexes = [];
    private readonly List<DeltaItem> items = [];
    private long uncompressed, rawSize, tables;

    public int Count => items.Count;

    /// <summary>Whether it has operations that libostree does not know.</summary>
    public bool Recompresses { get; init; }

    /// <summary>Bytes of its objects by now, as the compressor will be given them.</summary>
    public long RawSize => rawSize;

    /// <summary>Bytes that it has by now, compressed last.</summary>
    public long Size => rawSize + operations.Length + tables;

    public void Add(DeltaItem item)
    {
        items.Add(item);
        uncompressed += item.Size;
        if (item.Stretches is not null)
        {
            AddStretches(item);
        }
        else if (item.Old is not null)
        {
            Operation(DeltaOperation.SetSource, rawSize);
            Operation(DeltaOperation.Open, ModeOf(item.Header!), XattrsOf(item.Header!), item.Size);
            if (item.Recompression is { } how)
                Operation(DeltaOperation.Recompress, how.Numbers);
            Operation(DeltaOperation.Patch, rawSize + Checksum.Size, item.PatchSize);
            Operation(DeltaOperation.Close);
        }
        else if (item.Header is { } header)
        {
            Operation(DeltaOperation.Whole, ModeOf(header), XattrsOf(header), item.RawSize, rawSize);
        }
        else
        {
            Operation(DeltaOperation.Whole, item.Size, rawSize);
        }

        rawSize += item.RawSize;
    }

    private void AddStretches(DeltaItem item)
    {
        Operation(DeltaOperation.Open, ModeOf(item.Header!), XattrsOf(item.Header!), item.Size);
        long rawAt = rawSize + Checksum.Size;
        bool fromOld = false;
        foreach (BlockStretch stretch in item.Stretches!)
        {
            if (stretch.OldAt is { } oldAt)
            {
                if (!fromOld)
                    Operation(DeltaOperation.SetSource, rawSize);
                Operation(DeltaOperation.Write, stretch.Size, oldAt);
                fromOld = true;
                continue;
            }

            if (fromOld)
                Operation(DeltaOperation.UnsetSource);
            Operation(DeltaOperation.Write, stretch.Size, rawAt);
            rawAt += stretch.Size;
            fromOld = false;
        }

        Operation(DeltaOperation.Close);
    }

    /// <summary>Compresses it.</summary>
    /// <param name="destination">Where its file will get a name.</param>
    /// <param name="dictionary">Bytes that the compressor may look back on.</param>
    /// <param name="packed">Told of the bytes of each object that was given to the compressor.</param>
    /// <param name="cancel">Looked at between objects.</param>
    /// <returns>What the superblock says of it, and its file.</returns>
    /// <exception cref="ObjectCorruptException">An object is not as long as it says.</exception>
    public (DeltaPartHeader Header, SafeFileHandle File) Finish(Dir destination, uint dictionary, Action<long> packed, CancellationToken cancel)
    {
        SafeFileHandle file = destination.CreateUnnamed();
        try
        {
            using var output = new HashedOutput(file, destination.Path);
            output.Write([(byte)'x']);
            using (var xz = new XzEncoder(output, new XzSettings(Level: 8, dictionary, NiceLength, isCode, ByThreeBytes: true)))
            {
                WriteContent(xz, packed, cancel);
                xz.Finish();
            }

            (Checksum checksum, long size) = output.Finish();
            List<ObjectName> objects = [.. items.Select(static item => item.Name)];
            return (new DeltaPartHeader(Recompresses ? DeltaSuperblock.RecompressingVersion : DeltaSuperblock.PartVersion, checksum, (ulong)size, (ulong)uncompressed, objects), file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    // GVariant (a(uuu)aa(ayay)ayay): its members one after the other, then where each but the last ends, the first one's end last.
    private void WriteContent(Stream output, Action<long> packed, CancellationToken cancel)
    {
        byte[] attributes = GVariant.Array(GVariantType.Parse("a(ayay)"), xattrs).ToBytes();
        output.Write(modes.GetBuffer(), 0, (int)modes.Length);
        output.Write(attributes);
        foreach (DeltaItem item in items)
        {
            cancel.ThrowIfCancellationRequested();
            WriteRaw(item, output);
            packed(item.RawSize);
        }

        output.Write(operations.GetBuffer(), 0, (int)operations.Length);
        long attributesEnd = modes.Length + attributes.Length, rawEnd = attributesEnd + rawSize, body = rawEnd + operations.Length;
        int offsetSize = body + 3 <= byte.MaxValue ? 1 : body + 6 <= ushort.MaxValue ? 2 : body + 12 <= uint.MaxValue ? 4 : 8;
        Span<byte> offset = stackalloc byte[8];
        foreach (long end in (ReadOnlySpan<long>)[rawEnd, attributesEnd, modes.Length])
        {
            BinaryPrimitives.WriteInt64LittleEndian(offset, end);
            output.Write(offset[..offsetSize]);
        }
    }

    private void WriteRaw(DeltaItem item, Stream output)
    {
        if (item.Stretches is not null)
        {
            WriteNew(item, output);
        }
        else if (item.Old is { } old)
        {
            output.Write(old.Span);
            patches.CopyTo(output, item.PatchAt, item.PatchSize);
        }
        else if (item.Header is null)
        {
            byte[] bytes = repository.LoadMetadata(item.Name);
            if (bytes.Length != item.Size)
                throw new ObjectCorruptException(repository.Objects.PathOf(item.Name), item.Name, null, $"{bytes.Length} bytes, and a moment ago {item.Size}");
            output.Write(bytes);
        }
        else if (item.Header.SymlinkTarget is { } target)
        {
            output.Write(FileName.ToBytes(target));
        }
        else
        {
            using Stream content = new ExactContent(repository.LoadFile(item.Name.Checksum).OpenContent(), item.Size);
            try
            {
                content.CopyTo(output);
            }
            catch (InvalidDataException broken)
            {
                throw new ObjectCorruptException(repository.Objects.PathOf(item.Name), item.Name, null, broken.Message, broken);
            }
        }
    }

    private void WriteNew(DeltaItem item, Stream output)
    {
        output.Write(item.Old!.Value.Span);
        using var content = new RandomContent(repository, repository.LoadFile(item.Name.Checksum), tmp);
        foreach (BlockStretch stretch in item.Stretches!.Where(static stretch => stretch.OldAt is null))
        {
            using Stream bytes = new ExactContent(new StretchStream(content.ReadAt, stretch.At, stretch.Size), stretch.Size);
            bytes.CopyTo(output);
        }
    }

    private int ModeOf(FileHeader header)
    {
        (uint, uint, uint) key = (header.Uid, header.Gid, header.Mode.Bits);
        if (modeIndexes.TryGetValue(key, out int index))
            return index;
        Span<byte> bytes = stackalloc byte[12];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, header.Uid);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[4..], header.Gid);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[8..], header.Mode.Bits);
        modes.Write(bytes);
        tables += bytes.Length;
        modeIndexes.Add(key, index = modeIndexes.Count);
        return index;
    }

    private int XattrsOf(FileHeader header)
    {
        if (xattrIndexes.TryGetValue(header.Xattrs, out int index))
            return index;
        GVariant variant = header.Xattrs.ToVariant();
        xattrs.Add(variant);
        tables += variant.ToBytes().Length;
        xattrIndexes.Add(header.Xattrs, index = xattrIndexes.Count);
        return index;
    }

    private void Operation(DeltaOperation operation, params ReadOnlySpan<long> numbers)
    {
        operations.WriteByte((byte)operation);
        foreach (long number in numbers)
            VariableNumber.Write(operations, number);
    }
}

/// <summary>Writes a file from its beginning, and hashes it.</summary>
internal sealed class HashedOutput(SafeFileHandle file, string path) : OutputStream
{
    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private long written;

    public override long Length => written;

    public override long Position { get => written; set => throw new NotSupportedException(); }

    public override void Write(ReadOnlySpan<byte> bytes)
    {
        Linux.Files.WriteAt(file, bytes, written, path);
        hash.AppendData(bytes);
        written += bytes.Length;
    }

    /// <summary>What all of it hashes to, and its bytes.</summary>
    public (Checksum Checksum, long Size) Finish()
    {
        Span<byte> result = stackalloc byte[Checksum.Size];
        hash.GetHashAndReset(result);
        return (Checksum.FromBytes(result), written);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            hash.Dispose();
    }
}
