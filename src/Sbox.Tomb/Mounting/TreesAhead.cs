using Sbox.Codecs;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// Reads directories that will be wanted soon, on a thread of its own: those of the pool look around for more work after each piece, and of such small pieces that costs
/// more than the work.
/// </summary>
/// <param name="trees">Where they are kept.</param>
internal sealed class TreesAhead(RecentTrees trees)
{
    private const int AtMost = 4; // waiting and on their way

    private readonly Lock starting = new();
    private readonly object gate = new(); // waited on
    private readonly Queue<Checksum> waiting = new();
    private Thread? thread;
    private int reading;
    private bool closed;

    /// <summary>Has a directory read, unless it is here or too many are waited for; whoever wants it learns of failures.</summary>
    public void Prepare(Checksum id)
    {
        if (trees.Has(id))
            return;
        lock (gate)
        {
            if (closed || waiting.Count + reading >= AtMost || waiting.Contains(id))
                return;
            waiting.Enqueue(id);
            Monitor.Pulse(gate);
        }

        lock (starting)
        {
            if (thread is not null)
                return;
            thread = new Thread(Work) { IsBackground = true, Name = "tomb ahead" };
            thread.Start();
        }
    }

    /// <summary>Ends it.</summary>
    public void Close()
    {
        lock (gate)
        {
            closed = true;
            Monitor.PulseAll(gate);
        }
    }

    private void Work()
    {
        while (Next() is { } id)
            _ = Read(id); // by this thread as far as it goes: where the place is far away it does not wait for it
    }

    private Checksum? Next()
    {
        lock (gate)
        {
            while (!closed && waiting.Count == 0)
                Monitor.Wait(gate);
            if (closed)
                return null;
            reading++;
            return waiting.Dequeue();
        }
    }

    private async Task Read(Checksum id)
    {
        try
        {
            (await trees.Get(id, default)).Dispose();
        }
        catch (IOException)
        {
            return; // nobody has asked for it yet
        }
        finally
        {
            lock (gate)
                reading--;
        }
    }
}
