using Sbox.Codecs;

namespace Sbox.Tomb.Tests;

/// <summary>A place that shows an older state is noticed, and a clock that was ahead is not taken for one.</summary>
public sealed class TombMemoryTests : IAsyncLifetime
{
    private static readonly DateTimeOffset Noon = new(2026, 5, 4, 12, 0, 0, TimeSpan.Zero);
    private readonly Place place = new();
    private readonly OwnClock clock = new() { Now = Noon };
    private TombRepository tomb = null!;
    private TombMemory memory = null!;

    public async ValueTask InitializeAsync()
    {
        tomb = await Place.Create(place.Backend());
        memory = new TombMemory(place["memory"], clock);
    }

    public async ValueTask DisposeAsync()
    {
        await tomb.DisposeAsync();
        place.Dispose();
    }

    [Fact]
    public void A_snapshot_of_a_clock_that_was_ahead_may_be_forgotten_elsewhere()
    {
        Snapshot first = Saved(-60), ahead = Saved(4 * 365 * 24 * 60), second = Saved(2);
        memory.Remember(tomb, [first, ahead]);
        clock.Now = Noon.AddMinutes(5);
        memory.Check(tomb, [first, second]); // the second one was made since, and is older than the one that is gone says it is
        memory.Check(tomb, [first, second, ahead]);
    }

    [Fact]
    public void What_many_remember_at_once_is_all_remembered()
    {
        Snapshot[] saved = [.. Enumerable.Range(0, 48).Select(n => Saved(n - 60))];
        Parallel.ForEach(saved, new ParallelOptions { MaxDegreeOfParallelism = 8 }, each => memory.Remember(tomb, each));
        foreach (Snapshot each in saved)
            Assert.Throws<RolledBackException>(() => memory.Check(tomb, [.. saved.Where(other => other.Time.CompareTo(each.Time) < 0)]));
        Assert.Equal(saved.Length, File.ReadAllLines(place[$"memory/{tomb.Config.Id}"]).Length);
    }

    [Fact]
    public void A_save_that_ends_while_somebody_lists_is_remembered_and_what_was_forgotten_is_not()
    {
        Snapshot first = Saved(-60), gone = Saved(-30), saved = Saved(-1);
        memory.Remember(tomb, [first, gone]);
        IReadOnlySet<Checksum> known = memory.Known(tomb);
        memory.Remember(tomb, saved);
        memory.Remember(tomb, new SnapshotListing([first], []), known);
        Assert.Equal([first.Id, saved.Id], memory.Known(tomb).OrderBy(id => id != first.Id));
        Assert.Throws<RolledBackException>(() => memory.Check(tomb, [first]));
    }

    [Fact]
    public void It_may_also_when_that_clock_was_ahead_by_little_and_the_time_it_said_has_come()
    {
        Snapshot first = Saved(-60), ahead = Saved(60);
        memory.Remember(tomb, [first, ahead]);
        clock.Now = Noon.AddMinutes(90);
        memory.Check(tomb, [first, Saved(2)]);
        Assert.Throws<RolledBackException>(() => memory.Check(tomb, [first]));
    }

    [Fact]
    public void So_may_one_of_this_machines_own_clock_that_was_ahead()
    {
        Snapshot first = Saved(-60), ahead = Saved(4 * 365 * 24 * 60), second = Saved(2);
        memory.Remember(tomb, [first]);
        clock.Now = Noon.AddYears(5);
        memory.Remember(tomb, ahead);
        clock.Now = Noon.AddMinutes(5);
        memory.Check(tomb, [first, second]);
        memory.Check(tomb, [first]); // only what is gone was ever newer, and its time is not to be believed
    }

    [Fact]
    public void What_came_out_of_the_one_that_is_gone_is_newer_whatever_its_clock_said()
    {
        Snapshot first = Saved(-60), gone = Saved(-5);
        memory.Remember(tomb, [first, gone]);
        memory.Check(tomb, [first, Saved(-30) with { Parent = gone.Id }]);
        Assert.Throws<RolledBackException>(() => memory.Check(tomb, [first, Saved(-30)]));
    }

    [Fact]
    public void An_older_state_is_noticed_also_where_it_holds_a_snapshot_of_a_clock_that_was_ahead()
    {
        Snapshot first = Saved(-60), ahead = Saved(4 * 365 * 24 * 60), second = Saved(2);
        memory.Remember(tomb, [first, ahead]);
        clock.Now = Noon.AddMinutes(5);
        memory.Remember(tomb, [first, second, ahead]);
        Assert.Equal(second.Id, Assert.Throws<RolledBackException>(() => memory.Check(tomb, [first, ahead])).Id);
        Assert.Throws<RolledBackException>(() => memory.Check(tomb, []));
    }

    [Fact]
    public void An_older_state_is_noticed_while_this_machines_clock_stands_back()
    {
        Snapshot first = Saved(-60), second = Saved(-2);
        memory.Remember(tomb, [first]);
        memory.Remember(tomb, second);
        clock.Now = DateTimeOffset.UnixEpoch;
        memory.Check(tomb, [first, second]);
        Assert.Equal(second.Id, Assert.Throws<RolledBackException>(() => memory.Check(tomb, [first])).Id);
    }

    [Fact]
    public void What_an_earlier_version_remembered_is_read()
    {
        Snapshot first = Saved(-60), ahead = Saved(4 * 365 * 24 * 60);
        Directory.CreateDirectory(place["memory"]);
        File.WriteAllText(Path.Combine(place["memory"], tomb.Config.Id.ToString()), $"{ahead.Id} {ahead.Time}\n");
        Assert.Throws<RolledBackException>(() => memory.Check(tomb, []));
        memory.Check(tomb, [first]);
    }

    private static Snapshot Saved(double minutesAfterNoon) =>
        new() { Id = Checksum.Of(Guid.NewGuid().ToByteArray()), Time = Moment.Of(Noon.AddMinutes(minutesAfterNoon)), Tree = default, Paths = ["/home/me"], Hostname = "box" };

    private sealed class OwnClock : TimeProvider
    {
        public DateTimeOffset Now { get; set; }

        public override DateTimeOffset GetUtcNow() => Now;
    }
}
