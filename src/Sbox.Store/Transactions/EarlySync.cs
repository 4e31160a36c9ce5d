using System.Runtime.ExceptionServices;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Has the file system write out what was staged while more is still read and hashed: what is left for the end, when everything waits, is
/// little. A failure is told at the end, since the kernel tells of each only once.
/// </summary>
/// <param name="sync">Writes it out.</param>
/// <param name="failed">Told at once when that failed: whoever is killed before the end can tell nobody.</param>
internal sealed class EarlySync(Action sync, Action failed) : IDisposable
{
    private const long Enough = 24 * 1024 * 1024;
    private Task running = Task.CompletedTask;
    private long waiting;
    private int busy;

    /// <summary>Notes that so many bytes were written.</summary>
    public void Wrote(long bytes)
    {
        if (Interlocked.Add(ref waiting, bytes) < Enough || Interlocked.Exchange(ref busy, 1) != 0)
            return;
        if (running.IsFaulted)
            return; // it stays busy: there is nothing more to be had
        Interlocked.Exchange(ref waiting, 0);
        running = Task.Factory.StartNew(Sync, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Waits for what is being written out.</summary>
    /// <exception cref="LinuxException">Some of it may not be on the disk.</exception>
    public void Finish()
    {
        Wait();
        if (running.Exception is { } broken)
            ExceptionDispatchInfo.Throw(broken.InnerException!);
    }

    public void Dispose() => Wait();

    private void Wait() => Task.WaitAny(running);

    private void Sync()
    {
        try
        {
            sync();
        }
        catch
        {
            failed();
            throw;
        }

        Volatile.Write(ref busy, 0);
    }
}
