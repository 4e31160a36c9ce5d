using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Reads a directory into a transaction: one thread walks and opens, a few hash and store, and when all files are known the
/// dirtrees are made from the leaves up.
/// </summary>
internal sealed class TreeWriter
{
    private readonly Transaction transaction;
    private readonly CommitOptions options;
    private readonly IProgress<CommitProgress>? progress;
    private readonly CancellationToken cancel;
    private readonly Dictionary<(ulong Device, ulong Inode), FileNode> hardlinks = [];
    private readonly Dictionary<DirMeta, Checksum> metas = [];
    private long files, bytes;

    public TreeWriter(Transaction transaction, CommitOptions options, IProgress<CommitProgress>? progress, CancellationToken cancel) =>
        (this.transaction, this.options, this.progress, this.cancel) = (transaction, options, progress, cancel);

    /// <summary>Adds all below a directory.</summary>
    /// <returns>The root's dirtree and dirmeta.</returns>
    public (Checksum Tree, Checksum Meta) Write(Dir root)
    {
        if (options.Filter?.Invoke("/", root.Stat()) == false)
            throw new CannotCommitException(root.Path, "the filter leaves out the root itself");
        DirNode top;
        using (var work = new ParallelWork<Pending>(Store, static pending => pending.File.Dispose(), cancel))
        {
            top = Walk(root, "/", work);
            work.Finish();
        }

        return (WriteTree(top), top.Meta);
    }

    private DirNode Walk(Dir dir, string path, ParallelWork<Pending> work)
    {
        TreeDepth.Check(path, dir.Path.Length > 200 ? dir.Path[..200] + "..." : dir.Path);
        var node = new DirNode(WriteMeta(dir, path));
        foreach (DirEntry entry in dir.Entries())
        {
            cancel.ThrowIfCancellationRequested();
            string inner = path == "/" ? path + entry.Name : $"{path}/{entry.Name}";
            if (entry.Name.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF') && HasLoneSurrogate(entry.Name))
                throw new CannotCommitException(dir.Of(entry.Name), "its name is no UTF-8, which libostree's format requires");
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

        return node;
    }

    private void WalkDirectory(Dir dir, string name, string path, DirNode parent, ParallelWork<Pending> work)
    {
        using Dir inner = dir.OpenDir(name);
        if (options.Filter?.Invoke(path, inner.Stat()) != false)
            parent.Directories.Add((name, Walk(inner, path, work)));
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
            bool shared = stat.Links > 1 && options.AddedPermissions is null;
            if (shared && hardlinks.TryGetValue((stat.Device, stat.Inode), out node))
            {
                parent.Files.Add((name, node));
                return;
            }

            node = new FileNode();
            if (shared)
                hardlinks.Add((stat.Device, stat.Inode), node);
            parent.Files.Add((name, node));
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
        parent.Files.Add((name, new FileNode { Content = transaction.WriteFile(header, Stream.Null) }));
    }

    private void Store(Pending pending)
    {
        using (pending.File)
            pending.Node.Content = transaction.UseWriter(writer => writer.Write(pending.Header, pending.File, pending.Size, pending.Path).Checksum);
    }

    private Checksum WriteMeta(Dir dir, string path)
    {
        FileStat stat = dir.Stat();
        (uint uid, uint gid, Mode mode) = Permissions(stat, path);
        var meta = new DirMeta(uid, gid, mode, TakesXattrs ? XattrList.From(Xattrs.Read(dir.Handle, dir.Path)) : XattrList.Empty);
        if (!metas.TryGetValue(meta, out Checksum checksum))
        {
            checksum = transaction.WriteMetadata(ObjectType.DirMeta, meta.ToBytes());
            metas.Add(meta, checksum);
        }

        return checksum;
    }

    private Checksum WriteTree(DirNode node)
    {
        var tree = new DirTree(
            [.. node.Files.Select(static file => new DirTreeFile(file.Name, file.Node.Content))],
            [.. node.Directories.Select(inner => new DirTreeDirectory(inner.Name, WriteTree(inner.Node), inner.Node.Meta))]);
        return transaction.WriteMetadata(ObjectType.DirTree, tree.ToBytes());
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
        TransactionStats stats = transaction.Stats;
        progress?.Report(new CommitProgress(files, bytes, stats.ContentWritten + stats.MetadataWritten));
    }

    private static bool HasLoneSurrogate(string text) =>
        System.Buffers.OperationStatus.Done != System.Text.Unicode.Utf8.FromUtf16(text, new byte[text.Length * 3], out _, out _, replaceInvalidSequences: false);

    private sealed record Pending(SafeFileHandle File, FileHeader Header, FileNode Node, long Size, string Path);

    private sealed class FileNode
    {
        public Checksum Content { get; set; }
    }

    private sealed class DirNode(Checksum meta)
    {
        public Checksum Meta { get; } = meta;

        public List<(string Name, FileNode Node)> Files { get; } = [];

        public List<(string Name, DirNode Node)> Directories { get; } = [];
    }
}
