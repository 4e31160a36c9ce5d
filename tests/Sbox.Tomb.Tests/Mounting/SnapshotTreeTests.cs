using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class SnapshotTreeTests
{
    [Fact]
    public async Task What_restic_saved_looks_mounted_as_it_was()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        string before = Listing.Of(place["home"]);
        await using MountedSnapshot mounted = await MountedSnapshot.Of(place);
        Assert.Equal(before, Listing.Of(mounted.Path));
        Listing.Sh(mounted.Path, "echo 3 > /proc/sys/vm/drop_caches");
        Assert.Equal(before, Listing.Of(mounted.Path)); // all is forgotten and found again, by the same numbers
    }

    [Fact]
    public async Task Inode_numbers_are_the_same_each_time_it_is_mounted()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        IReadOnlyList<string> first, second;
        await using (MountedSnapshot mounted = await MountedSnapshot.Of(place))
            first = Listing.Sh(mounted.Path, "find . -printf '%i %P\\n' | sort");
        await using (MountedSnapshot mounted = await MountedSnapshot.Of(place))
            second = Listing.Sh(mounted.Path, "find . -printf '%i %P\\n' | sort");
        Assert.Equal(first, second);
        Assert.Equal(first.Count - 1, first.Select(static line => line.Split(' ')[0]).Distinct().Count()); // one hard link
    }

    [Fact]
    public async Task Five_hundred_small_files_far_away_cost_few_requests()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        var random = new Random(5);
        for (int file = 0; file < 1500; file++)
        {
            var bytes = new byte[28_000];
            random.NextBytes(bytes);
            Directory.CreateDirectory(place[$"home/d{file / 50}"]);
            File.WriteAllBytes(place[$"home/d{file / 50}/f{file}"], bytes);
        }

        place.Restic("init");
        place.Restic("backup", place["home"]);
        string before = string.Join('\n', Listing.Sh(place["home"], "cat d?/* | sha256sum"));
        var far = new UnsteadyBackend(place.Backend()) { Delay = TimeSpan.FromMilliseconds(20) };
        await using MountedSnapshot mounted = await MountedSnapshot.Of(place, far);
        int opening = far.Loads;
        Assert.Equal(before, string.Join('\n', Listing.Sh(mounted.Path, "cat d?/* | sha256sum")));
        Assert.InRange(far.Loads - opening, 1, 29);
    }

    [Fact]
    public async Task Memory_stays_within_its_bounds_whatever_is_read()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        var bytes = new byte[40_000_000];
        new Random(6).NextBytes(bytes);
        File.WriteAllBytes(place["home/f"], bytes);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using MountedSnapshot mounted = await MountedSnapshot.Of(place, options: new BlobReaderOptions { SealedBytes = 10 << 20, PlainBytes = 4 << 20 });
        Assert.Equal([$"{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes))}  -"], Listing.Sh(mounted.Path, "sha256sum < f"));
        Assert.InRange(mounted.Blobs.Statistics.BytesHeld, 1, 22 << 20);
    }

    [Fact]
    public async Task Two_files_that_are_read_beside_each_other_are_each_opened_once()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        foreach (string name in (string[])["one", "two"])
        {
            var bytes = new byte[30_000_000];
            new Random(name.Length + name[0]).NextBytes(bytes);
            File.WriteAllBytes(place[$"home/{name}"], bytes);
        }

        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using MountedSnapshot mounted = await MountedSnapshot.Of(place);
        Listing.Sh(mounted.Path, "python3 -c 'a = open(\"one\", \"rb\", 0); b = open(\"two\", \"rb\", 0)\nwhile a.read(131072) and b.read(131072): pass'");
        long blobs = place.Restic("list", "blobs").Split('\n').Count(static line => line.StartsWith("data ", StringComparison.Ordinal));
        Assert.InRange(mounted.Blobs.Statistics.BlobsOpened, blobs, blobs * 4 / 3); // directories among them
    }

    [Fact]
    public async Task A_file_that_is_read_here_and_there_is_opened_once_and_not_for_every_read()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        var bytes = new byte[24_000_000];
        new Random(8).NextBytes(bytes);
        File.WriteAllBytes(place["home/f"], bytes);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using MountedSnapshot mounted = await MountedSnapshot.Of(place, options: new BlobReaderOptions { SealedBytes = 1 << 20, PlainBytes = 1 << 20 });
        string digest = string.Join('\n', Listing.Sh(place["home"], HereAndThere));
        Assert.Equal(digest, string.Join('\n', Listing.Sh(mounted.Path, HereAndThere)));
        Assert.InRange(mounted.Blobs.Statistics.BlobsOpened, 5, 300); // of 3,000 reads; some twenty blobs, and what was asked before the kernel had them
        Assert.Equal([$"{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes))}  -"], Listing.Sh(mounted.Path, "sha256sum < f"));
    }

    private const string HereAndThere = "python3 -c 'import os, random, hashlib; f = os.open(\"f\", os.O_RDONLY); random.seed(1); h = hashlib.sha256(); "
        + "[h.update(os.pread(f, 4096, random.randrange(24_000_000))) for _ in range(3000)]; print(h.hexdigest())'";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_remote_that_is_gone_is_an_error_after_a_time_and_all_is_well_when_it_is_back(bool silent)
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        var backend = new UnsteadyBackend(place.Backend());
        await using MountedSnapshot mounted = await MountedSnapshot.Of(place, backend, new BlobReaderOptions { Patience = TimeSpan.FromSeconds(2) });
        Assert.Equal(["hello"], Listing.Sh(mounted.Path, "ls -R > /dev/null; cat plain"));
        (backend.Gone, backend.Silent) = (!silent, silent);
        Assert.Contains("Input/output error", string.Join('\n', Listing.Sh(mounted.Path, "cat big 2>&1 >/dev/null")), StringComparison.Ordinal);
        Assert.NotNull(mounted.Blobs.Statistics.GoneSince);
        Assert.Equal(["hello"], Listing.Sh(mounted.Path, "cat plain"));
        (backend.Gone, backend.Silent) = (false, false);
        Assert.True(SpinWait.SpinUntil(() => Listing.Sh(mounted.Path, "cat big | wc -c") is ["3000000"], TimeSpan.FromSeconds(60)));
        Assert.Null(mounted.Blobs.Statistics.GoneSince);
    }

    [Fact]
    public async Task A_damaged_pack_is_an_error_to_its_readers_and_the_rest_stays_readable()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        var random = new Random(7);
        for (int file = 0; file < 3; file++)
        {
            var bytes = new byte[12_000_000];
            random.NextBytes(bytes);
            File.WriteAllBytes(place[$"home/f{file}"], bytes);
        }

        place.Restic("init");
        place.Restic("backup", place["home"]);
        FileInfo victim = new DirectoryInfo(place["tomb/data"]).GetFiles("*", SearchOption.AllDirectories).MaxBy(static file => file.Length)!;
        victim.IsReadOnly = false;
        await using (FileStream pack = victim.OpenWrite())
        {
            pack.Position = victim.Length / 2;
            pack.Write(new byte[64]);
        }

        await using MountedSnapshot mounted = await MountedSnapshot.Of(place);
        IReadOnlyList<string> said = Listing.Sh(mounted.Path, "for f in f0 f1 f2; do cat $f > /dev/null 2>&1 && echo whole || echo broken; done");
        Assert.Contains("whole", said);
        Assert.Contains("broken", said);
        Assert.Contains(victim.Name, mounted.Blobs.Damage, StringComparison.Ordinal);
    }
}
