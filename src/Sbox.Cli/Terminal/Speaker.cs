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
        if (json)
            Console.Out.WriteLine(JsonLine(properties));
        else
            Write(PlainText.ForOutput(text) + "\n");
    }

    /// <summary>An answer about something that has a name, which may hold anything: on a terminal it stays one line, in a pipe the name's bytes are as they are.</summary>
    /// <param name="text">One line.</param>
    /// <param name="properties">The object for programs.</param>
    /// <param name="end">What ends it in a pipe: NUL, which no name holds, where whoever reads it asked for that.</param>
    public void Line(string text, Action<Utf8JsonWriter> properties, char end = '\n')
    {
        if (json)
            Console.Out.WriteLine(JsonLine(properties));
        else
            Write(PlainText.LineForOutput(text) + end);
    }

    /// <summary>One line on stderr about something that went wrong and did not end the work.</summary>
    public static void Complain(string text) => Console.Error.WriteLine(PlainText.LineForError($"sbox: {text}"));

    /// <summary>A name for programs: as text, and where it is none, its bytes too, in base64, as <c>NAME_raw</c>; restic's format has the same for where links lead.</summary>
    public static void Name(Utf8JsonWriter writer, string property, string name)
    {
        byte[]? raw = PlainText.BytesOf(name);
        writer.WriteString(property, raw is null ? name : Encoding.UTF8.GetString(raw));
        if (raw is not null)
            writer.WriteBase64String($"{property}_raw", raw);
    }

    private static void Write(string text)
    {
        if (PlainText.BytesOf(text) is not { } raw || !Console.IsOutputRedirected)
        {
            Console.Out.Write(text);
            return;
        }

        using Stream output = Console.OpenStandardOutput(); // Console.Out keeps nothing back
        output.Write(raw);
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
