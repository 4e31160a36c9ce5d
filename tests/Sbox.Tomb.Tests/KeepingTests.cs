using System.Text.Json;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Tests.Mounting;

namespace Sbox.Tomb.Tests;

/// <summary>Forgetting, pruning, checking, repairing; restic agrees with each.</summary>
public sealed class KeepingTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Rules_keep_what_restics_same_rules_keep()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        File.WriteAllText(place["home/a"], "a");
        await using TombRepository tomb = await Place.Create(place.Backend());
        SaveReport first = await Saving.Save(tomb, place["home"]);
        var random = new Random(5);
        DateTimeOffset time = DateTimeOffset.UtcNow.AddYears(-4);
        for (int n = 0; n < 60; n++)
        {
            time = time.AddMinutes(random.Next(30, 60 * 24 * 40));
            await tomb.SaveDocument(StoredFileType.Snapshot, (first.Snapshot! with { Time = Moment.Of(time) }).ToBytes(), Cancel);
        }

        var policy = new ForgetPolicy { Last = 2, Hourly = 3, Daily = 5, Weekly = 6, Monthly = 9, Yearly = 20, Within = new CalendarSpan(0, 0, 60, 0) };
        ForgetPlan ours = policy.Apply(await tomb.Snapshots(Cancel), DateTimeOffset.UtcNow);
        string json = place.Restic(
            "forget", "--dry-run", "--json", "--keep-last", "2", "--keep-hourly", "3", "--keep-daily", "5", "--keep-weekly", "6", "--keep-monthly", "9", "--keep-yearly", "20", "--keep-within", "60d");
        using var document = JsonDocument.Parse(json);
        string[] theirs = [.. document.RootElement[0].GetProperty("remove").EnumerateArray().Select(static each => each.GetProperty("id").GetString()!).Order(StringComparer.Ordinal)];
        Assert.NotEmpty(theirs);
        Assert.Equal(theirs, ours.Forget.Select(static each => each.Id.ToString()).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_prune_frees_what_nothing_needs_and_keeps_all_else()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        SaveReport first = await Saving.Save(tomb, place["home"]);
        File.Delete(place["home/big"]); // lies in one pack with what stays
        SaveReport second = await Saving.Save(tomb, place["home"]);
        await new ForgetPlan([], [first.Snapshot!]).Execute(tomb, Cancel);
        long before = Size(place.TombPath);
        PrunePlan plan = await Prune(tomb);
        Assert.NotEmpty(plan.Repack);
        Assert.True(before - Size(place.TombPath) > 2_900_000);
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["out"]);
        TreeCompare.Same(place["home"], place["out"] + place["home"]);
        Assert.True((await Prune(tomb)).IsEmpty);
        Assert.DoesNotContain("repack", place.Restic("prune", "--dry-run", "--max-unused", "unlimited").Split('\n').First(static line => line.Contains("to delete", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Equal(second.Snapshot!.Id, Assert.Single(await tomb.Snapshots(Cancel)).Id);
    }

    [Fact]
    public async Task Many_small_packs_become_one()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        for (int n = 0; n < 12; n++)
        {
            File.WriteAllText(place[$"home/{n}"], $"file {n}");
            await Saving.Save(tomb, place["home"]);
        }

        int before = (await tomb.Backend.List(StoredFileType.Pack, Cancel)).Count;
        await Prune(tomb);
        Assert.True((await tomb.Backend.List(StoredFileType.Pack, Cancel)).Count < before - 10);
        place.Restic("check", "--read-data");
    }

    [Theory, InlineData("flip"), InlineData("cut"), InlineData("gone"), InlineData("swap")]
    public async Task A_damaged_pack_is_noticed_its_files_are_named_the_rest_stays_and_a_repair_makes_the_tomb_whole(string damage)
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        SaveReport report = await Saving.Save(tomb, place["home"]);
        File.WriteAllText(place["home/later"], "in another pack");
        await Saving.Save(tomb, place["home"]);
        await tomb.LoadIndex(Cancel);
        byte[] big = File.ReadAllBytes(place["home/big"]);
        Assert.True(tomb.Index.TryFind(BlobType.Data, Checksum.Of(big.AsSpan(0, tomb.Chunker.Length(big))), out BlobLocation victim));
        Damage(place, damage, victim);

        CheckReport found = await TombCheck.Run(tomb, new CheckOptions { ReadData = true }, null, Cancel);
        Assert.False(found.IsWhole);
        Assert.Contains(found.LostFiles, file => file.What.EndsWith("/big", StringComparison.Ordinal));
        await tomb.LoadIndex(Cancel);
        RestoreReport rest = await Restorer.Restore(tomb, report.Snapshot!, new RestoreOptions { Target = place["out"] }, null, Cancel);
        Assert.Contains(rest.Failed, file => file.Path.EndsWith("/big", StringComparison.Ordinal));
        Assert.False(File.Exists(place["out"] + place["home/big"]));
        if (damage == "flip")
            Assert.Equal("hello\n", File.ReadAllText(place["out"] + place["home/plain"]));

        await using (await TombLock.Take(tomb, exclusive: true, TimeProvider.System, Cancel))
        {
            found = await TombCheck.Run(tomb, new CheckOptions { ReadData = true }, null, Cancel);
            RepairReport repaired = await TombRepair.Run(tomb, found, TimeProvider.System, Cancel);
            Assert.Equal(2, repaired.Rewritten.Count);
            Assert.Equal((0, 0), (tomb.CheckedPacks.Kept, tomb.CheckedBlobs.Kept)); // what it looked at packs with is given back
        }

        place.Restic("check", "--read-data");
        SaveReport again = await Saving.Save(tomb, place["home"]);
        place.Restic("check", "--read-data");
        place.Restic("restore", again.Snapshot!.Id.ToString(), "--target", place["back"]);
        TreeCompare.Same(place["home"], place["back"] + place["home"]);
    }

    [Fact]
    public async Task A_line_that_fails_during_a_repair_costs_no_snapshot_and_one_that_failed_before_it_costs_none_either()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        await using TombRepository tomb = await Place.Create(backend);
        SaveReport saved = await Saving.Save(tomb, place["home"]);
        CheckReport found = await TombCheck.Run(tomb, new CheckOptions { ReadData = true }, null, Cancel);
        Assert.True(found.IsWhole);
        backend.Meets = static (file, _, _) => file.Type == StoredFileType.Pack ? new BackendException("there", "connection reset", isTransient: true) : null;
        await Assert.ThrowsAsync<BackendException>(() => TombRepair.Run(tomb, found, TimeProvider.System, Cancel));
        backend.Meets = static (file, _, _) => file.Type == StoredFileType.Pack ? new BackendException("there", "forbidden", isTransient: false) : null;
        await Assert.ThrowsAsync<BackendException>(() => TombRepair.Run(tomb, found, TimeProvider.System, Cancel));
        Assert.Equal(saved.Snapshot!.Id, Assert.Single(await tomb.Snapshots(Cancel)).Id);

        // A check that met a bad download says so; the repair looks for itself.
        backend.Meets = static (_, _, _) => null;
        Checksum index = Assert.Single(tomb.IndexFiles);
        RepairReport repaired = await TombRepair.Run(tomb, found with { BadSnapshots = [saved.Snapshot.Id], BadIndexes = [index] }, TimeProvider.System, Cancel);
        Assert.Empty(repaired.Gone);
        Assert.Equal(saved.Snapshot.Id, Assert.Single(await tomb.Snapshots(Cancel)).Id);
        place.Restic("check", "--read-data");
    }

    [Fact]
    public async Task Where_the_disk_cannot_read_a_pack_only_what_lies_there_is_lost()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        await using TombRepository tomb = await Place.Create(backend);
        SaveReport saved = await Saving.Save(tomb, place["home"]);
        byte[] big = File.ReadAllBytes(place["home/big"]);
        Assert.True(tomb.Index.TryFind(BlobType.Data, Checksum.Of(big.AsSpan(0, tomb.Chunker.Length(big))), out BlobLocation victim));
        long sector = (victim.Offset + (victim.Length / 2)) / 4096 * 4096;
        backend.Meets = (file, offset, length) =>
            file == TombRepository.PackOf(victim.Pack) && offset < sector + 4096 && offset + length > sector ? new StoredFileUnreadableException("there", file) : null;
        RestoreReport rest = await Restorer.Restore(tomb, saved.Snapshot!, new RestoreOptions { Target = place["out"] }, null, Cancel);
        Assert.EndsWith("/big", Assert.Single(rest.Failed, static each => each.Path.Contains("big", StringComparison.Ordinal)).Path, StringComparison.Ordinal);
        Assert.Equal("hello\n", File.ReadAllText(place["out"] + place["home/plain"]));

        CheckReport found = await TombCheck.Run(tomb, new CheckOptions { ReadData = true }, null, Cancel);
        Assert.EndsWith("/big", Assert.Single(found.LostFiles).What, StringComparison.Ordinal);
        RepairReport repaired = await TombRepair.Run(tomb, found, TimeProvider.System, Cancel);
        Assert.Equal((1, 1), (repaired.Dropped, repaired.Rewritten.Count));
        place.Restic("check", "--read-data");
        await Saving.Save(tomb, place["home"]);
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["back"]);
        TreeCompare.Same(place["home"], place["back"] + place["home"]);
    }

    [Fact]
    public async Task A_read_that_the_kernel_answers_with_an_input_error_is_an_error_of_the_tomb()
    {
        using var place = new Place();
        await using TombRepository tomb = await Place.Create(place.Backend());
        var file = TombRepository.PackOf(Checksum.Of("x"u8));
        await tomb.Backend.Save(file, "x"u8.ToArray(), Cancel);
        string path = place[$"tomb/{file.Path}"];
        Mounts.Bind($"/proc/{Environment.ProcessId}/mem", path); // nothing is at address 0: reading there is EIO
        try
        {
            StoredFileUnreadableException bad = await Assert.ThrowsAsync<StoredFileUnreadableException>(() => tomb.Backend.LoadRange(file, 0, new byte[16], Cancel));
            Assert.Equal((file, false), (bad.File, bad.IsTransient));
        }
        finally
        {
            Mounts.Detach(path);
        }
    }

    [Fact]
    public async Task A_lost_index_is_made_anew_from_the_packs()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        await Saving.Save(tomb, place["home"]);
        foreach (string index in Directory.GetFiles(place["tomb/index"]))
            File.Delete(index);
        CheckReport found = await TombCheck.Run(tomb, new CheckOptions { ReadData = true }, null, Cancel);
        Assert.False(found.IsWhole);
        RepairReport repaired = await TombRepair.Run(tomb, found, TimeProvider.System, Cancel);
        Assert.Equal(2, repaired.Adopted);
        Assert.Empty(repaired.Rewritten);
        place.Restic("check", "--read-data");
    }

    [Fact]
    public async Task A_tomb_that_was_rolled_back_is_noticed_by_whoever_has_seen_it_newer()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        var memory = new TombMemory(place["memory"], TimeProvider.System);
        await Saving.Save(tomb, place["home"]);
        SaveReport newest = await Saving.Save(tomb, place["home"]);
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(Cancel);
        memory.Check(tomb, snapshots);
        memory.Remember(tomb, snapshots);
        memory.Check(tomb, snapshots);
        var gone = Assert.Throws<RolledBackException>(() => memory.Check(tomb, [snapshots[0]]));
        Assert.Equal(newest.Snapshot!.Id, gone.Id);
        await tomb.Backend.Delete(new StoredFile(StoredFileType.Snapshot, newest.Snapshot.Id.ToString()), Cancel);
        await Saving.Save(tomb, place["home"]); // another machine forgot it and saved anew: that is no rollback
        memory.Check(tomb, await tomb.Snapshots(Cancel));
    }

    private static void Damage(Place place, string damage, BlobLocation victim)
    {
        string path = place[$"tomb/{TombRepository.PackOf(victim.Pack).Path}"];
        byte[] bytes = File.ReadAllBytes(path);
        File.Delete(path);
        switch (damage)
        {
            case "flip":
                bytes[victim.Offset + 100] ^= 1;
                File.WriteAllBytes(path, bytes);
                break;
            case "cut":
                File.WriteAllBytes(path, bytes[..(int)(victim.Offset + 100)]);
                break;
            case "swap":
                string other = Directory.GetFiles(place["tomb/data"], "*", SearchOption.AllDirectories).First();
                File.Copy(other, path);
                break;
            default:
                break; // gone
        }
    }

    private static async Task<PrunePlan> Prune(TombRepository tomb)
    {
        await using TombLock held = await TombLock.Take(tomb, exclusive: true, TimeProvider.System, Cancel);
        await tomb.LoadIndex(Cancel);
        PrunePlan plan = await PrunePlan.Make(tomb, null, Cancel);
        await plan.Execute(tomb, TimeProvider.System, null, Cancel);
        return plan;
    }

    private static long Size(string path) => Directory.GetFiles(path, "*", SearchOption.AllDirectories).Sum(static file => new FileInfo(file).Length);
}
