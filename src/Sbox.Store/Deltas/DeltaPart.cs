using System.Buffers.Binary;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Where the bytes of a file in a part come from, one stretch of it.</summary>
/// <param name="Source">The object that is read; null for the part's own raw bytes.</param>
/// <param name="Offset">Where in it; of a patch, where that lies in the raw bytes.</param>
/// <param name="Size">Bytes; of a patch, the patch's own.</param>
/// <param name="IsPatch">Whether it is a binary difference to be applied to the source.</param>
internal readonly record struct DeltaStretch(Checksum? Source, long Offset, long Size, bool IsPatch = false);

/// <summary>One object that a part makes, and how.</summary>
/// <param name="Name">The object.</param>
/// <param name="Mode">Index of owner and mode; -1 for an object that is no file.</param>
/// <param name="Xattrs">Index of the xattrs.</param>
/// <param name="Size">Bytes of content.</param>
/// <param name="Stretches">Its content, in order.</param>
/// <param name="Recompression">How its content is compressed, where the stretches, of which there is one, make what it unpacks to; else null.</param>
internal sealed record DeltaRecipe(ObjectName Name, int Mode, int Xattrs, long Size, IReadOnlyList<DeltaStretch> Stretches, Recompression? Recompression = null);

/// <summary>
/// A part of a delta, unpacked: owners and modes, xattrs, raw bytes, and operations that make objects of them. Only the first two are in
/// memory; raw bytes wait where there is room for them.
/// </summary>
/// <remarks>docs/formats/static-delta.md.</remarks>
internal sealed class DeltaPart : IDisposable
{
    private const string Format = "static delta part";
    private const int InMemory = 1024 * 1024;
    private const int ModeSize = 12;
    private const int MaximumTables = 32 * 1024 * 1024;
    private const int MaximumOperations = 16 * 1024 * 1024;
    private const int MaximumXattrs = 1024 * 1024; // of one file, and of those that are kept as read: a few bytes become many objects
    private static readonly GVariantType XattrsType = GVariantType.Parse("a(ayay)");

    // Divided as aa(ayay) is, each set's bytes left as they are until it is needed.
    private static readonly GVariantType XattrsTableType = GVariantType.Parse("aay");
    private readonly Spool content;
    private readonly byte[] modes;
    private readonly IReadOnlyList<GVariant> xattrs;
    private readonly Dictionary<int, XattrList> parsedXattrs = [];
    private long parsedXattrsBytes;

    private DeltaPart(Spool content)
    {
        this.content = content;
        long size = content.Length;
        int offsetSize = size switch { 0 => 0, <= byte.MaxValue => 1, <= ushort.MaxValue => 2, <= uint.MaxValue => 4, _ => 8 };
        if (size < 3 * offsetSize || size == 0)
            throw new MalformedException(Format, "size", "room for three offsets", $"{size} bytes");
        long modesEnd = Offset(1, offsetSize), xattrsEnd = Offset(2, offsetSize), rawEnd = Offset(3, offsetSize), end = size - (3 * offsetSize);
        if (modesEnd > xattrsEnd || xattrsEnd > rawEnd || rawEnd > end || xattrsEnd > MaximumTables || modesEnd % ModeSize != 0 || end - rawEnd > MaximumOperations)
            throw new MalformedException(Format, "offsets", $"rising ones up to {end}", $"{modesEnd}, {xattrsEnd}, {rawEnd}");
        modes = Read(0, modesEnd);
        xattrs = GVariant.Parse(XattrsTableType, Read(modesEnd, xattrsEnd - modesEnd)).Items;
        (RawAt, RawSize) = (xattrsEnd, rawEnd - xattrsEnd);
        Operations = Read(rawEnd, end - rawEnd);
    }

    public int ModeCount => modes.Length / ModeSize;

    public int XattrsCount => xattrs.Count;

    public long RawSize { get; }

    /// <summary>Whether it may have operations that libostree does not know.</summary>
    public bool MayRecompress { get; init; }

    public byte[] Operations { get; }

    private long RawAt { get; }

    /// <summary>Unpacks a part.</summary>
    /// <param name="part">Its bytes: how it is compressed, and the rest.</param>
    /// <param name="expected">What they must hash to; null for one that lies in the superblock.</param>
    /// <param name="limit">How many bytes it may unpack to: a few may say that they are very many.</param>
    /// <param name="tmp">Where bytes may wait that are too many for memory.</param>
    /// <param name="source">What it is, for errors.</param>
    /// <param name="counted">Against whose reserve those bytes count, as long as they wait; null for nobody's.</param>
    /// <param name="decoders">Lends what decompresses; null for one of its own.</param>
    /// <param name="mayRecompress">Whether it may have operations that libostree does not know.</param>
    /// <exception cref="DeltaException">It is another one, or none.</exception>
    /// <exception cref="NotEnoughSpaceException">There is no room for it.</exception>
    public static DeltaPart Open(Stream part, Checksum? expected, long limit, Dir tmp, string source, Transaction? counted = null, XzDecoders? decoders = null, bool mayRecompress = false)
    {
        var content = new Spool(tmp, InMemory, counted);
        try
        {
            using var hashed = new HashedInput(part);
            int kind = hashed.ReadByte();
            switch (kind)
            {
                case 0:
                    Unpack(hashed, content, limit);
                    break;
                case 'x':
                    Decompress(hashed, content, limit, decoders);
                    break;
                default:
                    throw new DeltaException(source, kind < 0 ? "empty" : $"Invalid compression type '{kind}'");
            }

            if (expected is { } wanted && hashed.Finish() is var found && found != wanted)
                throw new DeltaException(source, $"Checksum mismatch in static delta part; expected={wanted} actual={found}");
            return new DeltaPart(content) { MayRecompress = mayRecompress };
        }
        catch (Exception broken) when (broken is InvalidDataException or MalformedException)
        {
            content.Dispose();
            throw new DeltaException(source, broken.Message, broken);
        }
        catch
        {
            content.Dispose();
            throw;
        }
    }

    /// <summary>The raw bytes.</summary>
    public int ReadRaw(Span<byte> into, long offset) => content.ReadAt(into[..(int)Math.Clamp(RawSize - offset, 0, into.Length)], RawAt + offset);

    /// <summary>Owner, mode and xattrs of a file that is made; of a link also where it points.</summary>
    /// <exception cref="MalformedException">There is no such entry, or it is none of a file.</exception>
    public FileHeader HeaderOf(DeltaRecipe recipe)
    {
        ReadOnlySpan<byte> entry = modes.AsSpan(recipe.Mode * ModeSize, ModeSize);
        var mode = new Mode(BinaryPrimitives.ReadUInt32BigEndian(entry[8..]));
        if (!mode.IsRegular && !mode.IsSymlink)
            throw new MalformedException(Format, "mode", "a regular file or symbolic link", $"{mode}");
        return new FileHeader(
            BinaryPrimitives.ReadUInt32BigEndian(entry), BinaryPrimitives.ReadUInt32BigEndian(entry[4..]), mode,
            mode.IsSymlink ? Target(recipe) : null, XattrsAt(recipe.Xattrs));
    }

    /// <summary>Reads the operations: what is made, in order.</summary>
    /// <exception cref="MalformedException">They say what cannot be done.</exception>
    public IEnumerable<DeltaRecipe> Recipes(IReadOnlyList<ObjectName> objects) => new DeltaRecipeReader(this).Read(objects);

    /// <summary>How often each operation is there.</summary>
    /// <exception cref="MalformedException">They cannot be read.</exception>
    public DeltaOperationCounts Count(IReadOnlyList<ObjectName> objects)
    {
        var reader = new DeltaRecipeReader(this);
        foreach (DeltaRecipe _ in reader.Read(objects))
        {
        }

        return reader.Counts;
    }

    public void Dispose() => content.Dispose();

    private static void Decompress(Stream from, Spool to, long limit, XzDecoders? decoders)
    {
        if (decoders is not null)
        {
            decoders.Use(from, xz => Unpack(xz, to, limit));
            return;
        }

        using var own = new XzDecoder(from);
        Unpack(own, to, limit);
    }

    private static void Unpack(Stream from, Spool to, long limit)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(64 * 1024);
        try
        {
            for (int read; (read = from.Read(buffer)) > 0;)
            {
                if (to.Length + read > limit)
                    throw new MalformedException(Format, "size", $"at most {limit} bytes", "more");
                to.Write(buffer, 0, read);
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private string Target(DeltaRecipe recipe)
    {
        if (recipe.Size is 0 or > 4096 || recipe.Stretches is not [{ Source: null } stretch])
            throw new MalformedException(Format, "symlink target", "a path", $"{recipe.Size} bytes");
        var bytes = new byte[recipe.Size];
        ReadRaw(bytes, stretch.Offset);
        int end = Array.IndexOf(bytes, (byte)0);
        return FileName.FromBytes(end < 0 ? bytes : bytes.AsSpan(0, end));
    }

    private XattrList XattrsAt(int index)
    {
        lock (parsedXattrs)
        {
            if (parsedXattrs.TryGetValue(index, out XattrList? list))
                return list;
            byte[] bytes = xattrs[index].Bytes;
            if (bytes.Length > MaximumXattrs)
                throw new MalformedException(Format, "xattrs", $"at most {MaximumXattrs} bytes", $"{bytes.Length}");
            if ((parsedXattrsBytes += bytes.Length) > MaximumXattrs)
            {
                parsedXattrs.Clear();
                parsedXattrsBytes = bytes.Length;
            }

            list = XattrList.From(GVariant.Parse(XattrsType, bytes), Format);
            parsedXattrs.Add(index, list);
            return list;
        }
    }

    private byte[] Read(long offset, long count)
    {
        var bytes = new byte[count];
        content.ReadAt(bytes, offset);
        return bytes;
    }

    // The offsets lie at the end, the first one last.
    private long Offset(int fromEnd, int size)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        content.ReadAt(bytes[..size], content.Length - (fromEnd * size));
        return BinaryPrimitives.ReadInt64LittleEndian(bytes) is >= 0 and var offset ? offset : long.MaxValue;
    }
}

/// <summary>Reads through, and hashes all that there is.</summary>
internal sealed class HashedInput(Stream inner) : InputStream
{
    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    public override int Read(Span<byte> buffer)
    {
        int read = inner.Read(buffer);
        hash.AppendData(buffer[..read]);
        return read;
    }

    /// <summary>Reads what is left, and says what all of it hashes to.</summary>
    public Checksum Finish()
    {
        Span<byte> rest = stackalloc byte[4096];
        while (Read(rest) > 0)
        {
        }

        Span<byte> result = stackalloc byte[Checksum.Size];
        hash.GetHashAndReset(result);
        return Checksum.FromBytes(result);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            hash.Dispose();
    }
}
