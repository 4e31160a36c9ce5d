using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>Programs of daily life in an open tomb, and what real restic restores of it afterwards.</summary>
public sealed class HomeJudgeTests
{
    [Fact]
    public async Task Git_works_in_it_and_what_is_restored_is_a_whole_repository()
    {
        using var place = await Started("git init -q repo && cd repo && for i in $(seq 60); do echo $i > f$i; done && git add . && git -c user.name=x -c user.email=x@y commit -qm one");
        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Equal(["second", "one"], open.Sh(
            "cd repo && git fsck --strict && git status --short && echo more >> f3 && git rm -q f4 && git mv f5 g5 && git -c user.name=x -c user.email=x@y commit -qam second && git gc -q && git fsck --strict && git log --format=%s"));
        await Judged(open, "cd repo && git fsck --strict && git status --short && git log --format=%s", ["second", "one"]);
    }

    [Fact]
    public async Task Sqlite_works_in_it_with_its_write_ahead_log()
    {
        using var place = await Started("sqlite3 db 'create table t(x); with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) insert into t select i from n'");
        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Equal(["wal", "ok", "6000"], open.Sh(
            "sqlite3 db 'pragma journal_mode=wal; begin; with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000) insert into t select i from n; commit; pragma integrity_check; select count(*) from t'"));
        await Judged(open, "sqlite3 db 'pragma integrity_check; select count(*) from t'", ["ok", "6000"]);
    }

    [Fact]
    public async Task A_writable_mapping_and_fsync_reach_what_is_saved()
    {
        using var place = await Started("head -c 3000000 /dev/zero > f");
        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Empty(open.Sh("""
            python3 - <<'END'
            import mmap, os
            with open("f", "r+b") as f:
                m = mmap.mmap(f.fileno(), 0)
                m[1234567:1234572] = b"there"
                m.flush()
                os.fsync(f.fileno())
            d = os.open(".", os.O_RDONLY); os.fsync(d)
            END
            """));
        await Judged(open, "dd if=f bs=1 skip=1234567 count=5 status=none; echo", ["there"]);
    }

    [Fact]
    public async Task Directories_are_renamed_links_are_made_and_broken_and_restored_so()
    {
        using var place = await Started("mkdir -p a/b/c d; echo 1 > a/b/c/f; echo 2 > a/g; ln a/g d/g2; ln -s ../a/b d/s");
        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Empty(open.Sh("""
            set -e
            mv a/b d/moved; mv d e; mkdir d; mv e/moved d/; ln d/moved/c/f d/f2; echo 3 >> d/f2; mv a z; mkdir a; echo new > a/g
            mv z/g z/h; rm e/s; mkdir -p e/s/t; mv e/s/t e/; rmdir e/s; mv e/t e/s; cp -al d copy; rm -r d/moved; mkdir d/moved
            """));
        await Judged(open, "cat d/f2; cat a/g; cat z/h", ["1", "3", "new", "2"]);
    }

    private static async Task<Place> Started(string script)
    {
        var place = new Place();
        Directory.CreateDirectory(place["home"]);
        IReadOnlyList<string> said = Listing.Sh(place["home"], script);
        Assert.DoesNotContain(said, static line => line.StartsWith("exit", StringComparison.Ordinal));
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await Task.CompletedTask;
        return place;
    }

    private static async Task Judged(OpenTomb open, string look, string[] expected)
    {
        Assert.NotNull((await open.Save()).Snapshot);
        string restored = OpenTomb.Restored(open.Place, open.Place["home"]), seen = Listing.Of(open.Path);
        if (seen != restored)
        {
            // Of a file that was linked while it was copied up, overlayfs now and then tells two inode numbers until its names are looked up anew.
            await DropCaches();
            seen = Listing.Of(open.Path);
        }

        Assert.Equal(seen, restored);
        await DropCaches();
        Assert.Equal(seen, Listing.Of(open.Path));
        Assert.Null((await open.Close()).Snapshot); // however often and however freshly it was looked at
        open.Place.Restic("check", "--read-data");
        string to = open.Place["again"];
        open.Place.Restic("restore", "latest", "--target", to);
        Assert.Equal(expected, Listing.Sh(to + open.Place["home"], look));
    }

    private static Task DropCaches() => File.WriteAllTextAsync("/proc/sys/vm/drop_caches", "2", TestContext.Current.CancellationToken);
}
