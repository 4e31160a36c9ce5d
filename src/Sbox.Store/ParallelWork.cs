using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace Sbox.Store;

/// <summary>
/// Work handed to a few threads through a short queue, so that neither memory nor open files grow with the work. Items go over by the
/// handful: waking a thread costs more than most of them.
/// </summary>
internal sealed class ParallelWork<T> : IDisposable
{
    private const int Handful = 16;
    private readonly BlockingCollection<List<T>> queue;
    private readonly CancellationTokenSource stop;
    private readonly Task[] workers;
    private readonly Action<T> drop;
    private List<T> gathered = new(Handful);
    private ExceptionDispatchInfo? failure;

    /// <param name="work">What is done with each item, on several threads.</param>
    /// <param name="drop">What is done with an item that is not worked on, after a failure.</param>
    /// <param name="cancel">Ends it.</param>
    public ParallelWork(Action<T> work, Action<T> drop, CancellationToken cancel)
    {
        this.drop = drop;
        int count = Math.Clamp(Environment.ProcessorCount, 1, 8);
        queue = new BlockingCollection<List<T>>(boundedCapacity: count * 2);
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        workers = [.. Enumerable.Range(0, count).Select(_ => Task.Factory.StartNew(
            () => Run(work), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
    }

    /// <summary>Hands over an item, waiting while the queue is full. One thread only.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled, or a worker failed: then <see cref="Finish"/> says why.</exception>
    public void Add(T item)
    {
        gathered.Add(item);
        if (gathered.Count == Handful)
            HandOver();
    }

    /// <summary>Waits until all is done; throws what a worker threw first.</summary>
    public void Finish()
    {
        HandOver();
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
        gathered.ForEach(drop);
        gathered.Clear();
        queue.Dispose();
        stop.Dispose();
    }

    private void HandOver()
    {
        List<T> items = gathered;
        gathered = new List<T>(Handful);
        try
        {
            if (items.Count > 0)
                queue.Add(items, stop.Token);
        }
        catch (OperationCanceledException)
        {
            items.ForEach(drop);
            failure?.Throw();
            throw;
        }
    }

    private void Run(Action<T> work)
    {
        foreach (List<T> items in queue.GetConsumingEnumerable())
            items.ForEach(item => RunOne(work, item));
    }

    private void RunOne(Action<T> work, T item)
    {
        if (stop.IsCancellationRequested)
        {
            drop(item);
            return;
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
