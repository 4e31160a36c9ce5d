using System.Buffers;
using System.Buffers.Binary;

namespace Sbox.Codecs;

/// <summary>A tree of values to bytes in normal form; also the pieces with which other formats write theirs directly.</summary>
public static class GVariantWriter
{
    internal static byte[] Write(GVariant value)
    {
        var output = new ArrayBufferWriter<byte>();
        Write(value, output, start: 0);
        return output.WrittenSpan.ToArray();
    }

    /// <summary>Zeros until the container that began at <paramref name="start"/> is a multiple of <paramref name="alignment"/> long.</summary>
    internal static void Pad(ArrayBufferWriter<byte> output, int start, int alignment)
    {
        int size = output.WrittenCount - start;
        int padding = GVariantFraming.Align(size, alignment) - size;
        output.GetSpan(8)[..padding].Clear();
        output.Advance(padding);
    }

    /// <summary>The ends of a container's elements, behind its body that began at <paramref name="start"/>.</summary>
    public static void Offsets(ArrayBufferWriter<byte> output, int start, ReadOnlySpan<int> ends, bool reversed)
    {
        int size = GVariantFraming.OffsetSizeFor(output.WrittenCount - start, ends.Length);
        Span<byte> span = output.GetSpan(4);
        for (int i = 0; i < ends.Length; i++)
        {
            span = output.GetSpan(4);
            BinaryPrimitives.WriteUInt32LittleEndian(span, (uint)ends[reversed ? ends.Length - 1 - i : i]);
            output.Advance(size);
        }
    }

    /// <summary>A string and its NUL.</summary>
    public static void Text(ArrayBufferWriter<byte> output, string text)
    {
        System.Text.EncodingExtensions.GetBytes(System.Text.Encoding.UTF8, text, output);
        output.GetSpan(1)[0] = 0;
        output.Advance(1);
    }

    // start: where the outermost container begins, to which all alignment is relative. Every child's own start is aligned
    // at least as strictly as its members need, so aligning to the outermost start is the same as aligning to its own.
    private static void Write(GVariant value, ArrayBufferWriter<byte> output, int start)
    {
        switch (value.Type.Kind)
        {
            case 's' or 'o' or 'g':
                Text(output, value.Text);
                break;
            case 'v':
                Write(value.Boxed, output, start);
                output.Write<byte>([0]);
                output.Write(System.Text.Encoding.ASCII.GetBytes(value.Boxed.Type.Signature));
                break;
            case 'm':
                foreach (GVariant item in value.Items)
                    Write(item, output, start);
                if (value.Items.Count > 0 && value.Type.Children[0].FixedSize == 0)
                    output.Write<byte>([0]);
                break;
            case 'a' when value.Value is byte[] bytes:
                output.Write(bytes);
                break;
            case 'a':
                Items(value, output, start);
                break;
            case '(' or '{':
                Items(value, output, start);
                break;
            default:
                Number(value, output);
                break;
        }
    }

    private static void Items(GVariant container, ArrayBufferWriter<byte> output, int start)
    {
        int own = output.WrittenCount;
        bool isArray = container.Type.Kind == 'a';
        var ends = new List<int>();
        for (int i = 0; i < container.Items.Count; i++)
        {
            GVariant item = container.Items[i];
            Pad(output, start, item.Type.Alignment);
            Write(item, output, start);
            if (item.Type.FixedSize == 0 && (isArray || i < container.Items.Count - 1))
                ends.Add(output.WrittenCount - own);
        }

        if (container.Type.FixedSize > 0)
        {
            Pad(output, start, container.Type.Alignment);
            if (container.Items.Count == 0)
                output.Write<byte>([0]);
        }

        Offsets(output, own, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(ends), reversed: !isArray);
    }

    private static void Number(GVariant value, ArrayBufferWriter<byte> output)
    {
        int size = value.Type.FixedSize;
        Span<byte> span = output.GetSpan(size);
        switch (value.Value)
        {
            case bool b: span[0] = b ? (byte)1 : (byte)0; break;
            case byte y: span[0] = y; break;
            case short n: BinaryPrimitives.WriteInt16LittleEndian(span, n); break;
            case ushort q: BinaryPrimitives.WriteUInt16LittleEndian(span, q); break;
            case int i: BinaryPrimitives.WriteInt32LittleEndian(span, i); break;
            case uint u: BinaryPrimitives.WriteUInt32LittleEndian(span, u); break;
            case long x: BinaryPrimitives.WriteInt64LittleEndian(span, x); break;
            case ulong t: BinaryPrimitives.WriteUInt64LittleEndian(span, t); break;
            case double d: BinaryPrimitives.WriteDoubleLittleEndian(span, d); break;
            default: throw new InvalidOperationException($"no bytes for {value.Type}");
        }

        output.Advance(size);
    }
}
