using System.Globalization;

namespace Sbox.Linux;

/// <summary>
/// Work on a thread whose table of descriptors is its own, without those of the others. Whoever looks into a file system that this process serves itself does it so, or the process could not be killed.
/// </summary>
/// <remarks>
/// A request that a FUSE server has taken is waited for by the kernel even when whoever asked is killed (fs/fuse/dev.c). What ends that wait is the end of /dev/fuse, which comes when
/// nobody holds it any more: a thread that waits holds the table of all threads, and so the descriptor that it waits for.
/// </remarks>
public static class ApartThread
{
    private const uint FirstOfOurs = 3; // behind the standard streams

    /// <summary>Does the work, and waits for its end.</summary>
    /// <param name="work">Opens what it needs, and closes it: no handle goes in or comes out. Its own descriptors are in /proc/thread-self/fd.</param>
    /// <param name="unwanted">Takes back what the work made, when nobody waits for it any more; on the same thread. Null where there is nothing to take back.</param>
    /// <param name="cancel">Ends the waiting. The work goes on until what it waits for ends.</param>
    /// <exception cref="OperationCanceledException">Nobody waits any more.</exception>
    public static T Run<T>(Func<T> work, Action<T>? unwanted = null, CancellationToken cancel = default)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        using CancellationTokenRegistration given = cancel.Register(() => done.TrySetCanceled(cancel));
        new Thread(() =>
        {
            try
            {
                Part();
                T made = work();
                if (!done.TrySetResult(made))
                    unwanted?.Invoke(made);
            }
            catch (Exception failure)
            {
                done.TrySetException(failure);
            }
        }) { IsBackground = true, Name = "apart" }.Start();
        return done.Task.GetAwaiter().GetResult();
    }

    /// <inheritdoc cref="Run{T}"/>
    public static void Run(Action work, CancellationToken cancel = default) => Run(
        () =>
        {
            work();
            return true;
        }, cancel: cancel);

    private static void Part()
    {
        Answer.Check(LibC.unshare(LibC.CLONE_FILES), "unshare", "a table of descriptors");
        foreach (uint number in Others())
            Answer.Check(LibC.close_range(number, number, 0), "close_range", $"descriptor {number}");
    }

    // Where code is made at run time, the runtime maps the memory for it by a descriptor: that stays.
    private static List<uint> Others()
    {
        using Dir open = Dir.Open("/proc/thread-self/fd");
        uint own = (uint)open.Handle.DangerousGetHandle();
        return [.. open.Entries().Where(entry => IsTakenOver(open, entry.Name))
            .Select(static entry => uint.Parse(entry.Name, CultureInfo.InvariantCulture)).Where(number => number >= FirstOfOurs && number != own)];
    }

    private static bool IsTakenOver(Dir open, string number)
    {
        try
        {
            return !open.ReadLink(number).StartsWith("/memfd:", StringComparison.Ordinal);
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ENOENT)
        {
            return false; // what the listing itself was read by
        }
    }
}
