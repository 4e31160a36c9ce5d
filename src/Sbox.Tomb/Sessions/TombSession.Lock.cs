namespace Sbox.Tomb.Sessions;

public sealed partial class TombSession
{
    // Taking a lock is waiting, for answers and for a second look. The index is read meanwhile, and counts where the same files are there under the lock:
    // listed after the snapshots, since whoever saves beside us writes the index first.
    private async Task<IReadOnlyList<Snapshot>> LockAndLoad(CancellationToken cancel)
    {
        using var early = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task loading = tomb.LoadIndex(early.Token);
        try
        {
            tombLock = await TakeLock(cancel);
        }
        catch
        {
            await early.CancelAsync();
            await loading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }

        if (tombLock is null)
            await early.CancelAsync(); // the remote is away: what is pinned says what is there
        await loading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(cancel);
        if (tombLock is null || !loading.IsCompletedSuccessfully || !await tomb.IsIndexCurrent(cancel))
            await tomb.LoadIndex(cancel);
        return snapshots;
    }

    // Where the remote is away and what is pinned is here, the tomb opens without a lock; the first save takes one, and looks then what others have done.
    private async Task<TombLock?> TakeLock(CancellationToken cancel)
    {
        PinnedBackend? pinned = PinnedBackend.Of(tomb.Backend);
        if (pinned is { HasCopies: true, IsAway: true })
        {
            pinned.AllowCopies = true;
            return null;
        }

        try
        {
            return await TombLock.Take(tomb, exclusive: false, options.Clock, cancel);
        }
        catch (BackendException away) when (away.IsTransient && pinned is { HasCopies: true })
        {
            pinned.AllowCopies = true;
            return null;
        }
    }

    // Meanwhile others may have pruned. The lock counts only when the index was read anew under it: else the next save would believe the old one.
    private async Task<TombLock> Retake(CancellationToken cancel)
    {
        TombLock taken = await TombLock.Take(tomb, exclusive: false, options.Clock, cancel);
        try
        {
            if (PinnedBackend.Of(tomb.Backend) is { } pinned)
                pinned.AllowCopies = false;
            await tomb.LoadIndex(cancel);
            await RefuseIfPruned(cancel);
            return taken;
        }
        catch
        {
            await taken.DisposeAsync();
            throw;
        }
    }

    // What a save leaves untouched it takes from the snapshot below. While that one, or what was saved above it, is there, no prune has touched it;
    // else every directory and every file of it is looked for, so that nothing is saved over what is gone.
    private async Task RefuseIfPruned(CancellationToken cancel)
    {
        foreach (Snapshot? each in (Snapshot?[])[Latest, Opened])
        {
            if (each is { } snapshot && await tomb.Backend.Size(new StoredFile(StoredFileType.Snapshot, snapshot.Id.ToString()), cancel) is not null)
                return;
        }

        if (lowerTree is not { } below)
            return;
        var walk = new TreeWalk(tomb, cancel)
        {
            OnTree = (_, _, tree) =>
            {
                foreach (Codecs.Checksum id in tree.Nodes.SelectMany(static node => node.Content ?? []))
                {
                    if (!tomb.Index.Contains(BlobType.Data, id))
                        throw new BlobMissingException(tomb.Backend.Location, BlobType.Data, id);
                }
            },
            OnLost = static (_, _, lost) => throw lost,
        };
        await walk.Walk(below);
    }
}
