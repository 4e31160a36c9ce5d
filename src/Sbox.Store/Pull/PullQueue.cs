using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace Sbox.Store;

/// <summary>Objects to fetch, metadata first since it tells of more; ends when all are done and none told of another.</summary>
internal sealed class PullQueue : IDisposable
{
    private readonly ConcurrentStack<ObjectName> metadata = new();
    private readonly ConcurrentQueue<ObjectName> content = new();
    private readonly SemaphoreSlim ready = new(0);
    private readonly CancellationTokenSource stop;
    private ExceptionDispatchInfo? failure;
    private long outstanding;

    public PullQueue(CancellationToken cancel) => stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);

    public long Outstanding => Interlocked.Read(ref outstanding);

    public void Add(ObjectName name)
    {
        Interlocked.Increment(ref outstanding);
        if (name.Type == ObjectType.File)
            content.Enqueue(name);
        else
            metadata.Push(name);
        ready.Release();
    }

    /// <summary>Works on all with a few tasks; what one of them throws stops the others and is thrown here.</summary>
    public async Task Run(int parallel, Func<ObjectName, CancellationToken, Task> work)
    {
        if (Outstanding == 0)
            return;
        await Task.WhenAll(Enumerable.Range(0, parallel).Select(_ => Task.Run(() => Worker(work, parallel)))).ConfigureAwait(false);
        failure?.Throw();
    }

    public void Dispose()
    {
        stop.Dispose();
        ready.Dispose();
    }

    private async Task Worker(Func<ObjectName, CancellationToken, Task> work, int parallel)
    {
        try
        {
            while (true)
            {
                await ready.WaitAsync(stop.Token).ConfigureAwait(false);
                if (!metadata.TryPop(out ObjectName name) && !content.TryDequeue(out name))
                    return; // released without an item: all is done
                await work(name, stop.Token).ConfigureAwait(false);
                if (Interlocked.Decrement(ref outstanding) == 0)
                    ready.Release(parallel);
            }
        }
        catch (Exception caught)
        {
            Interlocked.CompareExchange(ref failure, ExceptionDispatchInfo.Capture(caught), null);
            await stop.CancelAsync().ConfigureAwait(false);
        }
    }
}
