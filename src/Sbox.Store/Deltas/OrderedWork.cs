namespace Sbox.Store;

/// <summary>Work on several threads whose results are taken in order; at most a few are ahead of the one that is taken.</summary>
internal sealed class OrderedWork<TItem, TResult>(Func<TItem, TResult> work, CancellationToken cancel, int? atOnce = null, int? ahead = null) : IDisposable
{
    private readonly CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
    private readonly SemaphoreSlim free = new(atOnce ?? Environment.ProcessorCount);

    /// <summary>Does all of it; throws what a piece of work threw, when its turn comes.</summary>
    public void Run(IReadOnlyList<TItem> items, Action<TItem, TResult> take)
    {
        int most = ahead ?? Environment.ProcessorCount * 4;
        var begun = new Queue<Task<TResult>>();
        try
        {
            int next = 0;
            for (int taken = 0; taken < items.Count; taken++)
            {
                while (next < items.Count && begun.Count < most)
                    begun.Enqueue(Begin(items[next++]));
                Task<TResult> task = begun.Peek();
                TResult result = task.GetAwaiter().GetResult();
                begun.Dequeue();
                take(items[taken], result);
            }
        }
        finally
        {
            stop.Cancel();
            foreach (Task<TResult> task in begun)
                Drop(task);
        }
    }

    public void Dispose()
    {
        stop.Dispose();
        free.Dispose();
    }

    private Task<TResult> Begin(TItem item) => Task.Run(() =>
    {
        free.Wait(stop.Token);
        try
        {
            stop.Token.ThrowIfCancellationRequested();
            return work(item);
        }
        finally
        {
            free.Release();
        }
    });

    private static void Drop(Task<TResult> task)
    {
        try
        {
            (task.GetAwaiter().GetResult() as IDisposable)?.Dispose();
        }
        catch (Exception failed) when (failed is not OutOfMemoryException)
        {
            // Only the first failure is told; this piece of work was begun too early to know of it.
        }
    }
}
