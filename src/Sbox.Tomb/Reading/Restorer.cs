using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// Restores a snapshot, or a part of it, into a directory. Directories are made on the way down; files are gathered by the handful, their
/// blobs fetched by pack ranges and written where they belong as they come, holes left out; times and modes of directories come last.
/// </summary>
public sealed class Restorer
{
    // One handful of files: enough for ranges to be long, few enough to stay small in memory and open files.
    private const int FilesAtOnce = 400;
    private const long BytesAtOnce = 64 * 1024 * 1024;

    private readonly TombRepository tomb;
    private readonly RestoreOptions options;
    private readonly IProgress<RestoreProgress>? progress;
    private readonly CancellationToken cancel;
    private readonly List<PendingFile> gathered = [];
    private readonly Dictionary<(ulong Device, ulong Inode), string> firstNames = [];
    private readonly List<(string Path, Node Node)> linked = [];
    private readonly ConcurrentQueue<Unsaved> failed = new();
    private readonly List<string> kept = [];
    private long gatheredBytes, files, others, bytes, filesTotal;
    private Dir target = null!;

    private Restorer(TombRepository tomb, RestoreOptions options, IProgress<RestoreProgress>? progress, CancellationToken cancel)
    {
        this.tomb = tomb;
        this.options = options;
        this.progress = progress;
        this.cancel = cancel;
    }

    /// <summary>Restores. The tomb's index is loaded by the caller.</summary>
    /// <exception cref="SnapshotNotFoundException">The snapshot has no such path.</exception>
    public static async Task<RestoreReport> Restore(TombRepository tomb, Snapshot snapshot, RestoreOptions options, IProgress<RestoreProgress>? progress, CancellationToken cancel)
    {
        var restorer = new Restorer(tomb, options, progress, cancel);
        return await restorer.Run(snapshot);
    }

    private async Task<RestoreReport> Run(Snapshot snapshot)
    {
        (Tree tree, string below) = await Locate(snapshot);
        if (options.DryRun)
        {
            await Count(tree, below);
        }
        else
        {
            string path = Path.GetFullPath(options.Target);
            using (Dir root = Dir.Open("/"))
            {
                if (path != "/")
                    root.MakeDirs(path.TrimStart('/'));
            }

            using (target = Dir.Open(path))
            {
                await Directory(tree, "", below);
                await FetchGathered();
                foreach ((string name, Node node) in linked)
                    Link(name, node);
                await Directories(tree, "", below);
                Durable.SyncFileSystem(target);
            }
        }

        return new RestoreReport { Files = files, Others = others, Bytes = bytes, Kept = kept, Failed = [.. failed] };
    }

    // The tree to restore and its path: a file that was asked for is a tree of one.
    private async Task<(Tree Tree, string Path)> Locate(Snapshot snapshot)
    {
        Tree tree = await tomb.LoadTree(snapshot.Tree, cancel);
        string[] parts = options.Path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        string at = "";
        for (int i = 0; i < parts.Length; i++)
        {
            Node node = tree.Find(parts[i]) ?? throw new SnapshotNotFoundException(tomb.Backend.Location, snapshot.Id.ToString()[..8], $"it has no {options.Path}");
            if (node.Subtree is { } subtree)
                tree = await tomb.LoadTree(subtree, cancel);
            else if (i == parts.Length - 1)
                return (new Tree([node]), at);
            else
                throw new SnapshotNotFoundException(tomb.Backend.Location, snapshot.Id.ToString()[..8], $"{at}/{node.Name} is no directory in it");
            at = $"{at}/{parts[i]}";
        }

        return (tree, at);
    }

    private async Task Count(Tree tree, string path)
    {
        foreach (Node node in tree.Nodes)
        {
            cancel.ThrowIfCancellationRequested();
            string inside = $"{path}/{node.Name}";
            if (options.Excludes.Match(inside))
                continue;
            if (node.Type == NodeType.File)
                (files, bytes) = (files + 1, bytes + (long)node.Size);
            else
                others++;
            if (node.Subtree is { } subtree)
                await Count(await tomb.LoadTree(subtree, cancel), inside);
        }
    }

    private async Task Directory(Tree tree, string below, string path)
    {
        foreach (Node node in tree.Nodes)
        {
            cancel.ThrowIfCancellationRequested();
            string inside = $"{path}/{node.Name}", name = below.Length == 0 ? node.Name : $"{below}/{node.Name}";
            if (options.Excludes.Match(inside))
                continue;
            try
            {
                if (node.Type == NodeType.Directory)
                    await Enter(node, name, inside);
                else if (node.Type == NodeType.File)
                    await Gather(node, name);
                else
                    Other(node, name);
            }
            catch (Exception refused) when (refused is LinuxException or TombDamagedException or BlobMissingException or StoredFileUnreadableException)
            {
                failed.Enqueue(new Unsaved(inside, refused.Message));
            }
        }
    }

    private async Task Enter(Node node, string name, string inside)
    {
        Tree tree = await tomb.LoadTree(node.Subtree!.Value, cancel);
        if (target.TryStat(name) is not { } there)
        {
            target.MakeDir(name, 0x1C0); // until its own mode is set nobody else looks in
            others++;
        }
        else if (!there.IsDirectory)
        {
            kept.Add(name); // what is there is no directory: it is not taken away
            return;
        }

        await Directory(tree, name, inside);
    }

    private async Task Gather(Node node, string name)
    {
        if (node.IsHardlinked && !firstNames.TryAdd((node.DeviceId, node.Inode), name))
        {
            linked.Add((name, node));
            return;
        }

        if (target.TryStat(name) is { } there && !MayReplace(name, node, there))
            return;
        filesTotal++;
        gathered.Add(new PendingFile(node, name));
        gatheredBytes += (long)node.Size;
        if (gathered.Count >= FilesAtOnce || gatheredBytes >= BytesAtOnce)
            await FetchGathered();
    }

    private bool MayReplace(string name, Node node, FileStat there)
    {
        bool same = there.IsRegular && (ulong)there.Size == node.Size && there.ModifiedSeconds == node.Modified.Seconds && there.ModifiedNanoseconds == node.Modified.Nanoseconds;
        if (same)
            return false; // restored by an earlier run
        if (options.Existing == Existing.Overwrite && !there.IsDirectory)
        {
            target.Unlink(name);
            return true;
        }

        kept.Add(name);
        return false;
    }

    private async Task FetchGathered()
    {
        if (gathered.Count == 0)
            return;
        var wanted = new Dictionary<Checksum, List<(PendingFile File, long Offset)>>();
        var places = new List<BlobLocation>();
        foreach (PendingFile file in gathered)
            Open(file, wanted, places);
        await Parallel.ForEachAsync(
            BlobFetcher.Plan(places), new ParallelOptions { MaxDegreeOfParallelism = Math.Max(2, tomb.Backend.Connections), CancellationToken = cancel },
            async (range, stop) => await BlobFetcher.Fetch(
                tomb, range,
                (place, plain) => Write(wanted[place.Id], plain),
                (place, lost) => wanted[place.Id].ForEach(each => each.File.Fail(lost.Message)), stop));
        foreach (PendingFile file in gathered)
            Close(file);
        gathered.Clear();
        gatheredBytes = 0;
        progress?.Report(new RestoreProgress(files, filesTotal, bytes));
    }

    private void Open(PendingFile file, Dictionary<Checksum, List<(PendingFile File, long Offset)>> wanted, List<BlobLocation> places)
    {
        try
        {
            file.Handle = target.CreateFile(file.Name, 0x180 /* 0600 */);
        }
        catch (LinuxException refused)
        {
            file.Fail(refused.Message);
            return;
        }

        long offset = 0;
        foreach (Checksum id in file.Node.Content ?? [])
        {
            if (!tomb.Index.TryFind(BlobType.Data, id, out BlobLocation place))
            {
                file.Fail($"the data blob {id} is in no pack of the index");
                return;
            }

            if (!wanted.TryGetValue(id, out List<(PendingFile, long)>? uses))
            {
                wanted[id] = uses = [];
                places.Add(place);
            }

            uses.Add((file, offset));
            offset += place.PlainLength;
        }

        file.Length = offset;
    }

    private void Write(List<(PendingFile File, long Offset)> uses, ReadOnlySpan<byte> plain)
    {
        bool hole = plain.Length >= 4096 && !plain.ContainsAnyExcept((byte)0);
        foreach ((PendingFile file, long offset) in uses)
        {
            try
            {
                if (!hole && file.Failure is null)
                    Files.WriteAt(file.Handle!, plain, offset, file.Name);
                Interlocked.Add(ref bytes, plain.Length);
            }
            catch (LinuxException refused)
            {
                file.Fail(refused.Message);
            }
        }
    }

    private void Close(PendingFile file)
    {
        try
        {
            if (file.Handle is not { } handle)
            {
                failed.Enqueue(new Unsaved(file.Name, file.Failure ?? "it could not be made"));
                return;
            }

            using (handle)
            {
                if (RandomAccess.GetLength(handle) < file.Length)
                    RandomAccess.SetLength(handle, file.Length); // it ends with a hole
                foreach (Xattr attribute in file.Node.Xattrs)
                    Quietly(file.Name, () => Xattrs.Set(handle, attribute, file.Name));
                if (options.Owners)
                    Files.ChangeOwner(handle, file.Node.Uid, file.Node.Gid, file.Name);
                Files.ChangeMode(handle, file.Node.Permissions, file.Name);
                Files.SetModified(handle, file.Node.Modified.Seconds, file.Node.Modified.Nanoseconds, file.Name);
            }

            if (file.Failure is { } failure)
            {
                target.Unlink(file.Name); // half a file must not pass for the file
                failed.Enqueue(new Unsaved(file.Name, failure));
            }
            else
            {
                files++;
            }
        }
        catch (LinuxException refused)
        {
            failed.Enqueue(new Unsaved(file.Name, refused.Message));
        }
    }

    private void Link(string name, Node node)
    {
        try
        {
            if (target.TryStat(name) is { } there)
            {
                if (target.TryStat(firstNames[(node.DeviceId, node.Inode)]) is { } first && first.Inode == there.Inode && first.Device == there.Device)
                    return;
                if (!MayReplace(name, node, there))
                    return;
            }

            if (target.TryLink(firstNames[(node.DeviceId, node.Inode)], target, name))
                others++;
        }
        catch (LinuxException refused)
        {
            failed.Enqueue(new Unsaved(name, refused.Message));
        }
    }

    private void Other(Node node, string name)
    {
        if (node.Type is NodeType.Socket or NodeType.Irregular)
            return; // a socket is nothing without who listens
        if (target.TryStat(name) is { } there && !MayReplaceOther(name, node, there))
            return;
        if (node.Type == NodeType.Symlink)
            target.Symlink(node.LinkTarget, name);
        else
            target.MakeNode(name, (uint)GoMode.Kind(node.Type) | 0x180, node.Device);
        others++;
        Metadata(node, name);
    }

    private bool MayReplaceOther(string name, Node node, FileStat there)
    {
        bool same = there.Kind == GoMode.Kind(node.Type) && (node.Type == NodeType.Symlink ? target.ReadLink(name) == node.LinkTarget : there.RawDevice == node.Device);
        if (same)
            return false;
        if (options.Existing == Existing.Overwrite && !there.IsDirectory)
        {
            target.Unlink(name);
            return true;
        }

        kept.Add(name);
        return false;
    }

    // Directories last, and the deepest first: making a file in one changes its time, and its mode may forbid it.
    private async Task Directories(Tree tree, string below, string path)
    {
        foreach (Node node in tree.Nodes)
        {
            string inside = $"{path}/{node.Name}", name = below.Length == 0 ? node.Name : $"{below}/{node.Name}";
            if (node.Subtree is not { } subtree || options.Excludes.Match(inside) || target.TryStat(name) is not { IsDirectory: true })
                continue;
            try
            {
                await Directories(await tomb.LoadTree(subtree, cancel), name, inside);
                Metadata(node, name);
            }
            catch (Exception refused) when (refused is LinuxException or TombDamagedException or BlobMissingException or StoredFileUnreadableException)
            {
                failed.Enqueue(new Unsaved(inside, refused.Message));
            }
        }
    }

    private void Metadata(Node node, string name)
    {
        foreach (Xattr attribute in node.Xattrs)
            Quietly(name, () => Xattrs.Set(target, name, attribute));
        if (options.Owners)
            target.ChangeOwner(name, node.Uid, node.Gid);
        if (node.Type != NodeType.Symlink)
            target.ChangeMode(name, node.Permissions);
        target.SetTimes(name, node.Modified.Seconds, node.Modified.Nanoseconds);
    }

    // Attributes that the file system or the kernel refuses (security.*, trusted.* without root) are told of, and no more.
    private void Quietly(string name, Action set)
    {
        try
        {
            set();
        }
        catch (LinuxException refused) when (refused.Errno is Errno.EPERM or Errno.EOPNOTSUPP or Errno.EACCES)
        {
            failed.Enqueue(new Unsaved(name, refused.Message));
        }
    }

    private sealed class PendingFile(Node node, string name)
    {
        public Node Node { get; } = node;

        public string Name { get; } = name;

        public SafeFileHandle? Handle { get; set; }

        public long Length { get; set; }

        public string? Failure { get; private set; }

        public void Fail(string reason) => Failure ??= reason;
    }
}
