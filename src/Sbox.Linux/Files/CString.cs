using System.Text;

namespace Sbox.Linux;

/// <summary>A name as the kernel takes it: its bytes and a NUL. Names that are no UTF-8 travel as <see cref="FileName"/> escapes.</summary>
internal static class CString
{
    /// <summary>What <see cref="Of(string, Span{byte})"/> is given on the stack.</summary>
    public const int Short = 256;

    /// <summary>The same in memory of the caller's, where it has room for it: names are made for every call, and no object need be.</summary>
    public static ReadOnlySpan<byte> Of(string text, Span<byte> room)
    {
        if (text.Length >= room.Length || !Ascii.IsValid(text) || text.Contains('\0', StringComparison.Ordinal))
            return Of(text);
        Ascii.FromUtf16(text, room, out int used);
        room[used] = 0;
        return room[..(used + 1)];
    }

    /// <summary>The bytes of <paramref name="text"/> followed by a NUL.</summary>
    /// <exception cref="ArgumentException">The text holds a NUL, which would cut the name short.</exception>
    public static byte[] Of(string text)
    {
        if (text.Contains('\0', StringComparison.Ordinal))
            throw new ArgumentException("a path cannot hold a NUL", nameof(text));
        if (Ascii.IsValid(text))
        {
            var plain = new byte[text.Length + 1]; // nearly every name is
            Ascii.FromUtf16(text, plain, out _);
            return plain;
        }

        var bytes = new byte[FileName.Encoding.GetMaxByteCount(text.Length) + 1];
        int used = FileName.ToBytes(text, bytes);
        bytes[used] = 0;
        return bytes;
    }
}

/// <summary>
/// File names as strings without loss. A name is bytes to the kernel; what is no UTF-8 maps byte by byte to the lone low
/// surrogates U+DC80..U+DCFF (as Python's surrogateescape does), and back to the very same bytes.
/// </summary>
public static class FileName
{
    internal static readonly UTF8Encoding Encoding = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The string for a name's bytes.</summary>
    /// <param name="bytes">The name without its NUL; borrowed for the call.</param>
    public static string FromBytes(ReadOnlySpan<byte> bytes)
    {
        if (System.Text.Unicode.Utf8.IsValid(bytes))
            return Encoding.GetString(bytes);
        var text = new StringBuilder(bytes.Length);
        while (!bytes.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(bytes, out Rune rune, out int used) == System.Buffers.OperationStatus.Done)
            {
                text.Append(rune.ToString());
                bytes = bytes[used..];
            }
            else
            {
                text.Append((char)(0xDC00 + bytes[0]));
                bytes = bytes[1..];
            }
        }

        return text.ToString();
    }

    /// <summary>The bytes for a name's string: what <see cref="FromBytes"/> was given.</summary>
    public static byte[] ToBytes(string text)
    {
        var bytes = new byte[Encoding.GetMaxByteCount(text.Length)];
        return bytes[..ToBytes(text, bytes)];
    }

    /// <summary>The same into memory of the caller's: three bytes a character are enough. Returns the bytes written.</summary>
    public static int ToBytes(string text, Span<byte> destination)
    {
        int used = 0;
        for (int at = 0; at < text.Length;)
        {
            char c = text[at];
            if (c < 0x80)
            {
                destination[used++] = (byte)c;
                at++;
            }
            else if (c is >= '\uDC80' and <= '\uDCFF')
            {
                destination[used++] = (byte)(c - 0xDC00);
                at++;
            }
            else if (Rune.DecodeFromUtf16(text.AsSpan(at), out Rune rune, out int chars) == System.Buffers.OperationStatus.Done)
            {
                used += rune.EncodeToUtf8(destination[used..]);
                at += chars;
            }
            else
            {
                throw new ArgumentException($"'{text}' holds a lone surrogate that stands for no byte", nameof(text));
            }
        }

        return used;
    }
}
