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

    private static Repository Mirror(TrustedPublisher publisher, string name, string url)
    {
        Repository mirror = Repository.Create(publisher[name], RepositoryMode.Archive);
        mirror.WriteConfig(mirror.Config.With("remote \"origin\"", "url", url).With("remote \"origin\"", "gpg-verify", "false"));
        mirror.Fsync = false;
        return mirror;
    }

    private static Task<PullResult> Take(Repository mirror) => mirror.Pull(new PullOptions { Remote = "origin", Mirror = true }, cancel: TestContext.Current.CancellationToken);
}
