namespace Sbox.Store;

/// <summary>Knows how far a pull is: how much came, how fast, and how much is to come as far as anything has told of it.</summary>
/// <param name="transferred">Tells how many bytes have come over the network.</param>
/// <param name="progress">Who is told; null for nobody.</param>
/// <param name="clock">Tells the time.</param>
internal sealed class PullMeter(Func<long> transferred, IProgress<PullProgress>? progress, TimeProvider clock)
{
    private const int Samples = 10;
    private static readonly TimeSpan Each = TimeSpan.FromMilliseconds(500); // ten of them: a rate that neither jumps nor tells of a minute ago
    private readonly Lock gate = new();
    private readonly Queue<(long Time, long Bytes)> past = new();
    private long toCome, mark; // so many were to come when so many had
    private bool isTold, isUnknown;
    private Func<TransactionStats> stats = static () => default;
    private Func<long> outstanding = static () => 0;

    /// <summary>Whose objects are counted from now on.</summary>
    /// <param name="written">What was added.</param>
    /// <param name="waiting">How many objects are known to be needed and not there yet.</param>
    public void Follow(Func<TransactionStats> written, Func<long> waiting)
    {
        lock (gate)
            (stats, outstanding) = (written, waiting);
    }

    /// <summary>More bytes are to come than was known; fewer, where it is less than 0: something was found nearer.</summary>
    public void Expect(long bytes)
    {
        lock (gate)
        {
            (toCome, mark) = (Math.Clamp(Saturated.Sum(Left(), bytes), 0, long.MaxValue), transferred());
            isTold = true;
        }
    }

    /// <summary>Something is to come of which nobody said how large it is.</summary>
    public void ExpectUnknown() => Volatile.Write(ref isUnknown, true);

    /// <summary>Tells how far it is, twice a second until it is cancelled: also while one large file comes, and while nothing does.</summary>
    public async Task Watch(CancellationToken stop)
    {
        if (progress is null)
            return;
        Sample();
        using var timer = new PeriodicTimer(Each, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stop).ConfigureAwait(false))
            {
                Sample();
                Report();
            }
        }
        catch (OperationCanceledException)
        {
            // the pull has ended
        }
    }

    /// <summary>Tells how far it is.</summary>
    public void Report()
    {
        if (progress is not { } told)
            return;
        PullProgress now;
        lock (gate)
        {
            TransactionStats written = stats();
            long waiting = outstanding();
            // Objects that wait while all that was told has come: not everything was told of.
            bool isKnown = isTold && !Volatile.Read(ref isUnknown) && (waiting == 0 || Left() > 0);
            now = new PullProgress(written.MetadataWritten, written.ContentWritten, waiting, transferred())
            {
                BytesToCome = isKnown ? Left() : null, BytesPerSecond = Rate(),
            };
        }

        try
        {
            told.Report(now);
        }
        catch (Exception)
        {
            progress = null; // whoever cannot listen is told no more: a pull does not fail for that, and what it fails for is not hidden
        }
    }

    private long Left() => Math.Max(0, toCome - (transferred() - mark));

    private void Sample()
    {
        lock (gate)
        {
            past.Enqueue((clock.GetTimestamp(), transferred()));
            if (past.Count > Samples)
                past.Dequeue();
        }
    }

    private long? Rate()
    {
        if (!past.TryPeek(out (long Time, long Bytes) first))
            return null;
        double seconds = clock.GetElapsedTime(first.Time).TotalSeconds;
        return seconds < Each.TotalSeconds ? null : (long)((transferred() - first.Bytes) / seconds);
    }
}

/// <summary>Sums of numbers that strangers wrote: they end at the largest that there is, and do not begin anew.</summary>
internal static class Saturated
{
    /// <summary>Both together, as far as that can be said.</summary>
    public static long Sum(long one, long other)
    {
        long sum = unchecked(one + other);
        return one > 0 && other > 0 && sum < 0 ? long.MaxValue : sum;
    }

    /// <summary>A size that is told without a sign.</summary>
    public static long Size(ulong told) => (long)Math.Min(told, long.MaxValue);
}
