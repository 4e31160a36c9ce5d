using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>A workshop that publishes under a trust document: two of alice and bob change it, the workshop's own key signs summaries, two of all three sign commits.</summary>
public abstract class TrustedWorkshopTests : IDisposable
{
    private protected readonly Workshop shop = new();
    private protected readonly Ed25519Key alice = Ed25519Key.Generate(), bob = Ed25519Key.Generate();
    private protected readonly TrustHistory history;

    protected TrustedWorkshopTests()
    {
        history = TrustHistory.Begin(shop["trust"], new TrustDocument
        {
            Repository = "boxes", Version = 1, Expires = DateTimeOffset.UtcNow.AddDays(365), SummaryAge = TimeSpan.FromDays(14),
            Keys = new Dictionary<string, Ed25519PublicKey> { ["alice"] = alice.Public, ["bob"] = bob.Public, ["press"] = shop.Key.Public },
            Document = new TrustRule(2, ["alice", "bob"]), Summary = new TrustRule(1, ["press"]),
            Commits = new Dictionary<string, TrustRule> { ["os/*"] = new(2, ["alice", "bob", "press"]) },
        });
        Sign(alice, bob);
    }

    public void Dispose()
    {
        GC.SuppressFinalize(this);
        alice.Dispose();
        bob.Dispose();
        shop.Dispose();
    }

    private protected static PullOptions Wanted => new() { Remote = "origin", Refs = [Workshop.Branch] };

    private protected PublishOptions Trusted() => shop.Signed() with { Trust = history };

    private protected void Sign(params Ed25519Key[] keys) => history.AddSignatures(history.Newest, keys.Select(key => key.Sign(history.Newest.Bytes)));

    private protected Checksum Commit(params Ed25519Key[] keys)
    {
        Checksum commit = shop.Commit(files: 3);
        foreach (Ed25519Key key in keys is [] ? [alice, bob] : keys)
            AddSignature(commit, key);
        return commit;
    }

    private protected void AddSignature(Checksum commit, Ed25519Key key) => shop.Repository.WriteDetachedMetadata(
        commit, CommitSignatures.Sign(shop.Repository.LoadDetachedMetadata(commit) ?? VariantDictionary.Empty, shop.Repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit)), key));

    private protected Repository NewBox(string name, string url, bool trusts = true)
    {
        const string group = "remote \"origin\"";
        var box = Repository.Create(shop[name], RepositoryMode.Archive);
        box.WriteConfig(box.Config.With(group, "url", url).With(group, "gpg-verify", "false"));
        if (trusts)
            box.BeginTrust("origin", history.Versions[0].Bytes);
        return box;
    }

    private protected sealed class Later(int hours) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UtcNow.AddHours(hours);
    }
}
