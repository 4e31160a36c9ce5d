using System.Runtime.CompilerServices;

namespace Sbox.Tomb.Mounting;

/// <summary>A node that the kernel knows: where it is found again in the snapshot's trees.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Parent">The directory that it was found in; null for the root.</param>
/// <param name="At">Its place there.</param>
internal readonly record struct KnownNode(ulong Number, KnownDirectory? Parent, int At);

/// <summary>A directory that the kernel knows, or knows something below.</summary>
internal sealed class KnownDirectory(ulong number, KnownDirectory? parent, int at, Codecs.Checksum tree)
{
    /// <summary>Its number.</summary>
    public ulong Number { get; } = number;

    /// <summary>The directory that it was found in; null for the root.</summary>
    public KnownDirectory? Parent { get; } = parent;

    /// <summary>Its place there.</summary>
    public int At { get; } = at;

    /// <summary>The tree of its entries.</summary>
    public Codecs.Checksum Tree { get; } = tree;

    /// <summary>The place of the directory in it that was listed last; -1 for none.</summary>
    public int LastListed { get; set; } = -1;

    /// <summary>Its place among the directories; -1 while nothing known is in it and it is not known itself.</summary>
    internal int Index { get; set; } = -1;

    /// <summary>Nodes and directories that have it as their parent.</summary>
    internal int Below { get; set; }

    /// <summary>Whether the kernel knows it.</summary>
    internal bool IsKnown { get; set; }
}

/// <summary>All nodes that the kernel knows, by number: some 30 bytes each, since after a search through a home it knows every file of it. Safe on several threads.</summary>
internal sealed class KnownNodes
{
    private readonly Lock gate = new();
    private readonly NodeTable nodes = new();
    private readonly Dictionary<ulong, KnownDirectory> known = [];
    private readonly List<KnownDirectory?> directories = [];
    private readonly Stack<int> unused = new();
    private bool closed;

    public KnownNodes(Codecs.Checksum root)
    {
        var top = new KnownDirectory(NodeNumbers.Root, null, 0, root);
        Register(top);
        Know(top);
        nodes.Add(new NodeTable.Slot { Number = NodeNumbers.Root, Parent = -1, Told = 1 });
    }

    public int Count
    {
        get
        {
            lock (gate)
                return nodes.Count;
        }
    }

    /// <summary>Bytes that it takes outside of the collector's heap.</summary>
    public long Size
    {
        get
        {
            lock (gate)
                return nodes.Size;
        }
    }

    /// <summary>Gives up all that the kernel was told, and notes nothing any more.</summary>
    public void Close()
    {
        lock (gate)
        {
            closed = true;
            nodes.Clear();
            known.Clear();
            directories.Clear();
            unused.Clear();
        }
    }

    public KnownNode? Find(ulong number)
    {
        lock (gate)
        {
            ref NodeTable.Slot slot = ref nodes.Find(number);
            return Unsafe.IsNullRef(ref slot) ? null : new KnownNode(number, slot.Parent < 0 ? null : directories[slot.Parent], slot.At);
        }
    }

    public KnownDirectory? FindDirectory(ulong number)
    {
        lock (gate)
            return known.GetValueOrDefault(number);
    }

    /// <summary>The number of an entry, known already or not.</summary>
    public ulong NumberOf(KnownDirectory parent, int at, in PackedEntry entry)
    {
        lock (gate)
        {
            Place(parent, at, entry, out ulong number);
            return number;
        }
    }

    /// <summary>Tells the kernel of an entry.</summary>
    public ulong Tell(KnownDirectory parent, int at, in PackedEntry entry)
    {
        lock (gate)
        {
            ref NodeTable.Slot slot = ref Place(parent, at, entry, out ulong number);
            if (!Unsafe.IsNullRef(ref slot))
            {
                slot.Told++;
                return number;
            }

            if (closed)
                return number;
            Add(number, parent, at);
            if (entry.Subtree is { } tree && entry.Type == NodeType.Directory)
                Know(new KnownDirectory(number, parent, at, tree));
            return number;
        }
    }

    /// <summary>Tells the kernel once more of a directory that it knows.</summary>
    public void TellAgain(KnownDirectory directory)
    {
        lock (gate)
        {
            ref NodeTable.Slot slot = ref nodes.Find(directory.Number);
            if (!Unsafe.IsNullRef(ref slot))
            {
                slot.Told++;
                return;
            }

            if (closed)
                return;
            Add(directory.Number, directory.Parent!, directory.At); // it was given up in between; the root never is
            Know(directory);
        }
    }

    /// <summary>The kernel gives up what it was told.</summary>
    public void Forget(ulong number, ulong times)
    {
        lock (gate)
        {
            ref NodeTable.Slot slot = ref nodes.Find(number);
            if (number == NodeNumbers.Root || Unsafe.IsNullRef(ref slot))
                return;
            if (slot.Told > times)
            {
                slot.Told -= (uint)times;
                return;
            }

            KnownDirectory parent = directories[slot.Parent]!;
            nodes.Remove(number);
            if (known.Remove(number, out KnownDirectory? directory))
            {
                directory.IsKnown = false;
                LetGo(directory);
            }

            parent.Below--;
            LetGo(parent);
        }
    }

    private void Add(ulong number, KnownDirectory parent, int at)
    {
        Register(parent);
        parent.Below++;
        nodes.Add(new NodeTable.Slot { Number = number, Parent = parent.Index, At = at, Told = 1 });
    }

    private void Know(KnownDirectory directory)
    {
        directory.IsKnown = true;
        known[directory.Number] = directory;
    }

    private void Register(KnownDirectory directory)
    {
        for (KnownDirectory? at = directory; at is { Index: < 0 }; at = at.Parent)
        {
            if (unused.TryPop(out int free))
            {
                directories[free] = at;
                at.Index = free;
            }
            else
            {
                directories.Add(at);
                at.Index = directories.Count - 1;
            }

            if (at.Parent is { } parent)
                parent.Below++;
        }
    }

    private void LetGo(KnownDirectory directory)
    {
        for (KnownDirectory? at = directory; at is { IsKnown: false, Below: 0, Index: >= 0 }; at = at.Parent)
        {
            directories[at.Index] = null;
            unused.Push(at.Index);
            at.Index = -1;
            if (at.Parent is { } parent)
                parent.Below--;
        }
    }

    // Where an entry is when it is known. Two names may hash to one number: the one that comes later takes the next, for as long as both are known.
    private ref NodeTable.Slot Place(KnownDirectory parent, int at, in PackedEntry entry, out ulong number)
    {
        number = NodeNumbers.Of(parent.Number, entry);
        while (true)
        {
            ref NodeTable.Slot slot = ref nodes.Find(number);
            if (Unsafe.IsNullRef(ref slot) || entry.IsHardlinked || (slot.At == at && slot.Parent >= 0 && directories[slot.Parent]!.Number == parent.Number))
                return ref slot;
            number++;
        }
    }
}
