using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Sbox.Integrity;

/// <summary>A finding that is reported: how bad, who, when, and what was done about it.</summary>
/// <param name="Finding">What.</param>
/// <param name="Severity">How bad.</param>
/// <param name="Culprit">Who; null where it is not known.</param>
/// <param name="Time">When it was reported.</param>
/// <param name="Namespace">The mount namespace.</param>
/// <param name="Latency">From the call's end to the report; null where no call was seen.</param>
public sealed record Alarm(Finding Finding, Severity Severity, Culprit? Culprit, DateTimeOffset Time, uint Namespace, TimeSpan? Latency)
{
    /// <summary>What was done, a word each; filled in by the reactions.</summary>
    public IReadOnlyList<string> Done { get; init; } = [];

    /// <summary>The alarm as one line for people.</summary>
    public override string ToString() =>
        $"{Finding.Path}: {Finding.Says}; by {Culprit?.ToString() ?? "someone unknown"}{(Done.Count > 0 ? $"; {string.Join(", ", Done)}" : "")}";

    /// <summary>The alarm as one JSON object on one line, as the history keeps it.</summary>
    public string ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("time", Time.UtcDateTime);
            json.WriteString("severity", PolicyReader.NameOf(Severity));
            json.WriteString("finding", PolicyReader.NameOf(Finding.Kind));
            json.WriteString("path", Finding.Path);
            json.WriteString("says", Finding.Says);
            json.WriteNumber("namespace", Namespace);
            if (Finding.IsOver)
                json.WriteBoolean("over", true);
            if (Latency is { } latency)
                json.WriteNumber("latency-us", (long)latency.TotalMicroseconds);
            if (Culprit is { } who)
                Write(json, who);
            if (Done.Count > 0)
            {
                json.WriteStartArray("done");
                foreach (string step in Done)
                    json.WriteStringValue(step);
                json.WriteEndArray();
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    private static void Write(Utf8JsonWriter json, Culprit who)
    {
        json.WriteStartObject("by");
        json.WriteNumber("pid", who.Process);
        json.WriteString("exe", who.Program);
        json.WriteBoolean("of-system", who.IsOfSystem);
        json.WriteString("comm", who.Name);
        json.WriteString("command-line", who.CommandLine);
        json.WriteString("cgroup", who.ControlGroup);
        json.WriteNumber("uid", who.User);
        if (who.LoginUser is { } login)
            json.WriteNumber("login-uid", login);
        json.WriteNumber("parent", who.Parent);
        json.WriteEndObject();
    }
}
