using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class WideDirectoryTests
{
    private const int Wide = 100_000;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_directory_of_a_hundred_thousand_is_read_once_however_its_names_are_looked_up_between_others()
    {
        using var place = new Place();
        await using TombRepository tomb = await Place.Create(place.Backend());
        Node top = await Save(tomb, [.. Enumerable.Range(0, 50).Select(static number => (Name($"d{number:d2}"), Files(20 + number))), ("wide", Files(Wide))]);
        using var blobs = new BlobReader(tomb, new BlobReaderOptions());
        var tree = new SnapshotTree(blobs, top);
        ulong wide = await Find(tree, 1, "wide");
        var others = new List<ulong>();
        for (int number = 0; number < 50; number++)
            others.Add(await Find(tree, 1, Name($"d{number:d2}")));
        for (int number = 0; number < 2000; number++)
        {
            ulong one = await Find(tree, wide, Name($"file{number * 49:d6}"));
            Assert.Equal(one, (await tree.Attributes(one, Cancel)).Node);
            await Find(tree, others[number % 50], Name($"file{number % 20:d6}"));
        }

        Assert.Null(await tree.Lookup(wide, "file100000"u8.ToArray(), Cancel));
        Assert.Equal(52, blobs.Statistics.BlobsOpened); // each directory once
    }

    [Fact]
    public async Task Who_looks_into_a_directory_that_is_being_read_waits_for_that_reading()
    {
        using var place = new Place();
        var far = new UnsteadyBackend(place.Backend());
        await using TombRepository tomb = await Place.Create(far);
        Node top = await Save(tomb, [("wide", Files(Wide))]);
        using var blobs = new BlobReader(tomb, new BlobReaderOptions());
        var tree = new SnapshotTree(blobs, top);
        ulong wide = await Find(tree, 1, "wide");
        far.Delay = TimeSpan.FromMilliseconds(200);
        using var given = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        Task<FuseAttributes?> impatient = Task.Run(async () => await tree.Lookup(wide, "file000000"u8.ToArray(), given.Token), Cancel);
        Task<ulong>[] all = [.. Enumerable.Range(0, 16).Select(number => Task.Run(() => Find(tree, wide, Name($"file{number:d6}")), Cancel))];
        await given.CancelAsync(); // whoever gives up takes the reading from nobody
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => impatient);
        Assert.Equal(16, (await Task.WhenAll(all)).Distinct().Count());
        Assert.Equal(2, blobs.Statistics.BlobsOpened);
    }

    [Fact]
    public async Task A_directory_that_could_not_be_read_is_read_when_the_remote_is_back()
    {
        using var place = new Place();
        var far = new UnsteadyBackend(place.Backend());
        await using TombRepository tomb = await Place.Create(far);
        Node top = await Save(tomb, [("d", Files(3))]);
        using var blobs = new BlobReader(tomb, new BlobReaderOptions { Patience = TimeSpan.FromMilliseconds(100) });
        var tree = new SnapshotTree(blobs, top);
        far.Gone = true;
        Assert.Equal(Errno.EIO, (await Assert.ThrowsAsync<LinuxException>(() => Find(tree, 1, "d"))).Errno);
        far.Gone = false;
        await Task.Delay(TimeSpan.FromSeconds(1.1), Cancel); // until then it is not asked again
        await Find(tree, await Find(tree, 1, "d"), "file000002");
    }

    [Fact]
    public async Task Trees_that_are_kept_stay_within_their_bounds_and_the_last_one_stays_whatever_its_size()
    {
        byte[] json = new Tree(Files(Wide)).ToBytes();
        int read = 0;
        var recent = new RecentTrees(_ =>
        {
            read++;
            return Task.FromResult(PackedTree.Parse(json));
        });
        PackedTree held = await recent.Get(Id(0), Cancel);
        Assert.InRange(held.Size, RecentTrees.Large, RecentTrees.LargeKept / 2);
        for (int number = 1; number < 5; number++)
            (await recent.Get(Id(number), Cancel)).Dispose();
        (await recent.Get(Id(4), Cancel)).Dispose();
        (await recent.Get(Id(3), Cancel)).Dispose();
        Assert.Equal(5, read);
        (await recent.Get(Id(0), Cancel)).Dispose();
        Assert.Equal(6, read); // five of these would be more than is kept
        Assert.Equal("file099999", held[Wide - 1].Name); // who has one keeps it for as long as it is needed
        held.Dispose();
        Assert.Throws<ObjectDisposedException>(held.Share);

        static Checksum Id(int number) => Checksum.Of(BitConverter.GetBytes(number));
    }

    [Fact]
    public async Task Who_waited_for_a_directory_has_it_although_others_drove_it_out_before_they_looked()
    {
        byte[] json = new Tree(Files(Wide)).ToBytes();
        var slow = new TaskCompletionSource<PackedTree>();
        int read = 0;
        var recent = new RecentTrees(_ => ++read == 1 ? slow.Task : Task.FromResult(PackedTree.Parse(json)));
        using var later = new HeldBack();
        Task<PackedTree> waiting = later.Begin(async () => await recent.Get(Checksum.Of("the first"u8), Cancel));
        slow.SetResult(PackedTree.Parse(json));
        later.RunOne(); // it is read, and whoever waits for it is told
        for (int number = 0; number < 5; number++)
            (await recent.Get(Checksum.Of(BitConverter.GetBytes(number)), Cancel)).Dispose();
        using PackedTree tree = await later.RunUntil(waiting);
        Assert.Equal(Wide, tree.Count);
        Assert.Equal(6, read);
    }

    [Fact]
    public async Task What_a_snapshot_keeps_for_the_kernel_goes_when_nobody_has_it_mounted_any_more()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        Listing.Sh(place["home"], "mkdir wide; cd wide; seq 20000 | xargs touch");
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using MountedSnapshot mounted = await MountedSnapshot.Of(place);
        Listing.Sh(mounted.Path, "ls -lR > ../listed");
        Assert.InRange(mounted.Tree.BytesHeld, 1_000_000, 10_000_000);
        using (Process user = Process.Start(new ProcessStartInfo("sleep", ["300"]) { WorkingDirectory = mounted.Path })!)
        {
            Mounts.Detach(mounted.Path);
            Assert.InRange(mounted.Tree.BytesHeld, 1_000_000, 10_000_000); // somebody is there
            user.Kill();
        }

        await mounted.Mount.Ended.WaitAsync(TimeSpan.FromMinutes(5), Cancel);
        Assert.InRange(mounted.Tree.BytesHeld, 0, 10_000);
    }

    [Fact]
    public async Task When_the_kernel_takes_a_blob_badly_the_next_one_is_offered_all_the_same()
    {
        using var place = new Place();
        await using TombRepository tomb = await Place.Create(place.Backend());
        await Save(tomb, []);
        Checksum id = Checksum.Of("what is offered"u8);
        await using (var packs = new PackWriter(tomb, TimeProvider.System, Cancel))
        {
            packs.Add(BlobType.Data, id, "what is offered"u8);
            packs.Add(BlobType.Data, Checksum.Of("the next"u8), "the next"u8);
            await packs.Finish();
        }

        using var blobs = new BlobReader(tomb, new BlobReaderOptions());
        int offered = 0;
        var offers = new PageOffers(blobs, (_, _, _) =>
        {
            if (Interlocked.Increment(ref offered) == 1)
                throw new ObjectDisposedException("/dev/fuse");
        });
        using (PlainBlob first = await blobs.Data(id, Cancel))
            offers.Offer(5, 0, first);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref offered) == 1, TimeSpan.FromSeconds(60)));
        using PlainBlob next = await blobs.Data(Checksum.Of("the next"u8), Cancel);
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                offers.Offer(6, 0, next);
                return Volatile.Read(ref offered) == 2;
            },
            TimeSpan.FromSeconds(60)));
    }

    private static string Name(FormattableString name) => FormattableString.Invariant(name);

    private static async Task<ulong> Find(SnapshotTree tree, ulong directory, string name) => (await tree.Lookup(directory, Encoding.ASCII.GetBytes(name), Cancel))!.Value.Node;

    private static List<Node> Files(int count)
    {
        var nodes = new List<Node>(count);
        Checksum content = Checksum.Of("nobody reads it"u8);
        for (int number = 0; number < count; number++)
            nodes.Add(Entry(string.Create(CultureInfo.InvariantCulture, $"file{number:d6}"), NodeType.File) with { Content = [content], Size = (ulong)number });
        return nodes;
    }

    // Trees whose files have no blobs: looking at names and attributes needs none.
    private static async Task<Node> Save(TombRepository tomb, IReadOnlyList<(string Name, List<Node> Nodes)> directories)
    {
        await using var packs = new PackWriter(tomb, TimeProvider.System, Cancel);
        Node top = Directory("top", [.. directories.Select(each => Directory(each.Name, each.Nodes))]);
        await packs.Finish();
        return top;

        Node Directory(string name, List<Node> nodes)
        {
            byte[] json = new Tree(nodes).ToBytes();
            Checksum id = Checksum.Of(json);
            packs.Add(BlobType.Tree, id, json);
            return Entry(name, NodeType.Directory) with { Subtree = id };
        }
    }

    private static Node Entry(string name, NodeType type) => new()
    {
        Name = name, Type = type, Mode = GoMode.FromStat((uint)GoMode.Kind(type) | 0x1ED), Modified = new Moment(5, 6), Accessed = new Moment(5, 6), Changed = new Moment(7, 8),
        Links = type == NodeType.File ? 1UL : 0,
    };

    // What is to go on later goes on when the test says so.
    private sealed class HeldBack : SynchronizationContext, IDisposable
    {
        private readonly BlockingCollection<(SendOrPostCallback Go, object? With)> waiting = [];

        public override void Post(SendOrPostCallback d, object? state) => waiting.Add((d, state));

        public void Dispose() => waiting.Dispose();

        public T Begin<T>(Func<T> work)
        {
            SynchronizationContext? before = Current;
            SetSynchronizationContext(this);
            try
            {
                return work();
            }
            finally
            {
                SetSynchronizationContext(before);
            }
        }

        public void RunOne()
        {
            (SendOrPostCallback go, object? with) = waiting.Take(Cancel);
            Begin(() =>
            {
                go(with);
                return true;
            });
        }

        public async Task<T> RunUntil<T>(Task<T> ended)
        {
            while (!ended.IsCompleted)
            {
                if (waiting.Count > 0)
                    RunOne();
                else
                    await Task.Delay(10, Cancel);
            }

            return await ended;
        }
    }
}
