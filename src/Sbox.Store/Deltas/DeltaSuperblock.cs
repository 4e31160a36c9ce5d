using System.Buffers.Binary;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>One part of a delta, as its superblock has it.</summary>
/// <param name="Version">Of the part's format; 0.</param>
/// <param name="Checksum">Of the part's bytes.</param>
/// <param name="Size">Bytes of the part.</param>
/// <param name="UncompressedSize">Bytes of the objects that it makes.</param>
/// <param name="Objects">Those objects, in the order in which it makes them.</param>
public sealed record DeltaPartHeader(uint Version, Checksum Checksum, ulong Size, ulong UncompressedSize, IReadOnlyList<ObjectName> Objects);

/// <summary>An object that a delta does not bring: it is to be fetched by itself.</summary>
/// <param name="Name">The object.</param>
/// <param name="Size">Bytes to fetch.</param>
/// <param name="UncompressedSize">Bytes of content.</param>
public sealed record DeltaFallback(ObjectName Name, ulong Size, ulong UncompressedSize);

/// <summary>In which order the numbers of a superblock have their bytes.</summary>
/// <param name="IsBig">Most significant first.</param>
/// <param name="IsKnown">It says so, or the numbers do.</param>
/// <param name="IsGuessed">It does not say so (deltas made before 2016): the numbers were looked at.</param>
public readonly record struct DeltaEndianness(bool IsBig, bool IsKnown, bool IsGuessed)
{
    /// <summary>As <c>ostree static-delta show</c> prints it.</summary>
    public override string ToString() => !IsKnown ? "invalid" : (IsBig ? "big" : "little") + (IsGuessed ? " (heuristic)" : "");
}

/// <summary>A superblock's bytes, and what signs them.</summary>
/// <param name="Content">The bytes.</param>
/// <param name="Signatures">By the name of the kind of key.</param>
public sealed record SignedDelta(byte[] Content, VariantDictionary Signatures);

/// <summary>What a static delta is: the commits it leads from and to, its parts, and what it leaves to be fetched by itself.</summary>
/// <param name="Name">The commits.</param>
/// <param name="Metadata">More, by names; parts that lie in the superblock itself among them.</param>
/// <param name="Timestamp">Seconds since 1970 in UTC.</param>
/// <param name="Commit">The commit object's bytes.</param>
/// <param name="Endianness">How the numbers were written.</param>
/// <param name="Parents">Deltas that it says come first; libostree writes none.</param>
/// <param name="Parts">Its parts.</param>
/// <param name="Fallbacks">What it does not bring.</param>
/// <param name="Signatures">What signs it: by the name of the kind of key; null where nothing does.</param>
/// <remarks>docs/formats/static-delta.md, after libostree's ostree-repo-static-delta-private.h.</remarks>
public sealed record DeltaSuperblock(
    DeltaName Name, VariantDictionary Metadata, ulong Timestamp, byte[] Commit, DeltaEndianness Endianness, int Parents,
    IReadOnlyList<DeltaPartHeader> Parts, IReadOnlyList<DeltaFallback> Fallbacks, VariantDictionary? Signatures)
{
    /// <summary>Its metadata's name for the order of bytes.</summary>
    internal const string EndiannessKey = "ostree.endianness";

    /// <summary>The name in a summary and an index under which deltas are listed.</summary>
    internal const string ListKey = "ostree.static-deltas";

    /// <summary>The parts' newest version that libostree knows.</summary>
    internal const uint PartVersion = 0;

    /// <summary>The version of parts that compress again what they make; libostree refuses it. Those of version 1 knew of xz alone: what has such ones is not used any more.</summary>
    internal const uint RecompressingVersion = 2;

    /// <summary>Its metadata's name for the smaller delta beside it, of which libostree knows nothing.</summary>
    internal const string RecompressingKey = "sbox.recompressing";

    internal const int ObjectSize = 1 + Checksum.Size;

    private const string Format = "static delta";
    internal const ulong SignedMagic = 0x4F535453474E4454; // OSTSGNDT

    /// <summary>The file's GVariant type.</summary>
    internal static readonly GVariantType Type = GVariantType.Parse($"(a{{sv}}tayay{Store.Commit.Type.Signature}aya(uayttay)a(yaytt))");

    /// <summary>The type of a part that lies in the superblock.</summary>
    internal static readonly GVariantType InlineType = GVariantType.Parse("(yay)");

    private static readonly GVariantType SignedType = GVariantType.Parse("(taya{sv})");

    /// <summary>What lies beside the commit, its signatures among it; null where the delta brings nothing.</summary>
    internal VariantDictionary? Detached => Metadata[Name.DetachedMetadata] is { Type.Signature: "a{sv}" } detached ? new VariantDictionary(detached) : null;

    /// <summary>The smaller delta beside this one, where there is one.</summary>
    internal RecompressingDelta? Recompressing => Metadata[RecompressingKey] is { } said ? RecompressingDelta.From(said) : null;

    /// <summary>Whether this is such a smaller one.</summary>
    internal bool Recompresses => Parts.Any(static part => part.Version == RecompressingVersion);

    /// <summary>A part's path.</summary>
    public string PathOf(int index) => Parts[index].Version == RecompressingVersion ? Name.RecompressingPart(index) : Name.Part(index);

    /// <summary>Reads a superblock, signed or not.</summary>
    /// <param name="bytes">The whole file; borrowed for the call.</param>
    /// <exception cref="MalformedException">The bytes are none.</exception>
    public static DeltaSuperblock Parse(ReadOnlySpan<byte> bytes)
    {
        if (!IsSigned(bytes))
            return Parse(bytes, null);
        GVariant signed = GVariant.Parse(SignedType, bytes);
        return Parse(signed.Items[1].Bytes, new VariantDictionary(signed.Items[2]));
    }

    /// <summary>The bytes that are signed, and by what; null where they are not.</summary>
    /// <exception cref="MalformedException">It begins as a signed one, and is none.</exception>
    public static SignedDelta? Signed(ReadOnlySpan<byte> bytes)
    {
        if (!IsSigned(bytes))
            return null;
        GVariant signed = GVariant.Parse(SignedType, bytes);
        return new SignedDelta(signed.Items[1].Bytes, new VariantDictionary(signed.Items[2]));
    }

    /// <summary>A superblock's bytes with what signs them.</summary>
    internal static byte[] Sign(byte[] superblock, VariantDictionary signatures) =>
        GVariant.Tuple(BigEndian.Of(SignedMagic), GVariant.Of(superblock), signatures.Variant).ToBytes();

    /// <summary>Whether a part lies in the superblock itself: then nothing but the superblock vouches for it.</summary>
    internal bool IsInline(int index) => Metadata[Name.Part(index)] is { } part && part.Type.Equals(InlineType);

    /// <summary>A part that lies in the superblock itself; null where it is a file beside it.</summary>
    internal byte[]? Inline(int index) => Metadata[Name.Part(index)] is { } part && part.Type.Equals(InlineType) ? part.ToBytes() : null;

    private static bool IsSigned(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 8 && BinaryPrimitives.ReadUInt64BigEndian(bytes) == SignedMagic;

    private static DeltaSuperblock Parse(ReadOnlySpan<byte> bytes, VariantDictionary? signatures) => Of(GVariant.Parse(Type, bytes).Items, signatures);

    /// <summary>A superblock of its members.</summary>
    /// <exception cref="MalformedException">They are none of one.</exception>
    internal static DeltaSuperblock Of(IReadOnlyList<GVariant> items, VariantDictionary? signatures)
    {
        byte[] from = items[2].Bytes;
        var name = new DeltaName(from.Length == 0 ? null : Checksum.FromBytes(from), Checksum.FromBytes(items[3].Bytes));
        var metadata = new VariantDictionary(items[0]);
        List<DeltaPartHeader> parts = [.. items[6].Items.Select(static part => Part(part.Items))];
        List<DeltaFallback> fallbacks = [.. items[7].Items.Select(static item => Fallback(item.Items))];
        DeltaEndianness endianness = EndiannessOf(metadata, parts);
        if (endianness.IsBig)
        {
            parts = [.. parts.Select(static part => part with
            {
                Version = BinaryPrimitives.ReverseEndianness(part.Version),
                Size = BinaryPrimitives.ReverseEndianness(part.Size),
                UncompressedSize = BinaryPrimitives.ReverseEndianness(part.UncompressedSize),
            })];
            fallbacks = [.. fallbacks.Select(static item => item with
            {
                Size = BinaryPrimitives.ReverseEndianness(item.Size),
                UncompressedSize = BinaryPrimitives.ReverseEndianness(item.UncompressedSize),
            })];
        }

        return new DeltaSuperblock(
            name, metadata, BigEndian.From64(items[1]), items[4].ToBytes(), endianness, items[5].Bytes.Length / (2 * Checksum.Size), parts, fallbacks, signatures);
    }

    private static DeltaPartHeader Part(IReadOnlyList<GVariant> items)
    {
        byte[] objects = items[4].Bytes;
        if (objects.Length % ObjectSize != 0)
            throw new MalformedException(Format, "objects", $"a multiple of {ObjectSize} bytes", $"{objects.Length}");
        var names = new ObjectName[objects.Length / ObjectSize];
        for (int i = 0; i < names.Length; i++)
            names[i] = ObjectOf(objects.AsSpan(i * ObjectSize, ObjectSize));
        return new DeltaPartHeader((uint)items[0].Unsigned, Checksum.FromBytes(items[1].Bytes), items[2].Unsigned, items[3].Unsigned, names);
    }

    private static DeltaFallback Fallback(IReadOnlyList<GVariant> items) =>
        new(ObjectOf([items[0].Byte, .. items[1].Bytes]), items[2].Unsigned, items[3].Unsigned);

    private static ObjectName ObjectOf(ReadOnlySpan<byte> bytes)
    {
        var type = (ObjectType)bytes[0];
        return type is ObjectType.File or ObjectType.DirTree or ObjectType.DirMeta or ObjectType.Commit
            ? new ObjectName(Checksum.FromBytes(bytes[1..]), type)
            : throw new MalformedException(Format, "object type", "1 to 4", $"{bytes[0]}");
    }

    // Deltas of long ago do not say in which order their numbers' bytes are. Parts that would be much larger compressed than not, or
    // objects of 4 GiB on average, are numbers read the wrong way round.
    private static DeltaEndianness EndiannessOf(VariantDictionary metadata, List<DeltaPartHeader> parts)
    {
        if (metadata[EndiannessKey] is { Type.Kind: 'y' } said)
            return new DeltaEndianness(said.Byte == 'B', said.Byte is (byte)'B' or (byte)'l', false);
        ulong size = 0;
        long objects = 0;
        foreach (DeltaPartHeader part in parts)
        {
            if (part.Size > part.UncompressedSize && part.Size / (double)part.UncompressedSize > 1.2)
                return new DeltaEndianness(true, true, true);
            size = ulong.MaxValue - size < part.Size ? ulong.MaxValue : size + part.Size;
            objects += part.Objects.Count;
        }

        return objects > 0 && size / (ulong)objects > uint.MaxValue
            ? new DeltaEndianness(true, true, true)
            : new DeltaEndianness(false, false, true);
    }
}
