namespace Sbox.Store;

/// <summary>
/// How many requests a pull has under way at once. A near server needs few and a far one many: it begins with a few, tries twice as many, stays with them and tries again
/// where that brought more, and else goes back for a while, each time for longer. Never so many that a request's share of a thin line would look like a server that trickles.
/// </summary>
/// <param name="most">The most that it may be.</param>
/// <param name="floor">Bytes a second below which a single request counts as too slow; 0 for none.</param>
/// <param name="clock">What time it is.</param>
/// <param name="multiplexed">Whether requests share a connection (HTTP/2): more of them cost a server little, and it begins with more.</param>
internal sealed class RequestWindow(int most, long floor, TimeProvider clock, bool multiplexed = false)
{
    private const int AtFirst = 8, AtFirstMultiplexed = 32;
    private const int SharesAboveFloor = 4;
    private const long RequestWorth = 4096; // bytes: many small objects that come are progress too
    private const double Better = 1.15;
    private const int FirstRest = 2, LongestRest = 32; // looks until it is tried again
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(300); // some round trips to anywhere on this planet
    private readonly Lock gate = new();
    private readonly int least = Math.Min(AtFirst, most);
    private long began = clock.GetTimestamp(), bytesBefore, requests;
    private double rateBefore;
    private int narrower; // what it was before it was widened to try; 0 where it was not
    private int rests, rest = FirstRest;

    /// <summary>The number now.</summary>
    public int Limit { get; private set; } = Math.Min(multiplexed ? AtFirstMultiplexed : AtFirst, most);

    /// <summary>The most that it will ever be.</summary>
    public int Most => most;

    /// <summary>A request was answered.</summary>
    /// <param name="bytes">All that has come so far, by all requests.</param>
    /// <param name="waiting">How many objects are known and not there yet, those under way among them.</param>
    /// <returns>By how much <see cref="Limit"/> has changed.</returns>
    public int Answered(long bytes, long waiting)
    {
        lock (gate)
        {
            requests++;
            double seconds = clock.GetElapsedTime(began).TotalSeconds;
            if (seconds < Look.TotalSeconds)
                return 0;
            int before = Limit;
            double byteRate = (bytes - bytesBefore) / seconds, rate = byteRate + (requests * RequestWorth / seconds);
            if (waiting > Limit && byteRate > 0) // else it was the lack of work, or all of it was found nearer, and says nothing of the line
                Limit = Math.Clamp(Next(rate, byteRate), least, most);
            (began, bytesBefore, requests) = (clock.GetTimestamp(), bytes, 0);
            return Limit - before;
        }
    }

    private int Next(double rate, double byteRate)
    {
        double bearable = floor > 0 ? byteRate / (floor * SharesAboveFloor) : most;
        return (int)Math.Min(Wanted(rate), bearable);
    }

    private int Wanted(double rate)
    {
        if (narrower > 0)
        {
            int back = narrower;
            narrower = 0;
            if (rate < rateBefore * Better)
            {
                (rests, rest) = (rest, Math.Min(2 * rest, LongestRest));
                return back;
            }

            rest = FirstRest;
        }

        if (rests-- > 0)
            return Limit;
        (narrower, rateBefore) = (Limit < most ? Limit : 0, rate);
        return Limit * 2;
    }
}
