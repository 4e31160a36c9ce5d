using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// A directory's entries as a mounted snapshot keeps them: in one piece, about 100 bytes each instead of 500, since a directory of a hundred thousand is read as a whole.
/// What nobody sees of a mounted file (names of its owners, zones of its times) is left out. Outside the collector's heap, where directories that were let go of would lie for
/// long; whoever was lent it disposes it.
/// </summary>
internal sealed class PackedTree : IDisposable
{
    private readonly NativeBlock block; // where each entry begins, and the entries
    private readonly int size;
    private int users = 1;

    private PackedTree(ReadOnlySpan<byte> records, ReadOnlySpan<byte> starts)
    {
        Count = starts.Length / sizeof(int);
        size = starts.Length + records.Length;
        block = new NativeBlock(Math.Max(size, 1));
        starts.CopyTo(block.GetSpan());
        records.CopyTo(block.GetSpan()[starts.Length..]);
    }

    /// <summary>Gives its memory back when nobody did; there is none where it could not be had.</summary>
    ~PackedTree() => block?.Free();

    [Flags]
    private enum Has : byte
    {
        Nothing = 0,
        OtherAccessed = 1,
        OtherChanged = 2,
        Content = 4,
        Subtree = 8,
        Link = 16,
        Xattrs = 32,
        Device = 64,
    }

    /// <summary>How many entries.</summary>
    public int Count { get; }

    /// <summary>Bytes that it takes.</summary>
    public long Size => size + 200;

    private ReadOnlySpan<int> Starts => MemoryMarshal.Cast<byte, int>(block.GetSpan())[..Count];

    private ReadOnlySpan<byte> Records => block.GetSpan()[(Count * sizeof(int))..size];

    /// <summary>An entry, made anew each time.</summary>
    public Node this[int at] => Read(new Cursor(Records, Starts[at]));

    /// <summary>What the kernel is told of an entry, until the tree is disposed.</summary>
    public PackedEntry EntryAt(int at)
    {
        var from = new Cursor(Records, Starts[at]);
        ReadOnlySpan<byte> name = from.Bytes((int)from.Number());
        var type = (NodeType)from.Number();
        var has = (Has)from.Number();
        uint mode = (uint)from.Number(), uid = (uint)from.Number(), gid = (uint)from.Number();
        ulong size = from.Number(), links = from.Number(), inode = from.Number(), device = from.Number();
        Moment modified = from.Time();
        Moment accessed = (has & Has.OtherAccessed) != 0 ? from.Time() : modified, changed = (has & Has.OtherChanged) != 0 ? from.Time() : modified;
        if ((has & Has.Content) != 0)
            from.Bytes((int)from.Number() * Checksum.Size);
        Checksum? subtree = (has & Has.Subtree) != 0 ? Checksum.FromBytes(from.Bytes(Checksum.Size)) : null;
        int link = (has & Has.Link) != 0 ? from.Bytes((int)from.Number()).Length : 0;
        return new PackedEntry
        {
            Name = name, Type = type, Mode = mode, Uid = uid, Gid = gid, Size = size, Links = links, Inode = inode, DeviceId = device,
            Modified = modified, Accessed = accessed, Changed = changed, Subtree = subtree, LinkLength = link,
            Device = (has & Has.Device) != 0 ? from.DeviceBehindXattrs((has & Has.Xattrs) != 0) : 0,
        };
    }

    /// <summary>Lends it once more: of whoever has it, to another.</summary>
    public void Share()
    {
        if (Interlocked.Increment(ref users) <= 1)
            throw new ObjectDisposedException(nameof(PackedTree)); // everybody has let go of it already
    }

    /// <summary>Lets go of it once.</summary>
    public void Dispose()
    {
        if (Interlocked.Decrement(ref users) != 0)
            return;
        GC.SuppressFinalize(this);
        block.Free();
    }

    /// <summary>An entry's name as the kernel has it, until the tree is disposed.</summary>
    public ReadOnlySpan<byte> NameOf(int at)
    {
        var cursor = new Cursor(Records, Starts[at]);
        return cursor.Bytes((int)cursor.Number());
    }

    /// <summary>The directories among the dozen entries from a place on: their places, and their trees.</summary>
    public IEnumerable<(int At, Checksum Tree)> Directories(int from)
    {
        for (int at = from; at < Math.Min(Count, from + 12); at++)
        {
            if (EntryAt(at).Subtree is { } next)
                yield return (at, next);
        }
    }

    /// <summary>Where a name is; -1 when there is no such entry.</summary>
    public int PlaceOf(ReadOnlySpan<byte> name)
    {
        int low = 0, high = Count - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            int order = NameOf(middle).SequenceCompareTo(name);
            if (order == 0)
                return middle;
            (low, high) = order < 0 ? (middle + 1, high) : (low, middle - 1);
        }

        return -1;
    }

    /// <summary>Reads a tree blob's plain bytes.</summary>
    /// <exception cref="MalformedException">As <see cref="Tree.Parse"/>.</exception>
    public static PackedTree Parse(ReadOnlySpan<byte> json)
    {
        // Room for more than it can need: of a large block only what is filled is ever touched.
        using var writer = new Writer(json.Length);
        using var starts = new Writer(json.Length / 8);
        Tree.ForEach(json, (in NodeDraft node) =>
        {
            starts.Place(writer.Length);
            Write(writer, node);
        });
        return new PackedTree(writer.Bytes, starts.Bytes);
    }

    private static void Write(Writer to, in NodeDraft node)
    {
        Has has = (node.Accessed == node.Modified ? Has.Nothing : Has.OtherAccessed) | (node.Changed == node.Modified ? Has.Nothing : Has.OtherChanged)
            | (node.Content is null ? Has.Nothing : Has.Content) | (node.Subtree is null ? Has.Nothing : Has.Subtree)
            | (node.LinkTarget.Length == 0 ? Has.Nothing : Has.Link) | (node.Xattrs.Count == 0 ? Has.Nothing : Has.Xattrs) | (node.Device == 0 ? Has.Nothing : Has.Device);
        to.Name(node.NameBytes);
        to.Number((ulong)node.Type);
        to.Number((ulong)has);
        to.Number(node.Mode);
        to.Number(node.Uid);
        to.Number(node.Gid);
        to.Number(node.Size);
        to.Number(node.Links);
        to.Number(node.IsHardlinked ? node.Inode : 0); // else the path is what it is known by
        to.Number(node.IsHardlinked ? node.DeviceId : 0);
        to.Time(node.Modified);
        if (has.HasFlag(Has.OtherAccessed))
            to.Time(node.Accessed);
        if (has.HasFlag(Has.OtherChanged))
            to.Time(node.Changed);
        if (has.HasFlag(Has.Content))
        {
            to.Number((ulong)node.Content!.Count);
            foreach (Checksum id in node.Content)
                to.Raw(id.Span);
        }

        if (has.HasFlag(Has.Subtree))
            to.Raw(node.Subtree!.Value.Span);
        if (has.HasFlag(Has.Link))
            to.Text(node.LinkTarget);
        if (has.HasFlag(Has.Xattrs))
        {
            to.Number((ulong)node.Xattrs.Count);
            foreach (Xattr attribute in node.Xattrs)
            {
                to.Text(attribute.Name);
                to.Number((ulong)attribute.Value.Length);
                to.Raw(attribute.Value);
            }
        }

        if (has.HasFlag(Has.Device))
            to.Number(node.Device);
    }

    private static Node Read(Cursor from)
    {
        string name = from.Text();
        var type = (NodeType)from.Number();
        var has = (Has)from.Number();
        uint mode = (uint)from.Number(), uid = (uint)from.Number(), gid = (uint)from.Number();
        ulong size = from.Number(), links = from.Number(), inode = from.Number(), device = from.Number();
        Moment modified = from.Time();
        return new Node
        {
            Name = name, Type = type, Mode = mode, Uid = uid, Gid = gid, Size = size, Links = links, Inode = inode, DeviceId = device, Modified = modified,
            Accessed = has.HasFlag(Has.OtherAccessed) ? from.Time() : modified,
            Changed = has.HasFlag(Has.OtherChanged) ? from.Time() : modified,
            Content = has.HasFlag(Has.Content) ? from.Ids() : null,
            Subtree = has.HasFlag(Has.Subtree) ? Checksum.FromBytes(from.Bytes(Checksum.Size)) : null,
            LinkTarget = has.HasFlag(Has.Link) ? from.Text() : "",
            Xattrs = has.HasFlag(Has.Xattrs) ? from.Xattrs() : [],
            Device = has.HasFlag(Has.Device) ? from.Number() : 0,
        };
    }

    private sealed class Writer(int room) : IDisposable
    {
        private NativeBlock block = new(Math.Max(room, 256));

        public int Length { get; private set; }

        public ReadOnlySpan<byte> Bytes => block.GetSpan()[..Length];

        public void Dispose() => block.Free();

        public void Place(int value)
        {
            BinaryPrimitives.WriteInt32LittleEndian(Reserve(sizeof(int)), value);
            Length += sizeof(int);
        }

        public void Number(ulong value)
        {
            Span<byte> into = Reserve(10);
            int used = 0;
            for (; value >= 0x80; value >>= 7)
                into[used++] = (byte)(value | 0x80);
            into[used++] = (byte)value;
            Length += used;
        }

        public void Text(string text) => Name(FileName.ToBytes(text));

        public void Name(ReadOnlySpan<byte> name)
        {
            Number((ulong)name.Length);
            Raw(name);
        }

        public void Time(Moment time)
        {
            Span<byte> into = Reserve(12);
            BinaryPrimitives.WriteInt64LittleEndian(into, time.Seconds);
            BinaryPrimitives.WriteUInt32LittleEndian(into[8..], time.Nanoseconds);
            Length += 12;
        }

        public void Raw(ReadOnlySpan<byte> value)
        {
            value.CopyTo(Reserve(value.Length));
            Length += value.Length;
        }

        private Span<byte> Reserve(int more)
        {
            if (Length + more > block.Length)
            {
                var larger = new NativeBlock(checked(Math.Max(block.Length * 2, Length + more)));
                Bytes.CopyTo(larger.GetSpan());
                block.Free();
                block = larger;
            }

            return block.GetSpan()[Length..];
        }
    }

    private ref struct Cursor(ReadOnlySpan<byte> all, int start)
    {
        private ReadOnlySpan<byte> rest = all[start..];

        public ulong Number()
        {
            ulong value = 0;
            for (int shift = 0, at = 0; ; shift += 7, at++)
            {
                value |= (ulong)(rest[at] & 0x7F) << shift;
                if (rest[at] < 0x80)
                {
                    rest = rest[(at + 1)..];
                    return value;
                }
            }
        }

        public ReadOnlySpan<byte> Bytes(int count)
        {
            ReadOnlySpan<byte> taken = rest[..count];
            rest = rest[count..];
            return taken;
        }

        public ulong DeviceBehindXattrs(bool has)
        {
            for (ulong left = has ? Number() : 0; left > 0; left--)
            {
                Bytes((int)Number());
                Bytes((int)Number());
            }

            return Number();
        }

        public string Text() => FileName.FromBytes(Bytes((int)Number()));

        public Moment Time()
        {
            ReadOnlySpan<byte> bytes = Bytes(12);
            return new Moment(BinaryPrimitives.ReadInt64LittleEndian(bytes), BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]));
        }

        public Checksum[] Ids()
        {
            var ids = new Checksum[(int)Number()];
            foreach (ref Checksum id in ids.AsSpan())
                id = Checksum.FromBytes(Bytes(Checksum.Size));
            return ids;
        }

        public Xattr[] Xattrs()
        {
            var attributes = new Xattr[(int)Number()];
            foreach (ref Xattr attribute in attributes.AsSpan())
            {
                string name = Text();
                attribute = new Xattr(name, Bytes((int)Number()).ToArray());
            }

            return attributes;
        }
    }
}
