using System.Text;
using System.Text.Json;

namespace Sbox.Codecs;

/// <summary>JSON with one spelling, so that it can be signed: names in order, no blanks, no needless escapes.</summary>
/// <remarks>docs/formats/receipt.md, after RFC 8785. Numbers are whole ones only, as written; nothing here needs others.</remarks>
public static class CanonicalJson
{
    private const int Deepest = 32;

    /// <summary>The bytes of a value, UTF-8.</summary>
    /// <param name="value">The value; borrowed for the call.</param>
    /// <param name="without">A name of the outermost object that is left out; null for none.</param>
    /// <exception cref="MalformedException">A number is no whole number, a name stands twice, or it is nested too deep.</exception>
    public static byte[] Of(JsonElement value, string? without = null)
    {
        var text = new StringBuilder();
        Write(text, value, without, 0);
        return Encoding.UTF8.GetBytes(text.ToString());
    }

    private static void Write(StringBuilder text, JsonElement value, string? without, int depth)
    {
        if (depth > Deepest)
            throw Malformed("nesting", $"at most {Deepest} levels", "more");
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                WriteObject(text, value, without, depth);
                break;
            case JsonValueKind.Array:
                text.Append('[');
                foreach (JsonElement item in value.EnumerateArray())
                {
                    if (text[^1] != '[')
                        text.Append(',');
                    Write(text, item, null, depth + 1);
                }

                text.Append(']');
                break;
            case JsonValueKind.String:
                WriteString(text, value.GetString()!);
                break;
            case JsonValueKind.Number:
                text.Append(value.TryGetInt64(out long whole) && Math.Abs(whole) < 1L << 53 ? whole : throw Malformed("number", "a whole number below 2^53", value.GetRawText()));
                break;
            default:
                text.Append(value.GetRawText()); // true, false, null
                break;
        }
    }

    private static void WriteObject(StringBuilder text, JsonElement value, string? without, int depth)
    {
        text.Append('{');
        string? before = null;
        foreach (JsonProperty property in value.EnumerateObject().OrderBy(static each => each.Name, StringComparer.Ordinal))
        {
            if (property.Name == before)
                throw Malformed("name", "each once", $"'{before}' twice"); // readers differ in which one they take
            if (property.Name != without)
            {
                if (text[^1] != '{')
                    text.Append(',');
                WriteString(text, property.Name);
                text.Append(':');
                Write(text, property.Value, null, depth + 1);
            }

            before = property.Name;
        }

        text.Append('}');
    }

    private static void WriteString(StringBuilder text, string value)
    {
        text.Append('"');
        foreach (char letter in value)
        {
            _ = letter switch
            {
                '"' => text.Append("\\\""),
                '\\' => text.Append("\\\\"),
                '\b' => text.Append("\\b"),
                '\t' => text.Append("\\t"),
                '\n' => text.Append("\\n"),
                '\f' => text.Append("\\f"),
                '\r' => text.Append("\\r"),
                < ' ' => text.Append("\\u00").Append("0123456789abcdef"[letter >> 4]).Append("0123456789abcdef"[letter & 15]),
                _ => text.Append(letter),
            };
        }

        text.Append('"');
    }

    private static MalformedException Malformed(string part, string expected, string found) => new("canonical JSON", part, expected, found);
}
