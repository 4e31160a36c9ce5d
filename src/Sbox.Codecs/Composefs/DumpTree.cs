using System.Text;

namespace Sbox.Codecs.Composefs;

/// <summary>Gathers a dump's lines and makes the tree of them at the end, when hard links can be followed.</summary>
internal sealed class DumpTree
{
    private readonly List<Item> items = [];

    public void Add(DumpLine line)
    {
        var item = new Item(line);
        if (line.Path.Length == 0)
        {
            if (items.Count > 0)
                throw DumpLine.Malformed(line.Number, "one root, on the first line", "another");
            if (!line.IsDirectory)
                throw DumpLine.Malformed(line.Number, "a directory as root", "a file");
        }
        else
        {
            Item parent = (items.Count == 0 ? null : Find(line.Path.AsSpan(..^1)))
                ?? throw DumpLine.Malformed(line.Number, "a directory listed before what is in it", $"'/{string.Join('/', line.Path)}'");
            if (!parent.Line.IsDirectory)
                throw DumpLine.Malformed(line.Number, "a directory as parent", $"'/{string.Join('/', line.Path[..^1])}'");
            if (!parent.Children.TryAdd(line.Path[^1], item))
                throw DumpLine.Malformed(line.Number, "each path once", $"'/{string.Join('/', line.Path)}' again");
        }

        items.Add(item);
    }

    public DirectoryNode Root()
    {
        if (items.Count == 0)
            throw new MalformedException(ComposefsDump.Format, "line 1", "the root directory", "nothing");

        foreach (Item item in items)
            if (item.Line.LinkTarget is not null)
                item.Node = new HardLink(Follow(item));

        // A directory's line comes before those of its content, so from the end every child is made before it is needed.
        for (int i = items.Count - 1; i >= 0; i--)
            if (items[i].Line.IsDirectory)
                items[i].Node = new DirectoryNode(items[i].Line.Attributes, [.. items[i].Children.Select(EntryOf)]);
        return (DirectoryNode)items[0].Node!;
    }

    private static Entry EntryOf(KeyValuePair<string, Item> child) => new(Encoding.Latin1.GetBytes(child.Key), child.Value.Node!);

    private Node Follow(Item link)
    {
        Item target = link;
        for (int steps = 0; target.Line.LinkTarget is { } path; steps++)
        {
            if (steps > items.Count)
                throw DumpLine.Malformed(link.Line.Number, "hard links that end at a file", "a circle");
            target = Find(path) ?? throw DumpLine.Malformed(target.Line.Number, "a target that is in the dump", $"'/{string.Join('/', path)}'");
        }

        return target.Line.Node ?? throw DumpLine.Malformed(link.Line.Number, "a file as a hard link's target", "a directory");
    }

    private Item? Find(ReadOnlySpan<string> path)
    {
        Item? item = items[0];
        foreach (string name in path)
            if (item is not null && !item.Children.TryGetValue(name, out item))
                return null;
        return item;
    }

    private sealed class Item(DumpLine line)
    {
        private static readonly Dictionary<string, Item> None = [];

        public DumpLine Line { get; } = line;

        public Dictionary<string, Item> Children { get; } = line.IsDirectory ? [] : None;

        public Node? Node { get; set; } = line.Node;
    }
}
