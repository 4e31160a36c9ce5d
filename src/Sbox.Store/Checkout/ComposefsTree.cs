using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Codecs.Composefs;
using Sbox.Codecs.Verity;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>A commit's tree as the tree of a composefs image: all times 0, every name an inode of its own, contents by their objects' paths.</summary>
internal sealed class ComposefsTree(Repository repository, bool withVerity, CancellationToken cancel, Func<Checksum, Checksum?>? known = null)
{
    private static readonly string[] MountPoints = ["usr", "etc", "boot", "var", "sysroot"];

    private readonly Dictionary<Checksum, Node> files = [];
    private readonly Dictionary<Checksum, Attributes> metas = [];
    private readonly ConcurrentDictionary<Checksum, Checksum> digests = new();

    /// <summary>What was heard of objects and not seen: these are not opened, and the image is not compared with what the commit names.</summary>
    public IReadOnlyDictionary<Checksum, ContentDigest>? Told { get; init; }

    /// <summary>What images say of objects; one that cannot be read says nothing.</summary>
    public static Dictionary<Checksum, ContentDigest> ToldBy(IEnumerable<ReadOnlyMemory<byte>> images)
    {
        var told = new Dictionary<Checksum, ContentDigest>();
        Span<char> digits = stackalloc char[2 * Checksum.Size];
        foreach (ReadOnlyMemory<byte> image in images)
        {
            try
            {
                foreach (ContentDigest each in ComposefsImage.ReadDigests(image))
                {
                    // As ObjectName writes it: 44/6a0e….file
                    ReadOnlySpan<byte> path = each.BackingPath.Span;
                    if (path.Length != digits.Length + "/.file".Length || path[2] != '/' || !path.EndsWith(".file"u8))
                        continue;
                    System.Text.Encoding.Latin1.GetChars(path[..2], digits);
                    System.Text.Encoding.Latin1.GetChars(path[3..^5], digits[2..]);
                    if (Checksum.TryParse(digits, out Checksum name))
                        told[name] = each;
                }
            }
            catch (MalformedException)
            {
                // Whoever boots it will be told; here it only would have saved reading.
            }
        }

        return told;
    }

    public ComposefsResult Write(Checksum commit, Stream target)
    {
        Commit loaded = repository.LoadCommit(commit);
        if (Told is not null)
            MeasureUntold(loaded.RootTree, commit);
        else if (withVerity)
            MeasureAll(loaded.RootTree, commit);
        var counted = new CountedStream(target);
        Checksum digest = ComposefsImage.Write(WithMountPoints(Directory(loaded.RootTree, loaded.RootMeta, commit, depth: 0)), counted);
        if (withVerity && known is null && Told is null && loaded.ComposefsDigest is { } expected && expected != digest)
            throw new ComposefsDigestException(commit, expected, digest);
        return new ComposefsResult(digest, counted.Count);
    }

    /// <summary>The digest of the image of a tree that no commit has yet.</summary>
    public Checksum Digest(Checksum tree, Checksum meta)
    {
        MeasureAll(tree, commit: default);
        return ComposefsImage.Write(WithMountPoints(Directory(tree, meta, commit: default, depth: 0)), new CountedStream(Stream.Null));
    }

    // A box mounts on these, and nothing can be made in the image later; libostree adds them to every image, so the digest needs them.
    private static DirectoryNode WithMountPoints(DirectoryNode root)
    {
        var empty = new DirectoryNode(new Attributes(0x1ED /* 0755 */, 0, 0, 0, 0, []), []);
        IEnumerable<Entry> missing = MountPoints
            .Select(static name => System.Text.Encoding.ASCII.GetBytes(name))
            .Where(name => !root.Entries.Any(entry => entry.Name.Span.SequenceEqual(name)))
            .Select(name => new Entry(name, empty));
        return root with { Entries = [.. root.Entries, .. missing] };
    }

    private DirectoryNode Directory(Checksum tree, Checksum meta, Checksum commit, int depth)
    {
        TreeDepth.Check(depth, commit);
        cancel.ThrowIfCancellationRequested();
        DirTree names = repository.LoadDirTree(tree);
        var entries = new List<Entry>(names.Files.Count + names.Directories.Count);
        foreach (DirTreeFile file in names.Files)
            entries.Add(new Entry(FileName.ToBytes(file.Name), File(file.Content)));
        foreach (DirTreeDirectory inner in names.Directories)
            entries.Add(new Entry(FileName.ToBytes(inner.Name), Directory(inner.Tree, inner.Meta, commit, depth + 1)));
        if (!metas.TryGetValue(meta, out Attributes? attributes))
        {
            DirMeta loaded = repository.LoadDirMeta(meta);
            metas.Add(meta, attributes = AttributesOf(loaded.Uid, loaded.Gid, loaded.Mode, loaded.Xattrs));
        }

        return new DirectoryNode(attributes, entries);
    }

    private Node File(Checksum content)
    {
        if (!files.TryGetValue(content, out Node? node))
            files.Add(content, node = ToldOf(content)?.File ?? MakeFile(repository.LoadFile(content)));
        return node;
    }

    private ContentDigest? ToldOf(Checksum content) => Told is not null && Told.TryGetValue(content, out ContentDigest heard) ? heard : null;

    private Node MakeFile(FileObject file)
    {
        Attributes attributes = AttributesOf(file.Uid, file.Gid, file.Mode, file.Xattrs);
        if (file.SymlinkTarget is { } target)
            return new SymbolicLink(attributes, FileName.ToBytes(target));
        if (file.Size == 0)
            return new BackedFile(attributes, 0, ReadOnlyMemory<byte>.Empty, null);
        // The image is for the machine it is deployed on, whose repository is bare, whatever this one is.
        string path = new ObjectName(file.Checksum, ObjectType.File).LoosePath(RepositoryMode.Bare);
        return new BackedFile(
            attributes, (ulong)file.Size, System.Text.Encoding.ASCII.GetBytes(path),
            digests.TryGetValue(file.Checksum, out Checksum digest) ? digest : ToldOf(file.Checksum)?.Digest);
    }

    // Mostly a few, so they are found before the tree is made of all.
    private void MeasureUntold(Checksum root, Checksum commit)
    {
        var seen = new HashSet<Checksum>();
        var waiting = new Stack<(Checksum Tree, int Depth)>([(root, 0)]);
        using var work = new ParallelWork<Checksum>(Measure, static _ => { }, cancel);
        while (waiting.TryPop(out (Checksum Tree, int Depth) next))
        {
            TreeDepth.Check(next.Depth, commit);
            if (!seen.Add(next.Tree))
                continue;
            DirTree names = repository.LoadDirTree(next.Tree);
            foreach (DirTreeFile file in names.Files)
            {
                if (!Told!.ContainsKey(file.Content) && seen.Add(file.Content))
                    work.Add(file.Content);
            }

            foreach (DirTreeDirectory inner in names.Directories)
                waiting.Push((inner.Tree, next.Depth + 1));
        }

        work.Finish();
    }

    private void MeasureAll(Checksum tree, Checksum commit)
    {
        using var names = new ReachableNames(repository);
        var reachable = new Reachability(repository, names);
        reachable.AddTree(tree, commit, cancel);
        if (reachable.Unreadable.Count > 0)
            throw reachable.Unreadable[0].Finding;
        using var work = new ParallelWork<Checksum>(Measure, static _ => { }, cancel);
        foreach (ObjectName name in names.Names().Where(static name => name.Type == ObjectType.File))
            work.Add(name.Checksum);
        work.Finish();
    }

    private void Measure(Checksum checksum)
    {
        FileObject file = repository.LoadFile(checksum);
        if (file.Size == 0)
            return;
        if (known?.Invoke(checksum) is { } told)
        {
            digests[checksum] = told;
            return;
        }

        using Stream content = file.OpenContent();
        // The kernel knows it of what is sealed, and says it without reading a byte: on a sealed box that is nearly everything. What it says is what it
        // holds the file to, so a disk that damaged a byte is found by who reads it, and no reason to withhold an upgrade.
        if (content is FileStream { Position: 0 } bare && Verity.Measure(bare.SafeFileHandle, file.LoosePath) is { } measured)
        {
            digests[checksum] = Checksum.FromBytes(measured);
            return;
        }

        digests[checksum] = Hash(content, file);
    }

    private Checksum Hash(Stream content, FileObject file)
    {
        var hasher = new VerityHasher();
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(256 * 1024);
        try
        {
            // Whole blocks but at the end, so that the hasher need not copy.
            for (int read; (read = content.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false)) > 0;)
                hasher.Append(buffer.AsSpan(0, read));
        }
        catch (IOException failing) when (failing is not LinuxException) // the class library's has no path
        {
            var name = new ObjectName(file.Checksum, ObjectType.File);
            throw new ObjectCorruptException(repository.Objects.PathOf(name), name, found: null, $"it cannot be read: {failing.Message}", failing);
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }

        return hasher.Finish();
    }

    private static Attributes AttributesOf(uint uid, uint gid, Mode mode, XattrList xattrs) => new(
        mode.Permissions, uid, gid, 0, 0,
        [.. xattrs.Select(static xattr => new Codecs.Composefs.Xattr(FileName.ToBytes(xattr.Name), xattr.Value))]);
}

/// <summary>Passes bytes on and counts them.</summary>
internal sealed class CountedStream(Stream inner) : OutputStream
{
    public long Count { get; private set; }

    public override long Length => Count;

    public override long Position { get => Count; set => throw new NotSupportedException(); }

    public override void Write(ReadOnlySpan<byte> bytes)
    {
        inner.Write(bytes);
        Count += bytes.Length;
    }

    public override void Flush() => inner.Flush();
}
