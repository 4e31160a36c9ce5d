using System.Text;
using System.Text.Json;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>Reads restic's JSON from bytes that nobody vouches for: each field once, of the right kind, or a typed error.</summary>
internal static class JsonFields
{
    /// <summary>Runs a reader over JSON, so that what is no JSON is a <see cref="MalformedException"/>.</summary>
    public static T Read<T>(ReadOnlySpan<byte> json, string format, Reading<T> read)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 32 });
        try
        {
            reader.Read();
            T value = read(ref reader);
            return reader.Read() ? throw new MalformedException(format, "end", "nothing more", $"{reader.TokenType}") : value;
        }
        catch (Exception wrong) when (wrong is JsonException or InvalidOperationException or FormatException and not MalformedException or OverflowException)
        {
            throw new MalformedException(format, "JSON", "a document of that kind", wrong.Message);
        }
    }

    public delegate T Reading<T>(ref Utf8JsonReader reader);

    /// <summary>Steps to the next field's value; false at the object's end.</summary>
    public static bool Next(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType == JsonTokenType.PropertyName;
    }

    /// <summary>Steps into an object.</summary>
    public static void Object(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException($"an object was expected, not {reader.TokenType}");
    }

    /// <summary>Steps to the next element of the array that the reader is in (or stands before); false at its end, or for null.</summary>
    public static bool NextElement(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType != JsonTokenType.EndArray;
    }

    /// <summary>Whether the value that follows is an array; null is none.</summary>
    public static bool Array(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType switch
        {
            JsonTokenType.StartArray => true,
            JsonTokenType.Null => false,
            _ => throw new JsonException($"an array was expected, not {reader.TokenType}"),
        };
    }

    public static string Text(ref Utf8JsonReader reader)
    {
        reader.Read();
        return ThisText(ref reader);
    }

    /// <summary>The text that the reader stands on.</summary>
    public static string ThisText(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Null ? "" : reader.GetString()!;

    public static ulong Number(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType == JsonTokenType.Null ? 0 : reader.GetUInt64();
    }

    public static uint Small(ref Utf8JsonReader reader) => checked((uint)Number(ref reader));

    public static byte[] Bytes(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType == JsonTokenType.Null ? [] : reader.GetBytesFromBase64();
    }

    public static Moment Time(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType == JsonTokenType.String
            ? Moment.Parse(reader.HasValueSequence || reader.ValueIsEscaped ? Encoding.UTF8.GetBytes(reader.GetString()!) : reader.ValueSpan)
            : throw new JsonException("a time was expected");
    }

    public static Checksum Id(ref Utf8JsonReader reader)
    {
        reader.Read();
        return ThisId(ref reader);
    }

    /// <summary>The checksum that the reader stands on.</summary>
    public static Checksum ThisId(ref Utf8JsonReader reader)
    {
        Span<byte> bytes = stackalloc byte[Checksum.Size];
        return reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length == 64
            && Convert.FromHexString(reader.ValueSpan, bytes, out _, out _) == System.Buffers.OperationStatus.Done
            ? Checksum.FromBytes(bytes)
            : throw new JsonException("an id of 64 hexadecimal digits was expected");
    }

    public static List<string> Texts(ref Utf8JsonReader reader)
    {
        var texts = new List<string>();
        if (Array(ref reader))
        {
            while (NextElement(ref reader))
                texts.Add(reader.GetString() ?? "");
        }

        return texts;
    }

    /// <summary>Steps over a value that this version does not know.</summary>
    public static void Skip(ref Utf8JsonReader reader)
    {
        reader.Read();
        reader.Skip();
    }
}
