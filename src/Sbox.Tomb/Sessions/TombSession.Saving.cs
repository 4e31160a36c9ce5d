using System.Diagnostics;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Sessions;

public sealed partial class TombSession
{
    private const string Empty = "empty";

    private readonly SavedFiles saved = new();
    private MappedFiles mapped;
    private readonly HashSet<Checksum> known = [];
    private IReadOnlyList<string> names = [];
    private Checksum? lowerTree, savedFingerprint;
    private DateTimeOffset? checkedAt;
    private double bytesPerSecond;
    private string? saveFailure;

    /// <summary>What another box saved without knowing of what is open here, as far as the last save or the opening saw; null where there is none.</summary>
    public Snapshot? Parted { get; private set; }

    /// <summary>
    /// Saves what changed: reads only that, uploads packs, then the index, then the snapshot. Whatever moment it is interrupted at, every
    /// earlier snapshot is whole; what was uploaded is found again by the next save.
    /// </summary>
    /// <exception cref="TombException">The tomb did not take it. What was written stays where it is.</exception>
    public async Task<SessionSave> Save(CancellationToken cancel)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancel, ending.Token);
        await Enter(both.Token);
        try
        {
            return await SaveHeld(both.Token);
        }
        finally
        {
            await Leave();
        }
    }

    // The last save of a home in memory reads all of it: what was mapped, written and unmapped since the save before left no trace.
    private async Task<SessionSave> SaveHeld(CancellationToken cancel, bool isLast = false)
    {
        try
        {
            SessionSave done = await Task.Run(() => SaveNow(isLast, cancel), CancellationToken.None); // whoever lets go of the gate knows that nothing runs any more
            saveFailure = null;
            checkedAt = options.Clock.GetUtcNow();
            if (done.Snapshot is not null && !isLast)
                await TryRefreshPins(cancel);
            return done;
        }
        catch (Exception failed) when (failed is not OperationCanceledException || !cancel.IsCancellationRequested)
        {
            saveFailure = failed.Message;
            throw;
        }
    }

    // What is saved is safe whether its packs are kept here or not; the next save tries again.
    private async Task TryRefreshPins(CancellationToken cancel)
    {
        try
        {
            await RefreshPins(cancel);
        }
        catch (TombException away)
        {
            saveFailure = $"it is saved, and what is pinned is not all here: {away.Message}";
        }
    }

    // Within one tick of the kernel's clock a second change leaves no trace: what is that new is looked at again the next time.
    private static Checksum? FingerprintOf(UpperLook look, DateTimeOffset at) =>
        KernelTick.HasPassed(look.Newest, at) ? look.Fingerprint : null;

    private void NoteAsSaved()
    {
        using Dir upper = Dir.Open(overlay.Upper);
        savedFingerprint = UpperLook.At(upper, saved, new HashSet<ulong>(), CancellationToken.None).Fingerprint;
    }

    private async Task<SessionSave> SaveNow(bool isLast, CancellationToken cancel)
    {
        long begun = Stopwatch.GetTimestamp();
        using Dir upper = Dir.Open(overlay.Upper);
        DateTimeOffset now = DateTimeOffset.UtcNow; // the kernel's clock, by which files are stamped
        mapped.Look();
        UpperLook look = UpperLook.At(upper, saved, mapped.Suspects, cancel);
        bool readsAll = isLast && options.Scratch is null && look.Bytes > 0;
        if (look.Fingerprint == savedFingerprint && !mapped.Any && !readsAll)
            return new SessionSave(null, 0, 0, 0, Stopwatch.GetElapsedTime(begun).TotalSeconds, null);

        mapped.Forget(look, saved);
        if (readsAll)
            saved.Clear();
        await HoldLock(cancel);
        await using var packs = new PackWriter(tomb, options.Clock, cancel);
        var merge = new UpperMerge(tomb, packs, saved, lowerTree, id => LoadTree(id, cancel), device, cancel);
        MergedHome home = MergeAtOneMoment(merge, look, now, cancel);
        Checksum top = Wrap(merge, packs, home, cancel);
        await packs.Finish();
        Snapshot? snapshot = null;
        if (Latest is null || top != Latest.Tree)
        {
            snapshot = await WriteSnapshot(top, Summary(merge, packs, now, cancel), cancel);
            known.Add(snapshot.Id);
            Latest = snapshot;
            NoteAsLatest(snapshot);
            options.OnSaved?.Invoke(snapshot);
        }

        mapped.Saved();
        savedFingerprint = home.Fingerprint;
        double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        if (merge.Counts.BytesRead > 1 << 20)
            bytesPerSecond = merge.Counts.BytesRead / seconds;
        return new SessionSave(
            snapshot?.Id.ToString(), merge.Counts.Files, merge.Counts.BytesRead, packs.SealedBytes, seconds,
            snapshot is null ? null : (await Diverged(cancel))?.Id.ToString()) { Blurred = home.Blurred };
    }

    private void NoteAsLatest(Snapshot snapshot)
    {
        using Dir layer = Dir.Open(overlay.Layer);
        Durable.Replace(layer, HomeOverlay.SavedFile, Encoding.ASCII.GetBytes(snapshot.Id.ToString()));
    }

    // A machine that slept has lost its lock, and others may have pruned since: what the index says is read anew, and nothing is taken for saved that is not.
    private async Task HoldLock(CancellationToken cancel)
    {
        try
        {
            if (tombLock is null)
                throw new TombLockLostException(tomb.Backend.Location); // taking it anew failed the last time
            await tombLock.Verify(cancel);
        }
        catch (TombLockLostException)
        {
            if (tombLock is { } old)
            {
                tombLock = null;
                await old.DisposeAsync();
            }

            tombLock = await Retake(cancel);
        }
    }

    private async Task<Snapshot> WriteSnapshot(Checksum tree, SnapshotSummary? summary, CancellationToken cancel)
    {
        (uint uid, uint gid) = Accounts.Own();
        Moment time = Moment.Of(options.Clock.GetUtcNow());
        if (Latest is { } before && time.CompareTo(before.Time) <= 0)
            time = before.Time with { Seconds = before.Time.Seconds + 1 }; // a clock that stands back must not hide what is newest
        var snapshot = new Snapshot
        {
            Time = time, Parent = Latest?.Id, Tree = tree, Paths = Opened?.Paths ?? [options.PlaceInSnapshots], Hostname = options.Hostname, Username = Environment.UserName,
            Uid = uid, Gid = gid, Tags = Opened?.Tags.Where(static tag => !tag.StartsWith(SnapshotHistory.MergedTag, StringComparison.Ordinal)).ToList() ?? [],
            ProgramVersion = options.ProgramVersion, Summary = summary?.ToBytes(),
        };
        return snapshot with { Id = await tomb.SaveDocument(StoredFileType.Snapshot, snapshot.ToBytes(), cancel) };
    }

    // Counted out of what the snapshot below counted; where that was not counted, or a directory that went cannot be looked into, nothing is said.
    private SnapshotSummary? Summary(UpperMerge merge, PackWriter packs, DateTimeOffset begun, CancellationToken cancel)
    {
        if ((Opened is null ? (0, 0) : SnapshotSummary.TotalsOf(Opened)) is not var (files, bytes))
            return null;
        MergeTotals more = merge.Counts.Totals;
        try
        {
            more.Finish(id => LoadTree(id, cancel), cancel);
        }
        catch (IOException)
        {
            return null;
        }

        return new SnapshotSummary
        {
            Begun = Moment.Of(begun), Ended = Moment.Of(options.Clock.GetUtcNow()), Files = files + more.Files, Bytes = bytes + more.Bytes,
            FilesNew = merge.Counts.FilesNew, FilesChanged = merge.Counts.Files - merge.Counts.FilesNew,
            DirectoriesNew = merge.Counts.DirectoriesNew, DirectoriesChanged = merge.Counts.Directories - merge.Counts.DirectoriesNew,
            DataBlobs = packs.Blobs[0], TreeBlobs = packs.Blobs[1], BytesAdded = packs.PlainBytes, BytesStored = packs.SealedBytes,
        };
    }

    // The merged home goes where it was in the snapshot, below its parents, which stay as they are; the first one where it is seen.
    private Checksum Wrap(UpperMerge merge, PackWriter packs, MergedHome home, CancellationToken cancel)
    {
        if (names.Count == 0)
            return home.Home;
        Node top = home.Top with { Name = names[^1] };
        IReadOnlyList<Tree> parents = Opened is null ? OnTheWay(merge, top) : Parents(cancel);
        Checksum below = home.Home;
        for (int depth = names.Count - 1; depth >= 0; depth--)
        {
            string name = names[depth];
            Node node = depth == names.Count - 1 ? top : parents[depth].Find(name)!;
            var tree = new Tree([.. parents[depth].Nodes.Select(each => each.Name == name ? node with { Subtree = below } : each)]);
            below = packs.AddTree(tree);
        }

        return below;
    }

    private List<Tree> Parents(CancellationToken cancel)
    {
        var parents = new List<Tree>();
        Checksum at = Opened!.Tree;
        foreach (string name in names)
        {
            parents.Add(LoadTree(at, cancel));
            at = parents[^1].Find(name)!.Subtree!.Value;
        }

        return parents;
    }

    // As restic saves a path: each directory on the way, with nothing but what leads on.
    private List<Tree> OnTheWay(UpperMerge merge, Node top)
    {
        var parents = new List<Tree>();
        for (int depth = 1; depth < names.Count; depth++)
        {
            string real = RealPath.Of($"/{string.Join('/', names.Take(depth))}"); // /home may be a link, and is a directory in the snapshot
            using Dir parent = Dir.Open(Path.GetDirectoryName(real) ?? "/");
            string name = Path.GetFileName(real);
            parents.Add(new Tree([merge.Describe(UpperEntry.At(parent, name)!) with { Name = names[depth - 1] }]));
        }

        parents.Add(new Tree([top]));
        return parents;
    }

    private Tree LoadTree(Checksum id, CancellationToken cancel) => blobs.Tree(id, cancel).AsTask().GetAwaiter().GetResult();

    // Another box may have saved meanwhile. Both snapshots are kept; whoever saves is told, and whoever asks how the tomb stands, and whoever opens it next.
    private async Task<Snapshot?> Diverged(CancellationToken cancel)
    {
        IReadOnlyList<ListedFile> files = await tomb.Backend.List(StoredFileType.Snapshot, cancel);
        if (files.All(file => Checksum.TryParse(file.Name, out Checksum id) && known.Contains(id)))
            return Parted;
        return Parted = PartedOf(await tomb.Snapshots(cancel));
    }

    private Snapshot? PartedOf(IReadOnlyList<Snapshot> all) => Latest is { } latest ? new SnapshotHistory(all).Diverged(latest).LastOrDefault() : null;
}
