using System.Collections.Concurrent;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// Saves directories into a tomb. One thread walks; files that changed since the parent snapshot are read by a few others; a directory's
/// tree is written when all below it is. Packs come first, then indexes, then the snapshot, so that any moment may be the last.
/// </summary>
public sealed partial class Saver
{
    private const int JobsAtMost = 64;
    private readonly TombRepository tomb;
    private readonly SaveOptions options;
    private readonly TimeProvider clock;
    private readonly IProgress<SaveProgress>? progress;
    private readonly Accounts accounts = new();
    private readonly ConcurrentQueue<Unsaved> unsaved = new();
    private readonly ConcurrentDictionary<string, Checksum> savedTrees = new();
    private readonly CancellationTokenSource stop;
    private readonly PackWriter packs;
    private readonly BlockingCollection<FileJob> jobs = new(JobsAtMost);
    private Exception? failure;
    private volatile bool reached; // something of what was named is there, and could be read
    private long filesNew, filesChanged, filesUnmodified, directoriesNew, directoriesChanged, directoriesUnmodified, bytesRead, bytesTotal;

    private Saver(TombRepository tomb, SaveOptions options, TimeProvider clock, IProgress<SaveProgress>? progress, CancellationToken cancel)
    {
        this.tomb = tomb;
        this.options = options;
        this.clock = clock;
        this.progress = progress;
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        packs = new PackWriter(tomb, clock, stop.Token);
    }

    /// <summary>Saves. The tomb's index is loaded, and a shared lock is held, by the caller.</summary>
    /// <param name="tomb">Where to.</param>
    /// <param name="parent">What to compare with; null reads everything.</param>
    /// <param name="options">What.</param>
    /// <param name="clock">The snapshot's time.</param>
    /// <param name="progress">Told how far it is, from several threads.</param>
    /// <param name="cancel">Ends it; what was uploaded is found again by the next save.</param>
    /// <exception cref="NothingSavedException">Nothing of what is named is there, or can be read; nothing was written.</exception>
    /// <exception cref="TombException">The tomb did not take it.</exception>
    public static async Task<SaveReport> Save(
        TombRepository tomb, Snapshot? parent, SaveOptions options, TimeProvider clock, IProgress<SaveProgress>? progress, CancellationToken cancel)
    {
        var saver = new Saver(tomb, options, clock, progress, cancel);
        await using (saver.packs)
        using (saver.stop)
            return await saver.Run(parent);
    }

    /// <summary>The newest snapshot of the same paths, of this machine if there is one: what to compare a save with.</summary>
    public static Snapshot? ParentFor(IReadOnlyList<Snapshot> snapshots, SaveOptions options)
    {
        string[] paths = [.. options.Paths.Select(static path => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(path))).Order(StringComparer.Ordinal)]; // a snapshot names what is no UTF-8 so
        Snapshot[] same = [.. snapshots.Where(each => each.Paths.Order(StringComparer.Ordinal).SequenceEqual(paths, StringComparer.Ordinal))];
        return same.LastOrDefault(each => each.Hostname == options.Hostname) ?? same.LastOrDefault();
    }

    private async Task<SaveReport> Run(Snapshot? parent)
    {
        DateTimeOffset begun = clock.GetUtcNow();
        Task[] workers = [.. Enumerable.Range(0, Math.Clamp(Environment.ProcessorCount, 1, 8)).Select(_ => Task.Factory.StartNew(
            Work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        var root = new OpenDirectory(null, 0, "/", "/");
        Task walking = Task.Factory.StartNew(() => Walk(root, parent), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await walking;
        await Task.WhenAll(workers);
        if (failure is not null)
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        stop.Token.ThrowIfCancellationRequested();
        if (!reached && !unsaved.IsEmpty)
            throw new NothingSavedException([.. unsaved]); // a snapshot of nothing would count as the newest, and make a forget take the last good one
        Checksum tree = root.Tree ?? throw new InvalidOperationException("the walk ended without a tree");
        if (!options.DryRun)
            await packs.Finish();
        var report = new SaveReport
        {
            Tree = tree, Parent = parent?.Id, FilesNew = filesNew, FilesChanged = filesChanged, FilesUnmodified = filesUnmodified, DirectoriesNew = directoriesNew,
            DirectoriesChanged = directoriesChanged, DirectoriesUnmodified = directoriesUnmodified, DataBlobs = packs.Blobs[0], TreeBlobs = packs.Blobs[1],
            BytesAdded = packs.PlainBytes, BytesStored = packs.SealedBytes, BytesTotal = bytesTotal, Unsaved = [.. unsaved], SavedTrees = savedTrees,
        };
        if (options.DryRun || (options.SkipIfUnchanged && parent?.Tree == tree))
            return report;
        return report with { Snapshot = await WriteSnapshot(report, begun) };
    }

    private async Task<Snapshot> WriteSnapshot(SaveReport report, DateTimeOffset begun)
    {
        (uint uid, uint gid) = Accounts.Own();
        var snapshot = new Snapshot
        {
            Time = Moment.Of(begun), Parent = report.Parent, Tree = report.Tree, Paths = options.Paths, Hostname = options.Hostname, Username = Environment.UserName,
            Uid = uid, Gid = gid, Excludes = options.Excludes.Patterns, Tags = options.Tags, ProgramVersion = options.ProgramVersion,
            Summary = new SnapshotSummary
            {
                Begun = Moment.Of(begun), Ended = Moment.Of(clock.GetUtcNow()), FilesNew = filesNew, FilesChanged = filesChanged, DirectoriesNew = directoriesNew, DirectoriesChanged = directoriesChanged,
                DirectoriesUnmodified = directoriesUnmodified, DataBlobs = report.DataBlobs, TreeBlobs = report.TreeBlobs, BytesAdded = report.BytesAdded, BytesStored = report.BytesStored,
                Files = filesNew + filesChanged + filesUnmodified, Bytes = report.BytesTotal,
            }.ToBytes(),
        };
        return snapshot with { Id = await tomb.SaveDocument(StoredFileType.Snapshot, snapshot.ToBytes(), stop.Token) };
    }

    // The walk: every directory on the way to the saved paths is in the tree with nothing but what leads there.
    private void Walk(OpenDirectory root, Snapshot? parent)
    {
        try
        {
            Tree? old = parent is null ? null : LoadOldTree(parent.Tree);
            using Dir top = Dir.Open("/");
            reached = options.Paths.Contains("/");
            if (reached)
                WalkAll(root, Dir.Open("/"), old, top.Stat().Device);
            else
                WalkSome(root, Dir.Open("/"), [.. options.Paths.Select(static path => path.Split('/', StringSplitOptions.RemoveEmptyEntries))], 0, old);
        }
        catch (Exception broken)
        {
            Fail(broken);
        }
        finally
        {
            jobs.CompleteAdding();
        }
    }

    private void WalkSome(OpenDirectory directory, Dir dir, IReadOnlyList<string[]> targets, int depth, Tree? old)
    {
        directory.Begin(dir, old);
        foreach (IGrouping<string, string[]> group in targets.GroupBy(target => target[depth], StringComparer.Ordinal).OrderBy(static each => each.Key, Comparer<string>.Create(Dir.CompareNames)))
        {
            stop.Token.ThrowIfCancellationRequested();
            Node? before = old?.Find(group.Key);
            if (dir.TryStat(group.Key) is not { } stat)
            {
                unsaved.Enqueue(new Unsaved(dir.Of(group.Key), "there is no such file or directory"));
                continue;
            }

            if (group.Any(target => target.Length == depth + 1))
            {
                Visit(directory, group.Key, stat, before, stat.Device);
                continue;
            }

            Node described = Describe(dir, group.Key, stat);
            Dir inner = dir.OpenDir(group.Key);
            var below = new OpenDirectory(directory, directory.Reserve(), group.Key, dir.Of(group.Key)) { Node = described, Before = before };
            WalkSome(below, inner, [.. group], depth + 1, before?.Subtree is { } subtree ? LoadOldTree(subtree) : null);
        }

        Done(directory);
    }

    private void WalkAll(OpenDirectory directory, Dir dir, Tree? old, ulong device)
    {
        directory.Begin(dir, old);
        int last = 0; // names come in the order of the old tree: one finger goes along it
        foreach (DirEntry entry in Entries(dir))
        {
            stop.Token.ThrowIfCancellationRequested();
            if (options.Excludes.Match(dir.Of(entry.Name)))
                continue;
            Node? before = null;
            for (; old is not null && last < old.Nodes.Count; last++)
            {
                int order = Dir.CompareNames(old.Nodes[last].Name, entry.Name);
                if (order > 0)
                    break;
                if (order == 0)
                    before = old.Nodes[last];
            }

            if (dir.TryStat(entry.Name) is { } stat)
                Visit(directory, entry.Name, stat, before, device);
        }

        Done(directory);
    }

    // What of a directory cannot be listed is said; the directory itself is saved without it.
    private IReadOnlyList<DirEntry> Entries(Dir dir)
    {
        try
        {
            return dir.Entries();
        }
        catch (LinuxException refused)
        {
            unsaved.Enqueue(new Unsaved(dir.Path, refused.Message));
            return [];
        }
    }

    private void Visit(OpenDirectory directory, string name, FileStat stat, Node? before, ulong device)
    {
        Dir dir = directory.Dir;
        string path = dir.Of(name);
        if (stat.IsDirectory)
        {
            EnterDirectory(directory, name, path, stat, before, device);
            return;
        }

        int slot = directory.Reserve();
        if (!options.ReadAll && before is not null && IsUnchanged(before, stat))
        {
            reached = true;
            if (stat.IsRegular)
                Count(before, before);
            directory.Settle(slot, before);
            Done(directory);
            return;
        }

        if (stat.IsRegular)
        {
            jobs.Add(new FileJob(directory, slot, name, stat, before), stop.Token);
            return;
        }

        Settle(directory, slot, path, () => Describe(dir, name, stat));
    }

    private void EnterDirectory(OpenDirectory directory, string name, string path, FileStat stat, Node? before, ulong device)
    {
        try
        {
            Dir inner = directory.Dir.OpenDir(name);
            Node described = Describe(directory.Dir, name, stat);
            reached = true;
            if ((options.OneFileSystem && stat.Device != device) || (options.ExcludeCaches && IsCache(inner)))
            {
                inner.Dispose();
                return;
            }

            progress?.Report(new SaveProgress(filesNew + filesChanged + filesUnmodified, directoriesNew + directoriesChanged + directoriesUnmodified, bytesRead, path));
            var below = new OpenDirectory(directory, directory.Reserve(), name, path) { Node = described, Before = before };
            WalkAll(below, inner, before?.Subtree is { } subtree ? LoadOldTree(subtree) : null, device);
        }
        catch (LinuxException refused) when (refused.Errno is Errno.EACCES or Errno.EPERM or Errno.ENOENT)
        {
            unsaved.Enqueue(new Unsaved(path, refused.Message));
        }
    }

    private static bool IsCache(Dir dir)
    {
        ReadOnlySpan<byte> signature = "Signature: 8a477f597d28d172789f06886806bc55"u8;
        return dir.TryStat("CACHEDIR.TAG") is { IsRegular: true, Size: < 4096 } && dir.TryReadAll("CACHEDIR.TAG") is { } tag && tag.AsSpan().StartsWith(signature);
    }

    // Nobody can set the inode's change time: with it and the content's time, size and inode the same, the file is.
    private bool IsUnchanged(Node before, FileStat stat)
    {
        bool same = before.Type == GoMode.Type(stat.Kind) && before.Inode == stat.Inode && before.Mode == GoMode.FromStat(stat.Mode) && before.Uid == stat.Uid && before.Gid == stat.Gid
            && before.Modified.Seconds == stat.ModifiedSeconds && before.Modified.Nanoseconds == stat.ModifiedNanoseconds
            && before.Changed.Seconds == stat.ChangedSeconds && before.Changed.Nanoseconds == stat.ChangedNanoseconds
            && before.Error.Length == 0;
        if (!same || !stat.IsRegular)
            return same;
        return before.Size == (ulong)stat.Size && before.Links == stat.Links && before.Content is { } content && content.All(id => tomb.Index.Contains(BlobType.Data, id));
    }

    private Tree? LoadOldTree(Checksum id)
    {
        try
        {
            return tomb.LoadTree(id, stop.Token).GetAwaiter().GetResult();
        }
        catch (TombException lost) when (lost is BlobMissingException or TombDamagedException)
        {
            return null; // what is lost is saved anew
        }
    }

    private void Settle(OpenDirectory directory, int slot, string path, Func<Node?> make)
    {
        try
        {
            Node? made = make();
            reached |= made is not null;
            directory.Settle(slot, made);
        }
        catch (LinuxException refused)
        {
            if (refused.Errno != Errno.ENOENT)
                unsaved.Enqueue(new Unsaved(path, refused.Message));
            directory.Settle(slot, null);
        }

        Done(directory);
    }

    private void Done(OpenDirectory directory)
    {
        for (OpenDirectory? at = directory; at is not null && at.Release(); at = at.Parent)
            Finish(at);
    }

    private void Finish(OpenDirectory directory)
    {
        bool same = directory.IsAsBefore(out Checksum? old);
        Checksum tree;
        if (same)
        {
            tree = old!.Value;
        }
        else
        {
            tree = options.DryRun ? Checksum.Of(directory.ToTree().ToBytes()) : packs.AddTree(directory.ToTree());
        }

        if (directory.Parent is not null && options.Paths.Contains(directory.Path))
            savedTrees[directory.Path] = tree;
        directory.Close(tree);
        if (directory.Parent is null)
            return;
        Node node = directory.Node! with { Subtree = tree };
        Node? before = directory.Before;
        bool isAsBefore = before is not null && NodeEquality.Same(before, node);
        Interlocked.Increment(ref before is null ? ref directoriesNew : ref isAsBefore ? ref directoriesUnmodified : ref directoriesChanged);
        directory.Parent.Settle(directory.Slot, isAsBefore ? before : node);
    }

    // As restic counts: files that are in the snapshot, each name of one; links, devices and what could not be read are none. What was read and is as it was has not changed.
    private void Count(Node? before, Node now)
    {
        Interlocked.Increment(ref before is null ? ref filesNew : ref ReferenceEquals(before, now) || NodeEquality.Same(before, now) ? ref filesUnmodified : ref filesChanged);
        Interlocked.Add(ref bytesTotal, (long)now.Size);
    }

    private void Fail(Exception broken)
    {
        Interlocked.CompareExchange(ref failure, broken, null);
        stop.Cancel();
    }

    private Node Describe(Dir dir, string name, FileStat stat, IReadOnlyList<Xattr>? attributes = null)
    {
        NodeType type = GoMode.Type(stat.Kind);
        bool linked = type is NodeType.File or NodeType.Symlink or NodeType.BlockDevice or NodeType.CharacterDevice;
        return new Node
        {
            Name = name, Type = type, Mode = GoMode.FromStat(stat.Mode),
            Modified = new Moment(stat.ModifiedSeconds, stat.ModifiedNanoseconds), Accessed = new Moment(stat.ModifiedSeconds, stat.ModifiedNanoseconds),
            Changed = new Moment(stat.ChangedSeconds, stat.ChangedNanoseconds), Uid = stat.Uid, Gid = stat.Gid, User = accounts.User(stat.Uid), Group = accounts.Group(stat.Gid),
            Inode = stat.Inode, DeviceId = stat.Device, Size = type == NodeType.File ? (ulong)stat.Size : 0, Links = linked ? stat.Links : 0,
            LinkTarget = type == NodeType.Symlink ? dir.ReadLink(name) : "", Xattrs = attributes ?? Xattrs.Read(dir, name),
            Device = type is NodeType.BlockDevice or NodeType.CharacterDevice ? stat.RawDevice : 0,
        };
    }

    private sealed record FileJob(OpenDirectory Directory, int Slot, string Name, FileStat Stat, Node? Before);
}
