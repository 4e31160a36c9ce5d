using System.Diagnostics;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class TombSessionTests
{
    // One of everything that a person's programs do to files.
    private const string Work = """
        set -e
        echo new > new; echo more >> text; printf x | dd of=big bs=1 seek=1000000 conv=notrunc status=none
        chmod 600 empty; touch -d 2001-02-03 'ümlaut ☃'; setfattr -n user.added -v yes big; setfattr -x user.note text
        rm '<&>'; rm -r hollow; mv a/b moved; mv moved/c/file1 moved/c/renamed; mkdir -p a/b; echo fresh > a/b/file
        ln big 'big too'; ln new new2; ln -s nowhere dangling; mkfifo pipe2; rm link; mkdir link; echo in > link/in
        mv moved/c/file2 over; mv over moved/c/file3; rm -r moved/c/file4; mkdir gone && rmdir gone
        mkdir -p deep/er; mv moved deep/er/still; mv deep/er/still/c again; echo x > again/x; chown 77:88 again
        truncate -s 70000 sparse2; : > plain2; chmod 4711 plain2
        """;

    [Fact]
    public async Task Whatever_is_done_in_the_open_home_real_restic_restores_it_just_so()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Equal(Listing.Of(place["home"]), Listing.Of(open.Path));
        Assert.Empty(open.Sh(Work));
        SessionSave save = await open.Save();
        Assert.NotNull(save.Snapshot);
        string seen = Listing.Of(open.Path);
        Assert.Equal(seen, OpenTomb.Restored(place, place["home"]));
        place.Restic("check", "--read-data", "--no-lock");
        CountsWhatResticCounts(place);

        Assert.Empty(open.Sh("echo again >> again/x; rm new2; mv deep/er deep/est"));
        Assert.NotNull((await open.Save()).Snapshot);
        Assert.Equal(Listing.Of(open.Path), OpenTomb.Restored(place, place["home"]));
        CountsWhatResticCounts(place);
        await open.Close();
        Assert.Null(MountTable.At(open.Path));
        Assert.False(Directory.Exists(place["run/home"]));
        place.Restic("check", "--read-data");

        await using OpenTomb later = await OpenTomb.Of(place);
        Assert.Equal(OpenTomb.Restored(place, place["home"]), Listing.Of(later.Path));
    }

    // The size in restic's list of snapshots, beside what restic itself counts in the tree.
    private static void CountsWhatResticCounts(Place place)
    {
        System.Text.Json.JsonElement summary = System.Text.Json.JsonDocument.Parse(place.Restic("snapshots", "--json", "latest")).RootElement[0].GetProperty("summary");
        IEnumerable<System.Text.Json.JsonElement> files = place.Restic("ls", "latest", "--json").Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => System.Text.Json.JsonDocument.Parse(line).RootElement)
            .Where(static node => node.TryGetProperty("type", out System.Text.Json.JsonElement type) && type.GetString() == "file");
        Assert.Equal(
            (files.Count(), files.Sum(static file => file.GetProperty("size").GetInt64())),
            (summary.GetProperty("total_files_processed").GetInt32(), summary.GetProperty("total_bytes_processed").GetInt64()));
    }

    [Fact]
    public async Task A_save_without_changes_reads_and_writes_nothing_and_one_of_a_change_reads_only_that()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        await using OpenTomb open = await OpenTomb.Of(place, backend: backend);
        open.Sh("find . -type f -exec cat {} + > /dev/null; ls -lR > /dev/null; sleep 0.2");
        int before = backend.Loads;
        Assert.Null((await open.Save()).Snapshot);
        Assert.Equal(before, backend.Loads);
        open.Sh("echo small > a/b/new; sleep 0.2");
        SessionStatus status = open.Session.Status(default);
        Assert.Equal((true, 1, 6), (status.Changed, status.UnsavedFiles, status.UnsavedBytes));
        Assert.Equal(1, (await open.Save()).Files);
        status = open.Session.Status(default);
        Assert.Equal((false, 0), (status.Changed, status.UnsavedFiles));
        Assert.Null((await open.Save()).Snapshot);
        open.Sh("echo other > a/b/newer; sleep 0.2");
        SessionSave second = await open.Save();
        Assert.Equal((1, 6), (second.Files, second.BytesRead)); // not what was saved before
        open.Sh("echo changed > a/b/new; : > a/b/hollow; ln a/b/newer a/b/newest; sleep 0.2");
        status = open.Session.Status(default);
        SessionSave third = await open.Save();
        Assert.Equal((4, 4), (status.UnsavedFiles, third.Files)); // each name: a link changes what a file has
        await using TombRepository tomb = await place.Open();
        using var summary = System.Text.Json.JsonDocument.Parse((await tomb.Snapshots(TestContext.Current.CancellationToken))[^1].Summary!);
        Assert.Equal((1, 3), (summary.RootElement.GetProperty("files_new").GetInt64(), summary.RootElement.GetProperty("files_changed").GetInt64()));
    }

    [Fact]
    public async Task A_save_that_the_line_lets_down_before_its_index_is_made_good_by_the_next()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        await using OpenTomb open = await OpenTomb.Of(place, backend: backend);
        Assert.Empty(open.Sh("head -c 20000000 /dev/urandom > large; sleep 0.2"));
        backend.Refuses = static file => file.Type == StoredFileType.Index;
        await Assert.ThrowsAsync<BackendException>(open.Save);
        backend.Refuses = static _ => false;
        Assert.NotNull((await open.Save()).Snapshot);
        place.Restic("check", "--read-data", "--no-lock");
        Assert.Equal(Listing.Of(open.Path), OpenTomb.Restored(place, place["home"]));
    }

    [Fact]
    public async Task After_a_sleep_in_which_the_snapshot_below_was_pruned_nothing_is_saved_over_what_is_gone()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        var clock = new SleepingClock();
        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Clock = clock }, backend);
        Assert.Empty(open.Sh("echo new > new; sleep 0.2"));
        clock.Slept = TimeSpan.FromHours(1);
        place.Restic("unlock", "--remove-all");
        backend.Meets = static (file, _, _) => file.Type == StoredFileType.Index ? new BackendException("there", "connection reset", isTransient: true) : null;
        await Assert.ThrowsAsync<BackendException>(open.Save);
        backend.Meets = static (_, _, _) => null;
        place.Restic("unlock", "--remove-all");
        place.Restic("forget", open.Session.Opened!.Id.ToString(), "--prune");
        for (int again = 0; again < 2; again++)
            await Assert.ThrowsAsync<BlobMissingException>(open.Save);
        Assert.Empty(await place.Backend().List(StoredFileType.Snapshot, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_prune_between_the_reading_of_the_index_and_the_lock_is_seen()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        Listing.Sh(place["home"], "head -c 300000 /dev/urandom > goes; head -c 300000 /dev/urandom > stays");
        place.Restic("init");
        place.Restic("backup", place["home"]);
        File.Delete(place["home/goes"]);
        place.Restic("backup", place["home"]);
        int pruned = 0, indexes = 0, there = Directory.GetFiles(place["tomb/index"]).Length;
        var backend = new UnsteadyBackend(place.Backend())
        {
            Meets = (file, _, _) =>
            {
                indexes += file.Type == StoredFileType.Index ? 1 : 0;
                return null;
            },
            // Not locked yet, and the index is read: restic packs what stays anew and deletes the pack that it was in.
            Refuses = file =>
            {
                if (file.Type == StoredFileType.Lock && Interlocked.Exchange(ref pruned, 1) == 0)
                {
                    Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref indexes) >= there, TimeSpan.FromSeconds(20)), "the index is not read before the lock is there");
                    Thread.Sleep(100); // and taken in
                    place.Restic("forget", "--keep-last", "1", "--prune", "--max-unused", "0");
                }

                return false;
            },
        };
        await using OpenTomb open = await OpenTomb.Of(place, backend: backend);
        Assert.Equal(1, pruned);
        Assert.Empty(open.Sh($"cmp stays '{place["home/stays"]}' && echo new > new"));
        Assert.NotNull((await open.Save()).Snapshot);
        place.Restic("check", "--read-data", "--no-lock");
        Assert.Equal(Listing.Of(open.Path), OpenTomb.Restored(place, place["home"]));
    }

    private sealed class SleepingClock : TimeProvider
    {
        public TimeSpan Slept { get; set; }

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Slept;
    }

    [Fact]
    public async Task An_empty_tomb_becomes_a_home()
    {
        using var place = new Place();
        place.Restic("init");
        await using (OpenTomb open = await OpenTomb.Of(place))
        {
            Assert.Equal(["."], open.Sh("find"));
            Assert.Empty(open.Sh("mkdir d; echo one > d/f"));
            Assert.NotNull((await open.Close()).Snapshot);
        }

        await using OpenTomb again = await OpenTomb.Of(place);
        Assert.Equal(["one"], again.Sh("cat d/f"));
        Assert.Equal(Listing.Of(again.Path), OpenTomb.Restored(place, again.Path));
    }

    [Fact]
    public async Task Where_somebody_else_has_to_attach_the_home_the_session_waits_for_them()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        File.WriteAllText(place["attacher"], "");
        Task<OpenTomb> opening = Task.Run(() => OpenTomb.Of(place, options => options with { Attacher = place["attacher"] }), TestContext.Current.CancellationToken);
        string what = place[$"run/home/{SessionOptions.HomeToAttach}"];
        Assert.True(SpinWait.SpinUntil(() => File.Exists(what), TimeSpan.FromMinutes(1)));
        Assert.Null(MountTable.At(place["mounted"]));
        DetachedMount.AttachFrom(File.ReadAllText(what), place["mounted"]);
        await using OpenTomb open = await opening;
        Assert.Equal(["hello"], open.Sh("cat plain"));
        await open.Close();
        Assert.Null(MountTable.At(open.Path));
    }

    [Fact]
    public async Task In_use_it_is_not_closed_and_whoever_uses_it_is_named()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        using Process user = Process.Start(new ProcessStartInfo("sleep", ["300"]) { WorkingDirectory = open.Path })!;
        TombInUseException refused = await Assert.ThrowsAsync<TombInUseException>(open.Close);
        Assert.Contains($"sleep ({user.Id}: cwd {open.Path})", refused.Message, StringComparison.Ordinal);
        Assert.Equal(["hello"], open.Sh("cat plain"));
        user.Kill();
        await user.WaitForExitAsync(TestContext.Current.CancellationToken);
        await open.Close();
        Assert.Null(MountTable.At(open.Path));
    }

    [Fact]
    public async Task Slammed_it_is_gone_at_once_and_its_users_with_it()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        using Process stubborn = Process.Start(new ProcessStartInfo("bash", ["-c", "trap '' TERM HUP; exec 3< plain; while :; do sleep 0.1; done"]) { WorkingDirectory = open.Path })!;
        Assert.True(SpinWait.SpinUntil(() => MountUsers.Of([open.Path]).Count > 0, TimeSpan.FromSeconds(30)));
        IReadOnlyList<MountUser> ended = await open.Session.Slam();
        Assert.Contains(ended, user => user.Process == stubborn.Id);
        Assert.True(stubborn.WaitForExit(TimeSpan.FromSeconds(30)));
        Assert.Null(MountTable.At(open.Path));
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
        Assert.Empty(Directory.GetFileSystemEntries(open.Path));
    }

    [Fact]
    public async Task A_slam_cuts_a_running_save_short_and_wipes_the_keys_only_then()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        await using OpenTomb open = await OpenTomb.Of(place, backend: backend);
        open.Sh("head -c 3000000 /dev/urandom > random");
        int before = backend.Loads;
        backend.Silent = true; // whoever asks waits for ever
        Task<SessionSave> save = open.Save();
        Assert.True(SpinWait.SpinUntil(() => backend.Loads > before, TimeSpan.FromSeconds(60)));
        Assert.Empty(await open.Session.Slam());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => save.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken));
        Assert.Null(MountTable.At(open.Path));
        await Assert.ThrowsAsync<TombNotOpenException>(open.Save);
    }

    [Fact]
    public async Task A_save_that_runs_beside_the_closing_never_writes_a_snapshot_of_what_is_being_taken_away()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Scratch = place["scratch"] });
        open.Sh("mkdir -p work/a work/b; for i in $(seq 3000); do echo $i > work/a/$i; : > work/b/$i; done; sleep 0.2");
        string seen = Listing.Of(open.Path);
        Task saving = Task.Run(async () =>
        {
            while (true)
            {
                try
                {
                    await open.Save();
                }
                catch (IOException)
                {
                    return; // it is closed
                }
            }
        }, TestContext.Current.CancellationToken);
        await open.Close();
        await saving;
        Assert.Equal(seen, OpenTomb.Restored(place, place["home"]));
        Assert.Empty(Directory.GetFileSystemEntries(place["scratch"]));
    }

    // Each line that it is given goes through the mapping of a file.
    private const string Mapper = """
        import mmap, sys
        with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            for line in sys.stdin:
                view[0:5] = line.strip().encode()
                print("done", flush=True)
        """;

    [Theory, InlineData(false), InlineData(true)]
    public async Task What_a_program_writes_through_a_mapping_is_saved_though_no_time_tells_of_it(bool onDisk)
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Scratch = onDisk ? place["scratch"] : null });
        open.Sh("head -c 8192 /dev/zero > mapped; sleep 0.2");
        using Process mapper = Process.Start(new ProcessStartInfo("python3", ["-c", Mapper]) { WorkingDirectory = open.Path, RedirectStandardInput = true, RedirectStandardOutput = true })!;
        void Through(string word)
        {
            mapper.StandardInput.WriteLine(word);
            mapper.StandardInput.Flush();
            Assert.Equal("done", mapper.StandardOutput.ReadLine());
        }

        Through("first");
        await open.Save();
        Through("again");
        Assert.True(open.Session.Status(default).Changed);
        SessionSave second = await open.Save();
        Assert.Equal(1, second.Files); // that one alone
        Assert.Equal("again", place.Restic("dump", "latest", $"{place["home"]}/mapped")[..5]);
        Through("third"); // and then it is unmapped
        mapper.StandardInput.Close();
        await mapper.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(open.Session.Status(default).Changed);
        await open.Save();
        Assert.Equal("third", place.Restic("dump", "latest", $"{place["home"]}/mapped")[..5]);
        for (int saves = 0; saves < 5 && open.Session.Status(default).Changed; saves++) // a disk's times may follow late
        {
            await Task.Delay(200, TestContext.Current.CancellationToken);
            await open.Save();
        }

        Assert.False(open.Session.Status(default).Changed);
        Listing.Sh(open.Path, $"echo fifth | python3 -c '{Mapper}'"); // mapped and unmapped between two saves
        await open.Close();
        Assert.Equal("fifth", place.Restic("dump", "latest", $"{place["home"]}/mapped")[..5]);
    }

    [Fact]
    public async Task What_a_dead_session_had_not_saved_is_found_by_the_next()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        TombSession dead = (await OpenTomb.Of(place)).Session;
        Listing.Sh(place["mounted"], "echo kept > kept; chmod 640 text; mv a moved");
        string seen = Listing.Of(place["mounted"]);
        await dead.DisposeAsync();
        place.Restic("backup", "--tag", "other", place["password"]); // another snapshot: what was not saved does not belong above it

        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.True(open.Session.Recovered);
        Assert.Equal(seen, Listing.Of(open.Path));
        Assert.NotNull((await open.Close()).Snapshot);
        Assert.Equal(seen, OpenTomb.Restored(place, place["home"]));
    }

    [Fact]
    public async Task A_dead_sessions_own_saves_are_no_other_boxs()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        SessionSave first;
        TombSession dead = (await OpenTomb.Of(place)).Session;
        Listing.Sh(place["mounted"], "echo one > one; rm text; sleep 0.2");
        first = await dead.Save(TestContext.Current.CancellationToken);
        Listing.Sh(place["mounted"], "rm one; echo two > two");
        await dead.DisposeAsync();

        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.True(open.Session.Recovered);
        Assert.Equal(first.Snapshot, open.Session.Latest!.Id.ToString());
        Assert.Null((await open.Close()).Conflict);
        Assert.Equal(first.Snapshot, open.Session.Latest.Parent.ToString());
        await using TombRepository tomb = await place.Open();
        Assert.Null(new SnapshotHistory(await tomb.Snapshots(TestContext.Current.CancellationToken)).NewestParted);
    }

    [Fact]
    public async Task Whatever_else_is_saved_into_the_tomb_the_newest_snapshot_of_the_home_is_opened()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        await using (OpenTomb first = await OpenTomb.Of(place))
        {
            first.Sh("echo mine > mine");
            await first.Close();
        }

        place.Restic("backup", place["home"]); // newer, and of another place
        await using (OpenTomb open = await OpenTomb.Of(place))
        {
            Assert.Equal(["./mine"], open.Sh("find . -type f"));
            open.Sh("echo more > more");
            await open.Close();
        }

        place.Restic("backup", place["home"]);
        await using (OpenTomb open = await OpenTomb.Of(place))
            Assert.Equal(["./mine", "./more"], open.Sh("find . -type f | sort"));

        Directory.CreateDirectory(place["elsewhere"]);
        SnapshotNotFoundException unclear = await Assert.ThrowsAsync<SnapshotNotFoundException>(() => OpenTomb.Of(place, options => options with { MountPoint = place["elsewhere"] }));
        Assert.Contains(place["home"], unclear.Message, StringComparison.Ordinal);
        Assert.Null(MountTable.At(place["elsewhere"]));
    }

    [Fact]
    public async Task Two_boxes_that_save_keep_both_histories_and_the_later_one_is_told()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb one = await OpenTomb.Of(place);
        Directory.CreateDirectory(place["mounted two"]);
        await using OpenTomb two = await OpenTomb.Of(place, options => options with { Name = "two", MountPoint = place["mounted two"], Hostname = "other" });
        one.Sh("echo one > from-one");
        Listing.Sh(place["mounted two"], "echo two > from-two");
        Assert.Null((await one.Save()).Conflict);
        SessionSave second = await two.Save();
        Assert.Equal(one.Session.Latest!.Id.ToString(), second.Conflict);

        // Whoever asks later is told too, until both are brought together: a save by the timer has nobody to tell.
        Assert.Equal((second.Conflict, null), (two.Session.Status(TestContext.Current.CancellationToken).Conflict, one.Session.Status(TestContext.Current.CancellationToken).Conflict));
        one.Sh("echo more >> from-one");
        Assert.Equal(two.Session.Latest!.Id.ToString(), (await one.Save()).Conflict);
        Directory.CreateDirectory(place["mounted three"]);
        await using (OpenTomb three = await OpenTomb.Of(place, options => options with { Name = "three", MountPoint = place["mounted three"] }))
        {
            Assert.NotNull(three.Session.Parted);
            await three.Close();
        }

        Assert.Equal(4, place.Restic("snapshots", "--json").Split("\"short_id\"").Length - 1);
        await two.Close();
    }
}
