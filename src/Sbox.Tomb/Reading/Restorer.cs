using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// Restores a snapshot, or a part of it, into a directory. Directories are made on the way down; files are gathered by the handful, their
/// blobs fetched by pack ranges and written where they belong as they come, holes left out; times and modes of directories come last.
/// A file gets its name when it is whole. Every step goes through a handle of the directory and one name in it, so that a link put in a
/// directory's place meanwhile leads nowhere.
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
    private readonly Dictionary<(ulong Device, ulong Inode), FirstName> firstNames = [];
    private readonly List<(string Below, Node Node)> linked = [];
    private readonly ConcurrentQueue<Unsaved> failed = new();
    private readonly List<string> kept = [];
    private long gatheredBytes, files, others, bytes, filesTotal;
    private Dir target = null!;
    private (string Below, Dir Dir)? current;

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
                try
                {
                    await Directory(tree, target, "", below);
                    await FetchGathered();
                }
                finally
                {
                    LetGoOfCurrent();
                    Discard();
                }

                foreach ((string directory, Node node) in linked)
                    Link(directory, node);
                await Directories(tree, target, "", below);
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

    private static string Join(string below, string name) => below.Length == 0 ? name : $"{below}/{name}";

    // No name on the way may be a link: whoever owns a directory that is restored into must not choose where else root writes.
    private Dir At(string below)
    {
        Dir at = target.OpenDir(".");
        foreach (string name in below.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            using Dir outer = at;
            at = outer.OpenDir(name);
        }

        return at;
    }

    // Files come directory by directory: the last one stays open for the next.
    private Dir Current(string below)
    {
        if (current is { } last && last.Below == below)
            return last.Dir;
        LetGoOfCurrent();
        Dir dir = At(below);
        current = (below, dir);
        return dir;
    }

    private void LetGoOfCurrent()
    {
        current?.Dir.Dispose();
        current = null;
    }

    private async Task Directory(Tree tree, Dir here, string below, string path)
    {
        foreach (Node node in tree.Nodes)
        {
            cancel.ThrowIfCancellationRequested();
            string inside = $"{path}/{node.Name}";
            if (options.Excludes.Match(inside))
                continue;
            try
            {
                if (node.Type == NodeType.Directory)
                    await Enter(node, here, Join(below, node.Name), inside);
                else if (node.Type == NodeType.File)
                    await Gather(node, here, below);
                else
                    Other(node, here, Join(below, node.Name));
            }
            catch (Exception refused) when (refused is LinuxException or TombDamagedException or BlobMissingException or StoredFileUnreadableException)
            {
                failed.Enqueue(new Unsaved(inside, refused.Message));
            }
        }
    }

    private async Task Enter(Node node, Dir here, string name, string inside)
    {
        Tree tree = await tomb.LoadTree(node.Subtree!.Value, cancel);
        if (here.TryStat(node.Name) is not { } there)
        {
            here.MakeDir(node.Name, 0x1C0); // until its own mode is set nobody else looks in
            others++;
        }
        else if (!there.IsDirectory)
        {
            kept.Add(name); // what is there is no directory: it is not taken away
            return;
        }

        using Dir inner = here.OpenDir(node.Name);
        await Directory(tree, inner, name, inside);
    }

    private async Task Gather(Node node, Dir here, string below)
    {
        if (node.IsHardlinked && !firstNames.TryAdd((node.DeviceId, node.Inode), new FirstName(below, node.Name)))
        {
            linked.Add((below, node));
            return;
        }

        FileStat? there = here.TryStat(node.Name);
        if (there is { } known && !MayReplace(Join(below, node.Name), node, known))
        {
            // Restored by an earlier run the other names may be links to it; a file that is not ours must not get them.
            if (node.IsHardlinked && IsSame(node, known))
                firstNames[(node.DeviceId, node.Inode)].Stat = known;
            else
                firstNames.Remove((node.DeviceId, node.Inode));
            return;
        }

        filesTotal++;
        gathered.Add(new PendingFile(node, below, replaces: there is not null));
        gatheredBytes += (long)node.Size;
        if (gathered.Count >= FilesAtOnce || gatheredBytes >= BytesAtOnce)
            await FetchGathered();
    }

    private static bool IsSame(Node node, FileStat there) =>
        there.IsRegular && (ulong)there.Size == node.Size && there.ModifiedSeconds == node.Modified.Seconds && there.ModifiedNanoseconds == node.Modified.Nanoseconds;

    private bool MayReplace(string name, Node node, FileStat there)
    {
        if (IsSame(node, there))
            return false; // restored by an earlier run
        if (options.Existing == Existing.Overwrite && !there.IsDirectory)
            return true;
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
            Complete(file);

        // Bytes before names, one barrier for the handful: a power cut must not leave a name that looks restored and holds nothing.
        Durable.SyncFileSystem(target);
        foreach (PendingFile file in gathered)
            Appear(file);
        LetGoOfCurrent();
        Discard();
        progress?.Report(new RestoreProgress(files, filesTotal, bytes));
    }

    private void Discard()
    {
        foreach (PendingFile file in gathered)
        {
            using (file)
            {
                if (!file.HasTemporaryName)
                    continue;
                try
                {
                    using Dir dir = At(file.Below);
                    file.Discard(dir);
                }
                catch (LinuxException refused)
                {
                    failed.Enqueue(new Unsaved(file.Name, refused.Message));
                }
            }
        }

        gathered.Clear();
        gatheredBytes = 0;
    }

    private void Open(PendingFile file, Dictionary<Checksum, List<(PendingFile File, long Offset)>> wanted, List<BlobLocation> places)
    {
        try
        {
            file.Create(Current(file.Below));
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

    // All but the name.
    private void Complete(PendingFile file)
    {
        if (file.Handle is not { } handle || file.Failure is not null)
            return;
        try
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
        catch (IOException refused)
        {
            file.Fail(refused.Message);
        }
    }

    private void Appear(PendingFile file)
    {
        if (file.Handle is not { } handle || file.Failure is not null)
        {
            failed.Enqueue(new Unsaved(file.Name, file.Failure ?? "it could not be made"));
            return;
        }

        try
        {
            if (!file.Appear(Current(file.Below)))
            {
                kept.Add(file.Name); // someone made it meanwhile
                return;
            }

            files++;
            if (file.Node.IsHardlinked)
                firstNames[(file.Node.DeviceId, file.Node.Inode)].Stat = Files.Stat(handle, file.Name);
        }
        catch (LinuxException refused)
        {
            failed.Enqueue(new Unsaved(file.Name, refused.Message));
        }
    }

    private void Link(string below, Node node)
    {
        string name = Join(below, node.Name);
        try
        {
            if (!firstNames.TryGetValue((node.DeviceId, node.Inode), out FirstName? first) || first.Stat is not { } file)
            {
                failed.Enqueue(new Unsaved(name, "the file that it is another name of was not restored"));
                return;
            }

            using Dir from = At(first.Below), dir = At(below);
            FileStat? there = dir.TryStat(node.Name);
            if (there is { } known && known.Inode == file.Inode && known.Device == file.Device)
                return;
            if (there is { } other && !MayReplace(name, node, other))
                return;
            string made = there is null ? node.Name : PendingFile.TemporaryName();
            if (!from.TryLink(first.Name, dir, made))
                return;
            if (there is not null)
                dir.Rename(made, dir, node.Name);
            others++;
        }
        catch (LinuxException refused)
        {
            failed.Enqueue(new Unsaved(name, refused.Message));
        }
    }

    private void Other(Node node, Dir here, string name)
    {
        if (node.Type is NodeType.Socket or NodeType.Irregular)
            return; // a socket is nothing without who listens
        FileStat? there = here.TryStat(node.Name);
        if (there is { } known && !MayReplaceOther(name, node, here, known))
            return;
        string made = there is null ? node.Name : PendingFile.TemporaryName();
        if (node.Type == NodeType.Symlink)
            here.Symlink(node.LinkTarget, made);
        else
            here.MakeNode(made, (uint)GoMode.Kind(node.Type) | 0x180, node.Device);
        try
        {
            Metadata(node, here, made, name);
            if (there is not null)
                here.Rename(made, here, node.Name);
        }
        catch when (there is not null)
        {
            here.TryUnlink(made);
            throw;
        }

        others++;
    }

    private bool MayReplaceOther(string name, Node node, Dir here, FileStat there)
    {
        bool same = there.Kind == GoMode.Kind(node.Type) && (node.Type == NodeType.Symlink ? here.ReadLink(node.Name) == node.LinkTarget : there.RawDevice == node.Device);
        if (same)
            return false;
        if (options.Existing == Existing.Overwrite && !there.IsDirectory)
            return true;
        kept.Add(name);
        return false;
    }

    // Directories last, and the deepest first: making a file in one changes its time, and its mode may forbid it.
    private async Task Directories(Tree tree, Dir here, string below, string path)
    {
        foreach (Node node in tree.Nodes)
        {
            string inside = $"{path}/{node.Name}", name = Join(below, node.Name);
            if (node.Subtree is not { } subtree || options.Excludes.Match(inside))
                continue;
            try
            {
                if (here.TryStat(node.Name) is not { IsDirectory: true })
                    continue;
                using Dir inner = here.OpenDir(node.Name);
                await Directories(await tomb.LoadTree(subtree, cancel), inner, name, inside);
                foreach (Xattr attribute in node.Xattrs)
                    Quietly(name, () => Xattrs.Set(inner.Handle, attribute, name));
                if (options.Owners)
                    Files.ChangeOwner(inner.Handle, node.Uid, node.Gid, name);
                Files.ChangeMode(inner.Handle, node.Permissions, name);
                Files.SetModified(inner.Handle, node.Modified.Seconds, node.Modified.Nanoseconds, name);
            }
            catch (Exception refused) when (refused is LinuxException or TombDamagedException or BlobMissingException or StoredFileUnreadableException)
            {
                failed.Enqueue(new Unsaved(inside, refused.Message));
            }
        }
    }

    private void Metadata(Node node, Dir here, string made, string name)
    {
        foreach (Xattr attribute in node.Xattrs)
            Quietly(name, () => Xattrs.Set(here, made, attribute));
        if (options.Owners)
            here.ChangeOwner(made, node.Uid, node.Gid);
        if (node.Type != NodeType.Symlink)
            here.ChangeOwnMode(made, node.Permissions);
        here.SetTimes(made, node.Modified.Seconds, node.Modified.Nanoseconds);
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

    private sealed record FirstName(string Below, string Name)
    {
        public FileStat? Stat { get; set; } // known when the file is there and whole
    }
}
