using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Sbox.Cli.Terminal;

/// <summary>How the program speaks: answers on stdout, everything else on stderr, one JSON object a line when asked.</summary>
internal sealed class Speaker
{
    private readonly bool json;

    public Speaker(bool json) => this.json = json;

    /// <summary>Whether stderr is a terminal, so that progress may be drawn there.</summary>
    public static bool Watched { get; } = !Console.IsErrorRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb");

    /// <summary>Whether answers are JSON.</summary>
    public bool Json => json;

    /// <summary>An answer: the text for people, or the object for programs.</summary>
    public void Answer(string text, Action<Utf8JsonWriter> properties)
    {
        if (!json)
        {
            Console.Out.WriteLine(PlainText.ForOutput(text));
            return;
        }

        Console.Out.WriteLine(JsonLine(properties));
    }

    /// <summary>A line on stderr, for people only.</summary>
    public void Note(string text)
    {
        if (!json)
            Console.Error.WriteLine(PlainText.ForError(text));
    }

    /// <summary>What people read as lines on stderr, for programs: <c>notes</c>, left out where there are none.</summary>
    public static void Notes(Utf8JsonWriter writer, IReadOnlyList<string> notes)
    {
        if (notes.Count == 0)
            return;
        writer.WriteStartArray("notes");
        foreach (string note in notes)
            writer.WriteStringValue(note);
        writer.WriteEndArray();
    }

    /// <summary>One JSON object on one line.</summary>
    public static string JsonLine(Action<Utf8JsonWriter> properties)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            properties(writer);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }
}
