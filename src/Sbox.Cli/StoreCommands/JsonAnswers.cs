using System.Text.Json;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>
/// Answers of a command on a repository as JSON, one object a line. What the command says in libostree's words meanwhile is kept back; where it
/// has no objects of its own to give, those words are the one object.
/// </summary>
internal sealed class JsonAnswers : IDisposable
{
    private static JsonAnswers? current;
    private readonly TextWriter output = Console.Out;
    private readonly StringWriter words = new();
    private bool answered;

    public JsonAnswers()
    {
        Console.SetOut(words);
        current = this;
    }

    /// <summary>Whether JSON is asked for.</summary>
    public static bool AreAsked => current is not null;

    /// <summary>Gives an object, where JSON is asked for.</summary>
    public static void Say(Action<Utf8JsonWriter> properties)
    {
        if (current is null)
            return;
        current.answered = true;
        current.output.WriteLine(Speaker.JsonLine(properties));
    }

    /// <summary>Gives a commit.</summary>
    public static void Say(Checksum checksum, Commit commit) => Say(writer =>
    {
        writer.WriteString("commit", $"{checksum}");
        if (commit.Parent is { } parent)
            writer.WriteString("parent", $"{parent}");
        writer.WriteString("time", commit.Time.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture));
        writer.WriteString("subject", commit.Subject);
        if (commit.Body.Length > 0)
            writer.WriteString("body", commit.Body);
        if (commit.Version is { } version)
            writer.WriteString("version", version);
        writer.WriteString("contentChecksum", $"{commit.ContentChecksum}");
    });

    /// <summary>Gives what a pull did.</summary>
    public static void Say(PullResult result) => Say(writer =>
    {
        writer.WriteStartObject("refs");
        foreach ((string name, Checksum target) in result.Refs)
            writer.WriteString(name, $"{target}");
        writer.WriteEndObject();
        writer.WriteNumber("metadata", result.Metadata);
        writer.WriteNumber("content", result.Content);
        writer.WriteNumber("localMetadata", result.LocalMetadata);
        writer.WriteNumber("localContent", result.LocalContent);
        writer.WriteNumber("bytes", result.BytesTransferred);
        writer.WriteNumber("contentBytes", result.ContentBytes);
        writer.WriteNumber("deltaParts", result.Deltas.Parts);
        writer.WriteNumber("deltaPartsTotal", result.Deltas.TotalParts);
        writer.WriteNumber("deltaBytes", result.Deltas.Size);
        Speaker.Notes(writer, result.Notes);
    });

    /// <summary>Ends the answer of a command that is done.</summary>
    public void Finish(string command)
    {
        if (answered)
            return;
        Say(writer =>
        {
            writer.WriteString("command", command);
            writer.WriteBoolean("done", true);
            if (words.ToString().TrimEnd() is { Length: > 0 } said)
                writer.WriteString("output", said);
        });
    }

    public void Dispose()
    {
        Console.SetOut(output);
        current = null;
        words.Dispose();
    }
}
