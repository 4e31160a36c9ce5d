using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class KilledSaveTests
{
    // As often as SBOX_KILLS says; else for half a minute, and three times at least.
    private static readonly int? Kills = int.TryParse(Environment.GetEnvironmentVariable("SBOX_KILLS"), out int told) ? told : null;
    private static readonly TimeSpan Span = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Killed_at_any_moment_of_a_save_or_a_fold_the_tomb_is_whole_and_nothing_is_lost_that_was_saved_or_written()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        Directory.CreateDirectory(place["mounted"]);
        int seed = int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEED"), out int told) ? told : Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"SBOX_SEED={seed}");
        var random = new Random(seed);
        try
        {
            long begun = Stopwatch.GetTimestamp();
            for (int round = 0; Kills is { } kills ? round < kills : round < 3 || Stopwatch.GetElapsedTime(begun) < Span; round++)
            {
                using Process victim = Start(place);
                Assert.Equal(round == 0 ? "open anew" : "open again", await victim.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
                string? saved = await victim.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken);
                Assert.StartsWith("saved ", saved, StringComparison.Ordinal);
                await Task.Delay(random.Next(1500), TestContext.Current.CancellationToken);
                victim.Kill();
                await victim.WaitForExitAsync(TestContext.Current.CancellationToken);
                string last = (saved + "\n" + await victim.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken)).Trim().Split('\n')[^1]["saved ".Length..];
                Assert.Contains("not connected", string.Join('\n', Listing.Sh(place.Path, "ls mounted/a/b 2>&1; cat mounted/big 2>&1 >/dev/null")), StringComparison.Ordinal);
                place.Restic("unlock");
                place.Restic("check", "--read-data");
                Assert.Contains(last, place.Restic("snapshots", "--json"), StringComparison.Ordinal);
            }
        }
        finally
        {
            foreach (MountEntry mount in MountTable.Read().Where(mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal)).Reverse())
                Mounts.DetachByForce(mount.MountPoint);
        }
    }

    private static Process Start(Place place)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "..", "..", "Sbox.Tomb.Victim", "release", "Sbox.Tomb.Victim.dll");
        return Process.Start(new ProcessStartInfo("dotnet", [program, place.TombPath, Place.Password, place["mounted"], place["run"]]) { RedirectStandardOutput = true })!;
    }
}
