using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>How many requests are under way at once, by what the line brings.</summary>
public sealed class RequestWindowTests
{
    private const long Floor = 1000, Object = 5000;
    private readonly Clock clock = new();

    [Fact]
    public void A_far_server_gets_ever_more_requests_up_to_the_most()
    {
        var window = new RequestWindow(64, Floor, clock);
        // Whoever waits for round trips brings as much more as there are more at once.
        Assert.Equal([16, 32, 64, 64], Looks(window, 4, perSecond: width => width * 20 * Object));
    }

    [Fact]
    public void A_near_server_that_is_as_fast_as_it_gets_is_asked_no_more_at_once_but_for_a_try_now_and_then()
    {
        var window = new RequestWindow(64, Floor, clock);
        Assert.Equal([16, 8, 8, 8, 16, 8, 8, 8, 8, 8, 16, 8], Looks(window, 12, perSecond: _ => 100_000_000));
    }

    [Fact]
    public void What_was_tried_in_vain_ends_where_it_began()
    {
        var window = new RequestWindow(20, Floor, clock);
        // Sixteen bring all that there is: twenty, the most, are no better.
        Assert.Equal([16, 20, 16, 16], Looks(window, 4, perSecond: width => Math.Min(width, 16) * 20 * Object));
    }

    [Fact]
    public void No_request_on_a_thin_line_gets_so_small_a_share_that_it_counts_as_a_trickle()
    {
        var window = new RequestWindow(64, Floor, clock);
        long rate = 10_000;
        var looks = new List<(long Rate, int Width)>();
        for (int look = 0; look < 12; look++, rate += rate / 5) // a fifth more each time, so that more is wanted
            looks.Add((rate, Looks(window, 1, perSecond: _ => rate)[0]));
        Assert.All(looks, static look => Assert.True(look.Width == 8 || look.Rate / look.Width >= 2 * Floor, $"{look}"));
        Assert.Contains(looks, static look => look.Width > 8);
    }

    [Fact]
    public void A_line_that_becomes_thin_makes_it_narrow_again()
    {
        var window = new RequestWindow(64, Floor, clock);
        Assert.Equal(64, Looks(window, 4, perSecond: width => width * 20 * Object)[^1]);
        Assert.InRange(Looks(window, 2, perSecond: _ => 40_000)[^1], 8, 10);
    }

    [Fact]
    public void Where_there_is_nothing_to_wait_for_nothing_is_learnt()
    {
        var window = new RequestWindow(64, Floor, clock);
        Assert.Equal([8, 8, 8], Looks(window, 3, perSecond: width => width * 20 * Object, waiting: 3));
    }

    [Fact]
    public void Fewer_than_eight_when_that_is_the_most()
    {
        var window = new RequestWindow(2, Floor, clock);
        Assert.Equal([2, 2], Looks(window, 2, perSecond: width => width * 20 * Object));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(64)]
    public async Task Every_object_is_worked_on_once_however_the_window_changes(int most)
    {
        const int all = 3000;
        int wanted = Math.Min(most, 9); // wider than at first
        var line = new Clock();
        var window = new RequestWindow(most, Floor, line);
        long bytes = 0;
        using var queue = new PullQueue(window, () => Interlocked.Read(ref bytes), TestContext.Current.CancellationToken);
        var done = new ConcurrentDictionary<ObjectName, int>();
        int at = 0, under = 0, widest = 0, added = 1;
        queue.Add(NameOf(0));
        await queue.Run(async (name, cancel) =>
        {
            InterlockedMax(ref widest, Interlocked.Increment(ref under));
            done.AddOrUpdate(name, 1, static (_, times) => times + 1);
            // Ten more each, as a directory has them; the line is now fast, now thin.
            for (int n = 0; n < 10 && Interlocked.Increment(ref added) is int next && next <= all; n++)
                queue.Add(NameOf(next - 1));
            // A busy host starts its threads one after the other: each waits for those that may be under way beside it, until that was seen.
            while (Volatile.Read(ref widest) < wanted && Volatile.Read(ref under) < Math.Min(window.Limit, wanted))
                await Task.Yield();
            int step = Interlocked.Increment(ref at);
            Interlocked.Add(ref bytes, (step / 300 % 2) == 0 ? 100_000 : 10);
            line.Pass(TimeSpan.FromMilliseconds(20));
            Interlocked.Decrement(ref under);
        }).WaitAsync(TimeSpan.FromMinutes(2), TestContext.Current.CancellationToken);
        Assert.Equal(all, done.Count);
        Assert.All(done.Values, static times => Assert.Equal(1, times));
        Assert.InRange(widest, wanted, most);
        Assert.InRange(((ISpareRequests)queue).Take(1000), 1, most); // nothing is left to do
    }

    private static ObjectName NameOf(int number) => new(Checksum.Of(BitConverter.GetBytes(number)), ObjectType.File);

    private static void InterlockedMax(ref int place, int value)
    {
        for (int seen; value > (seen = Volatile.Read(ref place)) && Interlocked.CompareExchange(ref place, value, seen) != seen;)
            continue;
    }

    // The width after each look: half a second in which so much comes, in objects of one size.
    private int[] Looks(RequestWindow window, int count, Func<int, long> perSecond, long waiting = 10_000)
    {
        var widths = new List<int>();
        for (int look = 0; look < count; look++)
        {
            long came = perSecond(window.Limit) / 2;
            clock.Pass(TimeSpan.FromMilliseconds(500));
            window.Answered(total += came, waiting);
            widths.Add(window.Limit);
        }

        return [.. widths];
    }

    private long total;

    private sealed class Clock : TimeProvider
    {
        private long ticks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public void Pass(TimeSpan time) => Interlocked.Add(ref ticks, time.Ticks);

        public override long GetTimestamp() => Interlocked.Read(ref ticks);
    }
}
