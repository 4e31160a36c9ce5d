namespace Sbox.Tomb.Mounting;

/// <summary>A node that the kernel knows: where it is found again in the snapshot's trees. Some 80 bytes each.</summary>
internal class KnownNode(ulong number, KnownDirectory? parent, int at)
{
    /// <summary>Its number.</summary>
    public ulong Number { get; } = number;

    /// <summary>The directory that it was found in; null for the root.</summary>
    public KnownDirectory? Parent { get; } = parent;

    /// <summary>Its place there.</summary>
    public int At { get; } = at;

    /// <summary>How often the kernel was told of it.</summary>
    public long Told { get; set; }
}

/// <summary>A directory that the kernel knows.</summary>
internal sealed class KnownDirectory(ulong number, KnownDirectory? parent, int at, Codecs.Checksum tree) : KnownNode(number, parent, at)
{
    /// <summary>The tree of its entries.</summary>
    public Codecs.Checksum Tree { get; } = tree;
}

/// <summary>All nodes that the kernel knows, by number. Safe on several threads.</summary>
internal sealed class KnownNodes
{
    private readonly Lock gate = new();
    private readonly Dictionary<ulong, KnownNode> nodes = [];

    public KnownNodes(Codecs.Checksum root) => nodes[NodeNumbers.Root] = new KnownDirectory(NodeNumbers.Root, null, 0, root) { Told = 1 };

    public int Count
    {
        get
        {
            lock (gate)
                return nodes.Count;
        }
    }

    public KnownNode? Find(ulong number)
    {
        lock (gate)
            return nodes.GetValueOrDefault(number);
    }

    /// <summary>The number of an entry, known already or not.</summary>
    public ulong NumberOf(KnownDirectory parent, int at, Node node)
    {
        lock (gate)
            return Free(parent, at, node);
    }

    /// <summary>Tells the kernel of an entry.</summary>
    public ulong Tell(KnownDirectory parent, int at, Node node)
    {
        lock (gate)
        {
            ulong number = Free(parent, at, node);
            if (!nodes.TryGetValue(number, out KnownNode? known))
                nodes[number] = known = node.Subtree is { } tree && node.Type == NodeType.Directory
                    ? new KnownDirectory(number, parent, at, tree)
                    : new KnownNode(number, parent, at);
            known.Told++;
            return number;
        }
    }

    /// <summary>Tells the kernel once more of what it knows.</summary>
    public void TellAgain(KnownNode known)
    {
        lock (gate)
        {
            known.Told++;
            nodes[known.Number] = known; // it may have been given up in between
        }
    }

    /// <summary>The kernel gives up what it was told.</summary>
    public void Forget(ulong number, ulong times)
    {
        lock (gate)
        {
            if (number != NodeNumbers.Root && nodes.TryGetValue(number, out KnownNode? known) && (known.Told -= (long)times) <= 0)
                nodes.Remove(number);
        }
    }

    // Two names may hash to one number: the one that comes later takes the next, for as long as both are known.
    private ulong Free(KnownDirectory parent, int at, Node node)
    {
        ulong number = NodeNumbers.Of(parent.Number, node);
        while (nodes.TryGetValue(number, out KnownNode? known) && !node.IsHardlinked && (known.At != at || known.Parent?.Number != parent.Number))
            number++;
        return number;
    }
}
