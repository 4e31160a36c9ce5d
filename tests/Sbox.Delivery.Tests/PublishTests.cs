using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>What is published to a directory, judged by real ostree pulling from it.</summary>
public sealed class PublishTests
{
    public static TheoryData<RepositoryMode> Modes => [RepositoryMode.Archive, RepositoryMode.Bare, RepositoryMode.BareUser];

    [Theory, MemberData(nameof(Modes))]
    public async Task A_repository_of_any_mode_is_published_and_ostree_pulls_all_of_it(RepositoryMode mode)
    {
        using var shop = new Workshop(mode);
        Checksum first = shop.Commit();
        PublishReport report = await shop.Publish();
        Assert.True(report.IsSigned);
        string reader = shop.NewReader(shop.Serve(), "reader");
        Assert.Equal(first, Workshop.Pull(reader));
        Assert.Equal(shop.Repository.LoadCommit(first).ContentChecksum, Opened(reader, first));

        Checksum second = shop.Commit();
        await shop.Publish();
        Assert.Equal(second, Workshop.Pull(reader));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={shop["www"]}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Only_what_is_new_is_sent_and_nothing_where_nothing_is()
    {
        using var shop = new Workshop();
        shop.Commit();
        PublishReport all = await shop.Publish();
        PublishReport none = await shop.Publish();
        Assert.Equal(0, none.Files);
        shop.Commit(files: 3);
        PublishReport some = await shop.Publish(options: shop.Signed() with { DeltasFrom = 0, DeltaFromNothing = false });
        Assert.True(some.Plan.Objects.Count < 10, $"{some.Plan.Objects.Count} objects of {all.Plan.Objects.Count}");
    }

    [Fact]
    public async Task Ostree_that_asks_for_a_signed_summary_takes_one_version_after_the_other()
    {
        using var shop = new Workshop();
        using var gpg = new GpgHome(shop["gpg"]);
        PublishOptions signed = new() { Sign = gpg.Sign };
        Checksum first = shop.Commit();
        await shop.Publish(options: signed);
        string reader = shop.NewReader(shop.Serve(), "reader", gpg.Export(shop["public.gpg"]));
        Assert.Equal(first, Workshop.Pull(reader));
        for (int version = 2; version < 5; version++)
        {
            Checksum next = shop.Commit();
            await shop.Publish(options: signed);
            Assert.Equal(next, Workshop.Pull(reader));
        }
    }

    [Fact]
    public async Task A_plan_says_what_would_be_sent_and_writes_nothing_here_or_there()
    {
        using var shop = new Workshop();
        Checksum commit = shop.Commit();
        await using var place = new DirectoryPlace(shop["www"]);
        PublishPlan plan = await new Publisher(shop.Repository, place, shop.Signed()).Plan(TestContext.Current.CancellationToken);
        Assert.Equal([new RefChange(Workshop.Branch, null, commit)], plan.Changes);
        Assert.Equal([commit], plan.Commits);
        Assert.Equal([new DeltaName(null, commit)], plan.ToMake);
        Assert.True(plan.Objects.Count > 20 && plan.BytesAtMost > 300_000);
        Assert.False(Directory.Exists(shop["www"]));
        Assert.Empty(shop.Repository.Deltas());
    }

    [Fact]
    public async Task A_delta_that_was_finished_when_a_publication_was_stopped_is_not_made_again()
    {
        using var shop = new Workshop();
        shop.Commit();
        Checksum commit = shop.Commit();
        using var stop = new CancellationTokenSource();
        await using var place = new DirectoryPlace(shop["www"]) { Staleness = TimeSpan.Zero };
        var publisher = new Publisher(shop.Repository, place, shop.Signed());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => publisher.Run(new StopAfterOneDelta(stop), stop.Token));
        PublishPlan plan = await publisher.Plan(TestContext.Current.CancellationToken);
        Assert.Equal([new DeltaName(null, commit)], shop.Repository.Deltas());
        Assert.Equal((2, 1), (plan.Deltas.Count, plan.ToMake.Count));
    }

    private sealed class StopAfterOneDelta(CancellationTokenSource stop) : IProgress<PublishProgress>
    {
        public void Report(PublishProgress value)
        {
            if (value is { Step: PublishStep.Deltas, Done: 1 })
                stop.Cancel();
        }
    }

    [Fact]
    public async Task A_reader_with_an_older_version_takes_a_delta_and_a_new_one_takes_the_one_from_nothing()
    {
        using var shop = new Workshop();
        shop.Commit();
        await shop.Publish();
        var asked = new ConcurrentQueue<string>();
        string url = shop.Serve(requests: new Asked(asked));
        string old = shop.NewReader(url, "old"), fresh = shop.NewReader(url, "fresh");
        Workshop.Pull(old);
        shop.Commit();
        Checksum third = shop.Commit();
        await shop.Publish();

        asked.Clear();
        Assert.Equal(third, Workshop.Pull(old, "--require-static-deltas"));
        // Debian's ostree asks for loose objects too while it unpacks a part, of its own deltas likewise.
        Assert.Contains(asked, static path => path.StartsWith("deltas/", StringComparison.Ordinal) && path.EndsWith("/0", StringComparison.Ordinal));
        asked.Clear();
        Assert.Equal(third, Workshop.Pull(fresh, "--require-static-deltas"));
        Assert.Contains(asked, static path => path.StartsWith("deltas/", StringComparison.Ordinal) && path.EndsWith("/0", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Branches_that_are_there_stay_where_these_keys_signed_them_and_are_refused_where_anybody_may_have_put_them()
    {
        using var shop = new Workshop();
        Checksum main = shop.Commit(), other = shop.Commit("os/other");
        await shop.Publish();
        Checksum next = shop.Commit();
        await shop.Publish(options: shop.Signed() with { Refs = [Workshop.Branch] });
        var summary = Summary.Parse(File.ReadAllBytes(shop["www/summary"]));
        Assert.Equal((next, other), (summary.Refs[Workshop.Branch], summary.Refs["os/other"]));
        Assert.NotEqual(main, next);

        // Somebody who may write there, and has no key.
        using (Repository www = Repository.Open(shop["www"]))
        {
            www.SetRef("evil", other);
            www.WriteSummary();
        }

        shop.Commit();
        UnknownBranchesException refused = await Assert.ThrowsAsync<UnknownBranchesException>(() => shop.Publish(options: shop.Signed() with { Refs = [Workshop.Branch], Unsigned = true }));
        Assert.Equal(["evil", "os/other"], refused.Branches);
        await shop.Publish(options: shop.Signed() with { DropOthers = true });
        Assert.Equal([Workshop.Branch, "os/other"], Summary.Parse(File.ReadAllBytes(shop["www/summary"])).Refs.Keys);
        Assert.False(File.Exists(shop["www/refs/heads/evil"]));
    }

    [Fact]
    public async Task A_signed_summary_is_not_replaced_by_an_unsigned_one_unless_asked_for()
    {
        using var shop = new Workshop();
        shop.Commit();
        await shop.Publish();
        shop.Commit();
        await Assert.ThrowsAsync<SignatureWantedException>(() => shop.Publish(options: new PublishOptions()));
        await shop.Publish(options: new PublishOptions { Unsigned = true });
        Assert.False(File.Exists(shop["www/summary.sig"]));
    }

    [Fact]
    public async Task What_holds_other_files_is_no_place_and_is_left_as_it_is()
    {
        using var shop = new Workshop();
        shop.Commit();
        Directory.CreateDirectory(shop["home"]);
        File.WriteAllText(shop["home/thesis.tex"], "");
        await Assert.ThrowsAsync<PlaceUnfitException>(() => shop.Publish("home"));
        Judge.Ostree.Run("init", $"--repo={shop["bare"]}", "--mode=bare");
        await Assert.ThrowsAsync<PlaceUnfitException>(() => shop.Publish("bare"));
        Assert.Equal(["thesis.tex"], Directory.GetFileSystemEntries(shop["home"]).Select(Path.GetFileName));
    }

    [Fact]
    public async Task A_damaged_object_is_not_published_and_nothing_leads_there()
    {
        using var shop = new Workshop();
        Checksum commit = shop.Commit();
        ObjectName large = shop.Repository.ObjectsOf(commit).Where(static name => name.Type == ObjectType.File).MaxBy(shop.Repository.StoredSize);
        string path = shop[$"repo/objects/{large.LoosePath(RepositoryMode.Archive)}"];
        byte[] bytes = File.ReadAllBytes(path);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(path, bytes);
        await Assert.ThrowsAsync<ObjectCorruptException>(() => shop.Publish(options: shop.Signed() with { DeltaFromNothing = false }));
        Assert.False(File.Exists(shop["www/summary"]));
        Assert.False(File.Exists(shop[$"www/refs/heads/{Workshop.Branch}"]));
    }

    [Fact]
    public async Task Two_do_not_publish_at_once()
    {
        using var shop = new Workshop();
        shop.Commit();
        await using var place = new DirectoryPlace(shop["www"]);
        await using IAsyncDisposable held = await place.Open(TestContext.Current.CancellationToken);
        await Assert.ThrowsAsync<PlaceBusyException>(() => shop.Publish());
    }

    [Fact]
    public async Task A_commit_that_is_not_whole_is_not_published()
    {
        using var shop = new Workshop();
        shop.Commit();
        await shop.Publish();
        using Repository half = Repository.Create(shop["half"], RepositoryMode.Archive);
        half.WriteConfig(half.Config.With("remote \"origin\"", "url", shop.Serve()).With("remote \"origin\"", "gpg-verify", "false"));
        await half.Pull(new PullOptions { Remote = "origin", Refs = [Workshop.Branch], CommitMetadataOnly = true, Mirror = true }, cancel: TestContext.Current.CancellationToken);
        await using var place = new DirectoryPlace(shop["elsewhere"]);
        await Assert.ThrowsAsync<NotPublishableException>(() => new Publisher(half, place, new PublishOptions()).Run(cancel: TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Everyone_may_read_what_is_published_whatever_the_umask_is()
    {
        using var shop = new Workshop();
        shop.Commit();
        await shop.Publish();
        using Dir www = Dir.Open(shop["www"]);
        Assert.Equal(0x1A4u, www.Stat("summary").Permissions);
        Assert.Equal(0x1A4u, www.Stat("config").Permissions);
    }

    private static Checksum Opened(string repository, Checksum commit)
    {
        using Repository opened = Repository.Open(repository);
        return opened.LoadCommit(commit).ContentChecksum;
    }

    private sealed class Asked(ConcurrentQueue<string> paths) : IProgress<ServedRequest>
    {
        public void Report(ServedRequest value) => paths.Enqueue(value.Path);
    }
}
