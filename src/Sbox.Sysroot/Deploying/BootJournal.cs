using System.Runtime.InteropServices;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>
/// Boot loaders read a file system without its journal: GRUB sees no name that only the journal has. So whatever one of them is to read has to be beyond the journal, where an
/// fsync does not bring it, and on XFS no sync at all: for that the file system is frozen for a moment. A sysroot that is not this machine's comes to its boot loader unmounted.
/// </summary>
/// <remarks>
/// While it is frozen another process waits to let it go, should this one be killed: by then nobody could write there, and a machine would hang with its /boot.
/// As libostree's, it can be seen to do that by <c>OSTREE_SYSROOT_DEBUG=test-fifreeze</c>.
/// </remarks>
internal static class BootJournal
{
    private const string TestFlag = "test-fifreeze", Ready = "ready", Ran = "fifreeze watchdog was run";

    /// <summary>
    /// What the other process does, in sh, with a directory of the file system as its <c>$0</c>. A byte on its input says that the file system was let go; the end without one, or half a
    /// minute, that whoever froze it is no more. What ends a unit or a terminal's programs (TERM, INT, HUP) is not for it, nor for what it waits by, which says itself that it is ready:
    /// <c>timeout</c> passes a signal on that was ignored, so before its child ignores them too, one of them would end the waiting.
    /// </summary>
    internal const string Watchdog =
        "trap '' TERM INT HUP; exec 3>&1; "
        + $"timeout -s KILL 30 env --ignore-signal=TERM --ignore-signal=INT --ignore-signal=HUP sh -c 'echo {Ready} >&3; exec head -c 1' | grep -q . "
        + $"|| {{ fsfreeze --unfreeze \"$0\" 2>/dev/null; echo '{Ran}'; }}";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>Has all that was written to /boot be where a boot loader finds it.</summary>
    /// <param name="boot">The directory that holds the entries.</param>
    /// <param name="running">Whether it is the /boot of the machine that runs.</param>
    /// <exception cref="LinuxException">Some of it may not be on the disk.</exception>
    public static void Flush(Dir boot, bool running)
    {
        Durable.SyncFileSystem(boot);
        bool test = Environment.GetEnvironmentVariable("OSTREE_SYSROOT_DEBUG")?.Split(',').Contains(TestFlag) == true;
        if (!running && !test)
            return;
        LinuxException? kept = null;
        using var ready = new ManualResetEventSlim();
        var watchdog = new ChildCommand("setsid", ["sh", "-c", Watchdog, boot.Path])
        {
            WriteInput = word =>
            {
                if (test)
                    return; // as if it had died
                try
                {
                    if (ready.Wait(Patience)) // without anybody who stands by it was synced, and that is all
                        Pass(boot);
                    word.WriteByte((byte)'!');
                }
                catch (LinuxException failed)
                {
                    kept = failed; // without the byte the other one tries to let it go
                }
            },
        };
        ChildResult result = ChildProcess.Run(watchdog, line =>
        {
            if (line == Ready)
                ready.Set();
        });
        if (test)
            throw new InterruptedException($"During fsfreeze-thaw: aborting due to {TestFlag} ({string.Join("; ", result.LastLines.Where(static line => line != Ready))})");
        if (kept is not null)
            throw kept;
    }

    // One that cannot be frozen has no journal; or it is not ours to freeze, or frozen by somebody else: it was synced. Whoever ends this process by TERM waits for so long.
    private static void Pass(Dir boot)
    {
        using var later = PosixSignalRegistration.Create(PosixSignal.SIGTERM, static signal => signal.Cancel = true);
        Errno refused = FrozenFileSystem.Pass(boot);
        if (refused is not (Errno.None or Errno.EOPNOTSUPP or Errno.EPERM or Errno.EBUSY))
            throw new LinuxException(refused, "ioctl(FIFREEZE)", boot.Path);
    }
}
