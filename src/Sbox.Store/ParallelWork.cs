using System.Runtime.ExceptionServices;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Work handed to a few threads through a short queue, so that neither memory nor open files grow with the work. Items go over by the
/// handful: waking a thread costs more than most of them. Whoever hands over works too where the queue is full, and at the end: there are
/// as many threads as processors, and none of them spins.
/// </summary>
internal sealed class ParallelWork<T> : IDisposable
{
    private readonly int handful;
    private readonly object gate = new(); // waited on, which a Lock cannot be
    private readonly Queue<List<T>> queue = new();
    private readonly int capacity;
    private readonly CancellationTokenSource stop;
    private readonly Task[] workers;
    private readonly Action<T> work, drop;
    private readonly bool idle;
    private List<T> gathered;
    private ExceptionDispatchInfo? failure;
    private bool complete;

    /// <param name="work">What is done with each item, on several threads, the one that hands over among them.</param>
    /// <param name="drop">What is done with an item that is not worked on, after a failure.</param>
    /// <param name="cancel">Ends it.</param>
    /// <param name="handful">Items that go over together. Many, where neighbours get in each other's way: names in one directory.</param>
    /// <param name="idle">Take only what nobody else wants. Whoever hands over then only waits: a thread does not get back from being idle.</param>
    public ParallelWork(Action<T> work, Action<T> drop, CancellationToken cancel, int handful = 16, bool idle = false)
    {
        (this.work, this.drop, this.handful, this.idle) = (work, drop, handful, idle);
        gathered = new List<T>(handful);
        int count = Math.Clamp(Environment.ProcessorCount - (idle ? 0 : 1), 1, 7);
        capacity = (count + 1) * 2;
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        workers = [.. Enumerable.Range(0, count).Select(_ => Task.Factory.StartNew(
            Run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
    }

    /// <summary>Hands over an item, or works on those that wait while the queue is full. One thread only.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public void Add(T item)
    {
        gathered.Add(item);
        if (gathered.Count == handful)
            HandOver();
    }

    /// <summary>Works on what is left, and waits until all is done; throws what the work threw first.</summary>
    public void Finish()
    {
        HandOver();
        Complete();
        while (!idle && TryTake() is { } items)
            items.ForEach(RunOne);
        Task.WaitAll(workers);
        failure?.Throw();
        stop.Token.ThrowIfCancellationRequested();
    }

    public void Dispose()
    {
        stop.Cancel();
        Complete();
        Task.WaitAll(workers);
        while (TryTake() is { } items)
            items.ForEach(drop);
        gathered.ForEach(drop);
        gathered.Clear();
        stop.Dispose();
    }

    private void HandOver()
    {
        List<T> items = gathered;
        gathered = new List<T>(handful);
        if (stop.IsCancellationRequested)
        {
            items.ForEach(drop);
            failure?.Throw();
            stop.Token.ThrowIfCancellationRequested();
        }

        lock (gate)
        {
            while (idle && queue.Count >= capacity)
                Monitor.Wait(gate);
            queue.Enqueue(items);
            if (idle)
                Monitor.PulseAll(gate); // of those that wait some wait for room
            else
                Monitor.Pulse(gate);
            if (queue.Count <= capacity)
                return;
            items = queue.Dequeue();
        }

        items.ForEach(RunOne);
    }

    private void Complete()
    {
        lock (gate)
        {
            complete = true;
            Monitor.PulseAll(gate);
        }
    }

    private List<T>? TryTake()
    {
        lock (gate)
            return queue.TryDequeue(out List<T>? items) ? items : null;
    }

    private void Run()
    {
        if (idle)
            Priority.BeIdle(); // where a sandbox forbids it the work is done all the same
        while (Next() is { } items)
            items.ForEach(RunOne);
    }

    private List<T>? Next()
    {
        lock (gate)
        {
            while (queue.Count == 0 && !complete)
                Monitor.Wait(gate);
            if (!queue.TryDequeue(out List<T>? items))
                return null;
            if (idle)
                Monitor.PulseAll(gate); // there is room again
            return items;
        }
    }

    private void RunOne(T item)
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
