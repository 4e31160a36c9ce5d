using System.Diagnostics;

namespace Sbox.Tomb.Tests;

/// <summary>A lock whose holder may live is respected, whatever its host name, its process and the clocks say.</summary>
public sealed class LockTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_lock_without_its_bytes_as_a_power_cut_leaves_it_keeps_nobody_out_on_this_machine_and_elsewhere_until_it_is_told_to_go()
    {
        using var place = new Place();
        place.Restic("init");
        string damaged = place[$"tomb/locks/{new string('a', 64)}"];
        File.WriteAllText(damaged, "");
        await using (TombRepository far = await TombRepository.Open(new CountingBackend(place.Backend(), TimeSpan.Zero), Place.Secret(), TestContext.Current.CancellationToken))
        {
            await Assert.ThrowsAsync<TombLockedException>(() => TombLock.Take(far, exclusive: false, TimeProvider.System, TestContext.Current.CancellationToken));
            Assert.True(File.Exists(damaged));
            Assert.Single(await TombLock.RemoveStale(far, all: true, TimeProvider.System, TestContext.Current.CancellationToken));
            await (await TombLock.Take(far, exclusive: true, TimeProvider.System, TestContext.Current.CancellationToken)).DisposeAsync();
        }

        File.WriteAllText(damaged, "");
        await using TombRepository near = await place.Open();
        await (await TombLock.Take(near, exclusive: true, TimeProvider.System, TestContext.Current.CancellationToken)).DisposeAsync();
        Assert.False(File.Exists(damaged));
        place.Restic("check");
    }

    [Fact]
    public async Task Another_box_of_the_same_name_is_not_taken_for_a_dead_process_of_this_one()
    {
        using var place = new Place();
        await using TombRepository tomb = await Place.Create(place.Backend());
        Codecs.Checksum others = await Foreign(tomb, TimeSpan.Zero);
        await Assert.ThrowsAsync<TombLockedException>(() => TombLock.Take(tomb, exclusive: true, TimeProvider.System, Cancel));
        await Assert.ThrowsAsync<TombLockedException>(() => TombLock.Take(tomb, exclusive: false, TimeProvider.System, Cancel));
        Assert.Empty(await TombLock.RemoveStale(tomb, all: false, TimeProvider.System, Cancel));
        Assert.Equal(others, Assert.Single(await TombLock.All(tomb, Cancel)).Id);
        Assert.Single(await TombLock.RemoveStale(tomb, all: true, TimeProvider.System, Cancel));
        await using TombLock held = await TombLock.Take(tomb, exclusive: true, TimeProvider.System, Cancel);
    }

    [Fact]
    public async Task A_clock_that_is_ahead_makes_no_lock_stale_while_it_is_renewed()
    {
        using var place = new Place();
        await using TombRepository tomb = await Place.Create(place.Backend());
        var clock = new OwnClock { Ahead = TimeSpan.FromHours(1) };
        Codecs.Checksum first = await Foreign(tomb, TimeSpan.Zero);
        for (int renewed = 0; renewed < 4; renewed++)
        {
            await Assert.ThrowsAsync<TombLockedException>(() => TombLock.Take(tomb, exclusive: true, clock, Cancel));
            clock.Passed += TimeSpan.FromMinutes(5);
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Lock, first.ToString()), Cancel);
            first = await Foreign(tomb, clock.Passed);
        }

        await Assert.ThrowsAsync<TombLockedException>(() => TombLock.Take(tomb, exclusive: true, clock, Cancel));
        clock.Passed += TimeSpan.FromMinutes(8); // its holder died
        await using TombLock held = await TombLock.Take(tomb, exclusive: true, clock, Cancel);
        Assert.Single(await TombLock.All(tomb, Cancel));
    }

    [Fact]
    public async Task A_lock_that_a_killed_process_of_this_machine_left_is_in_nobodys_way()
    {
        using var place = new Place();
        SboxProgram.Tomb(place, "create");
        await using TombRepository tomb = await place.Open();
        Directory.CreateDirectory(place["home"]);
        var bytes = new byte[60_000_000];
        new Random(1).NextBytes(bytes);
        File.WriteAllBytes(place["home/big"], bytes);
        using Process process = SboxProgram.Start(place, ["tomb", "--tomb", place.TombPath, "--password-file", place.PasswordFile, "save", place["home"]]);
        while (!process.HasExited && !(Directory.Exists(place["state/sbox/locks"]) && Directory.GetFiles(place["state/sbox/locks"]).Any(static path => !path.EndsWith(".new", StringComparison.Ordinal))))
            await Task.Delay(5, Cancel);
        process.Kill();
        await process.WaitForExitAsync(Cancel);
        Assert.Single(await TombLock.All(tomb, Cancel));
        SboxProgram.Tomb(place, "prune");
        Assert.Empty(await TombLock.All(tomb, Cancel));
        Assert.Empty(Directory.GetFiles(place["state/sbox/locks"]));
        place.Restic("check", "--read-data");
    }

    // As a box of the same image writes it, whose process has a number that this machine has not.
    private static Task<Codecs.Checksum> Foreign(TombRepository tomb, TimeSpan later) => tomb.SaveDocument(StoredFileType.Lock, new LockRecord
    {
        Time = Moment.Of(DateTimeOffset.UtcNow + later), Exclusive = true, Hostname = Environment.MachineName, Username = "x", Pid = int.MaxValue,
    }.ToBytes(), Cancel);

    private sealed class OwnClock : TimeProvider
    {
        public TimeSpan Ahead { get; init; }

        public TimeSpan Passed { get; set; }

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Ahead + Passed;

        public override long GetTimestamp() => System.GetTimestamp() + (long)(Passed.TotalSeconds * System.TimestampFrequency);
    }
}
