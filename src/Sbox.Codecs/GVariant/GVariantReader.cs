using System.Buffers.Binary;

namespace Sbox.Codecs;

/// <summary>Bytes in normal form to a tree of values.</summary>
internal static class GVariantReader
{
    private const string Format = "GVariant";

    public static GVariant Read(GVariantType type, ReadOnlySpan<byte> bytes, int depth)
    {
        if (depth > GVariantType.MaximumDepth)
            throw new MalformedException(Format, "nesting", $"at most {GVariantType.MaximumDepth} levels", "more");
        if (type.FixedSize > 0 && bytes.Length != type.FixedSize)
            throw new MalformedException(Format, type.Signature, $"{type.FixedSize} bytes", $"{bytes.Length}");
        return new GVariant(type, Value(type, bytes, depth));
    }

    private static object Value(GVariantType type, ReadOnlySpan<byte> bytes, int depth) => type.Kind switch
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
        'v' => Variant(bytes, depth),
        'm' => Maybe(type.Children[0], bytes, depth),
        'a' => type.Children[0].Kind == 'y' ? bytes.ToArray() : Array(type.Children[0], bytes, depth),
        _ => Tuple(type.Children, bytes, depth),
    };

    private static GVariant Variant(ReadOnlySpan<byte> bytes, int depth)
    {
        int end = bytes.LastIndexOf((byte)0);
        if (end < 0)
            throw new MalformedException(Format, "v", "a NUL before its type", "none");
        var type = GVariantType.Parse(System.Text.Encoding.ASCII.GetString(bytes[(end + 1)..]));
        return Read(type, bytes[..end], depth + 1);
    }

    private static GVariant[] Maybe(GVariantType element, ReadOnlySpan<byte> bytes, int depth)
    {
        if (bytes.IsEmpty)
            return [];
        if (element.FixedSize == 0 && bytes[^1] != 0)
            throw new MalformedException(Format, "m", "a zero at its end", $"{bytes[^1]}");
        return [Read(element, element.FixedSize == 0 ? bytes[..^1] : bytes, depth + 1)];
    }

    private static GVariant[] Array(GVariantType element, ReadOnlySpan<byte> bytes, int depth)
    {
        GVariantPart[] parts = GVariantFraming.Array(bytes, element.Alignment, element.FixedSize, Format);
        var items = new GVariant[parts.Length];
        for (int i = 0; i < items.Length; i++)
            items[i] = Read(element, bytes.Slice(parts[i].Start, parts[i].Length), depth + 1);
        return items;
    }

    private static GVariant[] Tuple(IReadOnlyList<GVariantType> members, ReadOnlySpan<byte> bytes, int depth)
    {
        var shape = new (int, int)[members.Count];
        for (int i = 0; i < shape.Length; i++)
            shape[i] = (members[i].Alignment, members[i].FixedSize);
        var parts = new GVariantPart[members.Count];
        GVariantFraming.Tuple(bytes, shape, parts, Format);
        var items = new GVariant[members.Count];
        for (int i = 0; i < items.Length; i++)
            items[i] = Read(members[i], bytes.Slice(parts[i].Start, parts[i].Length), depth + 1);
        return items;
    }
}
