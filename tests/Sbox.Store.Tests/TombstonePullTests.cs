using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>A source that keeps tombstones has deleted what has one, and has lost what has none; real ostree is asked the same.</summary>
public sealed class TombstonePullTests : IDisposable
{
    private readonly Scratch scratch = new();
    private readonly Checksum gone;
    private readonly string tombstone;
    private readonly StaticServer server;

    public TombstonePullTests()
    {
        using Repository served = Repository.Create(scratch["served"], RepositoryMode.Archive);
        gone = served.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        served.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Subject = "newer" });
        Judge.Ostree.Run("prune", $"--repo={served.Path}", $"--delete-commit={gone}");
        Judge.Ostree.Run("summary", $"--repo={served.Path}", "-u");
        tombstone = $"{served.Path}/objects/{new ObjectName(gone, ObjectType.TombstoneCommit).LoosePath(RepositoryMode.Archive)}";
        Assert.True(File.Exists(tombstone));
        server = new StaticServer(served.Path);
    }

    public void Dispose()
    {
        server.Dispose();
        scratch.Dispose();
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_history_ends_where_its_parent_was_deleted_on_purpose(bool near)
    {
        PullTheirs(near);
        using Repository ours = Target(near);
        await Pull(ours);
        Assert.False(ours.IsPartial(ours.Resolve("origin:main")));
        var name = new ObjectName(gone, ObjectType.TombstoneCommit);
        Assert.Equal(File.Exists($"{scratch["theirs"]}/objects/{name.LoosePath(RepositoryMode.Archive)}"), ours.Has(name));
        Assert.Equal(near, ours.Has(name));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_parent_that_was_lost_is_said_and_the_branch_stays_where_it_was(bool near)
    {
        File.Delete(tombstone);
        Assert.ThrowsAny<Exception>(() => PullTheirs(near));
        using Repository ours = Target(near);
        PullException lost = await Assert.ThrowsAsync<PullException>(() => Pull(ours));
        Assert.EndsWith(".tombstone-commit", lost.Url, StringComparison.Ordinal);
        Assert.Contains($"{gone}", lost.Message, StringComparison.Ordinal);
        Assert.Contains("core.tombstone-commits", lost.Message, StringComparison.Ordinal);
        Assert.Null(ours.TryResolve("origin:main"));
    }

    private string Url(bool near) => near ? $"file://{scratch["served"]}" : server.Url;

    private void PullTheirs(bool near)
    {
        string theirs = $"--repo={scratch["theirs"]}";
        Judge.Ostree.Run("init", theirs, "--mode=bare-user");
        Judge.Ostree.Run("remote", theirs, "add", "--no-gpg-verify", "origin", Url(near));
        Judge.Ostree.Run("pull", theirs, "--depth=-1", "origin", "main");
    }

    private Repository Target(bool near)
    {
        Repository ours = Repository.Create(scratch["ours"], RepositoryMode.BareUser);
        ours.WriteConfig(ours.Config.With("remote \"origin\"", "url", Url(near)).With("remote \"origin\"", "gpg-verify", "false"));
        return ours;
    }

    private static Task<PullResult> Pull(Repository ours) =>
        ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"], Depth = -1 }, null, TestContext.Current.CancellationToken);
}
