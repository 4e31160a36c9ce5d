using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Reads a directory into a transaction: one thread walks and opens, a few hash and store, and when all files of a directory are known its
/// dirtree is made, from the leaves up. Where one directory is all there is, that is done on the way: memory does not grow with the tree.
/// </summary>
internal sealed partial class TreeWriter
{
    private readonly Transaction transaction;
    private readonly CommitOptions options;
    private readonly IProgress<CommitProgress>? progress;
    private readonly CancellationToken cancel;
    private static readonly Comparer<string> ByBytes = Comparer<string>.Create(Dir.CompareNames);
    private readonly Dictionary<(ulong Device, ulong Inode), FileNode> hardlinks = [];
    private readonly Dictionary<DirMeta, Checksum> metas = [];
    private Dictionary<(ulong Device, ulong Inode), Checksum>? objectsByInode;
    private readonly Queue<DirNode> walked = new(); // those whose files may not all be stored yet, the inner ones first
    private bool finishesEarly;
    private long files, bytes;

    public TreeWriter(Transaction transaction, CommitOptions options, IProgress<CommitProgress>? progress, CancellationToken cancel) =>
        (this.transaction, this.options, this.progress, this.cancel) = (transaction, options, progress, cancel);

    /// <summary>Adds all of some trees, each laid over those before it.</summary>
    /// <returns>The root's dirtree and dirmeta.</returns>
    public (Checksum Tree, Checksum Meta) Write(IReadOnlyList<TreeSource> trees)
    {
        var top = new DirNode();
        finishesEarly = trees is [TreeSource.Directory];
        using (var work = new ParallelWork<Pending>(Store, static pending => pending.File.Dispose(), cancel))
        {
            foreach (TreeSource source in trees)
            {
                if (source is TreeSource.Directory { Path: var path })
                {
                    using Dir root = Dir.Open(path);
                    if (options.Filter?.Invoke("/", root.Stat()) == false)
                        throw new CannotCommitException(root.Path, "the filter leaves out the root itself");
                    Walk(root, "/", top, work);
                }
                else if (source is TreeSource.Archive archive)
                {
                    AddArchive(archive, top);
                }
                else
                {
                    Commit commit = transaction.Repository.LoadCommit(((TreeSource.OfCommit)source).Commit);
                    bool asIs = !options.Modifies || (options.FirstTreeAsIs && ReferenceEquals(source, trees[0]));
                    Lay(commit.RootTree, commit.RootMeta, "/", top, asIs);
                }
            }

            work.Finish();
        }

        return (WriteTree(top), top.Meta);
    }

    private void Lay(Checksum tree, Checksum meta, string path, DirNode node, bool asIs)
    {
        TreeDepth.Check(path, transaction.Repository.Path);
        cancel.ThrowIfCancellationRequested();
        node.Meta = asIs ? meta : Modified(transaction.Repository.LoadDirMeta(meta), path);
        DirTree names = transaction.Repository.LoadDirTree(tree);
        foreach (DirTreeFile file in names.Files)
        {
            if ((asIs ? file.Content : Modified(file.Content, Join(path, file.Name))) is { } content)
                node.Add(file.Name, new FileNode { Content = content }, path);
        }

        foreach (DirTreeDirectory inner in names.Directories)
        {
            string below = Join(path, inner.Name);
            if (asIs || options.Filter?.Invoke(below, StatOf(transaction.Repository.LoadDirMeta(inner.Meta).Mode)) != false)
                Lay(inner.Tree, inner.Meta, below, node.Directory(inner.Name, path), asIs);
        }
    }

    // A file of a commit with what the options make of it; null where they leave it out.
    private Checksum? Modified(Checksum content, string path)
    {
        FileObject file = transaction.Repository.LoadFile(content);
        FileStat stat = StatOf(file.Mode) with { Uid = file.Uid, Gid = file.Gid };
        if (options.Filter?.Invoke(path, stat) == false)
            return null;
        (uint uid, uint gid, Mode mode) = Permissions(stat, path);
        var header = new FileHeader(uid, gid, mode, file.SymlinkTarget, TakesXattrs ? file.Xattrs : XattrList.Empty);
        if (header == file.Header)
            return content;
        using Stream bytes = file.OpenContent();
        return transaction.UseWriter(writer => writer.Write(header, bytes, expected: null, file.Size, path));
    }

    private Checksum Modified(DirMeta meta, string path)
    {
        (uint uid, uint gid, Mode mode) = Permissions(StatOf(meta.Mode) with { Uid = meta.Uid, Gid = meta.Gid }, path);
        return WriteMeta(new DirMeta(uid, gid, mode, TakesXattrs ? meta.Xattrs : XattrList.Empty));
    }

    private static FileStat StatOf(Mode mode) => default(FileStat) with { Mode = mode.Bits };

    private static string Join(string path, string name) => path == "/" ? path + name : $"{path}/{name}";

    private void Walk(Dir dir, string path, DirNode node, ParallelWork<Pending> work)
    {
        TreeDepth.Check(path, dir.Path.Length > 200 ? dir.Path[..200] + "..." : dir.Path);
        node.Meta = WriteMeta(dir, path);
        foreach (DirEntry entry in dir.Entries())
        {
            cancel.ThrowIfCancellationRequested();
            string inner = path == "/" ? path + entry.Name : $"{path}/{entry.Name}";
            if (entry.Name.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF') && HasLoneSurrogate(entry.Name))
                throw new CannotCommitException(dir.Of(entry.Name), "Invalid UTF-8 in filename, which libostree's format requires");
            FileKind kind = entry.Kind == FileKind.Unknown ? dir.Stat(entry.Name).Kind : entry.Kind;
            switch (kind)
            {
                case FileKind.Directory:
                    WalkDirectory(dir, entry.Name, inner, node, work);
                    break;
                case FileKind.Regular:
                    AddFile(dir, entry.Name, inner, node, work);
                    break;
                case FileKind.Symlink:
                    AddSymlink(dir, entry.Name, inner, node);
                    break;
                default:
                    if (options.Filter?.Invoke(inner, dir.Stat(entry.Name)) != false)
                        throw new CannotCommitException(dir.Of(entry.Name), $"a {kind} has no form in a repository");
                    break;
            }
        }

        if (!finishesEarly || path == "/")
            return;
        walked.Enqueue(node);
        while (walked.TryPeek(out DirNode? next) && next.Files.Values.All(static file => file.IsKnown))
            WriteTree(walked.Dequeue());
    }

    private void WalkDirectory(Dir dir, string name, string path, DirNode parent, ParallelWork<Pending> work)
    {
        using Dir inner = dir.OpenDir(name);
        if (options.Filter?.Invoke(path, inner.Stat()) != false)
            Walk(inner, path, parent.Directory(name, path), work);
    }

    private void AddFile(Dir dir, string name, string path, DirNode parent, ParallelWork<Pending> work)
    {
        SafeFileHandle file = dir.OpenFile(name);
        bool handedOver = false;
        try
        {
            string onDisk = dir.Of(name);
            FileStat stat = Linux.Files.Stat(file, onDisk);
            if (!stat.IsRegular)
                throw new CannotCommitException(onDisk, "it was replaced while it was read");
            if (options.Filter?.Invoke(path, stat) == false)
                return;
            Report(stat.Size);
            FileNode? node = null;
            // A path with its own permissions cannot share the object of its other names.
            bool shared = stat.Links > 1 && options.AddedPermissions is null && options.SetPermissions is null;
            if (shared && hardlinks.TryGetValue((stat.Device, stat.Inode), out node))
            {
                transaction.CountAgain(ObjectType.File);
                parent.Add(name, node, path);
                return;
            }

            if (ObjectAt(stat) is { } known)
            {
                bool asItIs = !options.Modifies || options.HardlinksAsTheyAre;
                if ((asItIs ? known : Modified(known, path)) is { } content)
                    parent.Add(name, new FileNode { Content = content }, path);
                if (asItIs)
                    transaction.CountCacheHit();
                return;
            }

            node = new FileNode();
            if (shared)
                hardlinks.Add((stat.Device, stat.Inode), node);
            parent.Add(name, node, path);
            IReadOnlyList<Xattr> xattrs = TakesXattrs ? Xattrs.Read(file, onDisk) : [];
            work.Add(new Pending(file, HeaderOf(stat, path, target: null, xattrs), node, stat.Size, onDisk));
            handedOver = true;
        }
        finally
        {
            if (!handedOver)
                file.Dispose();
        }
    }

    // The object that a file is a hardlink to; null where it is none, or that was not asked for.
    private Checksum? ObjectAt(FileStat stat)
    {
        if (!options.TrustsHardlinks || stat.Links < 2 || transaction.Repository.Mode == RepositoryMode.Archive)
            return null;
        if (objectsByInode is null)
        {
            objectsByInode = [];
            Dir objects = transaction.Repository.Objects.Dir;
            foreach (ObjectName name in transaction.Repository.Objects.Enumerate().Where(static name => name.Type == ObjectType.File))
            {
                if (objects.TryStat(name.LoosePath(transaction.Repository.Mode)) is { IsRegular: true, Links: > 1 } there)
                    objectsByInode[(there.Device, there.Inode)] = name.Checksum;
            }
        }

        return objectsByInode.TryGetValue((stat.Device, stat.Inode), out Checksum found) ? found : null;
    }

    private void AddSymlink(Dir dir, string name, string path, DirNode parent)
    {
        FileStat stat = dir.Stat(name);
        if (options.Filter?.Invoke(path, stat) == false)
            return;
        Report(0);
        string target = dir.ReadLink(name);
        if (HasLoneSurrogate(target))
            throw new CannotCommitException(dir.Of(name), "its target is no UTF-8, which libostree's format requires");
        FileHeader header = HeaderOf(stat, path, target, TakesXattrs ? Xattrs.Read(dir, name) : []);
        parent.Add(name, new FileNode { Content = transaction.WriteFile(header, Stream.Null) }, path);
    }

    private void Store(Pending pending)
    {
        using (pending.File)
            pending.Node.Content = transaction.UseWriter(writer => writer.Write(pending.Header, pending.File, pending.Size, pending.Path, options.Adopt).Checksum);
    }

    private Checksum WriteMeta(Dir dir, string path)
    {
        FileStat stat = dir.Stat();
        (uint uid, uint gid, Mode mode) = Permissions(stat, path);
        return WriteMeta(new DirMeta(uid, gid, mode, TakesXattrs ? XattrList.From(Xattrs.Read(dir.Handle, dir.Path)) : XattrList.Empty));
    }

    private Checksum WriteMeta(DirMeta meta)
    {
        if (metas.TryGetValue(meta, out Checksum checksum))
        {
            transaction.CountAgain(ObjectType.DirMeta);
            return checksum;
        }

        checksum = transaction.WriteMetadata(ObjectType.DirMeta, meta.ToBytes());
        metas.Add(meta, checksum);

        return checksum;
    }

    private Checksum WriteTree(DirNode node)
    {
        if (node.Tree is { } written)
            return written;
        var tree = new DirTree(
            [.. node.Files.OrderBy(static file => file.Key, ByBytes).Select(static file => new DirTreeFile(file.Key, file.Value.Content))],
            [.. node.Directories.OrderBy(static inner => inner.Key, ByBytes)
                .Select(inner => new DirTreeDirectory(inner.Key, WriteTree(inner.Value), inner.Value.Meta))]);
        Checksum checksum = transaction.WriteMetadata(ObjectType.DirTree, tree.ToBytes());
        node.Finish(checksum);
        return checksum;
    }

    private FileHeader HeaderOf(FileStat stat, string path, string? target, IReadOnlyList<Xattr> xattrs)
    {
        (uint uid, uint gid, Mode mode) = Permissions(stat, path);
        return new FileHeader(uid, gid, mode, target, XattrList.From(xattrs));
    }

    private (uint Uid, uint Gid, Mode Mode) Permissions(FileStat stat, string path)
    {
        var mode = new Mode(stat.Mode);
        if (options.AddedPermissions?.TryGetValue(path, out uint added) == true)
            mode = mode.WithPermissions(mode.Permissions | added);
        if (options.SetPermissions?.TryGetValue(path, out uint permissions) == true)
            mode = mode.WithPermissions(permissions);
        if (options.ReadOnlyExecutables && mode.IsRegular && (mode.Permissions & 0x49 /* 0111 */) != 0)
            mode = mode.WithPermissions(mode.Permissions & ~0x92u /* 0222 */);
        if (!options.CanonicalPermissions)
            return (options.OwnerUid ?? stat.Uid, options.OwnerGid ?? stat.Gid, mode);
        return (0, 0, mode.IsSymlink ? mode : mode.WithPermissions(mode.Permissions & 0x1ED /* 0755 */));
    }

    private bool TakesXattrs => !options.NoXattrs && !options.CanonicalPermissions;

    private void Report(long size)
    {
        bytes += size;
        if (++files % 256 != 0)
            return;
        // A name lives until its directory is written: long enough to be taken for what lives on, of which the collector lets much gather
        // before it looks. Little is really left, so looking costs a few milliseconds.
        if (files % 8192 == 0)
            GC.Collect(2, GCCollectionMode.Forced, blocking: true, compacting: false);
        TransactionStats stats = transaction.Stats;
        progress?.Report(new CommitProgress(files, bytes, stats.ContentWritten + stats.MetadataWritten));
    }

    private static bool HasLoneSurrogate(string text) =>
        System.Buffers.OperationStatus.Done != System.Text.Unicode.Utf8.FromUtf16(text, new byte[text.Length * 3], out _, out _, replaceInvalidSequences: false);

    private sealed record Pending(SafeFileHandle File, FileHeader Header, FileNode Node, long Size, string Path);

    private sealed class FileNode
    {
        private Checksum content;
        private bool isKnown;

        public Checksum Content
        {
            get => content;
            set
            {
                content = value;
                Volatile.Write(ref isKnown, true);
            }
        }

        public bool IsKnown => Volatile.Read(ref isKnown);
    }

    private sealed class DirNode
    {
        private static readonly Dictionary<string, FileNode> None = [];
        private static readonly Dictionary<string, DirNode> NoDirectories = [];

        public Checksum Meta { get; set; }

        /// <summary>Its dirtree, once that is written.</summary>
        public Checksum? Tree { get; private set; }

        public Dictionary<string, FileNode> Files { get; private set; } = [];

        public Dictionary<string, DirNode> Directories { get; private set; } = [];

        /// <summary>Notes its dirtree, and forgets what is in it.</summary>
        public void Finish(Checksum tree)
        {
            Tree = tree;
            (Files, Directories) = (None, NoDirectories);
        }

        public void Add(string name, FileNode file, string path)
        {
            if (Directories.ContainsKey(name))
                throw new CannotCommitException(path, $"Can't replace directory with file: {name}");
            RequireOpen(path);
            Files[name] = file;
        }

        public DirNode Directory(string name, string path)
        {
            if (Files.ContainsKey(name))
                throw new CannotCommitException(path, $"Can't replace file with directory: {name}");
            if (Directories.TryGetValue(name, out DirNode? inner))
                return inner;
            RequireOpen(path);
            Directories.Add(name, inner = new DirNode());
            return inner;
        }

        // All finished ones share what they have no more.
        private void RequireOpen(string path)
        {
            if (Tree is not null)
                throw new InvalidOperationException($"{path}: the directory that it is in was written already");
        }
    }
}
