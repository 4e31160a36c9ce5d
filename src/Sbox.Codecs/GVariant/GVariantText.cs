using System.Globalization;
using System.Text;

namespace Sbox.Codecs;

/// <summary>Values as <c>g_variant_print</c> writes them, which is how ostree shows metadata.</summary>
internal static class GVariantText
{
    public static string Print(GVariant value, bool annotate)
    {
        var text = new StringBuilder();
        Print(value, annotate, text);
        return text.ToString();
    }

    private static void Print(GVariant value, bool annotate, StringBuilder text)
    {
        switch (value.Type.Kind)
        {
            case 'a' when value.Value is byte[] bytes:
                PrintBytes(bytes, annotate, text);
                break;
            case 'a':
                PrintArray(value, annotate, text);
                break;
            case '(':
                text.Append('(');
                for (int i = 0; i < value.Items.Count; i++)
                    Print(value.Items[i], annotate, text.Append(i > 0 ? ", " : ""));
                text.Append(value.Items.Count == 1 ? ",)" : ")");
                break;
            case '{':
                text.Append('{');
                Print(value.Items[0], annotate, text);
                Print(value.Items[1], annotate, text.Append(", "));
                text.Append('}');
                break;
            case 'v':
                Print(value.Boxed, annotate: true, text.Append('<'));
                text.Append('>');
                break;
            case 'm':
                PrintMaybe(value, annotate, text);
                break;
            default:
                text.Append(annotate ? Prefix(value.Type.Kind) : "");
                PrintBasic(value, text);
                break;
        }
    }

    private static string Prefix(char kind) => kind switch
    {
        'y' => "byte ",
        'n' => "int16 ",
        'q' => "uint16 ",
        'u' => "uint32 ",
        'x' => "int64 ",
        't' => "uint64 ",
        'h' => "handle ",
        'o' => "objectpath ",
        'g' => "signature ",
        _ => "",
    };

    private static void PrintBasic(GVariant value, StringBuilder text)
    {
        switch (value.Value)
        {
            case bool b: text.Append(b ? "true" : "false"); break;
            case byte y: text.Append(CultureInfo.InvariantCulture, $"0x{y:x2}"); break;
            case string s: Quote(s, text); break;
            case double d:
                PrintDouble(d, text);
                break;
            default: text.Append(CultureInfo.InvariantCulture, $"{value.Value}"); break;
        }
    }

    // C's "%.17g", with ".0" where that looks like an integer.
    private static void PrintDouble(double number, StringBuilder text)
    {
        string printed = double.IsNaN(number) ? "nan"
            : double.IsInfinity(number) ? number > 0 ? "inf" : "-inf"
            : number.ToString("G17", CultureInfo.InvariantCulture).Replace('E', 'e');
        text.Append(printed).Append(printed.AsSpan().ContainsAnyExcept("-0123456789") ? "" : ".0");
    }

    private static void PrintArray(GVariant array, bool annotate, StringBuilder text)
    {
        bool dictionary = array.Type.Children[0].Kind == '{';
        if (array.Items.Count == 0)
        {
            text.Append(annotate ? $"@{array.Type} " : "").Append(dictionary ? "{}" : "[]");
            return;
        }

        // The first item's annotation tells the type of all the others.
        text.Append(dictionary ? '{' : '[');
        for (int i = 0; i < array.Items.Count; i++)
        {
            text.Append(i > 0 ? ", " : "");
            bool first = annotate && i == 0;
            if (!dictionary)
            {
                Print(array.Items[i], first, text);
                continue;
            }

            Print(array.Items[i].Items[0], first, text);
            Print(array.Items[i].Items[1], first, text.Append(": "));
        }

        text.Append(dictionary ? '}' : ']');
    }

    private static void PrintBytes(byte[] bytes, bool annotate, StringBuilder text)
    {
        if (bytes.Length == 0)
        {
            text.Append(annotate ? "@ay []" : "[]");
        }
        else if (Array.IndexOf(bytes, (byte)0) == bytes.Length - 1)
        {
            PrintByteString(bytes.AsSpan(0, bytes.Length - 1), text);
        }
        else
        {
            for (int i = 0; i < bytes.Length; i++)
                text.Append(i == 0 ? annotate ? "[byte " : "[" : ", ").Append(CultureInfo.InvariantCulture, $"0x{bytes[i]:x2}");
            text.Append(']');
        }
    }

    private static void PrintByteString(ReadOnlySpan<byte> bytes, StringBuilder text)
    {
        char quote = bytes.Contains((byte)'\'') ? '"' : '\'';
        text.Append('b').Append(quote);
        foreach (byte c in bytes)
        {
            text.Append(c switch
            {
                (byte)'\b' => "\\b",
                (byte)'\f' => "\\f",
                (byte)'\n' => "\\n",
                (byte)'\r' => "\\r",
                (byte)'\t' => "\\t",
                (byte)'\v' => "\\v",
                (byte)'\\' => "\\\\",
                (byte)'"' => "\\\"",
                < 0x20 or >= 0x7f => "\\" + Convert.ToString(c, 8).PadLeft(3, '0'),
                _ => ((char)c).ToString(),
            });
        }

        text.Append(quote);
    }

    private static void PrintMaybe(GVariant maybe, bool annotate, StringBuilder text)
    {
        text.Append(annotate ? $"@{maybe.Type} " : "");
        for (; maybe.Type.Kind == 'm'; maybe = maybe.Items[0])
        {
            if (maybe.Items.Count == 0)
            {
                text.Append("nothing");
                return;
            }

            if (maybe.Items[0] is { Type.Kind: 'm', Items.Count: 0 })
                text.Append("just ");
        }

        Print(maybe, annotate: false, text);
    }

    private static void Quote(string value, StringBuilder text)
    {
        char quote = value.Contains('\'', StringComparison.Ordinal) ? '"' : '\'';
        text.Append(quote);
        foreach (Rune rune in value.EnumerateRunes())
        {
            if (rune.Value == quote || rune.Value == '\\')
                text.Append('\\').Append(rune.ToString());
            else if (Visible(rune))
                text.Append(rune.ToString());
            else
                text.Append(Escape(rune));
        }

        text.Append(quote);
    }

    private static bool Visible(Rune rune) => Rune.GetUnicodeCategory(rune) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate);

    private static string Escape(Rune rune) => rune.Value switch
    {
        '\a' => "\\a",
        '\b' => "\\b",
        '\f' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\v' => "\\v",
        < 0x10000 => $"\\u{rune.Value:x4}",
        _ => $"\\U{rune.Value:x8}",
    };
}
