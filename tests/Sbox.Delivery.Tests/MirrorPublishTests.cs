using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>A mirror hands on what its source signed, without a key, and takes nobody's place by that.</summary>
public sealed class MirrorPublishTests : TrustedWorkshopTests
{
    [Fact]
    public async Task A_stick_that_a_mirror_fills_without_any_key_carries_a_rotation_to_a_box_without_a_network()
    {
        Commit(alice, bob);
        await shop.Publish(options: Trusted());
        using Repository mirror = NewBox("mirror", shop.Serve(), trusts: false), box = NewBox("box", $"file://{shop["stick"]}");
        PullOptions all = new() { Remote = "origin", Mirror = true };
        await mirror.Pull(all, cancel: TestContext.Current.CancellationToken);
        await Hand();
        await box.Pull(Wanted, cancel: TestContext.Current.CancellationToken);
        using var press2 = Ed25519Key.Generate();
        history.Add(document => document with { Keys = new Dictionary<string, Ed25519PublicKey>(document.Keys) { ["press"] = press2.Public } });
        Sign(alice, bob);
        Checksum commit = Commit(alice, bob);
        await shop.Publish(options: Trusted() with { Sign = bytes => CommitSignatures.Sign(VariantDictionary.Empty, bytes, press2) });
        history.Add(static document => document); // a draft: it is nobody's yet
        await mirror.Pull(all, cancel: TestContext.Current.CancellationToken);
        Assert.Equal(["1.sig", "1.toml", "2.sig", "2.toml"], Directory.GetFiles(shop["mirror/trust"]).Select(Path.GetFileName).Order());
        Assert.True((await Hand()).IsSigned);
        Assert.Equal(File.ReadAllBytes(shop["www/summary"]), File.ReadAllBytes(shop["stick/summary"]));
        await box.Pull(Wanted, cancel: TestContext.Current.CancellationToken);
        Assert.Equal((commit, 2), (box.Resolve($"origin:{Workshop.Branch}"), box.Trust("origin")!.Document.Version));

        // Other branches than it names, it cannot be the summary of.
        mirror.SetRef("os/own", commit);
        await Assert.ThrowsAsync<SignatureWantedException>(Hand);

        Task<PublishReport> Hand() => this.Hand(mirror, "stick");
    }

    [Fact]
    public async Task A_mirror_takes_the_place_of_no_other_publication_whoever_signed_that()
    {
        using Repository mirror = await NewMirror();
        using var stranger = new Workshop();
        Checksum theirs = stranger.Commit(branch: "servers/main", files: 1);
        await stranger.Publish();
        Assert.Contains("none signed it who may", (await Kept<OtherPublicationException>()).Message, StringComparison.Ordinal);

        // Of one whose key for summaries is the same, the first document tells.
        await stranger.Publish(options: shop.Signed());
        Directory.CreateDirectory(stranger["www/trust"]);
        File.WriteAllBytes(stranger["www/trust/1.toml"], (history.Newest.Document with { Repository = "servers" }).ToBytes());
        Assert.Contains("it is not the first document of 'boxes'", (await Kept<OtherPublicationException>()).Message, StringComparison.Ordinal);
        Directory.Delete(stranger["www/trust"], recursive: true);

        // Where nobody signed, branches are forgotten if it is asked for.
        File.Delete(stranger["www/summary.sig"]);
        Assert.Equal(["servers/main"], (await Kept<UnknownBranchesException>()).Branches);
        PublishReport report = await Hand(mirror, stranger["www"], static options => options with { DropOthers = true });
        Assert.Contains("'servers/main' is there, and no branch of what is mirrored", Assert.Single(report.Plan.Notes), StringComparison.Ordinal);

        async Task<T> Kept<T>()
            where T : Exception
        {
            byte[] summary = File.ReadAllBytes(stranger["www/summary"]);
            T refused = await Assert.ThrowsAsync<T>(() => Hand(mirror, stranger["www"]));
            Assert.Equal(summary, File.ReadAllBytes(stranger["www/summary"]));
            Assert.Equal($"{theirs}\n", File.ReadAllText(stranger["www/refs/heads/servers/main"]));
            return refused;
        }
    }

    [Fact]
    public async Task A_branch_that_its_source_has_given_up_is_forgotten_where_a_mirror_hands_on_and_told()
    {
        foreach (Ed25519Key key in (Ed25519Key[])[alice, bob])
            AddSignature(shop.Commit(branch: "os/old", files: 1), key);
        AddSignature(shop.Repository.Resolve("os/old"), shop.Key);
        using Repository mirror = await NewMirror();
        await Hand(mirror, "stick");
        await shop.Publish(options: Trusted() with { Refs = [Workshop.Branch], DropOthers = true, Clock = new Later(1) });
        await Take(mirror);
        mirror.SetRef("os/old", null);
        PublishReport report = await Hand(mirror, "stick");
        Assert.Contains("'os/old' is there", Assert.Single(report.Plan.Notes), StringComparison.Ordinal);
        Assert.False(File.Exists(shop["stick/refs/heads/os/old"]));
    }

    [Fact]
    public async Task A_mirror_hands_on_no_summary_that_boxes_would_refuse()
    {
        using Repository mirror = await NewMirror();
        Assert.Contains("believes none that is older than 14 days", (await Refused(new Later(15 * 24))).Message, StringComparison.Ordinal);
        await shop.Publish("stick", Trusted() with { Clock = new Later(2), Refs = [Workshop.Branch] });
        byte[] newer = File.ReadAllBytes(shop["stick/summary"]);
        Commit();
        await shop.Publish(options: Trusted() with { Clock = new Later(1) });
        await Take(mirror);
        Assert.Contains("boxes that have taken that take no older one", (await Refused(TimeProvider.System)).Message, StringComparison.Ordinal);
        Assert.Equal(newer, File.ReadAllBytes(shop["stick/summary"]));

        history.Add(static document => document);
        Sign(alice, bob);
        await shop.Publish(options: Trusted() with { Clock = new Later(3) });
        await Take(mirror);
        File.Delete(shop["mirror/trust/2.toml"]);
        Assert.Contains("it goes by trust document 2, and 1 is the newest", (await Refused(TimeProvider.System)).Message, StringComparison.Ordinal);

        Task<MirrorOutdatedException> Refused(TimeProvider clock) => Assert.ThrowsAsync<MirrorOutdatedException>(() => Hand(mirror, "stick", options => options with { Clock = clock }));
    }

    [Fact]
    public async Task A_mirror_whose_battery_is_empty_hands_on_what_is_newer_than_what_is_there_and_says_nothing_of_its_clock()
    {
        using Repository mirror = await NewMirror();
        await Hand(mirror, "stick");
        Checksum commit = Commit();
        await shop.Publish(options: Trusted() with { Clock = new Later(1) });
        await Take(mirror);
        foreach (int hours in (int[])[-50 * 24 * 365, -1])
            Assert.Empty((await Hand(mirror, "stick", options => options with { Clock = new Later(hours) })).Plan.Notes);
        Assert.Equal(commit, Summary.Parse(File.ReadAllBytes(shop["stick/summary"])).Refs[Workshop.Branch]);
    }

    [Fact]
    public async Task Who_mirrors_another_and_publishes_branches_with_a_key_of_their_own_goes_on_when_that_one_begins_with_documents()
    {
        using Repository mirror = await NewMirror();
        mirror.SetRef("own/main", mirror.Resolve(Workshop.Branch));
        using var key = Ed25519Key.Generate();
        PublishReport report = await Hand(mirror, "stick", options => options with { Sign = bytes => CommitSignatures.Sign(VariantDictionary.Empty, bytes, key) });
        Assert.Contains("published without the trust documents", Assert.Single(report.Plan.Notes), StringComparison.Ordinal);
        Assert.True(report.IsSigned);
        var summary = Summary.Parse(File.ReadAllBytes(shop["stick/summary"]));
        Assert.Equal((2, (long?)null, false), (summary.Refs.Count, summary.TrustVersion, Directory.Exists(shop["stick/trust"])));
        await Assert.ThrowsAsync<TrustException>(() => Hand(mirror, "other", options => options with { TrustMayWait = false, Sign = bytes => CommitSignatures.Sign(VariantDictionary.Empty, bytes, key) }));
        await Assert.ThrowsAsync<TrustException>(() => Hand(mirror, "other", options => options with { Sign = shop.Sign })); // who may sign goes by them, and 'own/main' is nobody's
    }

    // Of a publication with one version of the branch.
    private async Task<Repository> NewMirror()
    {
        Commit();
        await shop.Publish(options: Trusted());
        Repository mirror = NewBox("mirror", shop.Serve(), trusts: false);
        await Take(mirror);
        return mirror;
    }

    private static Task<PullResult> Take(Repository mirror) => mirror.Pull(new PullOptions { Remote = "origin", Mirror = true }, cancel: TestContext.Current.CancellationToken);

    // As the command does it without --trust.
    private async Task<PublishReport> Hand(Repository mirror, string to, Func<PublishOptions, PublishOptions>? with = null)
    {
        await using var place = new DirectoryPlace(shop[to]) { Staleness = TimeSpan.Zero };
        var options = new PublishOptions { Trust = TrustHistory.TryRead(Path.Combine(mirror.Path, "trust")), TrustMayWait = true };
        return await new Publisher(mirror, place, with is null ? options : with(options)).Run(cancel: TestContext.Current.CancellationToken);
    }
}
