using System.Text.Json;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>What a home was at one moment: a tree, and who saved it when.</summary>
public sealed record Snapshot
{
    /// <summary>Its id: the checksum of its file. Unset while it is not written.</summary>
    public Checksum Id { get; init; }

    /// <summary>When it was begun.</summary>
    public required Moment Time { get; init; }

    /// <summary>The snapshot that it was compared with, for what had changed.</summary>
    public Checksum? Parent { get; init; }

    /// <summary>The tree of <c>/</c>: the saved paths are found in it by their names.</summary>
    public required Checksum Tree { get; init; }

    /// <summary>What was saved: absolute paths.</summary>
    public required IReadOnlyList<string> Paths { get; init; }

    /// <summary>The machine.</summary>
    public string Hostname { get; init; } = "";

    /// <summary>Who saved it.</summary>
    public string Username { get; init; } = "";

    /// <summary>Their number.</summary>
    public uint Uid { get; init; }

    /// <summary>Their group.</summary>
    public uint Gid { get; init; }

    /// <summary>Patterns that were left out.</summary>
    public IReadOnlyList<string> Excludes { get; init; } = [];

    /// <summary>Words that its owner gave it.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>The snapshot that this one was made of by changing words about it, or by leaving out what was lost.</summary>
    public Checksum? Original { get; init; }

    /// <summary>Which program wrote it.</summary>
    public string ProgramVersion { get; init; } = "";

    /// <summary>JSON of restic's own figures, kept as it is; null where there are none.</summary>
    public byte[]? Summary { get; init; }

    /// <summary>Reads a snapshot's JSON.</summary>
    /// <param name="json">The document; borrowed for the call.</param>
    /// <param name="id">The file's name.</param>
    /// <exception cref="MalformedException">It is none.</exception>
    public static Snapshot Parse(ReadOnlySpan<byte> json, Checksum id) => JsonFields.Read(json, "restic snapshot", (ref Utf8JsonReader reader) =>
    {
        var snapshot = new Snapshot { Id = id, Time = default, Tree = default, Paths = [] };
        bool tree = false;
        JsonFields.Object(ref reader);
        while (JsonFields.Next(ref reader))
        {
            string field = reader.GetString()!;
            tree |= field == "tree";
            snapshot = field switch
            {
                "time" => snapshot with { Time = JsonFields.Time(ref reader) },
                "parent" => snapshot with { Parent = JsonFields.Id(ref reader) },
                "tree" => snapshot with { Tree = JsonFields.Id(ref reader) },
                "paths" => snapshot with { Paths = JsonFields.Texts(ref reader) },
                "hostname" => snapshot with { Hostname = JsonFields.Text(ref reader) },
                "username" => snapshot with { Username = JsonFields.Text(ref reader) },
                "uid" => snapshot with { Uid = JsonFields.Small(ref reader) },
                "gid" => snapshot with { Gid = JsonFields.Small(ref reader) },
                "excludes" => snapshot with { Excludes = JsonFields.Texts(ref reader) },
                "tags" => snapshot with { Tags = JsonFields.Texts(ref reader) },
                "original" => snapshot with { Original = JsonFields.Id(ref reader) },
                "program_version" => snapshot with { ProgramVersion = JsonFields.Text(ref reader) },
                "summary" => snapshot with { Summary = Raw(ref reader) },
                _ => Skipping(snapshot, ref reader),
            };
        }

        return tree ? snapshot : throw new MalformedException("restic snapshot", "tree", "an id", "none");
    });

    /// <summary>The document that restic would write.</summary>
    public byte[] ToBytes()
    {
        var json = new GoJson();
        json.Raw("{\"time\":"u8);
        json.Time(Time);
        Link(json, ",\"parent\":"u8, Parent);
        Link(json, ",\"tree\":"u8, Tree);
        json.Raw(",\"paths\":"u8);
        List(json, Paths);
        Text(json, ",\"hostname\":"u8, Hostname);
        Text(json, ",\"username\":"u8, Username);
        Number(json, ",\"uid\":"u8, Uid);
        Number(json, ",\"gid\":"u8, Gid);
        if (Excludes.Count > 0)
        {
            json.Raw(",\"excludes\":"u8);
            List(json, Excludes);
        }

        if (Tags.Count > 0)
        {
            json.Raw(",\"tags\":"u8);
            List(json, Tags);
        }

        Link(json, ",\"original\":"u8, Original);
        Text(json, ",\"program_version\":"u8, ProgramVersion);
        if (Summary is not null)
        {
            json.Raw(",\"summary\":"u8);
            json.Raw(Summary);
        }

        json.Raw("}"u8);
        return json.Written.ToArray();
    }

    private static byte[]? Raw(ref Utf8JsonReader reader)
    {
        reader.Read();
        using JsonDocument document = JsonDocument.ParseValue(ref reader);
        return document.RootElement.ValueKind == JsonValueKind.Null ? null : System.Text.Encoding.UTF8.GetBytes(document.RootElement.GetRawText());
    }

    private static Snapshot Skipping(Snapshot snapshot, ref Utf8JsonReader reader)
    {
        JsonFields.Skip(ref reader);
        return snapshot;
    }

    private static void Link(GoJson json, ReadOnlySpan<byte> field, Checksum? id)
    {
        if (id is not { } known)
            return;
        json.Raw(field);
        json.Id(known);
    }

    private static void Text(GoJson json, ReadOnlySpan<byte> field, string text)
    {
        if (text.Length == 0)
            return;
        json.Raw(field);
        json.Text(text);
    }

    private static void Number(GoJson json, ReadOnlySpan<byte> field, uint number)
    {
        if (number == 0)
            return;
        json.Raw(field);
        json.Number(number);
    }

    private static void List(GoJson json, IReadOnlyList<string> texts)
    {
        json.Raw("["u8);
        for (int at = 0; at < texts.Count; at++)
        {
            if (at > 0)
                json.Raw(","u8);
            json.Text(texts[at]);
        }

        json.Raw("]"u8);
    }
}
