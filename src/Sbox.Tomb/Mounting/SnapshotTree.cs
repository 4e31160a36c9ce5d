using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// A directory of a snapshot as a file system: names and attributes out of its trees, contents fetched, opened and verified when they
/// are read. Files with several names are one inode, as the snapshot says.
/// </summary>
public sealed class SnapshotTree : IFuseTree
{
    private const int BlobsAhead = 3, BytesAhead = 6 << 20; // with the last of those blobs, less than what is kept of those that are still to be read
    private const int DirectoriesAhead = 2;
    private const long BlobNamesKept = 100_000;

    private readonly BlobReader blobs;
    private readonly Node root;
    private readonly KnownNodes known;
    private readonly RecentTrees trees;
    private readonly TreesAhead upcoming;
    private readonly RecentItems<ulong, FileLayout> layouts = new(BlobNamesKept, static layout => layout.Blobs.Count + 1);

    private PageOffers? offers;

    /// <summary>The directory that a node is.</summary>
    /// <param name="blobs">Reads the tomb.</param>
    /// <param name="root">A directory's node: its attributes are the root's.</param>
    /// <param name="space">How large all of it is, where that is known.</param>
    public SnapshotTree(BlobReader blobs, Node root, FuseSpace space = default)
    {
        this.blobs = blobs;
        this.root = root;
        Space = space;
        trees = new RecentTrees(blobs.Packed);
        upcoming = new TreesAhead(trees);
        known = new KnownNodes(root.Subtree ?? throw new ArgumentException("no directory", nameof(root)));
    }

    /// <inheritdoc/>
    public FuseSpace Space { get; }

    /// <summary>Nodes that the kernel knows at the moment.</summary>
    public int Known => known.Count;

    /// <summary>Bytes that it keeps outside of the collector's heap: directories, and what the kernel knows.</summary>
    internal long BytesHeld => known.Size + trees.Held;

    /// <inheritdoc/>
    public void Mounting(FusePages pages) => offers = new PageOffers(blobs, (node, offset, bytes) => pages.Put(node, offset, bytes));

    /// <inheritdoc/>
    public void Unmounted()
    {
        // By the collector alone it would lie there for long: it sees next to nothing of what this is.
        upcoming.Close();
        known.Close();
        trees.Close();
    }

    /// <inheritdoc/>
    public async ValueTask<FuseAttributes?> Lookup(ulong directory, ReadOnlyMemory<byte> name, CancellationToken cancel)
    {
        if (name.Span is [(byte)'.'] or [(byte)'.', (byte)'.'])
        {
            KnownDirectory there = Directory(directory);
            KnownDirectory wanted = name.Length == 2 ? there.Parent ?? there : there;
            known.TellAgain(wanted);
            return await Attributes(wanted.Number, cancel);
        }

        KnownDirectory parent = Directory(directory);
        using PackedTree tree = await TreeOf(parent, cancel);
        int at = tree.PlaceOf(name.Span);
        if (at < 0)
            return null;
        PackedEntry entry = tree.EntryAt(at);
        return AttributesOf(entry, known.Tell(parent, at, entry));
    }

    /// <inheritdoc/>
    public async ValueTask<FuseAttributes> Attributes(ulong node, CancellationToken cancel)
    {
        KnownNode wanted = Find(node);
        if (wanted.Parent is not { } parent)
            return RootAttributes();
        using PackedTree tree = await TreeOf(parent, cancel);
        return AttributesOf(tree.EntryAt(wanted.At), node);
    }

    /// <inheritdoc/>
    public async ValueTask ReadDirectory(ulong directory, int from, FuseDirectoryPage page, CancellationToken cancel)
    {
        KnownDirectory parent = Directory(directory);
        using PackedTree tree = await TreeOf(parent, cancel);
        if (from == 0)
            PrepareNext(parent, tree);
        for (int at = from; at < tree.Count; at++)
        {
            PackedEntry entry = tree.EntryAt(at);
            if (!page.HasRoomFor(entry.Name))
                return;
            page.TryAdd(at, entry.Name, AttributesOf(entry, page.WithAttributes ? known.Tell(parent, at, entry) : known.NumberOf(parent, at, entry)));
        }
    }

    /// <inheritdoc/>
    public async ValueTask Read(ulong node, long offset, FuseContent content, CancellationToken cancel)
    {
        FileLayout layout = await LayoutOf(node, cancel);
        int asked = content.Wanted;
        for (int blob = layout.BlobAt(offset); content.Wanted > 0 && blob < layout.Blobs.Count; blob++)
        {
            bool readsOn = layout.ReadsOn(blob, asked);
            if (readsOn)
            {
                for (int ahead = blob + 1; ahead <= blob + BlobsAhead && ahead < layout.Blobs.Count && layout.Begin(ahead) - layout.Begin(blob) <= BytesAhead; ahead++)
                    blobs.Prepare(layout.Blobs[ahead]);
            }

            ValueTask<PlainBlob> next = blobs.Data(layout.Blobs[blob], cancel);
            if (!next.IsCompleted)
                content.Keep();
            PlainBlob plain = await next;
            ReadOnlyMemory<byte> rest = plain.Memory[(int)(offset + asked - content.Wanted - layout.Begin(blob))..];
            if (rest.Length > content.Wanted)
                rest = rest[..content.Wanted];
            plain.IsReadOn = readsOn;
            blobs.NoteRead(plain, rest.Length);
            if (!readsOn && rest.Length < plain.Length / 2)
                offers?.Offer(node, layout.Begin(blob), plain);
            content.Lend(rest, plain);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<byte[]> ReadLink(ulong node, CancellationToken cancel) =>
        await NodeOf(Find(node), cancel) is { Type: NodeType.Symlink } link ? FileName.ToBytes(link.LinkTarget) : throw new LinuxException(Errno.EINVAL, "readlink", $"node {node}");

    /// <inheritdoc/>
    public async ValueTask<byte[]?> Xattr(ulong node, ReadOnlyMemory<byte> name, CancellationToken cancel)
    {
        // overlayfs asks for these of every file that it looks at, and no snapshot has them.
        if (name.Span.StartsWith("trusted.overlay."u8))
            return null;
        IReadOnlyList<Xattr> attributes = (await NodeOf(Find(node), cancel)).Xattrs;
        if (attributes.Count == 0)
            return null;
        string wanted = FileName.FromBytes(name.Span);
        foreach (Xattr attribute in attributes)
        {
            if (attribute.Name == wanted)
                return attribute.Value;
        }

        return null;
    }

    /// <inheritdoc/>
    public async ValueTask<byte[]> XattrNames(ulong node, CancellationToken cancel)
    {
        IReadOnlyList<Xattr> attributes = (await NodeOf(Find(node), cancel)).Xattrs;
        if (attributes.Count == 0)
            return [];
        var names = new StringBuilder();
        foreach (Xattr attribute in attributes)
            names.Append(attribute.Name).Append('\0');
        return FileName.ToBytes(names.ToString());
    }

    /// <inheritdoc/>
    public void Forget(ulong node, ulong times) => known.Forget(node, times);

    /// <summary>A directory of a snapshot by its path.</summary>
    /// <param name="blobs">Reads the tomb.</param>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="names">The path's names, from the snapshot's own root; none for that root.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>The directory's node; for the snapshot's root one that is made up, owned by who saved it. Null where there is no such directory.</returns>
    public static async Task<Node?> DirectoryAt(BlobReader blobs, Snapshot snapshot, IReadOnlyList<string> names, CancellationToken cancel)
    {
        var at = new Node
        {
            Name = "/", Type = NodeType.Directory, Mode = GoMode.FromStat((uint)FileKind.Directory | 0x1C0), Uid = snapshot.Uid, Gid = snapshot.Gid,
            Modified = snapshot.Time, Accessed = snapshot.Time, Changed = snapshot.Time, Subtree = snapshot.Tree,
        };
        foreach (string name in names)
        {
            if ((await blobs.Tree(at.Subtree!.Value, cancel)).Find(name) is not { Type: NodeType.Directory, Subtree: not null } next)
                return null;
            at = next;
        }

        return at;
    }

    private FuseAttributes RootAttributes() => new(
        NodeNumbers.Root, (uint)FileKind.Directory | root.Permissions, 1, root.Uid, root.Gid, 0, TimeOf(root.Modified), TimeOf(root.Accessed), TimeOf(root.Changed), 0);

    private static FuseAttributes AttributesOf(in PackedEntry entry, ulong number) => new(
        number,
        (uint)GoMode.Kind(entry.Type) | GoMode.Permissions(entry.Mode),
        entry.Type == NodeType.Directory ? 1 : (uint)Math.Clamp(entry.Links, 1, uint.MaxValue), // 1: nobody counted the subdirectories
        entry.Uid,
        entry.Gid,
        entry.Type switch { NodeType.File => (long)entry.Size, NodeType.Symlink => entry.LinkLength, _ => 0 },
        TimeOf(entry.Modified),
        TimeOf(entry.Accessed),
        TimeOf(entry.Changed),
        entry.Device);

    private static FuseTime TimeOf(Moment moment) => new(moment.Seconds, moment.Nanoseconds);

    private KnownNode Find(ulong node) => known.Find(node) ?? throw new LinuxException(Errno.ESTALE, "fuse", $"node {node}");

    private KnownDirectory Directory(ulong node) => known.FindDirectory(node) ?? throw new LinuxException(known.Find(node) is null ? Errno.ESTALE : Errno.ENOTDIR, "fuse", $"node {node}");

    private async ValueTask<Node> NodeOf(KnownNode node, CancellationToken cancel)
    {
        if (node.Parent is not { } parent)
            return root;
        using PackedTree tree = await TreeOf(parent, cancel);
        return tree[node.At];
    }

    private ValueTask<PackedTree> TreeOf(KnownDirectory directory, CancellationToken cancel) => trees.Get(directory.Tree, cancel);

    // Whoever lists one directory after the other finds the next ones read: the first below this one, then those after it. Nobody waits for it.
    private void PrepareNext(KnownDirectory listed, PackedTree tree)
    {
        if (listed.Parent is not { } above || blobs.IsGone)
            return;
        int last = above.LastListed;
        above.LastListed = listed.At;
        using PackedTree? beside = trees.TryGet(above.Tree);
        if (last < 0 || beside is null || beside.Directories(last + 1).FirstOrDefault().At != listed.At)
            return;
        foreach ((_, Checksum next) in tree.Directories(0).Concat(beside.Directories(listed.At + 1)).Take(DirectoriesAhead))
            upcoming.Prepare(next);
    }

    private async ValueTask<FileLayout> LayoutOf(ulong number, CancellationToken cancel)
    {
        if (layouts.TryGet(number, out FileLayout? there))
            return there;
        Node node = await NodeOf(Find(number), cancel);
        if (node.Type != NodeType.File)
            throw new LinuxException(node.Type == NodeType.Directory ? Errno.EISDIR : Errno.EINVAL, "read", node.Name);
        var layout = new FileLayout(node.Content ?? [], blobs.LengthOf);
        layouts.Add(number, layout);
        return layout;
    }
}
