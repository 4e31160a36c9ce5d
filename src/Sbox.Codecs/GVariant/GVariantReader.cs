using System.Buffers.Binary;

namespace Sbox.Codecs;

/// <summary>Bytes in normal form to a tree of values.</summary>
internal static class GVariantReader
{
    /// <summary>Values in all: each costs some 60 bytes of memory, and may be of one byte or none. A directory of 10 MiB has less than half as many.</summary>
    public const int MaximumValues = 2 * 1024 * 1024;

    private const string Format = "GVariant";

    public static GVariant Read(GVariantType type, ReadOnlySpan<byte> bytes)
    {
        int left = MaximumValues;
        return Read(type, bytes, 0, ref left);
    }

    private static GVariant Read(GVariantType type, ReadOnlySpan<byte> bytes, int depth, ref int left)
    {
        if (left-- <= 0)
            throw TooMany();
        if (depth > GVariantType.MaximumDepth)
            throw new MalformedException(Format, "nesting", $"at most {GVariantType.MaximumDepth} levels", "more");
        if (type.FixedSize > 0 && bytes.Length != type.FixedSize)
            throw new MalformedException(Format, type.Signature, $"{type.FixedSize} bytes", $"{bytes.Length}");
        return new GVariant(type, Value(type, bytes, depth, ref left));
    }

    private static object Value(GVariantType type, ReadOnlySpan<byte> bytes, int depth, ref int left) => type.Kind switch
    {
        'b' => bytes[0] <= 1 ? bytes[0] == 1 : throw new MalformedException(Format, "b", "0 or 1", $"{bytes[0]}"),
        'y' => bytes[0],
        'n' => BinaryPrimitives.ReadInt16LittleEndian(bytes),
        'q' => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
        'i' or 'h' => BinaryPrimitives.ReadInt32LittleEndian(bytes),
        'u' => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
        'x' => BinaryPrimitives.ReadInt64LittleEndian(bytes),
        't' => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
        'd' => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
        's' or 'o' or 'g' => GVariantFraming.Text(bytes, Format),
        'v' => Variant(bytes, depth, ref left),
        'm' => Maybe(type.Children[0], bytes, depth, ref left),
        'a' => type.Children[0].Kind == 'y' ? bytes.ToArray() : Array(type.Children[0], bytes, depth, ref left),
        _ => Tuple(type.Children, bytes, depth, ref left),
    };

    private static GVariant Variant(ReadOnlySpan<byte> bytes, int depth, ref int left)
    {
        int end = bytes.LastIndexOf((byte)0);
        if (end < 0)
            throw new MalformedException(Format, "v", "a NUL before its type", "none");
        var type = GVariantType.Parse(System.Text.Encoding.ASCII.GetString(bytes[(end + 1)..]));
        return Read(type, bytes[..end], depth + 1, ref left);
    }

    private static GVariant[] Maybe(GVariantType element, ReadOnlySpan<byte> bytes, int depth, ref int left)
    {
        if (bytes.IsEmpty)
            return [];
        if (element.FixedSize == 0 && bytes[^1] != 0)
            throw new MalformedException(Format, "m", "a zero at its end", $"{bytes[^1]}");
        return [Read(element, element.FixedSize == 0 ? bytes[..^1] : bytes, depth + 1, ref left)];
    }

    private static GVariant[] Array(GVariantType element, ReadOnlySpan<byte> bytes, int depth, ref int left)
    {
        GVariantPart[] parts = GVariantFraming.Array(bytes, element.Alignment, element.FixedSize, left, Format) ?? throw TooMany();
        var items = new GVariant[parts.Length];
        for (int i = 0; i < items.Length; i++)
            items[i] = Read(element, bytes.Slice(parts[i].Start, parts[i].Length), depth + 1, ref left);
        return items;
    }

    private static GVariant[] Tuple(IReadOnlyList<GVariantType> members, ReadOnlySpan<byte> bytes, int depth, ref int left)
    {
        var shape = new (int, int)[members.Count];
        for (int i = 0; i < shape.Length; i++)
            shape[i] = (members[i].Alignment, members[i].FixedSize);
        var parts = new GVariantPart[members.Count];
        GVariantFraming.Tuple(bytes, shape, parts, Format);
        var items = new GVariant[members.Count];
        for (int i = 0; i < items.Length; i++)
            items[i] = Read(members[i], bytes.Slice(parts[i].Start, parts[i].Length), depth + 1, ref left);
        return items;
    }

    private static MalformedException TooMany() => new(Format, "values", $"at most {MaximumValues}", "more");
}
