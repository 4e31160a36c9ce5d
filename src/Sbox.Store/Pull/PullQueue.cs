using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace Sbox.Store;

/// <summary>Objects to fetch, metadata first since it tells of more; ends when all are done and none told of another.</summary>
internal sealed class PullQueue : ISpareRequests, IDisposable
{
    private readonly ConcurrentStack<ObjectName> metadata = new();
    private readonly ConcurrentQueue<ObjectName> content = new();
    private readonly SemaphoreSlim ready = new(0);
    private readonly SemaphoreSlim places; // as many as the window is wide
    private readonly RequestWindow window;
    private readonly Func<long> bytes;
    private readonly CancellationTokenSource stop;
    private ExceptionDispatchInfo? failure;
    private long outstanding;
    private readonly Lock holding = new();
    private List<ObjectName>? held; // files that wait for the commits to be known; null where they need not
    private int commitsAwaited;
    private int helping; // requests beside the window's: taken when there is less left to fetch than it is wide
    private int taken; // places that a narrower window has less, and that are not free yet

    /// <param name="window">How many are worked on at once.</param>
    /// <param name="bytes">Tells how much has come so far.</param>
    /// <param name="cancel">Ends it.</param>
    public PullQueue(RequestWindow window, Func<long> bytes, CancellationToken cancel)
    {
        (this.window, this.bytes) = (window, bytes);
        places = new SemaphoreSlim(window.Limit);
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
    }

    public long Outstanding => Interlocked.Read(ref outstanding);

    /// <summary>No file is worked on before so many commits were: by then it is known how much all of them need.</summary>
    public void HoldContent(int commits)
    {
        lock (holding)
            (held, commitsAwaited) = (commits > 0 ? [] : null, commits);
    }

    /// <summary>One of those commits is known.</summary>
    public void LetContentGo()
    {
        List<ObjectName> waiting;
        lock (holding)
        {
            if (held is null || --commitsAwaited > 0)
                return;
            (waiting, held) = (held, null);
        }

        foreach (ObjectName name in waiting)
            content.Enqueue(name);
        if (waiting.Count > 0)
            ready.Release(waiting.Count);
    }

    public void Add(ObjectName name)
    {
        Interlocked.Increment(ref outstanding);
        if (name.Type == ObjectType.File && IsHeld(name))
            return;
        if (name.Type == ObjectType.File)
            content.Enqueue(name);
        else
            metadata.Push(name);
        ready.Release();
    }

    /// <summary>Works on all, several at once; what one of them throws stops the others and is thrown here.</summary>
    public async Task Run(Func<ObjectName, CancellationToken, Task> work)
    {
        if (Outstanding == 0)
            return;
        await Task.WhenAll(Enumerable.Range(0, window.Most).Select(_ => Task.Run(() => Worker(work)))).ConfigureAwait(false);
        failure?.Throw();
    }

    private bool IsHeld(ObjectName name)
    {
        if (Volatile.Read(ref held) is null)
            return false;
        lock (holding)
        {
            held?.Add(name);
            return held is not null;
        }
    }

    int ISpareRequests.UnderWay => (int)Math.Min(Outstanding, window.Limit) + Volatile.Read(ref helping);

    int ISpareRequests.Take(int most)
    {
        for (int seen = Volatile.Read(ref helping); ; seen = Volatile.Read(ref helping))
        {
            int spare = (int)Math.Min(most, window.Limit - Outstanding - seen);
            if (spare <= 0)
                return 0;
            if (Interlocked.CompareExchange(ref helping, seen + spare, seen) == seen)
                return spare;
        }
    }

    void ISpareRequests.GiveBack() => Interlocked.Decrement(ref helping);

    public void Dispose()
    {
        stop.Dispose();
        ready.Dispose();
        places.Dispose();
    }

    private async Task Worker(Func<ObjectName, CancellationToken, Task> work)
    {
        try
        {
            while (true)
            {
                await places.WaitAsync(stop.Token).ConfigureAwait(false);
                await ready.WaitAsync(stop.Token).ConfigureAwait(false);
                if (!metadata.TryPop(out ObjectName name) && !content.TryDequeue(out name))
                    return; // released without an item: all is done
                await work(name, stop.Token).ConfigureAwait(false);
                long left = Interlocked.Decrement(ref outstanding);
                if (left == 0)
                {
                    ready.Release(window.Most);
                    places.Release(window.Most);
                }

                Leave(window.Answered(bytes(), left));
            }
        }
        catch (Exception caught)
        {
            Interlocked.CompareExchange(ref failure, ExceptionDispatchInfo.Capture(caught), null);
            await stop.CancelAsync().ConfigureAwait(false);
        }
    }

    // Gives the place back, and the window its new width.
    private void Leave(int wider)
    {
        if (wider < 0)
            Interlocked.Add(ref taken, -wider);
        int free = 1 + Math.Max(wider, 0);
        for (int kept; free > 0 && (kept = Volatile.Read(ref taken)) > 0;)
        {
            if (Interlocked.CompareExchange(ref taken, kept - 1, kept) == kept)
                free--;
        }

        if (free > 0)
            places.Release(free);
    }
}
