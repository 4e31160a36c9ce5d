namespace Sbox.Integrity;

/// <summary>What may take its time, one after the other on a thread that is made when there is something to do and gone after: an idle sentinel has none.</summary>
/// <param name="atMost">How many may wait; of those that may be left out, more are. A flood of alarms is in the journal; not each needs to be shown.</param>
internal sealed class Errands(int atMost)
{
    private readonly Lock gate = new();
    private readonly Queue<Action> waiting = new();
    private bool working;

    /// <summary>Does it later.</summary>
    /// <param name="errand">What to do; must not throw.</param>
    /// <param name="always">Whether it is done however many wait.</param>
    public void Add(Action errand, bool always = false)
    {
        lock (gate)
        {
            if (!always && waiting.Count >= atMost)
                return;
            waiting.Enqueue(errand);
            if (working)
                return;
            working = true;
        }

        new Thread(Work, maxStackSize: 256 * 1024) { IsBackground = true }.Start();
    }

    private void Work()
    {
        while (true)
        {
            Action? next;
            lock (gate)
            {
                working = waiting.TryDequeue(out next);
                if (!working)
                    return;
            }

            next!();
        }
    }
}
