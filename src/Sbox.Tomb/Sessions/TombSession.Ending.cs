using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

// The gate is held by whoever saves, and from the last save to the end by whoever closes: no save may see an upper layer that is being
// taken away, and no key is wiped under a hand that seals with it.
public sealed partial class TombSession
{
    private static readonly TimeSpan PatienceOfSlam = TimeSpan.FromMilliseconds(350), PatienceAtShutdown = TimeSpan.FromSeconds(5), PatienceWithSaves = TimeSpan.FromMilliseconds(700);

    private readonly SemaphoreSlim gate = new(1);
    private readonly CancellationTokenSource ending = new();
    private volatile bool ended;
    private bool gone;

    /// <summary>Saves, and takes everything away. While somebody uses the tomb nothing is done.</summary>
    /// <exception cref="TombInUseException">It is in use; it stays open.</exception>
    /// <exception cref="TombException">It could not be saved; it stays open, and nothing is lost.</exception>
    public async Task<SessionSave> Close(CancellationToken cancel)
    {
        RefuseWhileUsed();
        SessionSave done = await Save(cancel); // most of it, while the tomb is still seen
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancel, ending.Token);
        await Enter(both.Token);
        try
        {
            SessionSave late = await CloseHeld(both.Token);
            return late.Snapshot is null ? done : late;
        }
        finally
        {
            await Leave();
        }
    }

    /// <summary>
    /// Takes the tomb away at once, whoever uses it: they are told to end (SIGTERM, SIGHUP), killed, and the keys are wiped; two seconds
    /// at most. A save that runs is cut short. What was not saved is lost unless it is in a scratch directory, where the next opening finds it.
    /// </summary>
    /// <returns>Whom it ended.</returns>
    public async Task<IReadOnlyList<MountUser>> Slam()
    {
        await ending.CancelAsync();
        try
        {
            return await EndUsers(PatienceOfSlam);
        }
        finally
        {
            await TakeAway(); // also where nobody could be looked for
        }
    }

    private async Task TakeAway()
    {
        bool held = await gate.WaitAsync(PatienceWithSaves);
        ended = true;
        try
        {
            hooks?.Close(byForce: true);
            DetachHome();
            FuseMount? taken = lower;
            lower = null;
            if (gone || options.Scratch is not null)
                taken?.Dispose();
            else
                overlay.Remove(() => taken?.Dispose());
        }
        finally
        {
            await Leave(held);
        }
    }

    /// <summary>
    /// The machine goes down: whoever uses the tomb is told to end and ended, so that what they write last is there; then it is saved and taken away.
    /// </summary>
    /// <exception cref="Exception">What the save ended with. It is taken away all the same, and what was not saved stays where it is, for the next opening.</exception>
    public async Task CloseForShutdown()
    {
        if (ended)
            return;
        try
        {
            for (int attempt = 1; ; attempt++)
            {
                try
                {
                    await EndUsers(PatienceAtShutdown);
                    await Close(CancellationToken.None);
                    return;
                }
                catch (TombInUseException) when (attempt < 3)
                {
                    continue; // somebody came meanwhile
                }
                catch (Exception inTheWay) when (!ended && inTheWay is TombInUseException or LinuxException)
                {
                    // Whoever is still there, or cannot be looked for: what is written is saved.
                    await Save(CancellationToken.None);
                    await Slam();
                    return;
                }
            }
        }
        finally
        {
            await DisposeAsync();
        }
    }

    /// <summary>Lets go of everything but what was not saved: the next opening finds it. <see cref="Close"/> is the way to end.</summary>
    public async ValueTask DisposeAsync()
    {
        if (ended && gone)
            return;
        await ending.CancelAsync();
        bool held = await gate.WaitAsync(PatienceWithSaves);
        ended = true;
        await Leave(held);
    }

    private async Task<SessionSave> CloseHeld(CancellationToken cancel)
    {
        if (hooks is not null)
        {
            hooks.Close(byForce: false);
            cancel.ThrowIfCancellationRequested();
            if (hooks.Bound.Count > 0)
                throw Reopened();
        }

        try
        {
            Mounts.Unmount(options.MountPoint);
        }
        catch (LinuxException busy) when (busy.Errno == Errno.EBUSY)
        {
            throw Reopened();
        }
        catch (LinuxException gone) when (gone.Errno == Errno.EINVAL && MountTable.At(options.MountPoint)?.Source != $"tomb-{options.Name}")
        {
            mounted = false; // somebody took it away already (systemd does, where it mounted it by itself); what was written is in the upper layer
        }

        mounted = false;
        HomeOverlay.ClearBeneath(options);
        SessionSave late;
        try
        {
            late = await SaveHeld(cancel, isLast: true); // what was written between the save and the unmounting
        }
        catch when (!ending.IsCancellationRequested)
        {
            overlay.MountAt(options.MountPoint);
            mounted = true;
            throw;
        }

        cancel.ThrowIfCancellationRequested();
        ended = true; // from here on no save begins
        overlay.Remove(Take(lower));
        lower = null;
        return late;
    }

    private async Task Enter(CancellationToken cancel)
    {
        if (!ended)
            await gate.WaitAsync(cancel);
        else
            throw Closed();
        if (!ended)
            return;
        gate.Release();
        throw Closed();
    }

    private TombNotOpenException Closed() => new(options.Name, "it was closed meanwhile");

    // Whoever is the last to have the gate once the session has ended lets go of the rest: a slam does not wait for a save that does not listen.
    private async Task Leave(bool held = true)
    {
        if (held && ended)
            await LetGo();
        if (held)
            gate.Release();
        if (ended && !gone && gate.Wait(0, CancellationToken.None))
        {
            await LetGo();
            gate.Release();
        }
    }

    private async Task LetGo()
    {
        if (gone)
            return;
        gone = true;
        try
        {
            if (mounted)
                hooks?.Close(byForce: true);
            DetachHome();
            lower?.Dispose();
            lower = null;
            foreach (FuseMount unused in beneath)
                unused.Dispose();
        }
        finally
        {
            await WipeKeys();
        }
    }

    // Whatever could not be unmounted. The lock is given up after the keys: a place that does not answer may take its time, and to delete a file no key is needed.
    private async Task WipeKeys()
    {
        blobs.Dispose();
        if (tombLock is { } own)
            await own.StopRefreshing();
        await tomb.DisposeAsync();
        if (tombLock is { } held)
        {
            tombLock = null;
            await held.DisposeAsync();
        }

        await tomb.Backend.DisposeAsync();
    }

    // Somebody else may have taken it away already (systemd does, where it mounted it by itself).
    private void DetachHome()
    {
        try
        {
            if (mounted)
                Mounts.Detach(options.MountPoint);
        }
        catch (LinuxException elsewhere) when (elsewhere.Errno is Errno.EINVAL or Errno.ENOENT)
        {
            mounted = false;
        }

        mounted = false;
        HomeOverlay.ClearBeneath(options);
    }

    private async Task<IReadOnlyList<MountUser>> EndUsers(TimeSpan patience)
    {
        var told = new List<MountUser>();
        foreach (int signal in (int[])[Signals.Terminate, Signals.HangUp, Signals.Kill])
        {
            IReadOnlyList<MountUser> users = MountUsers.Of(Places());
            if (users.Count == 0)
                break;
            foreach (MountUser user in users.Where(user => Signals.TrySend(user.Process, signal) && told.TrueForAll(known => known.Process != user.Process)))
                told.Add(user);
            long since = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(since) < patience && users.Any(static user => Directory.Exists($"/proc/{user.Process}")))
                await Task.Delay(20);
        }

        return told;
    }

    private static Action Take(FuseMount? mount) => () =>
    {
        try
        {
            mount?.Unmount();
        }
        catch (LinuxException refused) when (refused.Errno is Errno.EBUSY or Errno.EINVAL)
        {
            Debug.Assert(mount is not null);
        }
        finally
        {
            mount?.Dispose();
        }
    };

    private void RefuseWhileUsed()
    {
        IReadOnlyList<MountUser> users = MountUsers.Of(Places());
        if (users.Count > 0)
            throw new TombInUseException(options.MountPoint, users);
    }

    private TombInUseException Reopened()
    {
        if (hooks is not null)
            HookReports = hooks.Open();
        return new TombInUseException(options.MountPoint, MountUsers.Of(Places()));
    }

    private string[] Places() => [options.MountPoint, .. hooks?.Bound ?? []];
}
