using System.Collections.Concurrent;
using System.Text;

namespace Sbox.Linux.Tests.Fuse;

/// <summary>A tree in memory, made by hand or after a real directory, to be mounted.</summary>
internal sealed class MemoryTree : IFuseTree
{
    public sealed record Node(FuseAttributes Attributes, ulong Parent)
    {
        public byte[] Content { get; init; } = [];

        public SortedDictionary<string, ulong> Names { get; } = new(StringComparer.Ordinal);

        public Dictionary<string, byte[]> Xattrs { get; init; } = [];
    }

    private readonly Dictionary<ulong, Node> nodes = [];

    public MemoryTree() => nodes[1] = new Node(Plain(1, FileKind.Directory, 0x1ED, 0), 1);

    /// <summary>How often the kernel was told of each node, less what it gave up again.</summary>
    public ConcurrentDictionary<ulong, long> Known { get; } = new();

    /// <summary>Asked before a file is read: a slow network, or a broken one.</summary>
    public Func<ulong, CancellationToken, Task>? BeforeRead { get; set; }

    /// <summary>Asked before a name is looked up.</summary>
    public Func<string, CancellationToken, Task>? BeforeLookup { get; set; }

    public int Lookups, Reads;

    /// <summary>Into how large pieces contents are cut on their way.</summary>
    public int Piece { get; init; } = int.MaxValue;

    /// <summary>Pieces that were lent and are not let go of yet.</summary>
    public int Lent;

    /// <summary>The kernel's cache of it, once it is mounted.</summary>
    public FusePages? Pages { get; private set; }

    /// <summary>Whether it was told that nobody has it mounted any more.</summary>
    public bool IsUnmounted { get; private set; }

    public void Mounting(FusePages pages) => Pages = pages;

    public void Unmounted() => IsUnmounted = true;

    public FuseSpace Space => new(nodes.Values.Sum(static node => node.Attributes.Size), nodes.Count);

    public static FuseAttributes Plain(ulong node, FileKind kind, uint permissions, long size) =>
        new(node, (uint)kind | permissions, 1, 0, 0, size, new(1_700_000_000, 5), new(1_700_000_000, 5), new(1_700_000_000, 5), 0);

    public ulong Add(ulong parent, string name, FuseAttributes attributes, byte[]? content = null, Dictionary<string, byte[]>? xattrs = null)
    {
        ulong number = (ulong)nodes.Count + 1;
        nodes[number] = new Node(attributes with { Node = number }, parent) { Content = content ?? [], Xattrs = xattrs ?? [] };
        nodes[parent].Names[name] = number;
        return number;
    }

    public ulong AddFile(ulong parent, string name, byte[] content) => Add(parent, name, Plain(0, FileKind.Regular, 0x1A4, content.Length), content);

    public void AddLink(ulong parent, string name, ulong node)
    {
        nodes[parent].Names[name] = node;
        nodes[node] = nodes[node] with { Attributes = nodes[node].Attributes with { Links = nodes[node].Attributes.Links + 1 } };
    }

    public async ValueTask<FuseAttributes?> Lookup(ulong directory, ReadOnlyMemory<byte> name, CancellationToken cancel)
    {
        Interlocked.Increment(ref Lookups);
        if (BeforeLookup is { } wait)
            await wait(FileName.FromBytes(name.Span), cancel);
        ulong? found = FileName.FromBytes(name.Span) switch
        {
            "." => directory,
            ".." => Find(directory).Parent,
            var text => Find(directory).Names.TryGetValue(text, out ulong number) ? number : null,
        };
        if (found is { } node)
            Known.AddOrUpdate(node, 1, static (_, count) => count + 1);
        return found is { } there ? Find(there).Attributes : null;
    }

    public ValueTask<FuseAttributes> Attributes(ulong node, CancellationToken cancel) => new(Find(node).Attributes);

    public ValueTask ReadDirectory(ulong directory, int from, FuseDirectoryPage page, CancellationToken cancel)
    {
        foreach (((string name, ulong node), int at) in Find(directory).Names.Select(static (entry, at) => (entry, at)).Skip(from))
        {
            if (!page.TryAdd(at, FileName.ToBytes(name), Find(node).Attributes))
                break;
            if (page.WithAttributes)
                Known.AddOrUpdate(node, 1, static (_, count) => count + 1);
        }

        return default;
    }

    public async ValueTask Read(ulong node, long offset, FuseContent into, CancellationToken cancel)
    {
        Interlocked.Increment(ref Reads);
        if (BeforeRead is { } wait)
            await wait(node, cancel);
        byte[] content = Find(node).Content;
        int length = (int)Math.Clamp(content.Length - offset, 0, into.Wanted);
        for (int at = 0; at < length;)
        {
            int piece = Math.Min(Piece, length - at);
            if (at > 0 && at % 3 == 0)
                into.Keep(); // as if the next piece had to be waited for
            Interlocked.Increment(ref Lent);
            into.Lend(content.AsMemory((int)offset + at, piece), new Loan(this));
            at += piece;
        }
    }

    public ValueTask<byte[]> ReadLink(ulong node, CancellationToken cancel) => new(Find(node).Content);

    public ValueTask<byte[]?> Xattr(ulong node, ReadOnlyMemory<byte> name, CancellationToken cancel) =>
        new(Find(node).Xattrs.GetValueOrDefault(Encoding.UTF8.GetString(name.Span)));

    public ValueTask<byte[]> XattrNames(ulong node, CancellationToken cancel) =>
        new(Encoding.UTF8.GetBytes(string.Concat(Find(node).Xattrs.Keys.Select(static name => name + '\0'))));

    public void Forget(ulong node, ulong times) => Known.AddOrUpdate(node, static (_, less) => -(long)less, static (_, count, less) => count - (long)less, times);

    private Node Find(ulong node) => nodes.TryGetValue(node, out Node? found) ? found : throw new LinuxException(Errno.ESTALE, "fuse", $"node {node}");

    private sealed class Loan(MemoryTree owner) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref owner.Lent);
    }
}
