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
    internal static void ForEach(ReadOnlySpan<byte> json, Action<Node> onNode) => ForEach(json, (in NodeDraft draft) => onNode(draft.ToNode()));

    /// <inheritdoc cref="ForEach(ReadOnlySpan{byte}, Action{Node})"/>
    /// <remarks>Without an object for each: a directory of a hundred thousand would make as many megabytes of them as its blob has.</remarks>
    internal static void ForEach(ReadOnlySpan<byte> json, TakeDraft onEntry) => JsonFields.Read(json, Format, (ref Utf8JsonReader reader) =>
    {
        ReadOnlySpan<byte> last = default;
        var content = new List<Checksum>();
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
                content.Clear();
                NodeDraft entry = NodeJson.Read(ref reader, content);
                if (last.SequenceCompareTo(entry.NameBytes) >= 0) // no name is empty
                    throw new MalformedException(Format, "nodes", "names in order, each once", $"'{entry.Name}' after '{FileName.FromBytes(last)}'");
                last = entry.NameBytes;
                onEntry(entry);
            }
        }

        return true;
    });

    /// <summary>Takes an entry, which is borrowed for the call.</summary>
    internal delegate void TakeDraft(in NodeDraft entry);

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
    public byte[] ToBytes() => Write(new GoJson()).ToArray();

    /// <summary>The same in memory that is used again: until that is written to the next time.</summary>
    internal ReadOnlySpan<byte> Write(GoJson json)
    {
        json.Clear();
        json.Raw("{\"nodes\":["u8);
        for (int at = 0; at < Nodes.Count; at++)
        {
            if (at > 0)
                json.Raw(","u8);
            NodeJson.Write(json, Nodes[at]);
        }

        json.Raw("]}\n"u8);
        return json.Written.Span;
    }
}

/// <summary>A node's JSON, fields in restic's order.</summary>
internal static class NodeJson
{
    public static readonly (NodeType Type, byte[] Name)[] Types =
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

    /// <summary>Reads one.</summary>
    /// <param name="reader">Stands at its object.</param>
    /// <param name="content">Room for a file's blobs, empty.</param>
    /// <exception cref="MalformedException">It could not be an entry of a directory.</exception>
    public static NodeDraft Read(scoped ref Utf8JsonReader reader, List<Checksum> content)
    {
        var draft = new NodeDraft(content);
        JsonFields.Object(ref reader);
        while (JsonFields.Next(ref reader))
        {
            if (!draft.Field(ref reader))
                JsonFields.Skip(ref reader);
        }

        draft.Check();
        return draft;
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
}
