using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace Sbox.Store;

/// <summary>Work handed to a few threads through a short queue, so that neither memory nor open files grow with the work.</summary>
internal sealed class ParallelWork<T> : IDisposable
{
    private readonly BlockingCollection<T> queue;
    private readonly CancellationTokenSource stop;
    private readonly Task[] workers;
    private readonly Action<T> drop;
    private ExceptionDispatchInfo? failure;

    /// <param name="work">What is done with each item, on several threads.</param>
    /// <param name="drop">What is done with an item that is not worked on, after a failure.</param>
    /// <param name="cancel">Ends it.</param>
    public ParallelWork(Action<T> work, Action<T> drop, CancellationToken cancel)
    {
        this.drop = drop;
        int count = Math.Clamp(Environment.ProcessorCount, 1, 8);
        queue = new BlockingCollection<T>(boundedCapacity: count * 16);
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        workers = [.. Enumerable.Range(0, count).Select(_ => Task.Factory.StartNew(
            () => Run(work), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
    }

    /// <summary>Hands over an item, waiting while the queue is full.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled, or a worker failed: then <see cref="Finish"/> says why.</exception>
    public void Add(T item)
    {
        try
        {
            queue.Add(item, stop.Token);
        }
        catch (OperationCanceledException)
        {
            drop(item);
            failure?.Throw();
            throw;
        }
    }

    /// <summary>Waits until all is done; throws what a worker threw first.</summary>
    public void Finish()
    {
        queue.CompleteAdding();
        Task.WaitAll(workers);
        failure?.Throw();
        stop.Token.ThrowIfCancellationRequested();
    }

    public void Dispose()
    {
        stop.Cancel();
        queue.CompleteAdding();
        Task.WaitAll(workers);
        queue.Dispose();
        stop.Dispose();
    }

    private void Run(Action<T> work)
    {
        foreach (T item in queue.GetConsumingEnumerable())
        {
            if (stop.IsCancellationRequested)
            {
                drop(item);
                continue;
            }

            try
            {
                work(item);
            }
            catch (Exception caught)
            {
                Interlocked.CompareExchange(ref failure, ExceptionDispatchInfo.Capture(caught), null);
                stop.Cancel();
            }
        }
    }
}
