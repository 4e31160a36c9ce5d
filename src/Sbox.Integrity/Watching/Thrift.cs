using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>
/// Keeps a sentinel that has worked small. The collector alone would let the heap grow by megabytes before it begins, and a sentinel that
/// sleeps again allocates nothing that would make it begin.
/// </summary>
internal sealed class Thrift
{
    private const long CollectEvery = 512 * 1024;
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(2), BetweenRests = TimeSpan.FromSeconds(30);

    private long allocated = GC.GetAllocatedBytesForCurrentThread();
    private long restAt;
    private long rested = long.MinValue / 2;
    private bool worked;

    /// <summary>How long to wait for work: what was asked for, or less where memory is to be given back before.</summary>
    /// <param name="milliseconds">-1 for ever.</param>
    public int Patience(int milliseconds)
    {
        if (!worked)
            return milliseconds;
        int until = (int)Math.Clamp(restAt - Environment.TickCount64, 0, (long)BetweenRests.TotalMilliseconds);
        return milliseconds < 0 ? until : Math.Min(milliseconds, until);
    }

    /// <summary>Something was looked at.</summary>
    public void Worked()
    {
        if (GC.GetAllocatedBytesForCurrentThread() - allocated > CollectEvery)
        {
            GC.Collect(0);
            allocated = GC.GetAllocatedBytesForCurrentThread();
        }

        worked = true;
        restAt = Math.Max(Environment.TickCount64 + (long)Quiet.TotalMilliseconds, rested + (long)BetweenRests.TotalMilliseconds);
    }

    /// <summary>Nothing happened for a while.</summary>
    public void Idle()
    {
        if (worked && Environment.TickCount64 >= restAt)
            Rest();
    }

    /// <summary>Gives back all that watching does not need.</summary>
    public void Rest()
    {
        worked = false;
        ResidentMemory.GiveBack();
        rested = Environment.TickCount64;
        allocated = GC.GetAllocatedBytesForCurrentThread();
    }
}
