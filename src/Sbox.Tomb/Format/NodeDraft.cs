using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>An entry of a directory as it is read: what <see cref="Node"/> has, without being an object. Borrowed, its contents' list too.</summary>
internal ref struct NodeDraft(List<Checksum> room)
{
    [ThreadStatic]
    private static string? lastUser, lastGroup;

    private byte[]? rawTarget, generic;
    private List<Xattr>? xattrs;
    private ReadOnlySpan<byte> plainName;
    private string? quotedName;
    private string user = "", group = "", target = "", error = "";

    public readonly string Name => quotedName ?? FileName.FromBytes(plainName);

    /// <summary>The name as the kernel has it: of most entries the very bytes that were read.</summary>
    public readonly ReadOnlySpan<byte> NameBytes => quotedName is null ? plainName : FileName.ToBytes(quotedName);

    public NodeType Type { get; private set; }

    public uint Mode { get; private set; }

    public uint Uid { get; private set; }

    public uint Gid { get; private set; }

    public Moment Modified { get; private set; }

    public Moment Accessed { get; private set; }

    public Moment Changed { get; private set; }

    public ulong Inode { get; private set; }

    public ulong DeviceId { get; private set; }

    public ulong Size { get; private set; }

    public ulong Links { get; private set; }

    public ulong Device { get; private set; }

    public List<Checksum>? Content { get; private set; }

    public Checksum? Subtree { get; private set; }

    public readonly string LinkTarget => rawTarget is null ? target : FileName.FromBytes(rawTarget);

    public readonly IReadOnlyList<Xattr> Xattrs => xattrs is null ? [] : xattrs;

    public readonly bool IsHardlinked => Type == NodeType.File && Links > 1;

    /// <summary>Reads a field that the reader stands at; false for one that nobody knows.</summary>
    public bool Field(ref Utf8JsonReader reader)
    {
        if (reader.ValueTextEquals("name"u8))
            ReadName(ref reader);
        else if (reader.ValueTextEquals("type"u8))
            Type = ReadType(ref reader);
        else if (reader.ValueTextEquals("mode"u8))
            Mode = JsonFields.Small(ref reader);
        else if (reader.ValueTextEquals("mtime"u8))
            Modified = JsonFields.Time(ref reader);
        else if (reader.ValueTextEquals("atime"u8))
            Accessed = JsonFields.Time(ref reader);
        else if (reader.ValueTextEquals("ctime"u8))
            Changed = JsonFields.Time(ref reader);
        else if (reader.ValueTextEquals("uid"u8))
            Uid = JsonFields.Small(ref reader);
        else if (reader.ValueTextEquals("gid"u8))
            Gid = JsonFields.Small(ref reader);
        else if (reader.ValueTextEquals("inode"u8))
            Inode = JsonFields.Number(ref reader);
        else if (reader.ValueTextEquals("device_id"u8))
            DeviceId = JsonFields.Number(ref reader);
        else if (reader.ValueTextEquals("size"u8))
            Size = JsonFields.Number(ref reader);
        else if (reader.ValueTextEquals("links"u8))
            Links = JsonFields.Number(ref reader);
        else if (reader.ValueTextEquals("content"u8))
            Content = ReadContent(ref reader, room);
        else
            return Rarer(ref reader);
        return true;
    }

    /// <summary>Whether it could be an entry of a directory.</summary>
    /// <exception cref="MalformedException">It could not.</exception>
    public readonly void Check()
    {
        // A hostile name could lead out of the directory that it is restored into.
        ReadOnlySpan<byte> name = NameBytes;
        if (name.IsEmpty || name.SequenceEqual("."u8) || name.SequenceEqual(".."u8) || name.ContainsAny((byte)'/', (byte)0))
            throw new MalformedException("restic tree", "name", "a name without '/'", $"'{Name}'");
        if (Type == NodeType.Directory && Subtree is null)
            throw new MalformedException("restic tree", Name, "a subtree", "a directory without one");
    }

    /// <summary>The same as an object, with a list of its own.</summary>
    public readonly Node ToNode() => new()
    {
        Name = Name, Type = Type, Mode = Mode, Modified = Modified, Accessed = Accessed, Changed = Changed, Uid = Uid, Gid = Gid, User = user, Group = group,
        Inode = Inode, DeviceId = DeviceId, Size = Size, Links = Links, LinkTarget = LinkTarget, Xattrs = Xattrs, GenericAttributes = generic, Device = Device,
        Content = Content is null ? null : [.. Content], Subtree = Subtree, Error = error,
    };

    private void ReadName(ref Utf8JsonReader reader)
    {
        reader.Read();
        bool isPlain = reader.TokenType == JsonTokenType.String && !reader.ValueIsEscaped && Utf8.IsValid(reader.ValueSpan);
        plainName = isPlain ? reader.ValueSpan : default;
        quotedName = isPlain ? null : GoQuote.Read(JsonFields.ThisText(ref reader));
    }

    private bool Rarer(ref Utf8JsonReader reader)
    {
        if (reader.ValueTextEquals("user"u8))
            user = Same(ref reader, ref lastUser);
        else if (reader.ValueTextEquals("group"u8))
            group = Same(ref reader, ref lastGroup);
        else if (reader.ValueTextEquals("subtree"u8))
            Subtree = JsonFields.Id(ref reader);
        else if (reader.ValueTextEquals("linktarget"u8))
            target = JsonFields.Text(ref reader);
        else if (reader.ValueTextEquals("linktarget_raw"u8))
            rawTarget = JsonFields.Bytes(ref reader);
        else if (reader.ValueTextEquals("extended_attributes"u8))
            xattrs = ReadXattrs(ref reader);
        else if (reader.ValueTextEquals("device"u8))
            Device = JsonFields.Number(ref reader);
        else if (reader.ValueTextEquals("error"u8))
            error = JsonFields.Text(ref reader);
        else if (reader.ValueTextEquals("generic_attributes"u8))
            generic = ReadRaw(ref reader);
        else
            return false;
        return true;
    }

    private static NodeType ReadType(ref Utf8JsonReader reader)
    {
        reader.Read();
        foreach ((NodeType known, byte[] text) in NodeJson.Types)
        {
            if (reader.ValueTextEquals(text))
                return known;
        }

        return NodeType.Irregular;
    }

    // Most entries of a directory have the owner of the one before: one text for all of them.
    private static string Same(ref Utf8JsonReader reader, ref string? last)
    {
        Utf8JsonReader ahead = reader;
        ahead.Read();
        if (last is not null && ahead.TokenType == JsonTokenType.String && ahead.ValueTextEquals(last))
        {
            reader = ahead;
            return last;
        }

        return last = JsonFields.Text(ref reader);
    }

    private static List<Checksum>? ReadContent(ref Utf8JsonReader reader, List<Checksum> ids)
    {
        if (!JsonFields.Array(ref reader))
            return null;
        ids.Clear(); // a field that comes twice counts once
        while (JsonFields.NextElement(ref reader))
            ids.Add(JsonFields.ThisId(ref reader));
        return ids;
    }

    private static List<Xattr> ReadXattrs(ref Utf8JsonReader reader)
    {
        var list = new List<Xattr>();
        if (!JsonFields.Array(ref reader))
            return list;
        while (JsonFields.NextElement(ref reader))
        {
            string attribute = "";
            byte[] value = [];
            JsonFields.Object(ref reader);
            while (JsonFields.Next(ref reader))
            {
                if (reader.ValueTextEquals("name"u8))
                    attribute = JsonFields.Text(ref reader);
                else if (reader.ValueTextEquals("value"u8))
                    value = JsonFields.Bytes(ref reader);
                else
                    JsonFields.Skip(ref reader);
            }

            list.Add(new Xattr(attribute, value));
        }

        return list;
    }

    private static byte[] ReadRaw(ref Utf8JsonReader reader)
    {
        reader.Read();
        using JsonDocument document = JsonDocument.ParseValue(ref reader);
        return Encoding.UTF8.GetBytes(document.RootElement.GetRawText());
    }
}
