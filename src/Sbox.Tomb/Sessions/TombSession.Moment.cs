using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Sessions;

// What is saved is the home as it was at one moment. Nothing in the kernel freezes an overlay or a tmpfs, and who has a file open for writing keeps a mount from
// being made read-only. So it is read and sent while programs go on, as often as that brings it nearer; where they wrote meanwhile, those who write stand still
// for the milliseconds in which the little is copied that changed since. That it was one moment is then seen, and not believed: nothing has another time than before.
public sealed partial class TombSession
{
    private const long WorthAnotherRound = 4L << 20, RoomAtMost = 256L << 20, EntriesAtMost = 200_000;
    private const string WentOn = "somebody who could not be held went on writing"; // the only reason that the next try may not find
    private const int RoundsAtMost = 4, TriesOfAMoment = 3;
    private static readonly TimeSpan HeldAtMost = TimeSpan.FromSeconds(2), PatienceOfHolding = TimeSpan.FromMilliseconds(300), LastInterrupts = TimeSpan.FromSeconds(1);

    /// <summary>A merged home.</summary>
    /// <param name="Home">Its tree.</param>
    /// <param name="Top">Its own node, without a name.</param>
    /// <param name="Fingerprint">The upper layer's at that moment; null where it may have changed since without a trace.</param>
    /// <param name="Blurred">Why it is not of one moment; null where it is.</param>
    private sealed record MergedHome(Checksum Home, Node Top, Checksum? Fingerprint, string? Blurred);

    private MergedHome MergeAtOneMoment(UpperMerge merge, UpperLook look, DateTimeOffset at, CancellationToken cancel)
    {
        using Dir layer = Dir.Open(overlay.Layer);
        using Dir upper = layer.OpenDir("upper");
        using var live = new LiveDirectory(upper);
        for (int rounds = 1; ; rounds++)
        {
            Checksum home = merge.Merge(live);
            Node top = merge.Describe(UpperEntry.At(layer, "upper")!);
            DateTimeOffset now = DateTimeOffset.UtcNow;
            UpperLook after = UpperLook.At(upper, saved, mapped.Suspects, cancel);
            if (!mapped.Any && FingerprintOf(look, at) is { } still && still == after.Fingerprint)
            {
                mapped.Look(); // who has mapped a file since can have written without a trace
                if (!mapped.Any)
                    return new MergedHome(home, top, still, null);
            }

            if (rounds < RoundsAtMost && !mapped.Any && look.Fingerprint == after.Fingerprint)
            {
                // Nobody wrote, but somebody had a moment before: once a tick has passed that can be seen, and nobody need stand still for it.
                Thread.Sleep(KernelTick.Longest);
                (at, look) = (DateTimeOffset.UtcNow, UpperLook.At(upper, saved, mapped.Suspects, cancel));
                continue;
            }

            if (rounds < RoundsAtMost && after.UnsavedBytes > WorthAnotherRound && (rounds == 1 || after.UnsavedBytes < look.UnsavedBytes / 2))
            {
                (look, at) = (after, now);
                continue;
            }

            long room = Math.Min(RoomAtMost, DiskSpace.Of(layer).AvailableBytes / 4);
            string? blurred = TooMuch(after, room);
            for (int tries = 0; tries < TriesOfAMoment && blurred is null or WentOn; tries++)
            {
                if (TakeMoment(layer, upper, merge, everybody: tries > 0, room, ref blurred, cancel) is not var (moment, fingerprint))
                    continue;
                using (moment)
                    return new MergedHome(merge.Merge(moment.Directory), merge.Describe(moment.Top), fingerprint, null);
            }

            return new MergedHome(home, top, null, blurred);
        }
    }

    // What can be said before anybody stands still. A scratch directory's file system may share blocks, and copies then take no room.
    private string? TooMuch(UpperLook look, long room) =>
        look.Entries > EntriesAtMost ? $"more than {EntriesAtMost} files were written since the last fold"
        : options.Scratch is null && look.UnsavedBytes > room ? $"what changed meanwhile is too much to copy: {look.UnsavedBytes} bytes, and there is room for {room}"
        : null;

    private (UpperMoment Moment, Checksum Fingerprint)? TakeMoment(Dir layer, Dir upper, UpperMerge merge, bool everybody, long room, ref string? blurred, CancellationToken cancel)
    {
        UpperMoment? moment = null;
        IgnoreInterrupts((2 * HeldAtMost) + LastInterrupts);
        using var held = new HeldProcesses(HeldAtMost);
        try
        {
            bool all = Hold(held, everybody);
            if (Settled(upper, cancel) is not { } before)
            {
                blurred = WentOn;
                return null;
            }

            mapped.Forget(before, saved);
            moment = new UpperMoment(layer, stat => merge.Known(stat) is not null, room);
            bool same = UpperLook.At(upper, saved, mapped.Suspects, cancel).Fingerprint == before.Fingerprint;
            bool inTime = held.LetGo();
            IgnoreInterrupts(LastInterrupts);
            if (same && inTime && (all || mapped.Mappers.Count == 0))
                return (moment, before.Fingerprint);
            blurred = inTime ? WentOn : "what changed meanwhile took too long to copy";
        }
        catch (LinuxException refused)
        {
            blurred = refused.Errno switch
            {
                Errno.ENOSPC => $"what changed meanwhile is too much to copy: {refused.Path}",
                Errno.ENOENT or Errno.ENOTDIR or Errno.ELOOP or Errno.ESTALE or Errno.EIO => WentOn, // it went, was replaced, or became shorter under our hands
                _ => refused.Message,
            };
        }
        catch
        {
            moment?.Dispose();
            throw;
        }

        moment?.Dispose();
        return null;
    }

    // Being held interrupts who waits for the snapshot's files: they go on waiting instead of being told EINTR, as they would on a disk.
    private void IgnoreInterrupts(TimeSpan howLong)
    {
        lower?.IgnoreInterrupts(howLong);
        foreach (FuseMount unused in beneath)
            unused.IgnoreInterrupts(howLong);
    }

    // Those who have a file open for writing, or everybody who is there. Whoever could not be held is noticed by what they write, except through a mapping.
    private bool Hold(HeldProcesses held, bool everybody)
    {
        string[] places = Places();
        mapped.Look(); // all of /proc is looked through before anybody stands still
        int[] writers = [.. MountUsers.Writers(places).Union(mapped.Mappers)];
        bool all = held.Hold(writers, PatienceOfHolding);
        var known = new HashSet<int>(writers);
        while (everybody)
        {
            int[] found = [.. MountUsers.Of(places).Select(static user => user.Process).Where(known.Add)];
            if (found.Length == 0)
                break;
            all &= held.Hold(found, PatienceOfHolding);
        }

        mapped.LookAgain(known);
        return all;
    }

    // From here on every change shows in a time.
    private UpperLook? Settled(Dir upper, CancellationToken cancel)
    {
        for (int tries = 0; tries < 4; tries++)
        {
            DateTimeOffset now = DateTimeOffset.UtcNow;
            UpperLook look = UpperLook.At(upper, saved, mapped.Suspects, cancel);
            if (KernelTick.HasPassed(look.Newest, now))
                return look;
            Thread.Sleep(KernelTick.Longest);
        }

        return null;
    }
}
