using Sbox.Codecs;

namespace Sbox.Store.Tests;

/// <summary>The threats of docs/decisions/0017, each against a box that pulls from a server that does it.</summary>
public sealed class TrustTests
{
    [Fact]
    public async Task What_is_signed_as_the_document_says_is_taken_over_http_and_from_files_and_the_time_is_kept()
    {
        using var publisher = new TrustedPublisher();
        Assert.Empty((await publisher.Pull()).Notes);
        Assert.Equal(publisher.Source.Resolve("debian/13"), publisher.Box.Resolve("origin:debian/13"));
        Assert.Equal(TrustedPublisher.Start, publisher.Box.Trust("origin")!.NewestSummary);
        publisher.Commit("bob", "alice");
        publisher.Publish(TrustedPublisher.Start.AddHours(1));
        await publisher.Pull(FromFiles(publisher));
        Assert.Equal(publisher.Source.Resolve("debian/13"), publisher.Box.Resolve("origin:debian/13"));
        Assert.Equal(TrustedPublisher.Start.AddHours(1), publisher.Box.Trust("origin")!.NewestSummary);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Arbitrary_installation_fewer_signatures_than_asked_for_are_not_enough_and_one_key_counts_once(bool files)
    {
        using var publisher = new TrustedPublisher();
        await publisher.Pull();
        Func<PullOptions, PullOptions>? with = files ? FromFiles(publisher) : null;
        Checksum commit = publisher.Commit("press");
        publisher.Publish();
        await publisher.Refuses(TrustProblem.TooFewSigned, "asks for 2 of alice, bob, press; only press signed", with);

        // The same key twice, by two signatures that are not even the same bytes' copy in the list; and a stranger's.
        VariantDictionary beside = publisher.Source.LoadDetachedMetadata(commit)!;
        byte[] press = CommitSignatures.Of(beside).Single(), stranger = publisher.Key("mallory").Sign(publisher.Source.LoadMetadata(new ObjectName(commit, ObjectType.Commit)));
        publisher.Source.WriteDetachedMetadata(commit, CommitSignatures.With(beside, CommitSignatures.Key, [press, press, stranger, press]));
        await publisher.Refuses(TrustProblem.TooFewSigned, "only press signed", with);
        publisher.Source.SignCommit(commit, SignatureEngine.Of("ed25519"), publisher.Secret("bob"));
        await publisher.Pull(with);
        Assert.Equal(commit, publisher.Box.Resolve("origin:debian/13"));
    }

    [Theory, InlineData(DeltaUse.Never), InlineData(DeltaUse.Required)]
    public async Task A_stolen_press_key_signs_summaries_and_no_commit_until_the_next_document_ends_that_too(DeltaUse deltas)
    {
        using var publisher = new TrustedPublisher();
        await publisher.Pull();
        Checksum good = publisher.Source.Resolve("debian/13"), forged = publisher.Commit("press", "mallory");
        publisher.Source.MakeDelta(new DeltaName(null, forged), new DeltaOptions { MinimumFallback = 0 });
        publisher.Publish();
        await publisher.Refuses(TrustProblem.TooFewSigned, "only press signed", options => options with { Deltas = deltas });
        publisher.Box.CommitDirectory(publisher["tree"], new CommitOptions { Subject = "the next transaction takes over what a refused one has left" });
        Assert.False(publisher.Box.Has(new ObjectName(forged, ObjectType.Commit)));
        publisher.Source.SetRef("debian/13", good);
        publisher.Source.SignCommit(good, SignatureEngine.Of("ed25519"), publisher.Secret("bob"));
        publisher.Add(publisher.Rotated, "alice", "bob");
        publisher.Publish();
        await publisher.Refuses(TrustProblem.TooFewSigned, "asks for 1 of press2; none of them signed");
        Assert.Equal(2, publisher.Believed); // kept at once, whatever became of the pull
        publisher.Publish(signers: "press2");
        await publisher.Pull();
        Assert.Equal(good, publisher.Box.Resolve("origin:debian/13"));
    }

    [Theory]
    [InlineData("alice", "document 1 of 'boxes' asks for 2 of alice, bob; only alice signed")]
    [InlineData("alice alice", "only alice signed")]
    [InlineData("press press2", "document 1 of 'boxes' asks for 2 of alice, bob; none of them signed")] // by the new ones alone
    [InlineData("alice bob", "document 2 of 'boxes' asks for 2 of press, press2; none of them signed")] // by the old ones alone
    [InlineData("", "none of them signed")]
    public async Task A_document_that_too_few_of_the_old_or_of_the_new_signed_is_none_yet_and_the_one_before_goes_on(string signers, string words)
    {
        using var publisher = new TrustedPublisher();
        await publisher.Pull();
        TrustDocument next = publisher.First with { Version = 2, Keys = publisher.Named("alice", "bob", "press", "press2"), Document = new TrustRule(2, ["press", "press2"]) };
        publisher.Add(next, signers.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Checksum tip = publisher.Commit("alice", "bob");
        publisher.Publish();
        foreach (Func<PullOptions, PullOptions>? from in (Func<PullOptions, PullOptions>?[])[null, FromFiles(publisher)])
        {
            string note = Assert.Single((await publisher.Pull(from)).Notes);
            Assert.Contains("trust/2.toml: document", note, StringComparison.Ordinal);
            Assert.Contains(words, note, StringComparison.Ordinal);
            Assert.EndsWith("it is passed over, and document 1 goes on to be believed", note, StringComparison.Ordinal);
        }

        Assert.Equal((1, tip), (publisher.Believed, publisher.Box.Resolve("origin:debian/13")));
        publisher.Publish(knows: 2); // whoever signs summaries knows it as one that is believed: then its signatures are withheld
        await publisher.Refuses(TrustProblem.Withheld, words);
        publisher.Add(next, "alice", "bob", "press", "press2");
        Assert.Equal("Trust: document 2 of 'boxes' is believed now, after 1", Assert.Single((await publisher.Pull()).Notes));
        Assert.Equal(2, publisher.Believed);
    }

    [Fact]
    public async Task Versions_are_never_skipped_and_another_repositorys_document_is_none_of_this_one()
    {
        using var publisher = new TrustedPublisher();
        publisher.AddAt(2, publisher.Rotated with { Version = 3 }, "alice", "bob");
        await publisher.Refuses(TrustProblem.OutOfOrder, "it is document 3 of 'boxes', where document 2 of 'boxes' should be");
        publisher.AddAt(2, publisher.First, "alice", "bob");
        await publisher.Refuses(TrustProblem.OutOfOrder, "it is document 1 of 'boxes'");
        publisher.Add(publisher.Rotated with { Repository = "servers" }, "alice", "bob");
        await publisher.Refuses(TrustProblem.OutOfOrder, "it is document 2 of 'servers'");
        Assert.Equal(1, publisher.Believed);
    }

    [Fact]
    public async Task A_document_that_is_missing_in_the_middle_is_noticed_by_the_summary_and_nothing_after_it_is_believed()
    {
        using var publisher = new TrustedPublisher();
        publisher.Add(publisher.First with { Version = 2 }, "alice", "bob");
        publisher.Add(publisher.First with { Version = 3 }, "alice", "bob");
        publisher.Publish(knows: 3);
        publisher.Server.Misbehave = static path => path == "trust/2.toml" ? Fault.NotFound : null;
        await publisher.Refuses(TrustProblem.Withheld, "it knows document 3 of 'boxes', and there is none after 1 to be had");
        publisher.Server.Misbehave = static path => path == "trust/2.sig" ? Fault.NotFound : null;
        await publisher.Refuses(TrustProblem.Withheld, "trust/2.toml: document 1 of 'boxes' asks for 2 of alice, bob; none of them signed");
        Assert.Equal(1, publisher.Believed);
        publisher.Server.Misbehave = static _ => null;
        Assert.Equal("Trust: document 3 of 'boxes' is believed now, after 1", Assert.Single((await publisher.Pull()).Notes));
        Assert.Equal(3, publisher.Believed);
    }

    [Fact]
    public async Task What_is_published_between_the_question_for_documents_and_that_for_the_summary_is_asked_for_again()
    {
        using var publisher = new TrustedPublisher();
        publisher.Commit("alice", "bob");
        publisher.Publish(knows: 2, signers: "press2");
        publisher.Add(publisher.Rotated, "alice", "bob");
        int asked = 0;
        publisher.Server.Misbehave = path => path == "trust/2.toml" && Interlocked.Increment(ref asked) == 1 ? Fault.NotFound : null;
        await publisher.Pull();
        Assert.Equal((2, 2), (publisher.Believed, asked));
    }

    [Fact]
    public async Task A_document_that_is_replaced_by_an_older_one_takes_nothing_back()
    {
        using var publisher = new TrustedPublisher();
        Checksum tip = publisher.Commit("alice", "bob");
        publisher.Add(publisher.Rotated, "alice", "bob");
        publisher.Publish(signers: "press2");
        await publisher.Pull();
        publisher.Remove(2);
        publisher.AddAt(3, publisher.First, "alice", "bob");
        publisher.Publish(TrustedPublisher.Start.AddHours(1));
        await publisher.Refuses(TrustProblem.OutOfOrder, "it is document 1");
        publisher.Remove(3);
        await publisher.Refuses(TrustProblem.TooFewSigned, "document 2 of 'boxes' asks for 1 of press2");
        Assert.Equal((2, tip), (publisher.Believed, publisher.Box.Resolve("origin:debian/13")));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Freeze_a_summary_that_is_too_old_or_a_document_that_is_over_is_told_and_nothing_is_taken(bool files)
    {
        using var publisher = new TrustedPublisher();
        await publisher.Pull();
        Func<PullOptions, PullOptions>? with = files ? FromFiles(publisher) : null;
        publisher.Clock.Now = TrustedPublisher.Start.AddDays(14);
        await publisher.Pull(with);
        publisher.Clock.Now += TimeSpan.FromSeconds(1);
        await publisher.Refuses(TrustProblem.Stale, "believes none that is older than 14 days", with);
        publisher.Clock.Now = publisher.First.Expires.AddDays(-3);
        publisher.Publish();
        Assert.Contains("expires on 2027-06-01", Assert.Single((await publisher.Pull(with)).Notes), StringComparison.Ordinal);
        publisher.Clock.Now = publisher.First.Expires;
        publisher.Publish();
        await publisher.Refuses(TrustProblem.Expired, "expired on 2027-06-01 00:00:00 UTC", with);
        publisher.Add(publisher.First with { Version = 2, Expires = publisher.First.Expires.AddDays(365) }, "alice", "bob");
        await publisher.Pull(with);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Rollback_a_summary_never_goes_back_also_where_it_is_signed_and_young_enough(bool files)
    {
        using var publisher = new TrustedPublisher();
        (byte[] summary, byte[] signature) = (File.ReadAllBytes(publisher["source/summary"]), File.ReadAllBytes(publisher["source/summary.sig"]));
        publisher.Commit("alice", "bob");
        publisher.Clock.Now += TimeSpan.FromHours(2);
        publisher.Publish();
        await publisher.Pull();
        File.WriteAllBytes(publisher["source/summary"], summary);
        File.WriteAllBytes(publisher["source/summary.sig"], signature);
        await publisher.Refuses(TrustProblem.RolledBack, "it is of 2026-06-01 00:00:00 UTC, and one of 2026-06-01 02:00:00 UTC was taken before", files ? FromFiles(publisher) : null);
    }

    [Fact]
    public async Task A_commit_that_is_older_than_the_one_that_is_here_is_refused_unless_it_is_asked_for()
    {
        using var publisher = new TrustedPublisher();
        Checksum old = publisher.Source.Resolve("debian/13");
        publisher.Commit("alice", "bob");
        publisher.Publish();
        await publisher.Pull();
        publisher.Source.SetRef("debian/13", old);
        publisher.Publish();
        Assert.True((await Assert.ThrowsAsync<PullException>(() => publisher.Pull())).IsOlder);
        Assert.NotEqual(old, publisher.Box.Resolve("origin:debian/13"));
        await publisher.Pull(static options => options with { AllowOlder = true });
        Assert.Equal(old, publisher.Box.Resolve("origin:debian/13"));
    }

    [Fact]
    public async Task Where_the_clock_is_before_the_last_summary_expiry_is_judged_by_that_and_what_is_not_known_is_said_and_times_never_go_back()
    {
        using var publisher = new TrustedPublisher();
        publisher.Clock.Now = TrustedPublisher.Start.AddDays(30);
        publisher.Publish();
        await publisher.Pull();
        publisher.Clock.Now = DateTimeOffset.UnixEpoch; // a battery that is empty
        publisher.Publish(TrustedPublisher.Start.AddDays(33));
        Assert.Contains(
            "this machine's clock says 1970-01-01 00:00:00 UTC, which is before the last summary of 2026-07-01 00:00:00 UTC: by then, document 1 had not expired; whether it has since",
            Assert.Single((await publisher.Pull()).Notes), StringComparison.Ordinal);
        publisher.Publish(TrustedPublisher.Start.AddDays(32));
        await publisher.Refuses(TrustProblem.RolledBack, "was taken before");
        publisher.Publish(publisher.First.Expires); // whoever made that knew
        await publisher.Refuses(TrustProblem.Expired, "expired on 2027-06-01 00:00:00 UTC");
        publisher.Publish(publisher.First.Expires.AddDays(-2));
        await publisher.Pull();

        // A document that was over before the last summary was made, whatever this clock says.
        publisher.Add(publisher.First with { Version = 2, Expires = TrustedPublisher.Start.AddDays(60) }, "alice", "bob");
        publisher.Publish(publisher.First.Expires.AddDays(-1));
        await publisher.Refuses(TrustProblem.Expired, "document 2 of 'boxes' expired on 2026-07-31");
        publisher.Clock.Now = publisher.First.Expires.AddDays(-2).AddHours(-23); // behind, and by no more than clocks differ
        await publisher.Refuses(TrustProblem.Expired, "document 2 of 'boxes' expired on 2026-07-31");
    }

    [Fact]
    public async Task Fast_forward_a_summary_of_days_to_come_is_refused_and_a_document_without_its_key_undoes_one_that_was_taken()
    {
        using var publisher = new TrustedPublisher();
        publisher.Publish(TrustedPublisher.Start.AddDays(2));
        await publisher.Refuses(TrustProblem.FromTheFuture, "this machine's clock says 2026-06-01 00:00:00 UTC");
        publisher.Clock.Now = TrustedPublisher.Start.AddDays(400);
        publisher.Publish();
        await Assert.ThrowsAsync<TrustException>(() => publisher.Pull());
        publisher.Clock.Now = TrustedPublisher.Start.AddDays(300);
        publisher.Publish();
        await publisher.Pull(); // by a clock that was wrong
        publisher.Clock.Now = TrustedPublisher.Start;
        Checksum tip = publisher.Commit("alice", "bob");
        publisher.Add(publisher.First with { Version = 2 }, "alice", "bob");
        publisher.Publish();
        await publisher.Refuses(TrustProblem.RolledBack, "was taken before");
        publisher.Add(publisher.Rotated with { Version = 3 }, "alice", "bob");
        publisher.Publish(signers: "press2");
        await publisher.Pull();
        Assert.Equal((tip, TrustedPublisher.Start), (publisher.Box.Resolve("origin:debian/13"), publisher.Box.Trust("origin")!.NewestSummary));
    }

    [Fact]
    public async Task Endless_and_oversized_documents_are_none_and_end_at_their_bound_and_garbage_is_never_read()
    {
        using var publisher = new TrustedPublisher();
        publisher.Server.Misbehave = static path => path == "trust/2.toml" ? Fault.Endless : null;
        Assert.Empty((await publisher.Pull()).Notes);
        // Who asks may have gone by the length that was announced, before a whole piece has left.
        Assert.Contains(publisher.Server.Requests, static path => path.Contains("trust/2.toml", StringComparison.Ordinal));
        Assert.InRange(publisher.Server.SentEndlessly, 0, StaticServer.EndlessBytes / 4);
        publisher.Server.Misbehave = static _ => null;
        File.WriteAllBytes(publisher["source/trust/2.toml"], new byte[TrustDocument.MaximumSize + 1]); // a page for what is not there, as some servers have it
        foreach (Func<PullOptions, PullOptions>? from in (Func<PullOptions, PullOptions>?[])[null, FromFiles(publisher)])
        {
            Checksum tip = publisher.Commit("alice", "bob");
            publisher.Publish();
            Assert.Empty((await publisher.Pull(from)).Notes);
            Assert.Equal(tip, publisher.Box.Resolve("origin:debian/13"));
            publisher.Publish(knows: 2); // then one should be there
            await publisher.Refuses(TrustProblem.Withheld, "it knows document 2", from);
        }

        publisher.Publish();
        File.WriteAllText(publisher["source/trust/2.toml"], new string('[', TrustDocument.MaximumSize)); // a parser of this could run out of stack
        Assert.Contains("none of them signed", Assert.Single((await publisher.Pull()).Notes), StringComparison.Ordinal);
        byte[] signed = "version = 2\n"u8.ToArray();
        File.WriteAllBytes(publisher["source/trust/2.toml"], signed);
        File.WriteAllBytes(publisher["source/trust/2.sig"], TrustDocument.ToFile([publisher.Key("alice").Sign(signed), publisher.Key("bob").Sign(signed)]));
        await publisher.Refuses(TrustProblem.Malformed, "there is no [keys]");
        Assert.Equal(1, publisher.Believed);
    }

    [Fact]
    public async Task A_pull_follows_so_many_documents_and_the_next_one_goes_on()
    {
        using var publisher = new TrustedPublisher();
        int last = TrustedRemote.MostSteps + 3;
        for (int version = 2; version <= last; version++)
            publisher.Add(publisher.First with { Version = version }, "alice", "bob");
        await publisher.Refuses(TrustProblem.TooMany, "64 documents were followed, from 1 to 65, and there are more");
        await publisher.Pull();
        Assert.Equal(last, publisher.Believed);
    }

    [Fact]
    public async Task A_redirect_leads_to_no_other_document_and_a_server_that_fails_is_not_one_without_documents()
    {
        using var publisher = new TrustedPublisher();
        using var other = new TrustedPublisher();
        other.Add(other.Rotated, "alice", "bob");
        publisher.Server.Misbehave = static path => path == "trust/2.toml" ? Fault.Unavailable : null;
        await Assert.ThrowsAsync<PullException>(() => publisher.Pull());
        Assert.Null(publisher.Box.TryResolve("origin:debian/13"));
        publisher.Server.Misbehave = static _ => null;
        publisher.Server.Redirect = path => path.StartsWith("trust/", StringComparison.Ordinal) ? $"{other.Server.Url}/{path}" : null;
        Assert.Contains("none of them signed", Assert.Single((await publisher.Pull()).Notes), StringComparison.Ordinal);
        Assert.Equal(1, publisher.Believed);
    }

    [Theory, InlineData(nameof(Fault.NotFound)), InlineData(nameof(Fault.Forbidden))]
    public async Task There_is_no_next_document_where_a_server_forbids_to_look_and_one_mirrors_word_is_enough_where_another_is_dead(string answer)
    {
        using var publisher = new TrustedPublisher();
        publisher.Server.Misbehave = path => path.StartsWith("trust/", StringComparison.Ordinal) ? Enum.Parse<Fault>(answer) : null;
        Assert.Empty((await publisher.Pull()).Notes);
        Checksum tip = publisher.Commit("alice", "bob");
        publisher.Publish();
        var dead = new StaticServer(publisher.Source.Path);
        File.WriteAllText(publisher["source/list"], $"{publisher.Server.Url}\n{dead.Url}\n");
        dead.Dispose();
        Func<PullOptions, PullOptions> mirrored = options => options with { Url = $"mirrorlist={publisher.Server.Url}/list", Deltas = DeltaUse.Never };
        Assert.Empty((await publisher.Pull(mirrored)).Notes);
        Assert.Equal(tip, publisher.Box.Resolve("origin:debian/13"));
        publisher.Publish(knows: 2);
        await publisher.Refuses(TrustProblem.Withheld, "it knows document 2", mirrored); // the summary tells, whatever the servers say
    }

    [Fact]
    public async Task Commits_are_asked_for_by_the_longest_pattern_and_one_asked_for_by_its_checksum_counts_as_what_it_is_bound_to()
    {
        using var publisher = new TrustedPublisher();
        Checksum tried = publisher.CommitTo("debian/try", "press"), other = publisher.CommitTo("fedora", "alice", "bob", "press");
        publisher.Publish();
        await publisher.Pull(static options => options with { Refs = ["debian/try"] });
        Assert.Equal(tried, publisher.Box.Resolve("origin:debian/try"));
        await publisher.Refuses(TrustProblem.TooFewSigned, "says of nobody that they may sign 'fedora'", static options => options with { Refs = ["fedora"] });
        await publisher.Pull(options => options with { Refs = [$"{other}"] }); // enough for any rule
        await publisher.Refuses(TrustProblem.TooFewSigned, "of 'debian/13'", options => options with { Refs = [$"debian/13@{tried}"], VerifyBindings = false });
        Checksum alone = publisher.CommitTo("debian/13", "press");
        publisher.Publish();
        await publisher.Refuses(TrustProblem.TooFewSigned, "only press signed", options => options with { Refs = [$"{alone}"] });
    }

    [Fact]
    public async Task What_only_follows_a_commit_that_is_believed_was_signed_by_whoever_could_at_its_time()
    {
        using var publisher = new TrustedPublisher();
        Checksum old = publisher.Source.Resolve("debian/13"); // by alice and press
        File.WriteAllText(publisher["tree/more"], "");
        Checksum tip = publisher.Source.CommitDirectory(publisher["tree"], new CommitOptions { Branches = ["debian/13"], Parent = old, Timestamp = TrustedPublisher.Start.AddHours(1) });
        foreach (string name in (string[])["alice", "bob"])
            publisher.Source.SignCommit(tip, SignatureEngine.Of("ed25519"), publisher.Secret(name));
        publisher.Add(publisher.Rotated, "alice", "bob");
        publisher.Publish(signers: "press2");
        await publisher.Pull(static options => options with { Depth = -1 });
        Assert.True(publisher.Box.Has(new ObjectName(old, ObjectType.Commit)));
    }

    [Fact]
    public async Task The_settings_of_a_remote_are_asked_as_well_and_a_remote_that_is_deleted_takes_its_document_along()
    {
        using var publisher = new TrustedPublisher();
        publisher.Box.WriteConfig(publisher.Box.Config.With("remote \"origin\"", "sign-verify", "ed25519").With("remote \"origin\"", "verification-ed25519-key", $"{publisher.Key("mallory").Public}"));
        await Assert.ThrowsAsync<SignatureException>(() => publisher.Pull());
        publisher.Box.WriteConfig(publisher.Box.Config.With("remote \"origin\"", "verification-ed25519-key", $"{publisher.Key("press").Public}"));
        await publisher.Pull();
        publisher.Box.DeleteRemote("origin");
        Assert.Null(publisher.Box.Trust("origin"));
    }

    [Fact]
    public async Task What_is_kept_and_damaged_stops_the_remote_and_links_in_its_place_are_not_followed()
    {
        using var publisher = new TrustedPublisher();
        await publisher.Pull();
        string document = publisher["box/state/trust/origin.toml"], seen = publisher["box/state/trust/origin.seen"];
        File.WriteAllText(seen, "yesterday");
        await publisher.Refuses(TrustProblem.Malformed, "origin.seen");
        File.WriteAllText(seen, "2026-06-01T00:00:00Z\n");
        File.WriteAllText(document, "");
        await publisher.Refuses(TrustProblem.Malformed, "origin.toml: line 1: there is no [keys]");
        File.Delete(document);
        File.CreateSymbolicLink(document, publisher["source/trust/1.toml"]);
        await Assert.ThrowsAsync<Linux.LinuxException>(() => publisher.Pull());
        publisher.Box.BeginTrust("origin", publisher.First.ToBytes());
        Assert.False(new FileInfo(document).LinkTarget is { });
        await publisher.Pull();
    }

    [Fact]
    public async Task Pulls_at_once_and_a_slower_one_after_a_quicker_one_never_take_back_what_is_believed()
    {
        using var publisher = new TrustedPublisher();
        publisher.Commit("alice", "bob");
        for (int version = 2; version <= 6; version++)
            publisher.Add(publisher.First with { Version = version }, "alice", "bob");
        publisher.Publish(knows: 6);
        await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => Task.Run(async () =>
        {
            using Repository again = Repository.Open(publisher.Box.Path);
            await again.Pull(new PullOptions { Remote = "origin", Url = "file://" + publisher.Source.Path, Refs = ["debian/13"], Clock = publisher.Clock });
        })));
        Assert.Equal(6, publisher.Believed);
        var slower = new TrustState(publisher.Box, "origin");
        byte[] three = (publisher.First with { Version = 3 }).ToBytes(), four = (publisher.First with { Version = 4 }).ToBytes(), six = (publisher.First with { Version = 6 }).ToBytes();
        ((byte[] Bytes, string Path)? now, bool isKept) = slower.Keep(three, four, forgetsSummary: true);
        Assert.Equal(six, now!.Value.Bytes);
        Assert.False(isKept);
        slower.Keep(six, TrustedPublisher.Start.AddYears(-1));
        slower.Keep(four, TrustedPublisher.Start.AddYears(1));
        Assert.Equal((6, TrustedPublisher.Start), (publisher.Believed, publisher.Box.Trust("origin")!.NewestSummary));
    }

    [Fact]
    public async Task A_pull_that_its_owners_word_overtakes_goes_on_by_that_and_takes_none_of_it_back()
    {
        using var publisher = new TrustedPublisher();
        publisher.Add(publisher.First with { Version = 2 }, "alice", "bob");
        TrustDocument said = publisher.Rotated with { Version = 5 };
        publisher.Server.Misbehave = path => Once("trust/2.toml", path, () => publisher.Box.BeginTrust("origin", said.ToBytes()));
        await publisher.Refuses(TrustProblem.TooFewSigned, "document 5 of 'boxes' asks for 1 of press2");
        Assert.Equal((5, null), (publisher.Believed, publisher.Box.Trust("origin")!.NewestSummary));

        // Later than that, and by a summary that one has signed who is believed no longer: its time stays nowhere.
        publisher.Box.BeginTrust("origin", publisher.First.ToBytes());
        publisher.Server.Misbehave = path => Once("summary.sig", path, () => publisher.Box.BeginTrust("origin", said.ToBytes()));
        await publisher.Pull();
        Assert.Equal((5, null), (publisher.Believed, publisher.Box.Trust("origin")!.NewestSummary));

        publisher.Box.BeginTrust("origin", publisher.First.ToBytes());
        publisher.Server.Misbehave = path => Once("trust/2.toml", path, () => publisher.Box.EndTrust("origin"));
        await publisher.Pull();
        Assert.Null(publisher.Box.Trust("origin"));

        Fault? Once(string awaited, string path, Action act)
        {
            if (path == awaited)
            {
                publisher.Server.Misbehave = static _ => null;
                act();
            }

            return null;
        }
    }

    [Fact]
    public async Task Two_pulls_at_once_whose_summaries_differ_leave_what_a_third_can_go_on_by()
    {
        using var publisher = new TrustedPublisher();
        await publisher.Pull();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(number => Task.Run(() =>
        {
            using SummaryCache cache = SummaryCache.Open(publisher.Box, "origin", directory: null)!;
            for (int i = 0; i < 10; i++)
            {
                byte[] bytes = new byte[40_000];
                Array.Fill(bytes, (byte)number);
                cache.Save(signature: false, bytes, new Validators($"\"{number}\"", TrustedPublisher.Start.AddDays(number)));
                (byte[]? found, Validators? known) = cache.Load(signature: false);
                Assert.Equal(40_000, found!.Length);
                Assert.DoesNotContain(found, each => each != found[0]);
                Assert.Equal(new Validators($"\"{found[0]}\"", TrustedPublisher.Start.AddDays(found[0])), known);
            }
        })));
        publisher.Commit("alice", "bob");
        publisher.Publish();
        await publisher.Pull();
        Assert.Equal(publisher.Source.Resolve("debian/13"), publisher.Box.Resolve("origin:debian/13"));
    }

    [Fact]
    public async Task The_lock_is_its_owners_alone_since_whoever_may_read_a_file_may_lock_it_and_pulls_would_wait()
    {
        using var publisher = new TrustedPublisher();
        using Linux.Dir dir = Linux.Dir.Open(publisher["box/state/trust"]);
        Assert.Equal(0x180u /* 0600 */, dir.Stat("origin.lock").Permissions);
        dir.ChangeMode("origin.lock", 0x1A4 /* 0644, as it was made before */);
        await publisher.Pull();
        Assert.Equal(0x180u, dir.Stat("origin.lock").Permissions);
    }

    private static Func<PullOptions, PullOptions> FromFiles(TrustedPublisher publisher) => options => options with { Url = "file://" + publisher.Source.Path };
}
