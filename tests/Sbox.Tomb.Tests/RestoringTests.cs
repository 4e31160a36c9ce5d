using System.Diagnostics;
using Sbox.Linux;
using Sbox.Tomb.Tests.Mounting;

namespace Sbox.Tomb.Tests;

/// <summary>Whatever happens during a restore, each name holds what it held before or all of what was saved.</summary>
public sealed class RestoringTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory, InlineData(Existing.Overwrite), InlineData(Existing.Keep)]
    public async Task When_the_line_goes_down_every_file_is_the_one_that_was_there_or_the_one_that_was_saved(Existing existing)
    {
        using var place = new Place();
        (TombRepository tomb, UnsteadyBackend backend, Snapshot snapshot) = await Saved(place);
        await using TombRepository held = tomb;
        Directory.CreateDirectory(place["out/a/b/c"]);
        foreach (string name in (string[])["plain", "big", "text", "a/b/c/file7"])
            File.WriteAllText(place[$"out/{name}"], "mine");
        int left = 0; // once the last directory is made only data travels
        backend.Meets = (_, _, _) => Directory.Exists(place["out/hollow"]) && Interlocked.Decrement(ref left) < 0 ? new BackendException("there", "connection reset", isTransient: true) : null;
        RestoreOptions options = Options(place) with { Existing = existing };
        await Assert.ThrowsAsync<BackendException>(() => Restorer.Restore(tomb, snapshot, options, null, Cancel));
        Assert.True(left < 0);
        using (Dir saved = Dir.Open(place["home"]), found = Dir.Open(place["out"]))
            MineOrSaved(saved, found);
        foreach (string name in (string[])["plain", "big", "text", "a/b/c/file7"])
            Assert.True(File.Exists(place[$"out/{name}"]), name);
        backend.Meets = static (_, _, _) => null;
        RestoreReport rest = await Restorer.Restore(tomb, snapshot, options, null, Cancel);
        Assert.Empty(rest.Failed);
        if (existing == Existing.Overwrite)
            TreeCompare.Same(place["home"], place["out"]);
        else
            Assert.Equal("mine", File.ReadAllText(place["out/big"]));
    }

    [Fact]
    public async Task Another_name_of_a_file_is_never_made_a_link_to_a_local_file_that_was_kept()
    {
        using var place = new Place();
        (TombRepository tomb, _, Snapshot snapshot) = await Saved(place);
        await using TombRepository held = tomb;
        Directory.CreateDirectory(place["out"]);
        File.WriteAllText(place["out/hard link"], "mine"); // the first of its two names
        RestoreReport report = await Restorer.Restore(tomb, snapshot, Options(place), null, Cancel);
        Assert.Equal(["hard link"], report.Kept);
        Assert.Equal("hello\n", File.ReadAllText(place["out/plain"]));
        Assert.Equal("mine", File.ReadAllText(place["out/hard link"]));
    }

    [Fact]
    public async Task A_link_put_in_a_directorys_place_while_files_travel_leads_nowhere()
    {
        using var place = new Place();
        (TombRepository tomb, UnsteadyBackend backend, Snapshot snapshot) = await Saved(place);
        await using TombRepository held = tomb;
        Directory.CreateDirectory(place["elsewhere/b/c"]);
        string before = TreeCompare.Describe(place["elsewhere"]);
        int swapped = 0;
        backend.Meets = (_, _, _) =>
        {
            if (Directory.Exists(place["out/a/b/c"]) && Interlocked.Exchange(ref swapped, 1) == 0)
            {
                Directory.Move(place["out/a"], place["out/moved"]);
                Directory.CreateSymbolicLink(place["out/a"], place["elsewhere"]);
            }

            return null;
        };
        RestoreReport report = await Restorer.Restore(tomb, snapshot, Options(place), null, Cancel);
        Assert.Equal(1, swapped);
        Assert.NotEmpty(report.Failed);
        Assert.Equal(before, TreeCompare.Describe(place["elsewhere"]));
        Assert.Equal("hello\n", File.ReadAllText(place["out/plain"]));
    }

    [Fact]
    public async Task A_restore_that_is_cancelled_leaves_no_half_files_and_no_names_of_its_own()
    {
        using var place = new Place();
        (TombRepository tomb, UnsteadyBackend backend, Snapshot snapshot) = await Saved(place);
        await using TombRepository held = tomb;
        using var stop = new CancellationTokenSource();
        backend.Meets = (_, _, _) =>
        {
            if (Directory.Exists(place["out/hollow"])) // the files of all directories before it are gathered
                stop.Cancel();
            return null;
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Restorer.Restore(tomb, snapshot, Options(place), null, stop.Token));
        Assert.DoesNotContain(Directory.GetFiles(place["out"]), static path => path.EndsWith("/big", StringComparison.Ordinal) || path.Contains(".sbox-restore", StringComparison.Ordinal));
    }

    private static void MineOrSaved(Dir saved, Dir found)
    {
        foreach (DirEntry entry in found.Entries())
        {
            if (entry.Kind == FileKind.Regular && found.ReadAll(entry.Name) is var bytes && !bytes.AsSpan().SequenceEqual("mine"u8))
                Assert.Equal(saved.ReadAll(entry.Name), bytes);
            if (entry.Kind != FileKind.Directory)
                continue;
            using Dir savedBelow = saved.OpenDir(entry.Name), below = found.OpenDir(entry.Name);
            MineOrSaved(savedBelow, below);
        }
    }

    private static RestoreOptions Options(Place place) => new() { Target = place["out"], Path = place["home"], Owners = true };

    private static async Task<(TombRepository Tomb, UnsteadyBackend Backend, Snapshot Snapshot)> Saved(Place place)
    {
        HomeTree.Make(place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        TombRepository tomb = await Place.Create(backend);
        SaveReport saved = await Saving.Save(tomb, place["home"]);
        Debug.Assert(saved.Snapshot is not null);
        return (tomb, backend, saved.Snapshot!);
    }
}
