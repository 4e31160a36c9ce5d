using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>A directory that is being saved: a slot for each entry, filled in any order by any thread; whoever fills the last one closes it.</summary>
internal sealed class OpenDirectory(OpenDirectory? parent, int slot, string name, string path)
{
    private readonly Lock sync = new();
    private readonly List<Node?> nodes = [];
    private Dir? dir;
    private Tree? old;
    private int waiting = 1; // the walker's own part; then one for each entry that is not settled

    public OpenDirectory? Parent { get; } = parent;

    public int Slot { get; } = slot;

    public string Name { get; } = name;

    public string Path { get; } = path;

    public Node? Node { get; init; }

    /// <summary>What it was in the parent snapshot.</summary>
    public Node? Before { get; init; }

    public Dir Dir => dir!;

    public Checksum? Tree { get; private set; }

    /// <summary>The open directory, which from now on belongs to this, and its old tree.</summary>
    public void Begin(Dir opened, Tree? before) => (dir, old) = (opened, before);

    public int Reserve()
    {
        lock (sync)
        {
            nodes.Add(null);
            Interlocked.Increment(ref waiting); // whoever settles an entry meanwhile does not take this lock
            return nodes.Count - 1;
        }
    }

    public void Settle(int at, Node? node)
    {
        lock (sync)
            nodes[at] = node;
    }

    /// <summary>One part is done; true when it was the last.</summary>
    public bool Release() => Interlocked.Decrement(ref waiting) == 0;

    /// <summary>Whether every entry is the very node of the old tree, and none is missing.</summary>
    public bool IsAsBefore(out Checksum? tree)
    {
        tree = Before?.Subtree;
        return tree is not null && old is not null && nodes.Where(static node => node is not null).SequenceEqual(old.Nodes, ReferenceEqualityComparer.Instance);
    }

    public Tree ToTree() => new([.. nodes.Where(static node => node is not null).Cast<Node>()]);

    public void Close(Checksum tree)
    {
        Tree = tree;
        dir?.Dispose();
        nodes.Clear();
        old = null;
    }
}

/// <summary>Whether two nodes are written to the same bytes.</summary>
internal static class NodeEquality
{
    public static bool Same(Node a, Node b)
    {
        var left = new GoJson();
        NodeJson.Write(left, a);
        var right = new GoJson();
        NodeJson.Write(right, b);
        return left.Written.Span.SequenceEqual(right.Written.Span);
    }
}
