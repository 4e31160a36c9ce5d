using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>
/// A lock on a tomb, as restic takes it: shared for reading and saving, exclusive for deleting. It is refreshed while it is held, and
/// deleted when disposed.
/// </summary>
public sealed class TombLock : IAsyncDisposable
{
    private static readonly TimeSpan RefreshEvery = TimeSpan.FromMinutes(5), LostAfter = TimeSpan.FromMinutes(22), LookEvery = TimeSpan.FromSeconds(30);

    // Whoever holds a lock writes it anew every five minutes, restic too.
    private static readonly TimeSpan RefreshedWithin = TimeSpan.FromMinutes(7);

    // Two that lock at the same moment see each other at the second look, also where listings lag a little.
    private static readonly TimeSpan SecondLook = TimeSpan.FromMilliseconds(200);

    private readonly TombRepository tomb;
    private readonly bool exclusive;
    private readonly TimeProvider clock;
    private readonly CancellationTokenSource ended = new();
    private readonly CancellationTokenSource lost = new();
    private Task refreshing = Task.CompletedTask;
    private Checksum id;
    private DateTimeOffset seen;

    private TombLock(TombRepository tomb, bool exclusive, TimeProvider clock) => (this.tomb, this.exclusive, this.clock) = (tomb, exclusive, clock);

    /// <summary>Cancelled when the lock could not be refreshed for so long that others will take it for stale: whoever holds it must stop.</summary>
    public CancellationToken Lost => lost.Token;

    /// <summary>Takes a lock.</summary>
    /// <exception cref="TombLockedException">Someone else's is in the way; nothing was changed.</exception>
    public static async Task<TombLock> Take(TombRepository tomb, bool exclusive, TimeProvider clock, CancellationToken cancel)
    {
        var taken = new TombLock(tomb, exclusive, clock);
        await taken.RefuseIfLocked(own: null, cancel);
        taken.id = await taken.Write(cancel);
        try
        {
            await Task.Delay(SecondLook, clock, cancel);
            await taken.RefuseIfLocked(taken.id, cancel);
        }
        catch
        {
            await taken.Delete(taken.id);
            throw;
        }

        taken.seen = clock.GetUtcNow();
        taken.refreshing = taken.Refresh();
        tomb.Held = taken;
        return taken;
    }

    /// <summary>
    /// Makes sure that the lock is still there. A machine that slept for an hour has lost it: others took it for stale, and may have
    /// deleted what was uploaded and not yet listed.
    /// </summary>
    /// <exception cref="TombLockLostException">It is gone.</exception>
    internal async Task Verify(CancellationToken cancel)
    {
        TimeSpan since = clock.GetUtcNow() - seen;
        if (since >= TimeSpan.Zero && since < LookEvery)
            return;
        Checksum now;
        do
        {
            now = id;
            if (await tomb.Backend.Size(new StoredFile(StoredFileType.Lock, now.ToString()), cancel) is not null)
            {
                seen = clock.GetUtcNow();
                return;
            }
        }
        while (now != id); // refreshed between the two: the new one is what counts
        await lost.CancelAsync();
        throw new TombLockLostException(tomb.Backend.Location);
    }

    /// <summary>All locks of a tomb, stale ones too.</summary>
    public static async Task<IReadOnlyList<(Checksum Id, LockRecord Record)>> All(TombRepository tomb, CancellationToken cancel)
    {
        var locks = new List<(Checksum, LockRecord)>();
        foreach (ListedFile file in await tomb.Backend.List(StoredFileType.Lock, cancel))
        {
            if (!Checksum.TryParse(file.Name, out Checksum id))
                continue;
            try
            {
                locks.Add((id, LockRecord.Parse(await tomb.LoadDocument(StoredFileType.Lock, id, cancel))));
            }
            catch (StoredFileMissingException)
            {
                // Given back since the listing.
                continue;
            }
            catch (Exception damaged) when (damaged is TombDamagedException or MalformedException)
            {
                locks.Add((id, LockRecord.Unreadable));
            }
        }

        return locks;
    }

    /// <summary>Deletes locks that are nobody's, by the word of whoever asks for it: those that are old by this machine's clock too.</summary>
    /// <param name="tomb">The tomb.</param>
    /// <param name="all">Whether every lock goes: nobody is at work, whatever it looks like.</param>
    /// <param name="clock">Tells their age.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>Those deleted.</returns>
    public static async Task<IReadOnlyList<LockRecord>> RemoveStale(TombRepository tomb, bool all, TimeProvider clock, CancellationToken cancel)
    {
        var removed = new List<LockRecord>();
        foreach ((Checksum id, LockRecord record) in await All(tomb, cancel))
        {
            bool old = LockMemory.IsAlive(id) is null && IsOld(record, clock);
            if (!all && !old && !IsStale(tomb, id, record, clock))
                continue;
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Lock, id.ToString()), cancel);
            LockMemory.Forget(id);
            removed.Add(record);
        }

        return removed;
    }

    // Nobody's: made by a process of this very machine that is gone, or seen here unchanged for longer than its holder would leave it.
    // Neither its host name nor its age proves that: boxes of one image share a name, and a clock may be wrong.
    private static bool IsStale(TombRepository tomb, Checksum id, LockRecord record, TimeProvider clock)
    {
        if (LockMemory.IsAlive(id) is { } alive)
            return !alive;
        if (record.IsUnreadable && tomb.Backend.IsNear)
            return true; // on a disk of this machine only a power cut leaves it so, and that ended whoever held it
        TimeSpan unchanged = LockMemory.Unchanged(id, clock);
        return unchanged > LockRecord.StaleAfter || (unchanged > RefreshedWithin && IsOld(record, clock));
    }

    private static bool IsOld(LockRecord record, TimeProvider clock) => clock.GetUtcNow() - record.Time.ToDateTimeOffset() > LockRecord.StaleAfter;

    /// <summary>Renews it no more: from here on it needs no key.</summary>
    internal async Task StopRefreshing()
    {
        await ended.CancelAsync();
        await refreshing;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopRefreshing();
        if (tomb.Held == this)
            tomb.Held = null;
        await Delete(id);
        ended.Dispose();
        lost.Dispose();
    }

    private async Task RefuseIfLocked(Checksum? own, CancellationToken cancel)
    {
        foreach ((Checksum other, LockRecord record) in await All(tomb, cancel))
        {
            if (other == own || !(exclusive || record.Exclusive))
                continue;
            if (!IsStale(tomb, other, record, clock))
                throw new TombLockedException(tomb.Backend.Location, record);
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Lock, other.ToString()), cancel);
            LockMemory.Forget(other);
        }
    }

    private async Task<Checksum> Write(CancellationToken cancel)
    {
        (uint uid, uint gid) = Accounts.Own();
        var record = new LockRecord
        {
            Time = Moment.Of(clock.GetUtcNow()), Exclusive = exclusive, Hostname = Environment.MachineName, Username = Environment.UserName, Pid = Environment.ProcessId,
            Uid = uid, Gid = gid,
        };
        Checksum written = await tomb.SaveDocument(StoredFileType.Lock, record.ToBytes(), cancel);
        LockMemory.NoteHeld(written);
        return written;
    }

    private async Task Refresh()
    {
        DateTimeOffset last = clock.GetUtcNow();
        while (true)
        {
            try
            {
                await Task.Delay(RefreshEvery, clock, ended.Token);
                await Verify(ended.Token);
                Checksum old = id;
                id = await Write(ended.Token);
                last = clock.GetUtcNow();
                await Delete(old).WaitAsync(ended.Token);
            }
            catch (OperationCanceledException) when (ended.IsCancellationRequested)
            {
                return;
            }
            catch (TombLockLostException)
            {
                return; // whoever works under it is told by the token, and when they write
            }
            catch (IOException)
            {
                // The next round tries again; what matters is for how long it has not worked.
                if (clock.GetUtcNow() - last > LostAfter)
                    await lost.CancelAsync();
            }
        }
    }

    private async Task Delete(Checksum which)
    {
        try
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Lock, which.ToString()), limit.Token);
            LockMemory.Forget(which);
        }
        catch (Exception gone) when (gone is IOException or OperationCanceledException)
        {
            // A lock that cannot be deleted is waited for elsewhere, and is known here for what it is.
            LockMemory.NoteAbandoned(which);
        }
    }
}
