using System.Globalization;
using System.Text;
using Sbox.Codecs.Erofs;

namespace Sbox.Codecs.Composefs;

/// <summary>Writes a tree as a dump, so that people can look at it and other tools can make an image of it.</summary>
internal sealed class DumpText
{
    private readonly StringBuilder text = new();
    private readonly Dictionary<Node, string> pathOf = new(ReferenceEqualityComparer.Instance);

    public static byte[] Of(DirectoryNode root)
    {
        var dump = new DumpText();
        List<(string Path, Node Node)> files = Walk(root);
        foreach ((string path, Node node) in files)
            dump.pathOf.TryAdd(node, path);
        foreach ((string path, Node node) in files)
            dump.AddLine(path, node);
        return Encoding.Latin1.GetBytes(dump.text.ToString());
    }

    /// <summary>All files with their escaped paths, each directory before what is in it.</summary>
    private static List<(string Path, Node Node)> Walk(DirectoryNode root)
    {
        var files = new List<(string Path, Node Node)> { ("/", root) };
        for (int i = 0; i < files.Count; i++)
            if (files[i] is (string path, DirectoryNode directory))
                foreach (Entry entry in directory.Entries)
                    files.Add(((path == "/" ? "" : path) + "/" + Escape(entry.Name.Span), entry.Node));
        return files;
    }

    private void AddLine(string path, Node node)
    {
        if (node is HardLink link)
        {
            Node target = link.Target;
            string targetPath = pathOf.TryGetValue(target, out string? known) ? known : throw new ArgumentException($"The hard link {path} leads to a node outside the tree.");
            text.Append(CultureInfo.InvariantCulture, $"{path} 0 @{Octal(ModeOf(target))} 0 0 0 0 0.0 {targetPath} - -\n");
            return;
        }

        Attributes of = node.Attributes;
        (ulong size, string payload, string content, string digest) = Body(node);
        uint device = node is DeviceNode { Number: uint number } ? number : 0;
        text.Append(CultureInfo.InvariantCulture, $"{path} {size} {Octal(ModeOf(node))} {node.Links ?? 1} {of.Uid} {of.Gid} {device} {of.Seconds}.{of.Nanoseconds} {payload} {content} {digest}");
        foreach ((ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> value) in of.Xattrs)
            text.Append(' ').Append(Escape(name.Span)).Append('=').Append(Escape(value.Span));
        text.Append('\n');
    }

    private static (ulong Size, string Payload, string Content, string Digest) Body(Node node) => node switch
    {
        BackedFile file => (file.Size, Optional(file.BackingPath.Span), "-", file.Digest?.ToString() ?? "-"),
        InlineFile file => ((ulong)file.Content.Length, "-", Optional(file.Content.Span), "-"),
        SymbolicLink link => ((ulong)link.Target.Length, Optional(link.Target.Span), "-", "-"),
        _ => (0, "-", "-", "-"),
    };

    private static uint ModeOf(Node node)
    {
        while (node is HardLink link)
            node = link.Target;
        return NodeInode.TypeOf(node) | (node.Attributes.Permissions & 0xFFF);
    }

    private static string Octal(uint mode) => Convert.ToString(mode, 8);

    private static string Optional(ReadOnlySpan<byte> raw) => raw.IsEmpty ? "-" : raw.SequenceEqual("-"u8) ? "\\x2d" : Escape(raw);

    private static string Escape(ReadOnlySpan<byte> raw)
    {
        var escaped = new StringBuilder(raw.Length);
        foreach (byte value in raw)
            if (value is > (byte)' ' and < 0x7F and not (byte)'\\' and not (byte)'=')
                escaped.Append((char)value);
            else
                escaped.Append("\\x").Append(value.ToString("x2", CultureInfo.InvariantCulture));
        return escaped.ToString();
    }
}
