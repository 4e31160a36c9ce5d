using Sbox.Codecs.Erofs;

namespace Sbox.Codecs.Composefs;

/// <summary>One node as an inode, with what overlayfs must know to find its content; names and links come later.</summary>
internal static class NodeInode
{
    public static Inode Of(Node node)
    {
        Attributes attributes = node.Attributes;
        var inode = new Inode
        {
            Mode = TypeOf(node) | (attributes.Permissions & 0xFFF),
            Links = node.Links ?? 1,
            Uid = attributes.Uid,
            Gid = attributes.Gid,
            Seconds = attributes.Seconds,
            Nanoseconds = attributes.Nanoseconds,
            Xattrs = Escaped(attributes.Xattrs),
        };
        switch (node)
        {
            case BackedFile { Size: > 0 } file:
                TreeRules.CheckBackedFile(file);
                inode.Size = file.Size;
                inode.SetXattr(OverlayXattr.Metacopy, OverlayXattr.MetacopyValue(file.Digest));
                if (!file.BackingPath.IsEmpty)
                    inode.SetXattr(OverlayXattr.Redirect, (byte[])[(byte)'/', .. file.BackingPath.Span]);
                break;
            case InlineFile file:
                TreeRules.CheckInlineFile(file);
                SetContent(inode, file.Content);
                break;
            case SymbolicLink link:
                TreeRules.CheckTarget(link);
                SetContent(inode, link.Target);
                break;
            case DeviceNode device:
                inode.Device = device.Number;
                break;
        }

        return inode;
    }

    public static uint TypeOf(Node node) => node switch
    {
        DirectoryNode => FileType.Directory,
        BackedFile or InlineFile => FileType.Regular,
        SymbolicLink => FileType.SymbolicLink,
        DeviceNode { IsBlock: true } => FileType.BlockDevice,
        DeviceNode => FileType.CharacterDevice,
        NamedPipe => FileType.Fifo,
        SocketNode => FileType.Socket,
        _ => throw new ArgumentException($"A {node.GetType().Name} is no inode of its own."),
    };

    private static void SetContent(Inode inode, ReadOnlyMemory<byte> content)
    {
        inode.Content = content;
        inode.Size = (ulong)content.Length;
    }

    // What overlayfs would take for its own must reach the mounted tree as it was.
    private static List<XattrEntry> Escaped(IReadOnlyList<Xattr> xattrs)
    {
        TreeRules.CheckXattrs(xattrs);
        var entries = new List<XattrEntry>(xattrs.Count + 2);
        foreach ((ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> value) in xattrs)
        {
            bool isOverlays = name.Span.StartsWith(OverlayXattr.Prefix);
            entries.Add(new XattrEntry(isOverlays ? OverlayXattr.Escape(name.Span) : name, value));
        }

        return entries;
    }
}
