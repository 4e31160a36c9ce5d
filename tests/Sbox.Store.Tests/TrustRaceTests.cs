namespace Sbox.Store.Tests;

/// <summary>Of two pulls at once, the slower one takes back nothing that the quicker one has taken.</summary>
public sealed class TrustRaceTests
{
    [Fact]
    public async Task A_pull_that_another_overtakes_with_a_newer_summary_sets_no_ref()
    {
        using var publisher = new TrustedPublisher();
        publisher.Commit("alice", "bob");
        publisher.Publish();
        Overtaken(publisher, "objects/", state => state.Keep(publisher.First.ToBytes(), TrustedPublisher.Start.AddHours(1)));
        await publisher.Refuses(TrustProblem.RolledBack, "another pull has taken one of 2026-06-01 01:00:00 UTC meanwhile");
    }

    [Fact]
    public async Task A_pull_that_another_overtakes_with_the_same_document_goes_by_the_summary_that_it_took()
    {
        using var publisher = new TrustedPublisher();
        await publisher.Pull();
        TrustDocument second = publisher.First with { Version = 2 };
        publisher.Add(second, "alice", "bob");
        Overtaken(publisher, "trust/2.sig", state =>
        {
            Assert.True(state.Keep(publisher.First.ToBytes(), second.ToBytes(), forgetsSummary: false).IsKept);
            state.Keep(second.ToBytes(), TrustedPublisher.Start.AddHours(1));
        });
        await publisher.Refuses(TrustProblem.RolledBack, "and one of 2026-06-01 01:00:00 UTC was taken before");
    }

    // By another one, at the first request of its kind.
    private static void Overtaken(TrustedPublisher publisher, string path, Action<TrustState> act) => publisher.Server.Misbehave = asked =>
    {
        if (asked.StartsWith(path, StringComparison.Ordinal))
        {
            publisher.Server.Misbehave = static _ => null;
            act(new TrustState(publisher.Box, "origin"));
        }

        return null;
    };
}
