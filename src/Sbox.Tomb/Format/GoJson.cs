using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// JSON to the byte as Go's encoding/json writes it, since a tree's name is the checksum of its JSON. Names are quoted as Go's
/// strconv.Quote does before they are JSON strings.
/// </summary>
internal sealed class GoJson
{
    private static readonly SearchValues<byte> Plain = SearchValues.Create(
        " !#$%'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"u8);

    private readonly ArrayBufferWriter<byte> output = new(4096);

    /// <summary>What was written; until the next <see cref="Clear"/>.</summary>
    public ReadOnlyMemory<byte> Written => output.WrittenMemory;

    /// <summary>Begins anew in the same memory.</summary>
    public void Clear() => output.ResetWrittenCount();

    /// <summary>Bytes that are JSON already.</summary>
    public void Raw(ReadOnlySpan<byte> json) => output.Write(json);

    /// <summary>A number.</summary>
    public void Number(ulong value)
    {
        Span<byte> into = output.GetSpan(20);
        Utf8Formatter.TryFormat(value, into, out int used);
        output.Advance(used);
    }

    /// <summary>A checksum, quoted.</summary>
    public void Id(Checksum id)
    {
        Span<byte> into = output.GetSpan(66);
        into[0] = (byte)'"';
        Convert.TryToHexStringLower(id.Span, into[1..], out _);
        into[65] = (byte)'"';
        output.Advance(66);
    }

    /// <summary>A moment, quoted.</summary>
    public void Time(Moment moment)
    {
        Span<byte> into = output.GetSpan(Moment.MaxLength + 2);
        into[0] = (byte)'"';
        int used = moment.Write(into[1..]);
        into[used + 1] = (byte)'"';
        output.Advance(used + 2);
    }

    /// <summary>Base64, quoted: how Go writes bytes.</summary>
    public void Bytes(ReadOnlySpan<byte> bytes)
    {
        Span<byte> into = output.GetSpan(Base64.GetMaxEncodedToUtf8Length(bytes.Length) + 2);
        into[0] = (byte)'"';
        Base64.EncodeToUtf8(bytes, into[1..], out _, out int used);
        into[used + 1] = (byte)'"';
        output.Advance(used + 2);
    }

    /// <summary>A string, quoted. What is no UTF-8 (by <see cref="FileName"/>) becomes U+FFFD, as Go has it.</summary>
    public void Text(string text)
    {
        Span<byte> buffer = text.Length <= 256 ? stackalloc byte[text.Length * 3] : new byte[text.Length * 3];
        Quoted(buffer[..FileName.ToBytes(text, buffer)]);
    }

    /// <summary>A file's name: strconv.Quote without its quotes, then a JSON string.</summary>
    public void Name(string name)
    {
        Span<byte> buffer = name.Length <= 256 ? stackalloc byte[name.Length * 3] : new byte[name.Length * 3];
        ReadOnlySpan<byte> bytes = buffer[..FileName.ToBytes(name, buffer)];
        if (!bytes.ContainsAnyExcept(Plain))
        {
            Quoted(bytes);
            return;
        }

        var quoted = new ArrayBufferWriter<byte>(bytes.Length * 10);
        GoQuote.Write(bytes, quoted);
        Quoted(quoted.WrittenSpan);
    }

    private void Quoted(ReadOnlySpan<byte> utf8)
    {
        output.Write("\""u8);
        while (!utf8.IsEmpty)
        {
            int plain = utf8.IndexOfAnyExcept(Plain);
            if (plain < 0)
                plain = utf8.Length;
            output.Write(utf8[..plain]);
            utf8 = utf8[plain..];
            if (utf8.IsEmpty)
                break;
            if (Rune.DecodeFromUtf8(utf8, out Rune rune, out int used) != OperationStatus.Done)
            {
                output.Write("\\ufffd"u8);
                used = 1;
            }
            else
            {
                Escape(rune, utf8[..used]);
            }

            utf8 = utf8[used..];
        }

        output.Write("\""u8);
    }

    private void Escape(Rune rune, ReadOnlySpan<byte> utf8)
    {
        switch (rune.Value)
        {
            case '"':
                output.Write("\\\""u8);
                break;
            case '\\':
                output.Write("\\\\"u8);
                break;
            case '\b':
                output.Write("\\b"u8);
                break;
            case '\f':
                output.Write("\\f"u8);
                break;
            case '\n':
                output.Write("\\n"u8);
                break;
            case '\r':
                output.Write("\\r"u8);
                break;
            case '\t':
                output.Write("\\t"u8);
                break;
            case < 0x20 or '<' or '>' or '&' or 0x2028 or 0x2029:
                output.Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"\\u{rune.Value:x4}")));
                break;
            default:
                output.Write(utf8);
                break;
        }
    }
}

/// <summary>Go's strconv.Quote and Unquote, without the quotes: how restic keeps names that are any bytes in JSON.</summary>
internal static class GoQuote
{
    public static void Write(ReadOnlySpan<byte> name, IBufferWriter<byte> into)
    {
        while (!name.IsEmpty)
        {
            bool valid = Rune.DecodeFromUtf8(name, out Rune rune, out int used) == OperationStatus.Done;
            if (!valid)
            {
                used = 1;
                into.Write(Ascii($"\\x{name[0]:x2}"));
            }
            else if (rune.Value is '"' or '\\')
            {
                into.Write([(byte)'\\', (byte)rune.Value]);
            }
            else if (IsPrintable(rune))
            {
                into.Write(name[..used]);
            }
            else
            {
                into.Write(Ascii(rune.Value switch
                {
                    '\a' => "\\a",
                    '\b' => "\\b",
                    '\f' => "\\f",
                    '\n' => "\\n",
                    '\r' => "\\r",
                    '\t' => "\\t",
                    '\v' => "\\v",
                    < 0x20 or 0x7f => $"\\x{rune.Value:x2}",
                    < 0x10000 => $"\\u{rune.Value:x4}",
                    _ => $"\\U{rune.Value:x8}",
                }));
            }

            name = name[used..];
        }
    }

    /// <summary>The name's bytes.</summary>
    /// <exception cref="MalformedException">An escape is none.</exception>
    public static string Read(string quoted)
    {
        if (!quoted.Contains('\\', StringComparison.Ordinal))
            return quoted;
        ReadOnlySpan<byte> text = Encoding.UTF8.GetBytes(quoted);
        var bytes = new ArrayBufferWriter<byte>(text.Length);
        while (!text.IsEmpty)
        {
            int plain = text.IndexOf((byte)'\\');
            if (plain < 0)
                plain = text.Length;
            bytes.Write(text[..plain]);
            text = text[plain..];
            if (!text.IsEmpty)
                text = text[Unescape(text, bytes, quoted)..];
        }

        return FileName.FromBytes(bytes.WrittenSpan);
    }

    private static int Unescape(ReadOnlySpan<byte> text, ArrayBufferWriter<byte> into, string quoted)
    {
        if (text.Length < 2)
            throw Wrong(quoted);
        switch ((char)text[1])
        {
            case 'x':
                into.Write([(byte)Hex(text, 2, quoted)]);
                return 4;
            case 'u' or 'U':
                int digits = text[1] == 'u' ? 4 : 8;
                uint value = Hex(text, digits, quoted);
                if (!Rune.IsValid(value))
                    throw Wrong(quoted);
                Span<byte> utf8 = stackalloc byte[4];
                into.Write(utf8[..new Rune(value).EncodeToUtf8(utf8)]);
                return digits + 2;
            case >= '0' and <= '3':
                if (text.Length < 4 || text[1..4].ContainsAnyExceptInRange((byte)'0', (byte)'7'))
                    throw Wrong(quoted);
                into.Write([(byte)(((text[1] - '0') * 64) + ((text[2] - '0') * 8) + text[3] - '0')]);
                return 4;
            default:
                int which = "abfnrtv\\\"'".IndexOf((char)text[1], StringComparison.Ordinal);
                into.Write(which >= 0 ? [(byte)"\a\b\f\n\r\t\v\\\"'"[which]] : throw Wrong(quoted));
                return 2;
        }
    }

    private static uint Hex(ReadOnlySpan<byte> text, int digits, string quoted) =>
        text.Length >= digits + 2 && Utf8Parser.TryParse(text.Slice(2, digits), out uint value, out int used, 'x') && used == digits ? value : throw Wrong(quoted);

    private static MalformedException Wrong(string quoted) => new("restic tree", "name", "Go's escapes", $"'{quoted}'");

    private static byte[] Ascii(string text) => Encoding.ASCII.GetBytes(text);

    // Go's IsPrint: letters, marks, numbers, punctuation, symbols, and the ASCII space.
    private static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned
        or UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
}
