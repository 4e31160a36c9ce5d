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
    private const string TestFlag = "test-fifreeze", Ran = "fifreeze watchdog was run";

    // A byte says that it was let go; the end without one, or half a minute, that whoever froze it is no more. Ctrl-C at a terminal is not for it.
    internal const string Watchdog = $"trap '' INT TERM HUP; timeout 30 head -c 1 | grep -q . || {{ fsfreeze --unfreeze \"$0\" 2>/dev/null; echo '{Ran}'; }}";

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
        ChildResult watchdog = ChildProcess.Run(new ChildCommand("setsid", ["sh", "-c", Watchdog, boot.Path])
        {
            WriteInput = word =>
            {
                if (test)
                    return; // as if it had died
                try
                {
                    FrozenFileSystem.Pass(boot); // one that cannot be frozen has no journal, or it is not ours to freeze: it was synced
                    word.WriteByte((byte)'!');
                }
                catch (LinuxException stuck)
                {
                    kept = stuck; // without the byte the other one tries
                }
            },
        });
        if (test)
            throw new InterruptedException($"During fsfreeze-thaw: aborting due to {TestFlag} ({string.Join("; ", watchdog.LastLines)})");
        if (kept is not null)
            throw kept;
    }
}
