namespace Sbox.Store;

/// <summary>Requests that may be made besides those that are under way: what is left to fetch does not need them.</summary>
internal interface ISpareRequests
{
    /// <summary>How many requests are under way, about.</summary>
    int UnderWay { get; }

    /// <summary>Takes some.</summary>
    /// <param name="most">How many are wanted.</param>
    /// <returns>How many there are; each is given back.</returns>
    int Take(int most);

    /// <summary>Gives one back.</summary>
    void GiveBack();
}

/// <summary>A number of them, whatever else is done.</summary>
internal sealed class SpareRequests(int count) : ISpareRequests
{
    private readonly int all = count;
    private int left = count;

    public int UnderWay => 1 + all - Volatile.Read(ref left);

    public int Take(int most)
    {
        for (int seen; (seen = Volatile.Read(ref left)) > 0;)
        {
            int taken = Math.Min(seen, most);
            if (Interlocked.CompareExchange(ref left, seen - taken, seen) == seen)
                return taken;
        }

        return 0;
    }

    public void GiveBack() => Interlocked.Increment(ref left);
}
