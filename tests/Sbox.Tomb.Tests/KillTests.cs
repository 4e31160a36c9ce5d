using System.Diagnostics;

namespace Sbox.Tomb.Tests;

/// <summary>Any moment may be the last.</summary>
public sealed class KillTests
{
    // SBOX_KILLS says how many moments; SBOX_SEED repeats those of a run.
    private static readonly int Kills = int.Parse(Environment.GetEnvironmentVariable("SBOX_KILLS") ?? "6");
    private static readonly int Seed = int.Parse(Environment.GetEnvironmentVariable("SBOX_SEED") ?? $"{Random.Shared.Next(10_000)}");

    [Fact]
    public async Task A_save_or_prune_that_is_killed_leaves_a_whole_tomb_with_every_earlier_save_in_it()
    {
        using var place = new Place();
        TestContext.Current.SendDiagnosticMessage($"SBOX_SEED={Seed}");
        var random = new Random(Seed);
        HomeTree.Make(place["home"]);
        SboxProgram.Tomb(place, "create");
        SboxProgram.Tomb(place, "save", place["home"]);
        string first = TreeCompare.Describe(place["home"]);
        string id = (await Snapshots(place))[0].Id.ToString();
        for (int n = 0; n < Kills; n++)
        {
            var bytes = new byte[40_000_000];
            random.NextBytes(bytes);
            File.WriteAllBytes(place[$"home/new{n % 2}"], bytes);
            string[] work = n % 3 == 2 ? ["prune"] : ["save", place["home"]];
            using Process process = SboxProgram.Start(place, ["tomb", "--tomb", place.TombPath, "--password-file", place.PasswordFile, .. work]);
            await Task.Delay(random.Next(300, 2500), TestContext.Current.CancellationToken);
            process.Kill();
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            place.Restic("unlock"); // of the dead: restic waits for nobody, but looks for the dead here only
            place.Restic("check", "--read-data");
        }

        place.Restic("restore", id, "--target", place["out"]);
        Assert.Equal(first, TreeCompare.Describe(place["out"] + place["home"]));
        SboxProgram.Tomb(place, "save", place["home"]);
        SboxProgram.Tomb(place, "prune");
        SboxProgram.Tomb(place, "check", "--read-data");
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["last"]);
        TreeCompare.Same(place["home"], place["last"] + place["home"]);
    }

    private static async Task<IReadOnlyList<Snapshot>> Snapshots(Place place)
    {
        await using TombRepository tomb = await place.Open();
        return await tomb.Snapshots(TestContext.Current.CancellationToken);
    }
}
