using System.Diagnostics;
using System.Text.Json;

namespace Sbox.Tomb.Tests;

/// <summary>Any moment may be the last.</summary>
public sealed class KillTests
{
    // SBOX_KILLS says how many moments; SBOX_SEED repeats those of a run.
    private static readonly int Kills = int.Parse(Environment.GetEnvironmentVariable("SBOX_KILLS") ?? "6");
    private static readonly int Seed = int.Parse(Environment.GetEnvironmentVariable("SBOX_SEED") ?? $"{Random.Shared.Next(10_000)}");

    [Fact]
    public Task A_save_or_prune_that_is_killed_leaves_a_whole_tomb_with_every_finished_save_in_it() => Kill(Kills);

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public Task Killed_a_hundred_times_in_a_save_a_forget_or_a_prune_it_is_whole_each_time() => Kill(100);

    private static async Task Kill(int times)
    {
        using var place = new Place();
        TestContext.Current.TestOutputHelper?.WriteLine($"SBOX_SEED={Seed}");
        var random = new Random(Seed);
        HomeTree.Make(place["home"]);
        SboxProgram.Tomb(place, "create");
        var finished = new Dictionary<string, string>(StringComparer.Ordinal);
        long begun = Stopwatch.GetTimestamp();
        SboxProgram.Tomb(place, "snapshots");
        double opening = Stopwatch.GetElapsedTime(begun).TotalMilliseconds;
        int ended = 0;
        for (int n = 0; n < times; n++)
        {
            Change(place["home"], random);
            string[] work = (n % 4) switch { 2 => ["prune"], 3 => ["forget", "--keep-last", "3", "--prune"], _ => ["save", place["home"]] };
            using Process process = SboxProgram.Start(place, ["tomb", "--tomb", place.TombPath, "--password-file", place.PasswordFile, .. work]);
            process.OutputDataReceived += static (_, _) => { };
            process.BeginOutputReadLine();
            await Task.WhenAny(process.WaitForExitAsync(TestContext.Current.CancellationToken), Task.Delay(random.Next((int)(opening / 2), (int)(opening * 2.5) + 500), TestContext.Current.CancellationToken));
            ended += process.HasExited ? 1 : 0;
            process.Kill();
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            place.Restic("unlock"); // of the dead: restic waits for nobody, but looks for the dead here only
            place.Restic("check", "--read-data");
            Compare(place, finished, mayForget: n % 4 == 3);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{times - ended} of {times} were killed, {ended} ended before; {finished.Count} finished saves are left");
        SboxProgram.Tomb(place, "save", place["home"]);
        SboxProgram.Tomb(place, "prune");
        SboxProgram.Tomb(place, "check", "--read-data");
        place.Restic("check", "--read-data");
        Compare(place, finished, mayForget: false);
        foreach ((string id, string home) in finished)
            Assert.Equal(home, Restored(place, id));
    }

    // A save has finished when its snapshot is there: the newest is what the home is now, and no other may be missing.
    private static void Compare(Place place, Dictionary<string, string> finished, bool mayForget)
    {
        string[] there = [.. JsonDocument.Parse(place.Restic("snapshots", "--json")).RootElement.EnumerateArray().Select(static each => each.GetProperty("id").GetString()!)];
        string[] missing = [.. finished.Keys.Except(there, StringComparer.Ordinal)];
        Assert.True(missing.Length == 0 || (mayForget && there.Length >= 3), $"missing: {string.Join(' ', missing)}");
        foreach (string id in missing)
            finished.Remove(id);
        foreach (string id in there.Where(id => !finished.ContainsKey(id)))
            finished[id] = TreeCompare.Describe(place["home"]);
        if (there.Length > 0)
            Assert.Equal(finished[there[^1]], Restored(place, there[^1]));
    }

    private static string Restored(Place place, string id)
    {
        string name = $"restored-{Guid.NewGuid():N}";
        place.Restic("restore", id, "--target", place[name]);
        string home = TreeCompare.Describe(place[name] + place["home"]);
        using Linux.Dir parent = Linux.Dir.Open(place.Path);
        parent.RemoveAll(name); // the class library cannot delete names that are no UTF-8
        return home;
    }

    private static void Change(string home, Random random)
    {
        var bytes = new byte[random.Next(1 << 20, 24 << 20)];
        random.NextBytes(bytes);
        File.WriteAllBytes(Path.Combine(home, $"new{random.Next(3)}"), bytes);
        for (int n = 0; n < 40; n++)
            File.WriteAllBytes(Path.Combine(home, "a", $"small{random.Next(200)}"), bytes.AsSpan(n * 1000, random.Next(900)));
    }
}
