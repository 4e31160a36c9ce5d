using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

public sealed class PullTests
{
    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public async Task What_ostree_serves_comes_whole_and_again_costs_next_to_nothing(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        Checksum commit = Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, mode);
        var seen = new List<PullProgress>();
        PullResult result = await ours.Pull(new PullOptions { Remote = "origin", Refs = ["os/main"] }, new Heard(seen));
        Assert.Equal(commit, ours.Resolve("origin:os/main"));
        Assert.Equal(commit, result.Refs["origin:os/main"]);
        Assert.True(result is { Metadata: > 5, Content: > 10, BytesTransferred: > 1_000_000 });
        Assert.NotEmpty(seen);
        Assert.False(ours.IsPartial(commit));
        Assert.Empty(ours.Fsck().Problems);
        foreach (Judge ostree in Scratch.Ostrees)
            Assert.Contains("no errors found", ostree.Run("fsck", $"--repo={ours.Path}"));

        int before = server.Requests.Count;
        PullResult again = await ours.Pull(new PullOptions { Remote = "origin", Refs = ["os/main"] });
        Assert.Equal(0, again.Content + again.Metadata);
        Assert.True(server.Requests.Count - before <= 4);
        server.Dispose();
    }

    [Fact]
    public async Task What_we_serve_ostree_pulls()
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["served"], RepositoryMode.Archive);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["os/main"] });
        using var server = new StaticServer(source.Path);
        foreach (Judge ostree in new[] { Judge.HostOstree })
        {
            string theirs = scratch[Guid.NewGuid().ToString("N")];
            ostree.Run("init", $"--repo={theirs}", "--mode=bare");
            ostree.Run("remote", $"--repo={theirs}", "add", "--no-gpg-verify", "origin", server.Url);
            ostree.Run("pull", $"--repo={theirs}", "origin", "os/main");
            ostree.Run("fsck", $"--repo={theirs}");
            Assert.Equal(commit.ToString(), ostree.Run("rev-parse", $"--repo={theirs}", "origin:os/main").Trim());
        }
    }

    [Fact]
    public async Task Without_a_branch_all_that_the_summary_lists_comes()
    {
        using var scratch = new Scratch();
        Checksum commit = Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, RepositoryMode.Archive);
        PullException none = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Remote = "origin", Mirror = true }));
        Assert.EndsWith("/summary", none.Url);
        Judge.Ostree.Run("summary", $"--repo={scratch["served"]}", "-u");
        await ours.Pull(new PullOptions { Remote = "origin", Mirror = true });
        Assert.Equal(commit, ours.Refs()["os/main"]);
        server.Dispose();
    }

    [Fact]
    public async Task Parents_come_as_deep_as_asked_until_the_server_has_no_more()
    {
        using var scratch = new Scratch();
        Serve(scratch, out StaticServer server);
        for (int i = 0; i < 3; i++)
            Judge.Ostree.Run("commit", $"--repo={scratch["served"]}", "-b", "os/main", "-s", $"{i}", scratch["tree"]);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["os/main"], Depth = 1 });
        Assert.Equal(2, ours.Log(ours.Resolve("os/main")).Count());
        using (Repository served = Repository.Open(scratch["served"]))
        {
            Checksum first = served.Log(served.Resolve("os/main")).Last().Checksum;
            served.Dir.Unlink("objects/" + new ObjectName(first, ObjectType.Commit).LoosePath(RepositoryMode.Archive));
        }

        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["os/main"], Depth = -1 });
        Assert.Equal(3, ours.Log(ours.Resolve("os/main")).Count());
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
        server.Dispose();
    }

    public static TheoryData<Fault2, string> Faults => new()
    {
        { Fault2.NotFound, "404" },
        { Fault2.Corrupt, "" },
        { Fault2.Truncate, "" },
        { Fault2.ShortFile, "" },
        { Fault2.Unavailable, "503" },
        { Fault2.Close, "" },
        { Fault2.Hang, "nothing for" },
    };

    [Theory, MemberData(nameof(Faults))]
    public async Task Any_object_that_comes_wrong_is_named_and_the_repository_stays_whole_and_the_next_pull_goes_on(Fault2 fault, string words)
    {
        using var scratch = new Scratch();
        Checksum commit = Serve(scratch, out StaticServer server);
        using Repository served = Repository.Open(scratch["served"]);
        ObjectName[] victims =
        [
            new(commit, ObjectType.Commit),
            new(served.Find(commit, "/etc").Tree!.Value, ObjectType.DirTree),
            new(served.Find(commit, "/sticky").Meta!.Value, ObjectType.DirMeta),
            new(served.Find(commit, "/big").Content!.Value, ObjectType.File),
            new(served.Find(commit, "/etc/shadow").Content!.Value, ObjectType.File),
        ];
        var options = new PullOptions { Url = server.Url, Refs = ["os/main"], Retries = 2, Timeout = TimeSpan.FromSeconds(20) };
        PullOptions faulty = fault == Fault2.Hang ? options with { Timeout = TimeSpan.FromSeconds(1) } : options; // that one is waited for, each time
        foreach (ObjectName victim in victims)
        {
            using Repository ours = Repository.Create(scratch[victim.ToString()], RepositoryMode.Bare);
            string path = "objects/" + victim.LoosePath(RepositoryMode.Archive);
            server.Misbehave = asked => asked == path ? (Fault)fault : null;
            PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(faulty));
            Assert.EndsWith(path, failure.Url);
            Assert.Contains(words, failure.Found);
            Assert.Contains(failure.Expected, (string[])["a whole file", $"the object {victim}", $"the commit {commit}"]);
            Assert.Equal(fault is Fault2.Truncate or Fault2.Unavailable or Fault2.Close or Fault2.Hang, failure.Expected == "a whole file");
            Assert.Contains($"{failure.Url}: expected {failure.Expected}, found ", failure.Message);
            Assert.Empty(ours.Refs());
            Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
            Assert.True(ours.Fsck().IsWhole);

            server.Misbehave = static _ => null;
            server.Requests.Clear();
            HashSet<string> staged = Staged(ours);
            await ours.Pull(options);
            Assert.Equal(commit, ours.Resolve("os/main"));
            Assert.Empty(ours.Fsck().Problems);
            Assert.DoesNotContain(server.Requests, staged.Contains); // what came before is not fetched again
        }

        server.Dispose();
    }

    private static HashSet<string> Staged(Repository repository) =>
        [.. System.IO.Directory.EnumerateFiles($"{repository.Path}/tmp", "*", SearchOption.AllDirectories)
            .Select(static path => "objects/" + string.Join('/', path.Split('/')[^2..]).Replace(".file", ".filez", StringComparison.Ordinal))];

    [Fact]
    public async Task A_server_that_falters_now_and_then_is_asked_again()
    {
        using var scratch = new Scratch();
        Checksum commit = Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        var asked = new ConcurrentDictionary<string, int>();
        server.Misbehave = path => asked.AddOrUpdate(path, 1, static (_, count) => count + 1) switch { 1 => Fault.Unavailable, 2 => Fault.Truncate, _ => null };
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["os/main"] });
        Assert.Equal(commit, ours.Resolve("os/main"));
        Assert.Empty(ours.Fsck().Problems);
        server.Dispose();
    }

    [Fact]
    public async Task A_server_of_http_1_0_that_hangs_up_after_each_answer_needs_no_second_try()
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        for (int i = 0; i < 400; i++)
            System.IO.File.WriteAllText($"{tree}/many-{i}", $"{i}");
        using Repository served = Repository.Create(scratch["served"], RepositoryMode.Archive);
        served.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        using var server = new StaticServer(served.Path) { OldStyle = true };
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Retries = 1 });
        Assert.True(ours.Fsck().IsWhole);
    }

    [Fact]
    public async Task A_server_that_is_gone_no_repository_and_a_wrong_branch_are_told_apart()
    {
        using var scratch = new Scratch();
        Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        PullException branch = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["nope"] }));
        Assert.EndsWith("refs/heads/nope", branch.Url);
        PullException nothing = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = server.Url + "/objects", Refs = ["x"] }));
        Assert.EndsWith("/objects/config", nothing.Url);
        server.Dispose();
        PullException gone = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["x"], Retries = 1 }));
        Assert.Contains("refused", gone.Found, StringComparison.OrdinalIgnoreCase);
        Assert.Empty(ours.Refs());
    }

    [Fact]
    public async Task A_bare_repository_is_not_pulled_and_a_commit_of_another_branch_is_not_taken()
    {
        using var scratch = new Scratch();
        Serve(scratch, out StaticServer server);
        using Repository bare = Repository.Create(scratch["bare"], RepositoryMode.Bare);
        using var other = new StaticServer(bare.Path);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        PullException mode = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = other.Url, Refs = ["x"] }));
        Assert.Contains("bare", mode.Found);
        using Repository served = Repository.Open(scratch["served"]);
        served.SetRef("renamed", served.Resolve("os/main"));
        PullException binding = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["renamed"] }));
        Assert.Contains("bound to", binding.Found);
        Assert.Empty(ours.Refs());
        server.Dispose();
    }

    [Fact]
    public async Task A_remote_that_says_nothing_of_signatures_wants_them_and_nothing_unsigned_is_kept()
    {
        using var scratch = new Scratch();
        Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        ours.WriteConfig(ours.Config.Without("remote \"origin\"", "gpg-verify"));
        await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["os/main"] }));
        Assert.Empty(ours.EnumerateObjects());
        server.Dispose();
    }

    [Theory]
    [InlineData("gpg-verify", "true")]
    [InlineData("sign-verify", "true")]
    [InlineData("sign-verify", "ed25519")]
    [InlineData("sign-verify", "ed25519;spki;")]
    [InlineData("gpg-verify-summary", "true")]
    [InlineData("sign-verify-summary", "ed25519")]
    public async Task No_setting_that_asks_for_signatures_is_passed_over(string key, string value)
    {
        using var scratch = new Scratch();
        Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        ours.WriteConfig(ours.Config.With("remote \"origin\"", key, value));
        foreach (string? url in new[] { null, server.Url, $"file://{scratch["served"]}" })
        {
            await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Url = url, Refs = ["os/main"] }));
        }

        Assert.Empty(ours.EnumerateObjects());
        Assert.Empty(ours.Refs());
        server.Dispose();
    }

    [Fact]
    public async Task A_remote_that_the_config_does_not_have_is_an_error_also_where_the_address_is_known()
    {
        using var scratch = new Scratch();
        Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        foreach (string? url in new[] { null, server.Url, $"file://{scratch["served"]}" })
        {
            RemoteNotFoundException missing = await Assert.ThrowsAsync<RemoteNotFoundException>(
                () => ours.Pull(new PullOptions { Remote = "orign", Url = url, Refs = ["os/main"] }));
            Assert.Equal("orign", missing.Remote);
        }

        Assert.Empty(server.Requests);
        Assert.Empty(ours.Refs());
        server.Dispose();
    }

    [Fact]
    public async Task A_file_address_and_a_checksum_work_too()
    {
        using var scratch = new Scratch();
        Checksum commit = Serve(scratch, out StaticServer server);
        using Repository ours = Target(scratch, server, RepositoryMode.Bare);
        await ours.Pull(new PullOptions { Url = $"file://{scratch["served"]}", Remote = "origin", Refs = ["os/main"] });
        Assert.Equal(commit, ours.Resolve("origin:os/main"));
        using Repository more = Repository.Create(scratch["more"], RepositoryMode.Archive);
        PullResult result = await more.Pull(new PullOptions { Url = server.Url, Refs = [commit.ToString()] });
        Assert.Empty(result.Refs);
        Assert.True(more.Has(new ObjectName(commit, ObjectType.Commit)));
        Assert.True(more.Fsck().IsWhole);
        server.Dispose();
    }

    private static Checksum Serve(Scratch scratch, out StaticServer server)
    {
        Judge.Ostree.Run("init", $"--repo={scratch["served"]}", "--mode=archive");
        string commit = Judge.Ostree.Run("commit", $"--repo={scratch["served"]}", "-b", "os/main", scratch.Tree()).Trim();
        server = new StaticServer(scratch["served"]);
        return Checksum.Parse(commit);
    }

    private static Repository Target(Scratch scratch, StaticServer server, RepositoryMode mode)
    {
        Repository ours = Repository.Create(scratch["ours"], mode);
        ours.WriteConfig(ours.Config.With("remote \"origin\"", "url", server.Url).With("remote \"origin\"", "gpg-verify", "false"));
        return ours;
    }

    private sealed class Heard(List<PullProgress> heard) : IProgress<PullProgress>
    {
        public void Report(PullProgress value)
        {
            lock (heard)
                heard.Add(value);
        }
    }

    // xunit wants public parameters; the server's own is internal.
    public enum Fault2
    {
        NotFound = Fault.NotFound,
        Unavailable = Fault.Unavailable,
        Corrupt = Fault.Corrupt,
        Truncate = Fault.Truncate,
        ShortFile = Fault.ShortFile,
        Hang = Fault.Hang,
        Close = Fault.Close,
    }
}
