using System.Text;
using System.Text.Json;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>A directory's entries, in the order of their names' bytes.</summary>
/// <param name="Nodes">The entries.</param>
public sealed record Tree(IReadOnlyList<Node> Nodes)
{
    private const string Format = "restic tree";

    /// <summary>Reads a tree blob's plain bytes, JSON <c>{"nodes":[...]}</c> and a line feed.</summary>
    /// <param name="json">The blob; borrowed for the call.</param>
    /// <exception cref="MalformedException">It is none: also when a name could lead out of the directory, or comes twice.</exception>
    /// <remarks>docs/formats/restic-repository.md.</remarks>
    public static Tree Parse(ReadOnlySpan<byte> json)
    {
        var nodes = new List<Node>();
        ForEach(json, nodes.Add);
        return new Tree(nodes);
    }

    /// <summary>Reads a tree blob's plain bytes entry by entry, so that they need not all be there at once.</summary>
    /// <param name="json">The blob; borrowed for the call.</param>
    /// <param name="onNode">Told each entry in turn; what it was told counts for nothing when this ends with an error.</param>
    /// <exception cref="MalformedException">As <see cref="Parse"/>.</exception>
    internal static void ForEach(ReadOnlySpan<byte> json, Action<Node> onNode) => JsonFields.Read(json, Format, (ref Utf8JsonReader reader) =>
    {
        string? last = null;
        JsonFields.Object(ref reader);
        while (JsonFields.Next(ref reader))
        {
            if (!reader.ValueTextEquals("nodes"u8))
            {
                JsonFields.Skip(ref reader);
                continue;
            }

            if (!JsonFields.Array(ref reader))
                continue;
            while (JsonFields.NextElement(ref reader))
            {
                Node node = NodeJson.Read(ref reader);
                if (last is not null && Dir.CompareNames(last, node.Name) >= 0)
                    throw new MalformedException(Format, "nodes", "names in order, each once", $"'{node.Name}' after '{last}'");
                last = node.Name;
                onNode(node);
            }
        }

        return true;
    });

    /// <summary>The entry of that name; null when there is none.</summary>
    public Node? Find(string name)
    {
        int low = 0, high = Nodes.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            int order = Dir.CompareNames(Nodes[middle].Name, name);
            if (order == 0)
                return Nodes[middle];
            if (order < 0)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return null;
    }

    /// <summary>The bytes that restic would write; the blob's id is their checksum.</summary>
    public byte[] ToBytes()
    {
        var json = new GoJson();
        json.Raw("{\"nodes\":["u8);
        for (int at = 0; at < Nodes.Count; at++)
        {
            if (at > 0)
                json.Raw(","u8);
            NodeJson.Write(json, Nodes[at]);
        }

        json.Raw("]}\n"u8);
        return json.Written.ToArray();
    }
}

/// <summary>A node's JSON, fields in restic's order.</summary>
internal static class NodeJson
{
    private static readonly (NodeType Type, byte[] Name)[] Types =
    [
        (NodeType.File, "file"u8.ToArray()), (NodeType.Directory, "dir"u8.ToArray()), (NodeType.Symlink, "symlink"u8.ToArray()), (NodeType.BlockDevice, "dev"u8.ToArray()),
        (NodeType.CharacterDevice, "chardev"u8.ToArray()), (NodeType.Fifo, "fifo"u8.ToArray()), (NodeType.Socket, "socket"u8.ToArray()), (NodeType.Irregular, "irregular"u8.ToArray()),
    ];

    public static void Write(GoJson json, Node node)
    {
        json.Raw("{\"name\":"u8);
        json.Name(node.Name);
        json.Raw(",\"type\":\""u8);
        json.Raw(Array.Find(Types, each => each.Type == node.Type).Name);
        json.Raw("\""u8);
        Number(json, ",\"mode\":"u8, node.Mode);
        json.Raw(",\"mtime\":"u8);
        json.Time(node.Modified);
        json.Raw(",\"atime\":"u8);
        json.Time(node.Accessed);
        json.Raw(",\"ctime\":"u8);
        json.Time(node.Changed);
        json.Raw(",\"uid\":"u8);
        json.Number(node.Uid);
        json.Raw(",\"gid\":"u8);
        json.Number(node.Gid);
        Text(json, ",\"user\":"u8, node.User);
        Text(json, ",\"group\":"u8, node.Group);
        Number(json, ",\"inode\":"u8, node.Inode);
        Number(json, ",\"device_id\":"u8, node.DeviceId);
        Number(json, ",\"size\":"u8, node.Size);
        Number(json, ",\"links\":"u8, node.Links);
        WriteRest(json, node);
        json.Raw("}"u8);
    }

    private static void WriteRest(GoJson json, Node node)
    {
        Text(json, ",\"linktarget\":"u8, node.LinkTarget);
        if (node.LinkTarget.Length > 0 && FileName.ToBytes(node.LinkTarget) is var raw && !System.Text.Unicode.Utf8.IsValid(raw))
        {
            json.Raw(",\"linktarget_raw\":"u8);
            json.Bytes(raw);
        }

        for (int at = 0; at < node.Xattrs.Count; at++)
        {
            json.Raw(at == 0 ? ",\"extended_attributes\":[{\"name\":"u8 : ",{\"name\":"u8);
            json.Text(node.Xattrs[at].Name);
            json.Raw(",\"value\":"u8);
            json.Bytes(node.Xattrs[at].Value);
            json.Raw(at == node.Xattrs.Count - 1 ? "}]"u8 : "}"u8);
        }

        if (node.GenericAttributes is { } generic)
        {
            json.Raw(",\"generic_attributes\":"u8);
            json.Raw(generic);
        }

        Number(json, ",\"device\":"u8, node.Device);
        json.Raw(node.Content is null ? ",\"content\":null"u8 : ",\"content\":["u8);
        for (int at = 0; at < (node.Content?.Count ?? 0); at++)
        {
            if (at > 0)
                json.Raw(","u8);
            json.Id(node.Content![at]);
        }

        if (node.Content is not null)
            json.Raw("]"u8);
        if (node.Subtree is { } subtree)
        {
            json.Raw(",\"subtree\":"u8);
            json.Id(subtree);
        }

        Text(json, ",\"error\":"u8, node.Error);
    }

    public static Node Read(ref Utf8JsonReader reader)
    {
        var draft = new Draft();
        JsonFields.Object(ref reader);
        while (JsonFields.Next(ref reader))
        {
            if (!draft.Field(ref reader))
                JsonFields.Skip(ref reader);
        }

        return draft.Finish();
    }

    private static void Number(GoJson json, ReadOnlySpan<byte> field, ulong value)
    {
        if (value == 0)
            return;
        json.Raw(field);
        json.Number(value);
    }

    private static void Text(GoJson json, ReadOnlySpan<byte> field, string value)
    {
        if (value.Length == 0)
            return;
        json.Raw(field);
        json.Text(value);
    }

    private ref struct Draft
    {
        private string? name;
        private NodeType type;
        private uint mode, uid, gid;
        private Moment modified, accessed, changed;
        private string user = "", group = "", target = "", error = "";
        private ulong inode, deviceId, size, links, device;
        private byte[]? rawTarget, generic;
        private List<Xattr>? xattrs;
        private List<Checksum>? content;
        private Checksum? subtree;

        public Draft()
        {
        }

        public bool Field(ref Utf8JsonReader reader)
        {
            if (reader.ValueTextEquals("name"u8))
                name = GoQuote.Read(JsonFields.Text(ref reader));
            else if (reader.ValueTextEquals("type"u8))
                type = ReadType(ref reader);
            else if (reader.ValueTextEquals("mode"u8))
                mode = JsonFields.Small(ref reader);
            else if (reader.ValueTextEquals("mtime"u8))
                modified = JsonFields.Time(ref reader);
            else if (reader.ValueTextEquals("atime"u8))
                accessed = JsonFields.Time(ref reader);
            else if (reader.ValueTextEquals("ctime"u8))
                changed = JsonFields.Time(ref reader);
            else if (reader.ValueTextEquals("uid"u8))
                uid = JsonFields.Small(ref reader);
            else if (reader.ValueTextEquals("gid"u8))
                gid = JsonFields.Small(ref reader);
            else if (reader.ValueTextEquals("inode"u8))
                inode = JsonFields.Number(ref reader);
            else if (reader.ValueTextEquals("device_id"u8))
                deviceId = JsonFields.Number(ref reader);
            else if (reader.ValueTextEquals("size"u8))
                size = JsonFields.Number(ref reader);
            else if (reader.ValueTextEquals("links"u8))
                links = JsonFields.Number(ref reader);
            else if (reader.ValueTextEquals("content"u8))
                content = ReadContent(ref reader);
            else
                return Rarer(ref reader);
            return true;
        }

        public readonly Node Finish()
        {
            // A hostile name could lead out of the directory that it is restored into.
            if (name is null or "" or "." or ".." || name.Contains('/', StringComparison.Ordinal) || name.Contains('\0', StringComparison.Ordinal))
                throw new MalformedException("restic tree", "name", "a name without '/'", $"'{name}'");
            return type == NodeType.Directory && subtree is null
                ? throw new MalformedException("restic tree", name, "a subtree", "a directory without one")
                : new Node
                {
                    Name = name, Type = type, Mode = mode, Modified = modified, Accessed = accessed, Changed = changed, Uid = uid, Gid = gid, User = user, Group = group,
                    Inode = inode, DeviceId = deviceId, Size = size, Links = links, LinkTarget = rawTarget is null ? target : FileName.FromBytes(rawTarget),
                    Xattrs = xattrs is null ? [] : xattrs, GenericAttributes = generic, Device = device, Content = content, Subtree = subtree, Error = error,
                };
        }

        private bool Rarer(ref Utf8JsonReader reader)
        {
            if (reader.ValueTextEquals("user"u8))
                user = string.Intern(JsonFields.Text(ref reader));
            else if (reader.ValueTextEquals("group"u8))
                group = string.Intern(JsonFields.Text(ref reader));
            else if (reader.ValueTextEquals("subtree"u8))
                subtree = JsonFields.Id(ref reader);
            else if (reader.ValueTextEquals("linktarget"u8))
                target = JsonFields.Text(ref reader);
            else if (reader.ValueTextEquals("linktarget_raw"u8))
                rawTarget = JsonFields.Bytes(ref reader);
            else if (reader.ValueTextEquals("extended_attributes"u8))
                xattrs = ReadXattrs(ref reader);
            else if (reader.ValueTextEquals("device"u8))
                device = JsonFields.Number(ref reader);
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
            foreach ((NodeType known, byte[] text) in Types)
            {
                if (reader.ValueTextEquals(text))
                    return known;
            }

            return NodeType.Irregular;
        }

        private static List<Checksum>? ReadContent(ref Utf8JsonReader reader)
        {
            if (!JsonFields.Array(ref reader))
                return null;
            var ids = new List<Checksum>();
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
}
