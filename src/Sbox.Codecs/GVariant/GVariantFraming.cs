using System.Buffers.Binary;

namespace Sbox.Codecs;

/// <summary>Where one member of a container lies: offset and length in the container's bytes.</summary>
/// <param name="Start">Where it begins.</param>
/// <param name="Length">Bytes of it.</param>
public readonly record struct GVariantPart(int Start, int Length);

/// <summary>How a container's bytes are divided: padding, and the offsets at its end. Little-endian, whatever the machine.</summary>
/// <remarks>Only normal form is read: libostree refuses objects that are not, since two forms would have two checksums.</remarks>
public static class GVariantFraming
{
    internal static int Align(int offset, int alignment) => (offset + alignment - 1) & -alignment;

    /// <summary>The next multiple of an alignment.</summary>
    public static long Align(long offset, int alignment) => (offset + alignment - 1) & -alignment;

    /// <summary>Bytes of one offset in a container of this many bytes, offsets included.</summary>
    public static int OffsetSize(long containerSize) => containerSize switch
    {
        0 => 0,
        <= byte.MaxValue => 1,
        <= ushort.MaxValue => 2,
        _ => 4,
    };

    /// <summary>Bytes of one offset where <paramref name="count"/> of them must still follow <paramref name="bodySize"/> bytes.</summary>
    public static int OffsetSizeFor(long bodySize, int count) =>
        bodySize + count <= byte.MaxValue ? 1 : bodySize + (2L * count) <= ushort.MaxValue ? 2 : 4;

    /// <summary>Reads an offset of 1, 2 or 4 bytes.</summary>
    public static int ReadOffset(ReadOnlySpan<byte> bytes, int position, int size)
    {
        uint offset = size switch
        {
            1 => bytes[position],
            2 => BinaryPrimitives.ReadUInt16LittleEndian(bytes[position..]),
            _ => BinaryPrimitives.ReadUInt32LittleEndian(bytes[position..]),
        };
        return offset <= int.MaxValue ? (int)offset : int.MaxValue;
    }

    /// <summary>The elements of an array; null where there are more than <paramref name="most"/>.</summary>
    /// <exception cref="MalformedException">The bytes are no such array in normal form.</exception>
    public static GVariantPart[]? Array(ReadOnlySpan<byte> bytes, int alignment, int fixedSize, int most, string format)
    {
        if (bytes.IsEmpty)
            return [];
        if (fixedSize > 0)
            return bytes.Length / fixedSize > most ? null : FixedArray(bytes.Length, fixedSize, format);

        int offsetSize = OffsetSize(bytes.Length);
        int body = ReadOffset(bytes, Math.Max(0, bytes.Length - offsetSize), offsetSize);
        if (body > bytes.Length - offsetSize || (bytes.Length - body) % offsetSize != 0)
            throw Malformed(format, "array", "offsets that end at its end", $"the last element ending at {body} of {bytes.Length}");
        int count = (bytes.Length - body) / offsetSize;
        if (OffsetSizeFor(body, count) != offsetSize)
            throw Malformed(format, "array", "the smallest offsets that do", $"{offsetSize} bytes each");
        if (count > most)
            return null;
        var parts = new GVariantPart[count];
        int at = 0;
        for (int i = 0; i < count; i++)
            parts[i] = Next(bytes, body, alignment, ReadOffset(bytes, body + (i * offsetSize), offsetSize), ref at, format);
        return parts;
    }

    /// <summary>The members of a tuple or dictionary entry.</summary>
    /// <exception cref="MalformedException">The bytes are no such tuple in normal form.</exception>
    public static void Tuple(ReadOnlySpan<byte> bytes, ReadOnlySpan<(int Alignment, int FixedSize)> members, Span<GVariantPart> parts, string format)
    {
        int offsetSize = OffsetSize(bytes.Length);
        int variable = 0;
        for (int i = 0; i < members.Length - 1; i++)
            variable += members[i].FixedSize == 0 ? 1 : 0;
        int body = bytes.Length - (variable * offsetSize);
        if (body < 0 || (bytes.IsEmpty && variable > 0))
            throw Malformed(format, "tuple", $"room for {variable} offsets", $"{bytes.Length} bytes");
        int at = 0, offsetAt = bytes.Length;
        for (int i = 0; i < members.Length; i++)
        {
            (int alignment, int fixedSize) = members[i];
            int end = fixedSize > 0 ? Align(at, alignment) + fixedSize
                : i == members.Length - 1 ? body
                : ReadOffset(bytes, offsetAt -= offsetSize, offsetSize);
            parts[i] = Next(bytes, body, alignment, end, ref at, format);
        }

        if (variable > 0 && (at != body || OffsetSizeFor(body, variable) != offsetSize))
            throw Malformed(format, "tuple", $"members that fill {body} bytes", $"{at}");
        // One of a fixed size is as long as its alignment asks.
        if (bytes[at..body].ContainsAnyExcept((byte)0))
            throw Malformed(format, "padding", "zeros", Convert.ToHexStringLower(bytes[at..body]));
    }

    /// <summary>A string's text, without its NUL.</summary>
    /// <exception cref="MalformedException">It is not ended by a NUL, holds another one, or is no UTF-8.</exception>
    public static string Text(ReadOnlySpan<byte> bytes, string format)
    {
        if (bytes.IsEmpty || bytes.IndexOf((byte)0) != bytes.Length - 1)
            throw Malformed(format, "string", "one NUL, at its end", $"{bytes.Length} bytes with one at {bytes.IndexOf((byte)0)}");
        ReadOnlySpan<byte> text = bytes[..^1];
        return System.Text.Unicode.Utf8.IsValid(text)
            ? System.Text.Encoding.UTF8.GetString(text)
            : throw Malformed(format, "string", "UTF-8", Convert.ToHexStringLower(text));
    }

    private static GVariantPart[] FixedArray(int length, int fixedSize, string format)
    {
        if (length % fixedSize != 0)
            throw Malformed(format, "array", $"a multiple of {fixedSize} bytes", $"{length}");
        var parts = new GVariantPart[length / fixedSize];
        for (int i = 0; i < parts.Length; i++)
            parts[i] = new GVariantPart(i * fixedSize, fixedSize);
        return parts;
    }

    private static GVariantPart Next(ReadOnlySpan<byte> bytes, int body, int alignment, int end, ref int at, string format)
    {
        int start = Align(at, alignment);
        if (end > body || start > end)
            throw Malformed(format, "offset", $"{start} to {body}", $"{end}");
        if (bytes[at..start].ContainsAnyExcept((byte)0))
            throw Malformed(format, "padding", "zeros", Convert.ToHexStringLower(bytes[at..start]));
        at = end;
        return new GVariantPart(start, end - start);
    }

    private static MalformedException Malformed(string format, string part, string expected, string found) =>
        new(format, part, expected, found);
}
