using Sbox.Codecs;

namespace Sbox.Store.Tests;

/// <summary>What takes a repository along whole takes its trust documents along: whoever is fed from there follows them.</summary>
public sealed class TrustCarryTests
{
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_mirror_of_a_mirror_carries_documents_and_summary_as_they_are_signed_over_http_and_from_files(bool files)
    {
        using var publisher = new TrustedPublisher();
        publisher.Add(publisher.Rotated, "alice", "bob");
        publisher.Add(publisher.Rotated with { Version = 3 }, "alice"); // a draft
        Checksum tip = publisher.Commit("alice", "bob");
        publisher.Publish(knows: 2, signers: "press2");
        using Repository first = Mirror(publisher, "first", files ? "file://" + publisher.Source.Path : publisher.Server.Url);
        await Take(first);
        using Repository second = Mirror(publisher, "second", "file://" + first.Path);
        await Take(second);
        foreach (string file in (string[])["summary", "summary.sig", "trust/1.toml", "trust/1.sig", "trust/2.toml", "trust/2.sig"])
            Assert.Equal(File.ReadAllBytes(publisher["source/" + file]), File.ReadAllBytes(publisher["second/" + file]));
        Assert.False(File.Exists(publisher["first/trust/3.toml"]));
        await publisher.Pull(options => options with { Url = "file://" + second.Path });
        Assert.Equal((2, tip), (publisher.Believed, publisher.Box.Resolve("origin:debian/13")));
    }

    [Fact]
    public async Task Documents_that_a_repository_publishes_by_itself_are_not_written_over_by_those_of_what_it_mirrors()
    {
        using var publisher = new TrustedPublisher();
        publisher.Publish(knows: 1);
        using Repository mirror = Mirror(publisher, "mirror", publisher.Server.Url);
        Directory.CreateDirectory(publisher["mirror/trust"]);
        byte[] own = (publisher.First with { Repository = "own" }).ToBytes();
        File.WriteAllBytes(publisher["mirror/trust/1.toml"], own);
        Assert.Contains("is another document than the one there, and stays", Assert.Single((await Take(mirror)).Notes), StringComparison.Ordinal);
        Assert.Equal(own, File.ReadAllBytes(publisher["mirror/trust/1.toml"]));
    }

    [Fact]
    public void A_stick_for_others_to_find_carries_the_documents_of_whoever_made_it()
    {
        using var publisher = new TrustedPublisher();
        publisher.Source.WriteConfig(publisher.Source.Config.With("core", "collection-id", "org.example.Boxes"));
        publisher.Commit("alice", "bob");
        publisher.Publish(knows: 1);
        Directory.CreateDirectory(publisher["stick"]);
        publisher.Source.CopyToStick(publisher["stick"], [new CollectionRef("org.example.Boxes", "debian/13")], durable: false);
        Assert.Equal(publisher.First.ToBytes(), File.ReadAllBytes(publisher["stick/.ostree/repo/trust/1.toml"]));
    }

    [Theory, InlineData("page"), InlineData("unsigned"), InlineData("version")]
    public async Task What_a_source_has_in_a_documents_place_is_not_carried_and_what_is_here_of_that_kind_is_replaced(string kind)
    {
        using var publisher = new TrustedPublisher();
        byte[] true1 = File.ReadAllBytes(publisher["source/trust/1.toml"]), signed1 = File.ReadAllBytes(publisher["source/trust/1.sig"]);
        if (kind == "page")
            File.WriteAllText(publisher["source/trust/1.toml"], "<html>There is no such page</html>");
        else
            publisher.AddAt(1, kind == "version" ? publisher.First with { Version = 3 } : publisher.First, kind == "version" ? ["alice", "bob"] : ["alice"]);
        publisher.Publish(knows: 1);
        using Repository mirror = Mirror(publisher, "mirror", publisher.Server.Url);
        Assert.Contains("there is no document 1 to carry along, but something else: trust/1.toml", Assert.Single((await Take(mirror)).Notes), StringComparison.Ordinal);
        Assert.True(File.Exists(publisher["mirror/summary"]));
        Assert.False(Directory.Exists(publisher["mirror/trust"]));

        // As one of before kept it.
        Directory.CreateDirectory(publisher["mirror/trust"]);
        File.WriteAllText(publisher["mirror/trust/1.toml"], "<html>There is no such page</html>");
        File.WriteAllBytes(publisher["source/trust/1.toml"], true1);
        File.WriteAllBytes(publisher["source/trust/1.sig"], signed1);
        Assert.Empty((await Take(mirror)).Notes);
        Assert.Equal(true1, File.ReadAllBytes(publisher["mirror/trust/1.toml"]));
    }

    [Fact]
    public async Task A_document_that_does_not_follow_the_one_before_is_not_carried()
    {
        using var publisher = new TrustedPublisher();
        publisher.Add(publisher.Rotated with { Repository = "servers" }, "alice", "bob");
        publisher.Publish(knows: 2, signers: "press2");
        using Repository mirror = Mirror(publisher, "mirror", "file://" + publisher.Source.Path);
        Assert.Contains("there is no document 2 to carry along", Assert.Single((await Take(mirror)).Notes), StringComparison.Ordinal);
        Assert.Equal(["1.sig", "1.toml"], Directory.GetFiles(publisher["mirror/trust"]).Select(Path.GetFileName).Order());
    }

    [Fact]
    public async Task Signatures_that_count_are_kept_from_both_sides()
    {
        using var publisher = new TrustedPublisher();
        publisher.Add(publisher.First with { Document = new TrustRule(1, ["alice", "bob"]) }, "alice");
        publisher.Publish(knows: 1);
        using Repository mirror = Mirror(publisher, "mirror", publisher.Server.Url);
        await Take(mirror);
        byte[] document = File.ReadAllBytes(publisher["mirror/trust/1.toml"]), byAlice = publisher.Key("alice").Sign(document), byBob = publisher.Key("bob").Sign(document);
        foreach (byte[][] there in (byte[][][])[[byBob], [byAlice, byBob], [publisher.Key("mallory").Sign(document), byAlice]])
        {
            File.WriteAllBytes(publisher["source/trust/1.sig"], TrustDocument.ToFile(there));
            await Take(mirror);
            Assert.Equal(2, publisher.First.WhoSigned(publisher.First.Document, document, TrustDocument.SignaturesIn(File.ReadAllBytes(publisher["mirror/trust/1.sig"]))).Count);
        }
    }

    [Fact]
    public async Task From_files_a_summary_that_tells_of_something_else_than_came_is_not_taken_along()
    {
        using var publisher = new TrustedPublisher();
        publisher.Publish(knows: 1);
        Checksum tip = publisher.Commit("alice", "bob"); // after the summary
        using Repository mirror = Mirror(publisher, "mirror", "file://" + publisher.Source.Path);
        Assert.Contains("names other branches or versions than are there", Assert.Single((await Take(mirror)).Notes), StringComparison.Ordinal);
        Assert.Equal((tip, false, false), (mirror.Resolve("debian/13"), File.Exists(publisher["mirror/summary"]), File.Exists(publisher["mirror/summary.sig"])));
        publisher.Publish(knows: 1);
        Assert.Empty((await Take(mirror)).Notes);
        Assert.Equal(File.ReadAllBytes(publisher["source/summary.sig"]), File.ReadAllBytes(publisher["mirror/summary.sig"]));

        // What is no summary at all is told where it is wanted, and hinders nothing.
        File.WriteAllText(publisher["source/summary"], "none");
        Assert.Contains($"{publisher["source/summary"]} is no summary", Assert.Single((await Take(mirror)).Notes), StringComparison.Ordinal);
        Assert.Empty((await mirror.Pull(new PullOptions { Remote = "origin", Mirror = true, Refs = ["debian/13"] }, cancel: TestContext.Current.CancellationToken)).Notes);
    }

    [Fact]
    public async Task A_mirror_that_learns_nothing_new_leaves_its_summary_and_the_signature_as_they_are()
    {
        using var publisher = new TrustedPublisher();
        publisher.Publish(knows: 1);
        using Repository mirror = Mirror(publisher, "mirror", publisher.Server.Url);
        await Take(mirror);
        (long Summary, long Signature) before = Inodes();
        await Take(mirror);
        Assert.Equal(before, Inodes());
        publisher.Publish(knows: 1, signers: ["press", "alice"]);
        await Take(mirror);
        Assert.Equal(File.ReadAllBytes(publisher["source/summary.sig"]), File.ReadAllBytes(publisher["mirror/summary.sig"]));

        (long Summary, long Signature) Inodes() => (mirror.Dir.Stat("summary").Inode, mirror.Dir.Stat("summary.sig").Inode) is var (summary, signature) ? ((long)summary, (long)signature) : default;
    }

    [Fact]
    public void A_stick_is_filled_also_where_the_summary_here_cannot_be_read_and_what_stays_of_the_documents_is_said()
    {
        using var publisher = new TrustedPublisher();
        publisher.Source.WriteConfig(publisher.Source.Config.With("core", "collection-id", "org.example.Boxes"));
        publisher.Commit("alice", "bob");
        publisher.Publish(knows: 1);
        File.WriteAllText(publisher["source/trust/1.toml"], "no document");
        Directory.CreateDirectory(publisher["stick"]);
        Assert.Contains("there is no document 1 to carry along", Assert.Single(Copy()), StringComparison.Ordinal);
        File.WriteAllText(publisher["source/summary"], "none");
        Assert.Empty(Copy());
        Assert.True(File.Exists(publisher["stick/.ostree/repo/summary"]));

        IReadOnlyList<string> Copy() => publisher.Source.CopyToStick(publisher["stick"], [new CollectionRef("org.example.Boxes", "debian/13")], durable: false);
    }

    private static Repository Mirror(TrustedPublisher publisher, string name, string url)
    {
        Repository mirror = Repository.Create(publisher[name], RepositoryMode.Archive);
        mirror.WriteConfig(mirror.Config.With("remote \"origin\"", "url", url).With("remote \"origin\"", "gpg-verify", "false"));
        mirror.Fsync = false;
        return mirror;
    }

    private static Task<PullResult> Take(Repository mirror) => mirror.Pull(new PullOptions { Remote = "origin", Mirror = true }, cancel: TestContext.Current.CancellationToken);
}
