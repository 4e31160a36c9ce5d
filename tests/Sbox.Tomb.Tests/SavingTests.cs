using System.Text.Json;
using System.Text;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Tomb.Tests.Mounting;

namespace Sbox.Tomb.Tests;

/// <summary>Real restic reads, checks and restores what we saved.</summary>
public sealed class SavingTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_directory_is_closed_once_and_never_forgotten_however_its_entries_are_settled_while_others_are_found()
    {
        const int entries = 2_000_000;
        var directory = new OpenDirectory(null, 0, "/", "/");
        int found = 0, closed = 0;
        Task settling = Task.Run(() =>
        {
            for (int settled = 0; settled < entries; settled++)
            {
                while (Volatile.Read(ref found) <= settled)
                    Thread.Yield();
                closed += directory.Release() ? 1 : 0;
            }
        }, Cancel);
        for (int i = 0; i < entries; i++)
        {
            directory.Reserve();
            Volatile.Write(ref found, i + 1);
        }

        await settling;
        Assert.Equal(0, closed);
        Assert.True(directory.Release());
    }

    [Fact]
    public async Task What_we_save_is_whole_to_restic_and_restores_the_same_by_it_and_by_us()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await TombRepository.Create(place.Backend(), Place.Secret(), TimeProvider.System, Cancel);
        SaveReport report = await Saving.Save(tomb, place["home"]);
        Assert.Empty(report.Unsaved);
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["by restic"]);
        TreeCompare.Same(place["home"], place["by restic"] + place["home"]);

        RestoreReport restored = await Restorer.Restore(tomb, report.Snapshot!, new RestoreOptions { Target = place["by us"], Owners = true }, null, Cancel);
        Assert.Empty(restored.Failed);
        TreeCompare.Same(place["home"], place["by us"] + place["home"]);
    }

    [Fact]
    public async Task After_a_save_whose_index_could_not_be_written_the_next_one_lists_what_that_one_uploaded()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        await using TombRepository tomb = await Place.Create(backend);
        var options = new SaveOptions { Paths = [place["home"]] };
        backend.Refuses = static file => file.Type == StoredFileType.Index;
        await Assert.ThrowsAsync<BackendException>(() => Saver.Save(tomb, null, options, TimeProvider.System, null, Cancel));
        int uploaded = (await backend.List(StoredFileType.Pack, Cancel)).Count;
        Assert.NotEqual(0, uploaded);

        backend.Refuses = static _ => false;
        await Saver.Save(tomb, null, options, TimeProvider.System, null, Cancel);
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["out"]);
        TreeCompare.Same(place["home"], place["out"] + place["home"]);
        Assert.InRange((await backend.List(StoredFileType.Pack, Cancel)).Count, uploaded, uploaded + 1); // the directories above may have changed
    }

    [Fact]
    public async Task Our_tree_and_restics_are_the_same_blob()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        SaveReport ours = await Saving.Save(tomb, place["home"]);
        place.Restic("backup", place["home"]);
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(Cancel);
        Assert.Equal(2, snapshots.Count);
        await tomb.LoadIndex(Cancel);
        Assert.Equal(await Saving.TreeOf(tomb, ours.Tree, place["home"]), await Saving.TreeOf(tomb, snapshots[1].Tree, place["home"]));
    }

    [Fact]
    public async Task An_unchanged_home_is_not_read_again_and_changes_are_all_that_travels()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        SaveReport first = await Saving.Save(tomb, place["home"]);
        SaveReport again = await Saving.Save(tomb, place["home"]);
        Assert.Equal(first.Snapshot!.Id, again.Parent);
        Assert.Equal(await Saving.TreeOf(tomb, first.Tree, place["home"]), await Saving.TreeOf(tomb, again.Tree, place["home"]));
        Assert.Equal((0, 0, 0), (again.FilesNew, again.FilesChanged, again.DataBlobs));

        File.WriteAllText(place["home/plain"], "other");
        File.WriteAllText(place["home/a/b/c/new"], "new");
        File.Delete(place["home/text"]);
        SaveReport changed = await Saving.Save(tomb, place["home"]);
        Assert.Equal((1, 2), (changed.FilesNew, changed.FilesChanged)); // plain has two names
        Assert.True(changed.BytesAdded < 40_000);
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["out"]);
        TreeCompare.Same(place["home"], place["out"] + place["home"]);
    }

    [Fact]
    public async Task What_a_save_counts_is_what_restic_counts_and_the_snapshot_says()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        await using TombRepository tomb = await Place.Create(new DirectoryBackend(place["ours"]));
        await Same();
        await Same();
        File.WriteAllText(place["home/text"], "other");
        File.WriteAllText(place["home/a/new"], "new");
        File.CreateSymbolicLink(place["home/a/new link"], "new");
        Judge.OnPath("ln").Run(place["home/a/b/c/file0"], place["home/a/b/c/file0 too"]);
        Directory.CreateDirectory(place["home/a/newer"]);
        File.Delete(place["home/empty"]);
        Judge.OnPath("chmod").Run("500", place["home/a/b/c/file1"], place["home/hollow"], place["home/a/b"], place["home/a/b/c"]);
        await Same();

        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(Cancel);
        var options = new SaveOptions { Paths = [place["home"]], ReadAll = true };
        SaveReport read = await Saver.Save(tomb, Saver.ParentFor(snapshots, options), options, TimeProvider.System, null, Cancel);
        Assert.Equal((0, 0), (read.FilesNew, read.FilesChanged)); // read, and as it was

        async Task Same()
        {
            SaveReport ours = await Saving.Save(tomb, place["home"]);
            using var theirs = JsonDocument.Parse(place.Restic("backup", "--json", place["home"]).Split('\n').Last(static line => line.Contains("summary", StringComparison.Ordinal)));
            long Count(string name) => theirs.RootElement.GetProperty(name).GetInt64();
            Assert.Equal((Count("files_new"), Count("files_changed"), Count("files_unmodified")), (ours.FilesNew, ours.FilesChanged, ours.FilesUnmodified));
            Assert.Equal((Count("dirs_new"), Count("dirs_changed") + Count("dirs_unmodified")), (ours.DirectoriesNew, ours.DirectoriesChanged + ours.DirectoriesUnmodified));
            Assert.InRange(ours.DirectoriesChanged, Count("dirs_changed") - 1, Count("dirs_changed") + 1); // everybody's /tmp changes at any moment
            (long files, long bytes) = SnapshotSummary.TotalsOf(ours.Snapshot!)!.Value;
            Assert.Equal((Count("total_files_processed"), Count("total_bytes_processed")), (files, bytes));
            Assert.Equal((files, bytes), (ours.FilesNew + ours.FilesChanged + ours.FilesUnmodified, ours.BytesTotal));
        }
    }

    [Fact]
    public async Task Data_that_restic_stored_is_not_stored_again()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using TombRepository tomb = await place.Open();
        await tomb.LoadIndex(Cancel);
        SaveReport report = await Saver.Save(tomb, null, new SaveOptions { Paths = [place["home"]], ReadAll = true }, TimeProvider.System, null, Cancel);
        Assert.Equal(0, report.DataBlobs);
        Assert.True(report.TreeBlobs <= 2, "only what lies above the home may have changed"); // /tmp, and what names it
    }

    [Fact]
    public async Task What_is_excluded_is_not_saved_and_what_cannot_be_read_is_named()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        Directory.CreateDirectory(place["home/cache"]);
        File.WriteAllText(place["home/cache/CACHEDIR.TAG"], "Signature: 8a477f597d28d172789f06886806bc55\n");
        await using TombRepository tomb = await Place.Create(place.Backend());
        var options = new SaveOptions
        {
            Paths = [place["home"], place["gone"]], Excludes = new Excludes(["file1*", $"{place["home"]}/big", "**/hollow", "# a remark"]), ExcludeCaches = true,
        };
        SaveReport report = await Saver.Save(tomb, null, options, TimeProvider.System, null, Cancel);
        Assert.Equal(place["gone"], Assert.Single(report.Unsaved).Path);
        string list = place.Restic("ls", "latest");
        Assert.DoesNotContain("/file1", list, StringComparison.Ordinal);
        Assert.DoesNotContain("/big", list, StringComparison.Ordinal);
        Assert.DoesNotContain("/hollow", list, StringComparison.Ordinal);
        Assert.DoesNotContain("/cache/", list, StringComparison.Ordinal);
        Assert.Contains("/file2", list, StringComparison.Ordinal);
        place.Restic("check", "--read-data");
    }

    [Fact]
    public async Task A_restore_keeps_what_is_there_and_overwrites_when_told_to()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        SaveReport report = await Saving.Save(tomb, place["home"]);
        var options = new RestoreOptions { Target = place["home"], Path = place["home"], Owners = true };
        File.WriteAllText(place["home/text"], "mine");
        RestoreReport kept = await Restorer.Restore(tomb, report.Snapshot!, options, null, Cancel);
        Assert.Equal("text", Assert.Single(kept.Kept));
        Assert.Equal("mine", File.ReadAllText(place["home/text"]));
        Assert.Equal(0, kept.Files);
        RestoreReport over = await Restorer.Restore(tomb, report.Snapshot!, options with { Existing = Existing.Overwrite }, null, Cancel);
        Assert.Equal(1, over.Files);
        Assert.NotEqual("mine", File.ReadAllText(place["home/text"]));
        RestoreReport one = await Restorer.Restore(tomb, report.Snapshot!, options with { Target = place["one"], Path = place["home/text"] }, null, Cancel);
        Assert.Equal(1, one.Files);
        Assert.Equal(File.ReadAllBytes(place["home/text"]), File.ReadAllBytes(place["one/text"]));
    }

    [Fact]
    public async Task Any_password_of_the_tomb_opens_it_and_a_removed_one_no_more_for_us_and_for_restic()
    {
        using var place = new Place();
        await using TombRepository tomb = await Place.Create(place.Backend());
        KeyRecord second = await tomb.AddKey(Place.Secret("zweites"), TimeProvider.System, Cancel);
        File.WriteAllText(place["second"], "zweites");
        string[] list = ["-r", place.TombPath, "--password-file", place["second"], "--no-cache", "snapshots"];
        Judge.Restic.Run(list);
        await using (await TombRepository.Open(place.Backend(), Place.Secret("zweites"), Cancel))
            await tomb.RemoveKey(second.Id, Cancel);
        Assert.NotEqual(0, Judge.Restic.Ask(list).ExitCode);
        await Assert.ThrowsAsync<WrongPasswordException>(() => TombRepository.Open(place.Backend(), Place.Secret("zweites"), Cancel));
        await Assert.ThrowsAsync<TombExistsException>(() => Place.Create(place.Backend()));
    }

    [Fact]
    public async Task Our_locks_stop_restic_and_restics_stop_us()
    {
        using var place = new Place();
        await using TombRepository tomb = await Place.Create(place.Backend());
        await using (await TombLock.Take(tomb, exclusive: true, TimeProvider.System, Cancel))
        {
            Assert.NotEqual(0, Judge.Restic.Ask("-r", place.TombPath, "--password-file", place.PasswordFile, "--no-cache", "check").ExitCode);
            await Assert.ThrowsAsync<TombLockedException>(() => TombLock.Take(tomb, exclusive: false, TimeProvider.System, Cancel));
        }

        await using (await TombLock.Take(tomb, exclusive: false, TimeProvider.System, Cancel))
        {
            await using (await TombLock.Take(tomb, exclusive: false, TimeProvider.System, Cancel))
                Assert.NotEqual(0, Judge.Restic.Ask("-r", place.TombPath, "--password-file", place.PasswordFile, "--no-cache", "prune").ExitCode);
        }

        Assert.Empty(await TombLock.All(tomb, Cancel));
    }

    [Fact]
    public async Task A_machine_that_slept_until_its_lock_was_taken_away_writes_nothing_more()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        var clock = new SleepingClock();
        await using (await TombLock.Take(tomb, exclusive: false, clock, Cancel))
        {
            clock.Slept = TimeSpan.FromHours(1);
            foreach ((Checksum id, _) in await TombLock.All(tomb, Cancel))
                await tomb.Backend.Delete(new StoredFile(StoredFileType.Lock, id.ToString()), Cancel);
            var options = new SaveOptions { Paths = [place["home"]] };
            await Assert.ThrowsAsync<TombLockLostException>(() => Saver.Save(tomb, null, options, TimeProvider.System, null, Cancel));
        }

        Assert.Empty(await tomb.Snapshots(Cancel));
        Assert.Empty(await tomb.Backend.List(StoredFileType.Index, Cancel));
    }

    private sealed class SleepingClock : TimeProvider
    {
        public TimeSpan Slept { get; set; }

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Slept;
    }
}
