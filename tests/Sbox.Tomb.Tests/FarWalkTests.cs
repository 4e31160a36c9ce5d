using Sbox.Linux;
using Sbox.Tomb.Mounting;
using Sbox.Tomb.Tests.Mounting;

namespace Sbox.Tomb.Tests;

public sealed class FarWalkTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_way_down_to_a_home_costs_one_request_however_deep_it_lies()
    {
        using var place = new Place();
        string deep = "home/a/b/c/d/e/f/g/h/i/j";
        Directory.CreateDirectory(place[deep]);
        File.WriteAllText(place[$"{deep}/f"], "there");
        place.Restic("init");
        place.Restic("backup", place["home"]);
        var far = new UnsteadyBackend(place.Backend());
        await using TombRepository tomb = await TombRepository.Open(far, Place.Secret(), Cancel);
        Snapshot newest = (await tomb.Snapshots(Cancel))[^1];
        await tomb.LoadIndex(Cancel);
        using var blobs = new BlobReader(tomb, new BlobReaderOptions());
        int before = far.Loads;
        Node? found = await SnapshotTree.DirectoryAt(blobs, newest, place[deep].Split('/', StringSplitOptions.RemoveEmptyEntries), Cancel);
        Assert.Equal("j", found?.Name);
        Assert.Equal(1, far.Loads - before);
    }

    [Fact]
    public async Task What_came_last_stays_however_little_shall_be_kept()
    {
        using var place = new Place();
        for (int number = 0; number < 20; number++)
        {
            Directory.CreateDirectory(place[$"home/{number}"]);
            File.WriteAllText(place[$"home/{number}/f"], $"{number}");
        }

        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using TombRepository tomb = await TombRepository.Open(place.Backend(), Place.Secret(), Cancel);
        await tomb.LoadIndex(Cancel);
        var blocks = new BlockPool(keptAtMost: 0);
        using (var ranges = new SealedRanges(tomb, patience: null, blocks, capacity: 1))
        {
            BlobLocation[] trees = [.. Enumerable.Range(0, tomb.Index.Count).Select(number => tomb.Index[number]).Where(static each => each.Type == BlobType.Tree)];
            Assert.InRange(trees.Length, 20, 100);
            foreach (BlobLocation tree in trees)
            {
                using RangeLease range = ranges.Take(tree);
                await range.Ready.WaitAsync(Cancel);
            }

            Assert.Equal(1, ranges.Requests);
            using (RangeLease other = ranges.Take(tomb.Index[Enumerable.Range(0, tomb.Index.Count).First(number => tomb.Index[number].Type == BlobType.Data)]))
                await other.Ready.WaitAsync(Cancel);
            Assert.Equal(2, ranges.Requests);
            using (RangeLease again = ranges.Take(trees[0]))
                await again.Ready.WaitAsync(Cancel);
            Assert.Equal(3, ranges.Requests); // what came before the last one is let go of
        }

        blocks.Close();
    }

    [Fact]
    public async Task A_thousand_directories_far_away_are_checked_restored_and_saved_anew_without_a_request_for_each()
    {
        using var place = new Place();
        for (int number = 0; number < 1000; number++)
        {
            Directory.CreateDirectory(place[$"home/{number / 50}/{number}"]);
            File.WriteAllText(place[$"home/{number / 50}/{number}/f"], $"{number}");
        }

        var far = new UnsteadyBackend(place.Backend());
        await using (TombRepository made = await Place.Create(far))
            await Saving.Save(made, place["home"]);
        foreach (Func<TombRepository, Task> work in (Func<TombRepository, Task>[])[Check, Restore, Again])
        {
            await using TombRepository tomb = await TombRepository.Open(far, Place.Secret(), Cancel);
            await tomb.LoadIndex(Cancel);
            int before = far.Loads;
            await work(tomb);
            Assert.InRange(far.Loads - before, 1, 40);
        }

        static async Task Check(TombRepository tomb) => Assert.True((await TombCheck.Run(tomb, new CheckOptions(), null, Cancel)).IsWhole);

        async Task Restore(TombRepository tomb)
        {
            await Restorer.Restore(tomb, (await tomb.Snapshots(Cancel))[^1], new RestoreOptions { Target = place["out"] }, null, Cancel);
            TreeCompare.Same(place["home"], place["out"] + place["home"]);
        }

        async Task Again(TombRepository tomb) => Assert.Equal(1000, (await Saving.Save(tomb, place["home"])).FilesUnmodified);
    }
}
