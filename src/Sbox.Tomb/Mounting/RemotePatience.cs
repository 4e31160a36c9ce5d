using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// How long a reader waits for a remote that does not answer: it is asked again and again until the time is over, and then the reader
/// gets EIO. While it is known to be gone the time is short; the first answer makes all well again by itself.
/// </summary>
/// <param name="limit">The whole time for one reader.</param>
/// <param name="clock">For waiting.</param>
internal sealed class RemotePatience(TimeSpan limit, TimeProvider clock)
{
    private static readonly TimeSpan WhileGone = TimeSpan.FromSeconds(3);

    // What the kernel could not read ahead it asks for once more, page by page, before it gives up: that is one wait to whoever reads, and not three.
    private static readonly TimeSpan OneRead = TimeSpan.FromSeconds(1);
    private long goneSince, gaveUp;

    /// <summary>Since when the remote has not answered; null while it does.</summary>
    public DateTimeOffset? GoneSince => Interlocked.Read(ref goneSince) is var ticks and not 0 ? new DateTimeOffset(ticks, TimeSpan.Zero) : null;

    /// <summary>What the remote last said when it failed.</summary>
    public string? Finding { get; private set; }

    /// <summary>Asks until it answers or the time is over.</summary>
    /// <exception cref="LinuxException">EIO: the time is over.</exception>
    /// <exception cref="BackendException">It answered, and asking again will not help.</exception>
    public async Task Try(Func<CancellationToken, Task> ask)
    {
        if (GoneSince is not null && Interlocked.Read(ref gaveUp) is var last and not 0 && clock.GetElapsedTime(last) < OneRead)
            throw new LinuxException(Errno.EIO, "read", Finding ?? "no answer a moment ago");
        TimeSpan patience = GoneSince is not null && limit > WhileGone ? WhileGone : limit;
        using var timeout = new CancellationTokenSource(patience, clock);
        for (int delay = 100; ; delay = Math.Min(delay * 2, 2000))
        {
            try
            {
                await ask(timeout.Token).WaitAsync(timeout.Token);
                Interlocked.Exchange(ref goneSince, 0);
                Interlocked.Exchange(ref gaveUp, 0);
                return;
            }
            catch (Exception failure) when (failure is BackendException { IsTransient: true } or OperationCanceledException or HttpRequestException)
            {
                Interlocked.CompareExchange(ref goneSince, clock.GetUtcNow().UtcTicks, 0);
                if (failure is BackendException told)
                    Finding = told.Message;
                if (timeout.IsCancellationRequested)
                    throw GivenUp(patience);
            }

            try
            {
                await Task.Delay(TimeSpan.FromMilliseconds(delay), clock, timeout.Token);
            }
            catch (OperationCanceledException)
            {
                throw GivenUp(patience);
            }
        }
    }

    private LinuxException GivenUp(TimeSpan patience)
    {
        Interlocked.Exchange(ref gaveUp, clock.GetTimestamp());
        return new LinuxException(Errno.EIO, "read", Finding ?? $"no answer within {patience.TotalSeconds:0} s");
    }
}
