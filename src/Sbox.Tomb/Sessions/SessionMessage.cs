using System.Buffers;
using System.Net.Sockets;
using System.Text.Json;

namespace Sbox.Tomb.Sessions;

/// <summary>What a session is asked for, over its socket: one JSON object a line each way.</summary>
public enum SessionRequest
{
    /// <summary>How it stands.</summary>
    Status,
    /// <summary>Save now.</summary>
    Save,
    /// <summary>Save and close.</summary>
    Close,
    /// <summary>Close at once, whoever uses it.</summary>
    Slam,
    /// <summary>What the hooks did.</summary>
    Hooks,
    /// <summary>Save and close as soon as nobody uses it any more.</summary>
    Leave,
    /// <summary>What is pinned; with <c>paths</c>, pin these, or with <c>remove</c> let go of them.</summary>
    Pin,
    /// <summary>Save, and have the upper layer begin anew above what is saved.</summary>
    Fold,
    /// <summary>Somebody came: forget a <see cref="Leave"/>.</summary>
    Stay,
}

/// <summary>Words on a session's socket.</summary>
internal static class SessionMessage
{
    public const string SocketName = "control";

    private const int LongestLine = 1 << 20;

    public static byte[] Line(Action<Utf8JsonWriter> properties)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            properties(writer);
            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>One line; null when the other side closed.</summary>
    public static async Task<JsonDocument?> Read(Socket socket, CancellationToken cancel)
    {
        var line = new MemoryStream();
        var buffer = new byte[4096];
        while (line.Length < LongestLine)
        {
            int read = await socket.ReceiveAsync(buffer, cancel);
            if (read == 0)
                return null;
            line.Write(buffer, 0, read);
            if (buffer[read - 1] == '\n')
                return JsonDocument.Parse(line.ToArray());
        }

        throw new InvalidDataException("a line without an end");
    }

    public static void Write(Utf8JsonWriter json, SessionStatus status)
    {
        json.WriteString("name", status.Name);
        json.WriteString("at", status.MountPoint);
        json.WriteString("tomb", status.Location);
        Text(json, "opened", status.Opened);
        Text(json, "saved", status.Saved);
        if (status.SavedAt is { } at)
            json.WriteString("saved-at", at);
        json.WriteNumber("unsaved-files", status.UnsavedFiles);
        json.WriteNumber("unsaved-bytes", status.UnsavedBytes);
        json.WriteBoolean("changed", status.Changed);
        if (status.Expected is { } expected)
            json.WriteNumber("save-takes-seconds", Math.Round(expected.TotalSeconds, 1));
        json.WriteNumber("upper-bytes", status.UpperBytes);
        json.WriteString("upper", status.UpperPlace);
        if (status.UpperLimit is { } limit)
            json.WriteNumber("upper-limit", limit);
        json.WriteStartArray("largest");
        foreach (LargeFile file in status.Largest)
        {
            json.WriteStartObject();
            json.WriteString("path", file.Path);
            json.WriteNumber("bytes", file.Bytes);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteNumber("requests", status.Requests);
        json.WriteNumber("fetched-bytes", status.Fetched);
        if (status.OfflineSince is { } gone)
            json.WriteString("offline-since", gone);
        Text(json, "save-failure", status.SaveFailure);
        Text(json, "damage", status.Damage);
        Text(json, "conflict", status.Conflict);
    }

    public static SessionStatus ReadStatus(JsonElement json) => new()
    {
        Name = json.GetProperty("name").GetString()!,
        MountPoint = json.GetProperty("at").GetString()!,
        Location = json.GetProperty("tomb").GetString()!,
        Opened = Text(json, "opened"),
        Saved = Text(json, "saved"),
        SavedAt = json.TryGetProperty("saved-at", out JsonElement at) ? at.GetDateTimeOffset() : null,
        UnsavedFiles = json.GetProperty("unsaved-files").GetInt64(),
        UnsavedBytes = json.GetProperty("unsaved-bytes").GetInt64(),
        Changed = json.GetProperty("changed").GetBoolean(),
        Expected = json.TryGetProperty("save-takes-seconds", out JsonElement takes) ? TimeSpan.FromSeconds(takes.GetDouble()) : null,
        UpperBytes = json.GetProperty("upper-bytes").GetInt64(),
        UpperPlace = json.GetProperty("upper").GetString()!,
        UpperLimit = json.TryGetProperty("upper-limit", out JsonElement limit) ? limit.GetInt64() : null,
        Largest = json.TryGetProperty("largest", out JsonElement largest)
            ? [.. largest.EnumerateArray().Select(static file => new LargeFile(file.GetProperty("path").GetString()!, file.GetProperty("bytes").GetInt64()))] : [],
        Requests = json.GetProperty("requests").GetInt64(),
        Fetched = json.GetProperty("fetched-bytes").GetInt64(),
        OfflineSince = json.TryGetProperty("offline-since", out JsonElement gone) ? gone.GetDateTimeOffset() : null,
        SaveFailure = Text(json, "save-failure"),
        Damage = Text(json, "damage"),
        Conflict = Text(json, "conflict"),
    };

    public static void Write(Utf8JsonWriter json, SessionSave save)
    {
        Text(json, "snapshot", save.Snapshot);
        json.WriteNumber("files", save.Files);
        json.WriteNumber("bytes-read", save.BytesRead);
        json.WriteNumber("bytes-stored", save.BytesStored);
        json.WriteNumber("seconds", Math.Round(save.Seconds, 3));
        Text(json, "conflict", save.Conflict);
        Text(json, "not-of-one-moment", save.Blurred);
    }

    public static SessionSave ReadSave(JsonElement json) => new(
        Text(json, "snapshot"), json.GetProperty("files").GetInt64(), json.GetProperty("bytes-read").GetInt64(), json.GetProperty("bytes-stored").GetInt64(),
        json.GetProperty("seconds").GetDouble(), Text(json, "conflict")) { Blurred = Text(json, "not-of-one-moment") };

    public static void Write(Utf8JsonWriter json, PinnedPaths pins)
    {
        json.WriteStartArray("pinned");
        foreach (string path in pins.Paths)
            json.WriteStringValue(path);
        json.WriteEndArray();
        json.WriteNumber("pinned-bytes", pins.Bytes);
    }

    public static PinnedPaths ReadPins(JsonElement json) =>
        new([.. json.GetProperty("pinned").EnumerateArray().Select(static path => path.GetString()!)], json.GetProperty("pinned-bytes").GetInt64());

    public static string? Text(JsonElement json, string name) => json.TryGetProperty(name, out JsonElement value) ? value.GetString() : null;

    private static void Text(Utf8JsonWriter json, string name, string? text)
    {
        if (text is not null)
            json.WriteString(name, text);
    }
}
