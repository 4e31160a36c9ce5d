using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>What is published under a trust document fits it at every moment, and stock clients see nothing of it.</summary>
public sealed class TrustPublishTests : TrustedWorkshopTests
{
    [Fact]
    public async Task Stock_ostree_pulls_and_verifies_by_plain_settings_what_a_box_takes_by_its_document()
    {
        using var gpg = new GpgHome(shop["gpg"]);
        Checksum commit = Commit(alice, shop.Key);
        await shop.Publish(options: Trusted() with { Sign = bytes => gpg.Sign(bytes).With(CommitSignatures.Key, shop.Sign(bytes)[CommitSignatures.Key]!) });
        string url = shop.Serve();
        Assert.Equal(commit, Workshop.Pull(shop.NewReader(url, "stock", gpg.Export(shop["public.gpg"]))));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={shop["www"]}"), StringComparison.Ordinal);

        // The drop-in, by the settings that any ostree with Ed25519 takes.
        using Repository plain = NewBox("plain", url, trusts: false);
        plain.WriteConfig(plain.Config.With("remote \"origin\"", "sign-verify", "ed25519").With("remote \"origin\"", "sign-verify-summary", "ed25519").With("remote \"origin\"", "verification-ed25519-key", $"{shop.Key.Public}"));
        await plain.Pull(Wanted, cancel: TestContext.Current.CancellationToken);
        using Repository box = NewBox("box", url);
        await box.Pull(Wanted, cancel: TestContext.Current.CancellationToken);
        Assert.Equal((commit, commit), (plain.Resolve($"origin:{Workshop.Branch}"), box.Resolve($"origin:{Workshop.Branch}")));
    }

    [Theory, InlineData("summary", "summary.sig"), InlineData("trust/1.toml", "trust/1.sig")]
    public async Task Openssl_finds_the_signatures_good_that_lie_beside_what_is_published(string file, string signatures)
    {
        Commit(alice, bob);
        await shop.Publish(options: Trusted());
        (Ed25519PublicKey Key, byte[] Signature)[] made = [.. TrustDocument.SignaturesIn(File.ReadAllBytes(shop[$"www/{signatures}"]))
            .Select(signature => (((Ed25519Key[])[alice, bob, shop.Key]).Single(key => key.Public.Verify(File.ReadAllBytes(shop[$"www/{file}"]), signature)).Public, signature))];
        Assert.NotEmpty(made);
        foreach ((Ed25519PublicKey key, byte[] signature) in made)
        {
            File.WriteAllBytes(shop["key.der"], [.. Convert.FromHexString("302a300506032b6570032100"), .. Convert.FromBase64String($"{key}")]);
            File.WriteAllBytes(shop["signature"], signature);
            Judge.OnPath("openssl").Run("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", shop["key.der"], "-rawin", "-in", shop[$"www/{file}"], "-sigfile", shop["signature"]);
        }
    }

    [Fact]
    public async Task At_every_step_of_a_publication_that_brings_a_document_a_box_takes_the_old_state_or_the_new()
    {
        Checksum old = Commit(alice, bob);
        await shop.Publish(options: Trusted());
        Checksum @new = Commit(alice, bob);
        history.Add(static document => document with { Expires = document.Expires.AddDays(1) });
        Sign(alice, bob);
        await using var place = new WatchedPlace(new DirectoryPlace(shop["www"]) { Staleness = TimeSpan.Zero });
        string url = shop.Serve();
        var seen = new List<(Checksum Commit, long Document)>();
        place.AfterStep = async () =>
        {
            using Repository box = NewBox($"box-{seen.Count}", url);
            await box.Pull(Wanted with { Timeout = TimeSpan.FromSeconds(10) });
            seen.Add((box.Resolve($"origin:{Workshop.Branch}"), box.Trust("origin")!.Document.Version));
        };
        await new Publisher(shop.Repository, place, Trusted()).Run(cancel: TestContext.Current.CancellationToken);
        Assert.Equal(seen.Order(Comparer<(Checksum Commit, long Document)>.Create((a, b) => (a.Commit == @new).CompareTo(b.Commit == @new) is var order and not 0 ? order : a.Document.CompareTo(b.Document))), seen);
        Assert.Equal(((old, 1), (@new, 2)), (seen[0], seen[^1]));
        Assert.Contains((old, 2), seen); // the document comes before the summary that knows it
    }

    [Fact]
    public async Task What_boxes_would_not_believe_is_not_published()
    {
        Checksum commit = Commit(alice);
        await Refused<TrustException>("asks for 2 of alice, bob, press; only alice signed", Trusted());
        AddSignature(commit, shop.Key);
        await Refused<TrustException>("the new summary: document 1 of 'boxes' asks for 1 of press; none of them signed", Trusted() with { Sign = null });
        shop.Commit(branch: "other");
        await Refused<TrustException>("says of nobody that they may sign 'other'", Trusted());
        await Refused<TrustException>("document 1 expired", Trusted() with { Refs = [Workshop.Branch], Clock = new Later(400 * 24) });
        Assert.False(File.Exists(shop["www/summary"]));
        await shop.Publish(options: Trusted() with { Refs = [Workshop.Branch] });
        await Refused<TrustBehindException>("goes by trust document 1, and none was given", Trusted() with { Refs = [Workshop.Branch], Trust = null });
    }

    [Fact]
    public async Task A_document_that_is_not_signed_by_enough_stays_at_home_and_the_one_before_goes_on()
    {
        Commit(alice, bob);
        history.Add(static document => document);
        Sign(alice);
        await shop.Publish(options: Trusted());
        Assert.Equal(["1.sig", "1.toml"], Directory.GetFiles(shop["www/trust"]).Select(Path.GetFileName).Order());
        Assert.Throws<TrustHistoryException>(() => history.Add(static document => document));
        Sign(bob);
        await shop.Publish(options: Trusted());
        Assert.True(File.Exists(shop["www/trust/2.toml"]));
        Assert.Equal(2, Summary.Parse(File.ReadAllBytes(shop["www/summary"])).TrustVersion);
    }

    [Fact]
    public async Task Documents_that_nobody_asked_for_wait_for_their_signatures_until_the_place_goes_by_one()
    {
        Commit(alice, bob);
        var first = TrustHistory.Begin(shop["first"], history.Newest.Document);
        PublishOptions found = shop.Signed() with { Trust = first, TrustMayWait = true };
        await Refused<TrustHistoryException>("document 1 is not signed by enough yet", found with { TrustMayWait = false });
        await shop.Publish(options: found);
        Assert.False(Directory.Exists(shop["www/trust"]));
        Assert.Null(Summary.Parse(File.ReadAllBytes(shop["www/summary"])).TrustVersion);
        first.AddSignatures(first.Newest, [alice.Sign(first.Newest.Bytes), bob.Sign(first.Newest.Bytes)]);
        await shop.Publish(options: found);
        Assert.Equal(1, Summary.Parse(File.ReadAllBytes(shop["www/summary"])).TrustVersion);
        await Refused<TrustHistoryException>("document 1 is not signed by enough yet", found with { Trust = TrustHistory.Begin(shop["again"], history.Newest.Document) });
    }

    [Fact]
    public async Task Another_document_that_its_owners_signed_is_not_written_over_and_what_nobody_signed_is()
    {
        Commit(alice, bob);
        Directory.CreateDirectory(shop["www/trust"]);
        File.WriteAllText(shop["www/trust/1.toml"], "anybody's");
        File.WriteAllText(shop["www/config"], "[core]\nmode=archive\n");
        await shop.Publish(options: Trusted());
        Assert.Equal(history.Newest.Bytes, File.ReadAllBytes(shop["www/trust/1.toml"]));
        byte[] other = (history.Newest.Document with { SummaryAge = TimeSpan.FromDays(1) }).ToBytes();
        File.WriteAllBytes(shop["www/trust/1.toml"], other);
        File.WriteAllBytes(shop["www/trust/1.sig"], TrustDocument.ToFile([alice.Sign(other), bob.Sign(other)]));
        await Refused<TrustBehindException>("another document 1 is there, and boxes may believe it by now", Trusted());
        Assert.Equal(other, File.ReadAllBytes(shop["www/trust/1.toml"]));
    }

    [Fact]
    public async Task A_summary_that_says_nothing_new_is_renewed_long_before_boxes_find_it_too_old()
    {
        Commit(alice, bob);
        await shop.Publish(options: Trusted());
        byte[] first = File.ReadAllBytes(shop["www/summary"]);
        await shop.Publish(options: Trusted() with { Clock = new Later(3 * 24) });
        Assert.Equal(first, File.ReadAllBytes(shop["www/summary"]));
        await shop.Publish(options: Trusted() with { Clock = new Later(4 * 24) });
        Assert.True(Summary.Parse(File.ReadAllBytes(shop["www/summary"])).Modified > Summary.Parse(first).Modified);
    }

    [Fact]
    public void Documents_at_their_publishers_are_read_as_a_chain_and_only_signatures_that_count_are_kept()
    {
        Assert.Equal(0, history.AddSignatures(history.Newest, [shop.Key.Sign(history.Newest.Bytes), alice.Sign("else"u8)]));
        Assert.Equal(2, history.Newest.Signatures.Count);
        Assert.Throws<TrustHistoryException>(() => TrustHistory.Begin(shop["trust"], history.Newest.Document));
        history.Add(static document => document);
        Sign(alice, bob);
        history.Add(static document => document);
        Assert.Equal((2, 3), (TrustHistory.Read(shop["trust"]).InForce!.Document.Version, TrustHistory.Read(shop["trust"]).Newest.Document.Version));
        File.Delete(shop["trust/2.toml"]);
        Assert.Contains("2.toml is missing", Assert.Throws<TrustHistoryException>(() => TrustHistory.Read(shop["trust"])).Message, StringComparison.Ordinal);
        File.Move(shop["trust/3.toml"], shop["trust/2.toml"]);
        Assert.Contains("it says that it is version 3", Assert.Throws<TrustException>(() => TrustHistory.Read(shop["trust"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_directory_of_documents_begins_with_the_first_and_is_of_one_repository()
    {
        history.Add(static document => document with { Repository = "servers" }); // as a text editor does it
        Sign(alice, bob);
        TrustException other = Assert.Throws<TrustException>(() => TrustHistory.Read(shop["trust"]));
        Assert.Equal(TrustProblem.OutOfOrder, other.Problem);
        Assert.Contains("2.toml: it is of the repository 'servers', and 1.toml of 'boxes'", other.Message, StringComparison.Ordinal);
        File.Delete(shop["trust/1.toml"]);
        Assert.Contains("1.toml is missing", Assert.Throws<TrustHistoryException>(() => TrustHistory.Read(shop["trust"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_publisher_that_was_left_behind_by_a_rotation_is_told_though_its_own_key_signed_nothing_there()
    {
        Commit(alice, bob);
        await shop.Publish(options: Trusted());
        Directory.CreateDirectory(shop["behind"]);
        foreach (string name in (string[])["1.toml", "1.sig"])
            File.Copy(shop[$"trust/{name}"], shop[$"behind/{name}"]);
        using var press2 = Ed25519Key.Generate();
        history.Add(document => document with { Keys = new Dictionary<string, Ed25519PublicKey>(document.Keys) { ["press"] = press2.Public } });
        Sign(alice, bob);
        await shop.Publish(options: Trusted() with { Sign = bytes => CommitSignatures.Sign(VariantDictionary.Empty, bytes, press2) });
        byte[] summary = File.ReadAllBytes(shop["www/summary"]), signatures = File.ReadAllBytes(shop["www/trust/2.sig"]);
        PublishOptions behind = Trusted() with { Trust = TrustHistory.Read(shop["behind"]) };
        await Refused<TrustBehindException>("trust/2.toml: boxes believe it by now, and document 1 is the newest here", behind);
        Assert.Equal(summary, File.ReadAllBytes(shop["www/summary"]));

        // What too few signed is in nobody's way.
        File.WriteAllBytes(shop["www/trust/2.sig"], TrustDocument.ToFile(TrustDocument.SignaturesIn(signatures).Take(1)));
        await shop.Publish(options: behind);
        Assert.NotEqual(summary, File.ReadAllBytes(shop["www/summary"]));
    }

    [Fact]
    public async Task A_publisher_whose_clock_is_behind_the_last_ones_makes_no_summary_that_boxes_refuse()
    {
        Commit(alice, bob);
        await shop.Publish(options: Trusted() with { Clock = new Later(hours: 20) }); // another publisher's
        using Repository box = NewBox("box", shop.Serve());
        await box.Pull(Wanted, cancel: TestContext.Current.CancellationToken);
        DateTimeOffset there = Modified();
        Checksum commit = Commit(alice, bob);
        PublishReport report = await shop.Publish(options: Trusted());
        Assert.Equal(there.AddSeconds(1), Modified());
        Assert.Contains("which this machine's clock has not come to", Assert.Single(report.Plan.Notes), StringComparison.Ordinal);
        await box.Pull(Wanted, cancel: TestContext.Current.CancellationToken);
        Assert.Equal(commit, box.Resolve($"origin:{Workshop.Branch}"));

        // More than clocks differ: nobody knows whose is wrong.
        await shop.Publish(options: Trusted() with { Clock = new Later(30 * 24) });
        byte[] ahead = File.ReadAllBytes(shop["www/summary"]);
        Commit(alice, bob);
        await Refused<SummaryAheadException>("boxes that have taken it take no older one", Trusted());
        Assert.Equal(ahead, File.ReadAllBytes(shop["www/summary"]));
        await shop.Publish(options: Trusted() with { SummaryMayGoBack = true });
        Assert.True(Modified() < there.AddDays(1));

        // What nobody signed who may, no box has taken.
        File.WriteAllBytes(shop["www/summary"], ahead);
        File.Delete(shop["www/summary.sig"]);
        await shop.Publish(options: Trusted());
        Assert.True(Modified() < there.AddDays(1));

        DateTimeOffset Modified() => Summary.Parse(File.ReadAllBytes(shop["www/summary"])).Modified!.Value;
    }

    [Fact]
    public async Task Branches_that_boxes_will_not_take_and_commits_that_are_older_are_told_and_hinder_nothing()
    {
        Commit(alice, bob);
        Checksum kept = shop.Commit(branch: "os/kept", files: 1), left = shop.Commit(branch: "os/left", files: 1);
        foreach (Ed25519Key key in (Ed25519Key[])[alice, shop.Key])
            AddSignature(kept, key);
        foreach (Ed25519Key key in (Ed25519Key[])[alice, bob])
            AddSignature(left, key);
        await shop.Publish(options: Trusted());
        using var press2 = Ed25519Key.Generate();
        history.Add(document => document with { Keys = new Dictionary<string, Ed25519PublicKey>(document.Keys) { ["press"] = press2.Public } });
        Sign(alice, bob);
        PublishOptions one = Trusted() with { Refs = [Workshop.Branch], Sign = bytes => shop.Sign(bytes) is var old ? CommitSignatures.Sign(old, bytes, press2) : old };
        PublishReport report = await shop.Publish(options: one);
        string note = Assert.Single(report.Plan.Notes);
        Assert.Contains($"'os/kept' is there and not published now, and no box will take it: commit {kept} of 'os/kept': document 2 of 'boxes' asks for 2 of alice, bob, press; only alice signed", note, StringComparison.Ordinal);
        Assert.Empty((await shop.Publish(options: one with { DropOthers = true })).Plan.Notes);

        Checksum old = shop.Repository.Resolve(Workshop.Branch);
        Commit(alice, bob);
        await shop.Publish(options: one);
        shop.Repository.SetRef(Workshop.Branch, old);
        Assert.Contains("leads to an older commit than the one that is there", Assert.Single((await shop.Publish(options: one)).Plan.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_clock_that_is_behind_is_told_of_where_a_summary_is_made_by_it_alone()
    {
        Commit(alice, bob);
        await shop.Publish(options: Trusted() with { Clock = new Later(hours: 20) });
        byte[] there = File.ReadAllBytes(shop["www/summary"]);
        await using var place = new DirectoryPlace(shop["www"]) { Staleness = TimeSpan.Zero };
        Assert.Empty((await new Publisher(shop.Repository, place, Trusted()).Plan(TestContext.Current.CancellationToken)).Notes);
        Assert.Empty((await shop.Publish(options: Trusted())).Plan.Notes);
        Assert.Equal(there, File.ReadAllBytes(shop["www/summary"]));
        Commit(alice, bob);
        Assert.Contains("has not come to", Assert.Single((await new Publisher(shop.Repository, place, Trusted()).Plan(TestContext.Current.CancellationToken)).Notes), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_lies_in_a_branchs_place_and_is_no_commit_hinders_no_publication()
    {
        Commit(alice, bob);
        await shop.Publish(options: Trusted());
        byte[] garbage = [1, 2, 3];
        var none = Checksum.Of(garbage);
        string path = shop[$"www/objects/{new ObjectName(none, ObjectType.Commit).LoosePath(RepositoryMode.Archive)}"];
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, garbage);
        ReplaceEverywhere(File.ReadAllBytes(shop["www/summary"]), shop.Repository.Resolve(Workshop.Branch), none);
        Checksum commit = Commit(alice, bob);
        await shop.Publish(options: Trusted());
        Assert.Equal(commit, Summary.Parse(File.ReadAllBytes(shop["www/summary"])).Refs[Workshop.Branch]);

        void ReplaceEverywhere(byte[] summary, Checksum old, Checksum with)
        {
            byte[] from = Convert.FromHexString($"{old}"), to = Convert.FromHexString($"{with}");
            for (int at = summary.AsSpan().IndexOf(from); at >= 0; at = summary.AsSpan().IndexOf(from))
                to.CopyTo(summary, at);
            File.WriteAllBytes(shop["www/summary"], summary);
        }
    }

    private async Task Refused<T>(string words, PublishOptions options)
        where T : Exception
        => Assert.Contains(words, (await Assert.ThrowsAsync<T>(() => shop.Publish(options: options))).Message, StringComparison.Ordinal);
}
