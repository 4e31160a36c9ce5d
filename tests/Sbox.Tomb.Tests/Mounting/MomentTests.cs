using System.Diagnostics;
using System.Globalization;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>Programs write all the time while an open home is saved; what is saved is the home as it was at one moment.</summary>
public sealed class MomentTests
{
    private const int Saves = 20;

    // Every transaction notes its number, and changes rows all over the file; checkpoints come often, so that pages wander from the log into the database all the time.
    private const string Bank = """
        import os, random, sqlite3, sys
        told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
        db = sqlite3.connect("db", isolation_level=None, timeout=60)
        assert db.execute("pragma journal_mode=wal").fetchone()[0] == "wal"
        db.execute("pragma wal_autocheckpoint=50")
        n = db.execute("select max(n) from log").fetchone()[0]
        while True:
            n += 1
            db.execute("begin immediate")
            db.execute("insert into log values (?)", (n,))
            for _ in range(4):
                db.execute("update account set tag = ?, pad = randomblob(900) where id = ?", (random.random(), random.randrange(3000)))
            db.execute("commit")
            os.pwrite(told, b"%012d" % n, 0)
        """;

    private const string NewBank = """
        create table log(n integer primary key);
        create table account(id integer primary key, tag real, pad blob);
        create index tags on account(tag);
        insert into log values (0);
        with recursive i(n) as (select 0 union all select n + 1 from i where n < 2999) insert into account select n, n / 7.0, randomblob(900) from i;
        """;

    // Three places, always in this order: memory that is mapped, a file, and another file that is replaced by its new self.
    private const string Steps = """
        import mmap, os, struct, sys
        told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
        mapped = os.open("mapped", os.O_RDWR | os.O_CREAT)
        os.ftruncate(mapped, 8)
        first = mmap.mmap(mapped, 8)
        os.makedirs("a/b", exist_ok=True)
        second = os.open("a/second", os.O_WRONLY | os.O_CREAT)
        n = 0
        while True:
            n += 1
            first[:] = b"%08d" % n
            os.pwrite(second, b"%08d" % n, 0)
            with open("a/b/new", "w") as third:
                third.write("%08d" % n)
            os.rename("a/b/new", "a/b/third")
            os.pwrite(told, b"%012d" % n, 0)
        """;

    [Fact]
    public async Task A_database_that_is_written_all_the_time_is_whole_in_every_snapshot_and_has_all_that_was_committed_before()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        Assert.Empty(Listing.Sh(place["home"], $"sqlite3 db \"{NewBank}\""));
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        foreach ((string snapshot, long told) in await SavedWhile(open, Bank))
        {
            IReadOnlyList<string> found = Looked(place, snapshot, "sqlite3 db 'pragma integrity_check; select max(n) from log; select count(*) - 1 from log'");
            Assert.Equal("ok", found[0]);
            Assert.Equal(found[1], found[2]);
            Assert.True(Number(found[1]) >= told, $"{snapshot}: {found[1]} transactions, and {told} had been committed before the save began");
        }
    }

    [Fact]
    public async Task What_a_program_wrote_in_an_order_is_saved_in_that_order_whichever_files_it_lies_in()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        foreach ((string snapshot, long told) in await SavedWhile(open, Steps))
        {
            long[] found = [.. Looked(place, snapshot, "cat mapped a/second a/b/third | fold -w 8; echo").Select(Number)];
            Assert.True(found is [var first, var second, var third] && first >= second && second >= third && third >= told && first - third <= 1, $"{snapshot}: {string.Join(", ", found)}; {told} before");
        }
    }

    // Snapshots, and what had been told to be done before each of them was begun.
    private static async Task<IReadOnlyList<(string Snapshot, long Told)>> SavedWhile(OpenTomb open, string program)
    {
        string told = open.Place["told"], script = open.Place["program"];
        await File.WriteAllTextAsync(script, program, TestContext.Current.CancellationToken);
        // Not our own child: of that the class library would take a stop for the end.
        using Process writer = Process.Start(new ProcessStartInfo("bash", ["-c", $"(cd '{open.Path}' && exec python3 '{script}' '{told}') & trap 'kill -9 $!' TERM; wait"]))!;
        var saved = new List<(string, long)>();
        try
        {
            long last = 0;
            for (int tries = 0; saved.Count < Saves; tries++)
            {
                long before = await ToldMoreThan(last, told, writer);
                SessionSave save = await open.Save();
                last = Told(told); // nobody is held any longer than the save takes
                if (save.Blurred is null)
                    saved.Add((save.Snapshot!, before));
                else
                    Assert.True(tries < 3 * Saves, save.Blurred); // a machine that stands still for seconds lets everybody go, and says so
            }
        }
        finally
        {
            Listing.Sh("/", $"kill {writer.Id}");
            await writer.WaitForExitAsync(CancellationToken.None);
        }

        return saved;
    }

    private static async Task<long> ToldMoreThan(long last, string told, Process writer)
    {
        for (int tries = 0; tries < 6000; tries++)
        {
            Assert.False(writer.HasExited, "the program ended by itself");
            if (Told(told) is var now && now > last)
                return now;
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        throw new TimeoutException($"nothing was written after {last}");
    }

    private static long Told(string path) => File.Exists(path) && File.ReadAllText(path) is { Length: > 0 } text ? Number(text) : 0;

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    private static IReadOnlyList<string> Looked(Place place, string snapshot, string look)
    {
        string to = place["restored"];
        place.Restic("restore", snapshot, "--target", to);
        IReadOnlyList<string> found = Listing.Sh(to + place["home"], look);
        using Dir parent = Dir.Open(place.Path);
        parent.RemoveAll("restored");
        return found;
    }
}
