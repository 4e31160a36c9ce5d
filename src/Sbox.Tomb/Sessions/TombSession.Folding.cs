using System.Diagnostics;
using Sbox.Linux;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Sessions;

// What is saved goes below: the last snapshot becomes the lower layer, under an upper one that is empty. The new overlay is put under the old one and
// seen the moment that is unmounted. Files that are open would stay on the old one, so nobody may use the home; who comes in between keeps it as it was.
public sealed partial class TombSession
{
    private const int BeneathAtMost = 2;
    private static readonly TimeSpan PatienceOfFold = TimeSpan.FromSeconds(1);

    private readonly List<FuseMount> beneath = [];

    /// <summary>Saves, and has the upper layer begin anew above what is saved.</summary>
    /// <returns>Bytes that the upper layer held and holds no more.</returns>
    /// <exception cref="TombInUseException">Somebody uses it; it stays as it is.</exception>
    /// <exception cref="TombException">It could not be saved.</exception>
    public async Task<long> Fold(CancellationToken cancel)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancel, ending.Token);
        await Enter(both.Token);
        try
        {
            RefuseWhileBound();
            RefuseWhileUsed();
            await SaveHeld(both.Token, isLast: true); // of this layer: what was written through a mapping and left no trace goes with it
            for (int tries = 0; savedFingerprint is null && tries < 20; tries++)
            {
                await Task.Delay(60, both.Token); // what is that new is looked at again
                await SaveHeld(both.Token);
            }

            RefuseWhileUsed();
            RefuseWhileBound();
            return await FoldHeld(both.Token);
        }
        finally
        {
            await Leave();
        }
    }

    private void RefuseWhileBound()
    {
        if (hooks?.Bound.Count > 0)
            throw new TombInUseException(options.MountPoint, []);
    }

    /// <summary>Bytes that the upper layer holds.</summary>
    public long UpperBytes(CancellationToken cancel) => LookAtNames(cancel).Bytes;

    private async Task<long> FoldHeld(CancellationToken cancel)
    {
        if (Latest is not { } snapshot || snapshot.Id == Opened?.Id || beneath.Count >= BeneathAtMost || await SnapshotTree.DirectoryAt(blobs, snapshot, names, cancel) is not { } root)
            return 0;
        long bytes = UpperBytes(cancel);
        HomeOverlay next = overlay.Next();
        FuseMount? below = null;
        try
        {
            Prepare(root, next, snapshot);
            below = MountLower(root, next);
            next.MountBeneath(options.MountPoint);
        }
        catch
        {
            below?.Dispose();
            next.Delete();
            throw;
        }

        if (!TryTakeTop())
        {
            next.Abandon();
            beneath.Add(below); // it stays, unseen, until the tomb is closed
            throw new TombInUseException(options.MountPoint, MountUsers.Of(Places()));
        }

        next.BecomeCurrent();
        HomeOverlay old = overlay;
        Take(lower)();
        (overlay, lower, lowerTree, Opened) = (next, below, root.Subtree, snapshot);
        mapped = new MappedFiles(overlay.Upper, options.MountPoint);
        saved.Clear();
        NoteAsSaved();
        old.Delete();
        return bytes;
    }

    // True when the old overlay is gone and all that it held is saved. It is read-only before it is looked at: what is written after the save keeps it
    // where it is, and nobody ever writes to a layer that goes again.
    private bool TryTakeTop()
    {
        long since = Stopwatch.GetTimestamp();
        if (!WhileBusy(since, () => Mounts.SetAttributes(options.MountPoint, set: MountAttributes.ReadOnly)))
            return false;
        bool taken = false;
        try
        {
            using (Dir upper = Dir.Open(overlay.Upper))
            {
                if (UpperLook.At(upper, saved, new HashSet<ulong>(), CancellationToken.None).Fingerprint != savedFingerprint)
                    return false;
            }

            return taken = WhileBusy(since, () => Mounts.Unmount(options.MountPoint));
        }
        finally
        {
            if (!taken)
                Mounts.SetAttributes(options.MountPoint, clear: MountAttributes.ReadOnly);
        }
    }

    private static bool WhileBusy(long since, Action step)
    {
        while (true)
        {
            try
            {
                step();
                return true;
            }
            catch (LinuxException busy) when (busy.Errno == Errno.EBUSY)
            {
                if (Stopwatch.GetElapsedTime(since) > PatienceOfFold)
                    return false;
                Thread.Sleep(20);
            }
        }
    }
}
