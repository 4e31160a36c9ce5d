using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class KilledSaveTests
{
    // As often as SBOX_KILLS says; else for half a minute, and three times at least.
    private static readonly int? Kills = int.TryParse(Environment.GetEnvironmentVariable("SBOX_KILLS"), out int told) ? told : null;
    private static readonly TimeSpan Span = TimeSpan.FromSeconds(30);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public Task Killed_at_any_moment_of_a_save_or_a_fold_the_tomb_is_whole_and_nothing_is_lost_that_was_saved_or_written() =>
        Kill((round, begun) => Kills is { } kills ? round < kills : round < 3 || Stopwatch.GetElapsedTime(begun) < Span);

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public Task Killed_a_hundred_times_in_a_save_or_a_fold_it_is_whole_each_time() => Kill(static (round, _) => round < 100);

    private static async Task Kill(Func<int, long, bool> goesOn)
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        Directory.CreateDirectory(place["mounted"]);
        int seed = int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEED"), out int told) ? told : Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"SBOX_SEED={seed}");
        var random = new Random(seed);
        var all = new List<string>();
        try
        {
            long begun = Stopwatch.GetTimestamp();
            for (int round = 0; goesOn(round, begun); round++)
            {
                using Process victim = Start(place);
                Assert.Equal(round == 0 ? "open anew" : "open again", await victim.StandardOutput.ReadLineAsync(Cancel));
                string? saved = await victim.StandardOutput.ReadLineAsync(Cancel);
                Assert.StartsWith("saved ", saved, StringComparison.Ordinal);
                await Task.Delay(random.Next(800), Cancel);
                victim.Kill();
                await victim.WaitForExitAsync(Cancel).WaitAsync(TimeSpan.FromMinutes(1), Cancel);
                all.AddRange((saved + "\n" + await victim.StandardOutput.ReadToEndAsync(Cancel)).Trim().Split('\n').Select(static line => line["saved ".Length..]));
                // What was read once may still be in the kernel's memory; a name that nobody asked for cannot be.
                Assert.Contains("not connected", string.Join('\n', Listing.Sh(place.Path, $"ls mounted/none-{round} 2>&1")), StringComparison.Ordinal);
                EndWriters(place);
                place.Restic("unlock");
                place.Restic("check", "--read-data");
                string there = place.Restic("snapshots", "--json");
                Assert.All(all, id => Assert.Contains(id, there, StringComparison.Ordinal));
                HasAllThatWasWritten(place, all[^1]);
            }

            TestContext.Current.TestOutputHelper?.WriteLine($"{all.Count} finished saves");
            foreach (string id in all.Where((_, at) => at % 10 == 0))
                HasAllThatWasWritten(place, id);
        }
        finally
        {
            foreach (MountEntry mount in MountTable.Read().Where(mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal)).Reverse())
                Mounts.DetachByForce(mount.MountPoint);
        }
    }

    // The victim's writer lists the digests of all files in the home before each save.
    private static void HasAllThatWasWritten(Place place, string id)
    {
        place.Restic("restore", id, "--target", place["restored"]);
        Assert.Empty(Listing.Sh(place["restored"] + place["home"], "sha256sum --quiet -c manifest && [ $(find -type f ! -name manifest -printf x | wc -c) = $(wc -l < manifest) ]"));
        using Dir parent = Dir.Open(place.Path);
        parent.RemoveAll("restored");
    }

    // What wrote when the session was killed writes on, and would write into what the next one saves.
    private static void EndWriters(Place place)
    {
        for (IReadOnlyList<MountUser> users = MountUsers.Of([place["mounted"]]); users.Count > 0; users = MountUsers.Of([place["mounted"]]))
        {
            foreach (MountUser user in users)
                Signals.TrySend(user.Process, Signals.Kill);
        }
    }

    private static Process Start(Place place)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "..", "..", "Sbox.Tomb.Victim", "release", "Sbox.Tomb.Victim.dll");
        return Process.Start(new ProcessStartInfo("dotnet", [program, place.TombPath, Place.Password, place["mounted"], place["run"]]) { RedirectStandardOutput = true })!;
    }
}
