using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using Sbox.Codecs;

namespace Sbox.Store.Tests;

/// <summary>Several mirrors of one repository: raced, left where they are bad, remembered; and none believed more than before.</summary>
public sealed class MirrorTests : IDisposable
{
    private const int Files = 400;
    private readonly Scratch scratch = new();
    private readonly Repository source;
    private readonly StaticServer[] servers;
    private Checksum commit;

    public MirrorTests()
    {
        source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        servers = [.. Enumerable.Range(0, 3).Select(_ => new StaticServer(source.Path))];
        File.WriteAllText($"{source.Path}/list", string.Concat(servers.Select(static each => $"{each.Url}\n")));
        Commit(1);
    }

    public void Dispose()
    {
        Array.ForEach(servers, static each => each.Dispose());
        source.Dispose();
        scratch.Dispose();
    }

    [Fact]
    public async Task Objects_come_from_all_and_what_changes_from_the_first()
    {
        PullResult result = await Pull();
        Assert.Empty(result.Notes);
        Assert.All(servers, static each => Assert.InRange(Objects(each), 2, Files));
        Assert.Equal(Objects(servers).Length, Objects(servers).Distinct().Count());
        // The others are asked whether they have a repository at all, and for what the first one lacks.
        string[] lacking = ["summary", $"objects/{new ObjectName(commit, ObjectType.CommitMeta).LoosePath(RepositoryMode.Archive)}"];
        string[] changing = [.. servers[1..].SelectMany(static each => each.Requests).Where(static path => !path.StartsWith("objects/", StringComparison.Ordinal) || path.EndsWith("meta", StringComparison.Ordinal)).Except(lacking).Distinct()];
        Assert.Equal(["config"], changing.Where(static path => !path.EndsWith(".dirmeta", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task The_addresses_of_a_metalink_are_raced_too()
    {
        await Pull(url: Metalink());
        Assert.All(servers, static each => Assert.InRange(Objects(each), 2, Files));
    }

    [Theory, InlineData((int)Fault.Forbidden, "status 403"), InlineData((int)Fault.Close, "a whole file")]
    public async Task One_of_a_metalink_that_gives_nothing_is_not_asked_for_what_changes_and_left_for_the_rest(int fault, string told)
    {
        servers[1].Misbehave = _ => (Fault)fault;
        PullResult result = await Pull(url: Metalink());
        Assert.Contains(result.Notes, note => note.Contains($"{servers[1].Url} was left", StringComparison.Ordinal) && note.Contains(told, StringComparison.Ordinal));
        Assert.All(servers[1..], static each => Assert.All(each.Requests, static path => Assert.Matches("^objects/.*(filez|dirtree|dirmeta|commit)$", path)));
        Assert.InRange(Objects(servers[1]), 1, Files / 4);
    }

    [Fact]
    public async Task One_whose_files_begin_as_if_they_were_larger_than_any_disk_is_left_and_hinders_nothing()
    {
        servers[1].Misbehave = static path => path.EndsWith(".filez", StringComparison.Ordinal) ? Fault.Swollen : null;
        PullResult result = await Pull();
        Assert.Contains(result.Notes, note => note.Contains($"{servers[1].Url} was left", StringComparison.Ordinal) && note.Contains("for which there is room", StringComparison.Ordinal));
    }

    [Fact]
    public async Task One_of_a_list_that_answers_nothing_about_what_others_lack_hinders_nothing()
    {
        servers[0].Misbehave = servers[2].Misbehave = static path => path.EndsWith(".commitmeta", StringComparison.Ordinal) ? Fault.NotFound : null;
        servers[1].Misbehave = static path => path.EndsWith(".commitmeta", StringComparison.Ordinal) ? Fault.Close : null;
        Assert.Empty((await Pull()).Notes);
    }

    [Fact]
    public async Task What_changes_is_waited_for_where_it_should_come_from()
    {
        source.WriteSummary();
        int asked = 0;
        servers[0].Misbehave = path => path == "summary" && Interlocked.Increment(ref asked) <= 3 ? Fault.Unavailable : null;
        await Pull();
        Assert.Equal(4, asked);
        Assert.All(servers[1..], static each => Assert.DoesNotContain("summary", each.Requests));
    }

    [Fact]
    public async Task A_delta_is_from_one_place_and_a_fast_mirror_with_another_one_is_not_asked()
    {
        Checksum old = commit;
        await Pull();
        File.WriteAllText(scratch["target/tmp/cache/mirrors/origin"], string.Concat(servers.Select((each, index) => $"{(index == 0 ? 1 : 1_000_000_000)} {DateTimeOffset.UtcNow.ToUnixTimeSeconds()} {each.Url}\n")));
        Commit(2);
        source.MakeDelta(new DeltaName(old, commit), new DeltaOptions { MinimumFallback = 0 });
        source.WriteSummary();
        foreach (StaticServer server in servers[1..])
            server.Misbehave = static path => path.StartsWith("deltas/", StringComparison.Ordinal) ? Fault.Corrupt : null;
        Assert.NotEqual(0, (await Pull()).Deltas.Parts);
        Assert.Contains(servers[0].Requests, static path => path.StartsWith("deltas/", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Where_a_server_is_believed_all_is_from_one()
    {
        using Repository target = Repository.Create(scratch["archive"], RepositoryMode.Archive);
        await target.Pull(new PullOptions { Url = $"mirrorlist={servers[0].Url}/list", Refs = ["main"], BelieveServer = true }, null, TestContext.Current.CancellationToken);
        Assert.Equal([Files, 0, 0], servers.Select(Objects));
    }

    [Fact]
    public async Task A_line_that_is_gone_for_a_moment_is_held_against_nobody()
    {
        var asked = new ConcurrentDictionary<string, int>();
        foreach (StaticServer server in servers) // two tries of each are what haste allows
            server.Misbehave = path => path.StartsWith("objects/0", StringComparison.Ordinal) && path.EndsWith(".filez", StringComparison.Ordinal) && asked.AddOrUpdate(path, 1, static (_, n) => n + 1) <= 6 ? Fault.Unavailable : null;
        Assert.Empty((await Pull()).Notes);
        Assert.NotEmpty(asked);
        Assert.All(asked, static each => Assert.Equal(7, each.Value));
    }

    [Theory, InlineData((int)Fault.Hang, "nothing for 5 seconds"), InlineData((int)Fault.Unavailable, "status 503"), InlineData((int)Fault.Corrupt, "bytes that hash to")]
    public async Task One_that_stalls_fails_or_lies_is_left_and_told_and_asked_last_the_next_time(int fault, string told)
    {
        // One that has brought something may have lost its line, and what was under way then is one failure only; this one never brings anything.
        string[] kinds = (Fault)fault == Fault.Hang ? [".filez", ".commit", ".dirtree", ".dirmeta"] : [".filez"];
        servers[1].Misbehave = path => kinds.Any(path.EndsWith) ? (Fault)fault : null;
        PullResult result = await Pull((Fault)fault == Fault.Hang ? TimeSpan.FromSeconds(5) : null);
        Assert.Contains(result.Notes, note => note.Contains($"{servers[1].Url} was left", StringComparison.Ordinal) && note.Contains(told, StringComparison.Ordinal));
        Assert.InRange(Objects(servers[1]), 0, Files / 2);

        servers[1].Requests.Clear();
        Commit(2);
        await Pull();
        Assert.Equal(0, Objects(servers[1]));
    }

    [Fact]
    public async Task One_that_lacks_most_is_asked_for_little()
    {
        servers[1].Misbehave = static path => path.EndsWith(".filez", StringComparison.Ordinal) ? Fault.NotFound : null;
        await Pull();
        Assert.InRange(Objects(servers[1]), 1, Files / 4);
    }

    [Fact]
    public async Task What_was_learnt_is_kept_without_a_password_and_forgotten_with_the_remote()
    {
        File.WriteAllText($"{source.Path}/list", string.Concat(servers.Select(static each => each.Url.Replace("//", "//alice:s3cret@", StringComparison.Ordinal) + "\n")));
        await Pull();
        string kept = File.ReadAllText(scratch["target/tmp/cache/mirrors/origin"]);
        Assert.Equal(3, kept.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.All(servers, each => Assert.Contains($" {each.Url}\n", kept, StringComparison.Ordinal));
        Assert.DoesNotContain("s3cret", kept, StringComparison.Ordinal);
        File.WriteAllText(scratch["target/config"], "[core]\nrepo_version=1\nmode=bare-user\n");
        using Repository target = Repository.Open(scratch["target"]);
        target.Prune(new PruneOptions());
        Assert.False(File.Exists(scratch["target/tmp/cache/mirrors/origin"]));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task What_cannot_be_remembered_hinders_nothing_and_no_more_does_one_address_with_two_passwords(bool isLink)
    {
        File.WriteAllText($"{source.Path}/list", string.Concat(servers[..2].SelectMany(static each => new[] { "one", "two" }.Select(word => each.Url.Replace("//", $"//alice:{word}@", StringComparison.Ordinal) + "\n"))));
        await Pull();
        Assert.Equal(2, File.ReadAllLines(scratch["target/tmp/cache/mirrors/origin"]).Length);
        Directory.Delete(scratch["target/tmp/cache/mirrors"], recursive: true);
        if (isLink)
            File.CreateSymbolicLink(scratch["target/tmp/cache/mirrors"], "/nowhere");
        else
            File.WriteAllText(scratch["target/tmp/cache/mirrors"], "");
        Commit(2);
        await Pull();
    }

    [Theory]
    [InlineData("\0\u0001\u0002")]
    [InlineData("99999999999999999999 1 http://x\n-1 -1 http://y\n1e9 1 z\n\n 1 2\n")]
    [InlineData("9223372036854775807 9223372036854775807 http://x")]
    [InlineData("<too long>")]
    [InlineData("<a directory>")]
    public async Task Damaged_memory_hinders_nothing(string kept)
    {
        await Pull();
        string file = scratch["target/tmp/cache/mirrors/origin"];
        File.Delete(file);
        if (kept == "<a directory>")
            Directory.CreateDirectory($"{file}/inside");
        else
            File.WriteAllText(file, kept == "<too long>" ? string.Concat(Enumerable.Repeat($"0 {DateTimeOffset.UtcNow.ToUnixTimeSeconds()} {servers[0].Url}\n", 10_000)) : kept);
        Array.ForEach(servers, static each => each.Requests.Clear());
        Commit(2);
        await Pull();
        Assert.All(servers, static each => Assert.InRange(Objects(each), 1, Files));
    }

    [Fact]
    public void A_mirror_gets_as_much_as_it_is_faster_and_few_are_raced()
    {
        var race = new MirrorRace(["slow", "fast", "middle", "never", "spare"]);
        var speeds = new Dictionary<string, double> { ["slow"] = 1e4, ["fast"] = 1e6, ["middle"] = 3e5, ["never"] = 1 };
        var given = new Dictionary<string, int>();
        var under = new PriorityQueue<MirrorRace.Mirror, double>();
        double now = 0;
        for (int n = 0; n < 2000; n++)
        {
            MirrorRace.Mirror mirror = race.Next([], inOrder: false)!;
            given[mirror.Url] = given.GetValueOrDefault(mirror.Url) + 1;
            under.Enqueue(mirror, now + (10_000 * mirror.UnderWay / speeds[mirror.Url])); // all that one has under way share its line
            if (under.Count < 32)
                continue;
            under.TryDequeue(out MirrorRace.Mirror? done, out double at);
            double took = 10_000 * done!.UnderWay / speeds[done.Url];
            now = Math.Max(now, at);
            race.Ended(done, 10_000, TimeSpan.FromSeconds(took), isMeasure: true);
        }

        Assert.DoesNotContain("spare", given.Keys);
        Assert.InRange(given["fast"], 2 * given["middle"], 6 * given["middle"]);
        Assert.InRange(given["middle"], 4 * given["slow"], 2000);
        Assert.InRange(given["never"], 1, 16);
    }

    [Fact]
    public void Where_nobody_brings_anything_nobody_is_left_and_one_that_lied_is_left_at_once()
    {
        var race = new MirrorRace(["a", "b", "c"]);
        MirrorRace.Mirror a = race.Next([], inOrder: true)!, b = race.Next([a], inOrder: true)!;
        for (int n = 0; n < 20; n++)
        {
            race.Ended(race.Next([], inOrder: true)!, 0, TimeSpan.FromSeconds(10), isMeasure: true);
            race.Ended(race.Next([a], inOrder: true)!, 0, TimeSpan.FromSeconds(10), isMeasure: true);
        }

        Assert.Empty(race.Notes);
        race.Came(b, Failed(a, Cut, race.Now), []);
        Assert.Empty(race.Notes);
        race.Came(b, Failed(a, new PullException("a", "status 200", "status 403"), race.Now), []); // it says nothing of the bytes
        Assert.Empty(race.Notes);
        race.Came(b, Failed(a, new PullException("a", "right bytes", "wrong ones"), race.Now, isOfBytes: true), []);
        Assert.Single(race.Notes);
        Assert.Equal("b", race.Next([], inOrder: true)!.Url);
        Assert.Equal("a", race.Next([b, race.Next([b], inOrder: true)!], inOrder: true)!.Url); // when there is nobody else
        Assert.Equal(0, race.Learnt()["a"]);
    }

    [Fact]
    public void What_was_under_way_when_a_line_was_cut_is_one_failure()
    {
        var race = new MirrorRace(["a", "b"]);
        MirrorRace.Mirror a = race.Next([], inOrder: true)!, b = race.Next([a], inOrder: true)!;
        race.Came(a, new Dictionary<MirrorRace.Mirror, MirrorRace.Failure>(), []);
        long began = race.Now;
        for (int n = 0; n < 8; n++)
            race.Came(b, Failed(a, Cut, began), []);
        Assert.Empty(race.Notes);
        race.Came(b, Failed(a, Cut, race.Now + 1), []);
        Assert.Single(race.Notes);
    }

    [Fact]
    public void Only_what_was_measured_is_learnt()
    {
        var race = new MirrorRace(["a", "b"]);
        MirrorRace.Mirror a = race.Next([], inOrder: false)!, b = race.Next([a], inOrder: false)!;
        var none = new Dictionary<MirrorRace.Mirror, MirrorRace.Failure>();
        foreach ((MirrorRace.Mirror mirror, int times) in new[] { (a, 3), (b, 2) })
        {
            for (int n = 0; n < times; n++)
            {
                race.Ended(mirror, 0, TimeSpan.FromSeconds(100), isMeasure: false); // "there is none", by one that is slow to find that
                race.Ended(mirror, 100_000, TimeSpan.FromSeconds(1), isMeasure: true);
                race.Came(mirror, none, []);
            }
        }

        Assert.InRange(Assert.Contains("a", race.Learnt()), 90_000, 110_000);
        Assert.DoesNotContain("b", race.Learnt()); // beside the first, which waited for the connection, there was one
    }

    [Fact]
    public async Task Of_several_servers_each_says_for_itself_whether_it_speaks_HTTP_2()
    {
        using var transport = new HttpTransport(source, null, new PullOptions { Handler = new TwoVersions() });
        string[] both = ["http://new/repo", "http://old/repo"];
        Assert.False(transport.Multiplexes(both)); // nobody has answered yet
        (await transport.Get("http://new/repo/config", null, null, TestContext.Current.CancellationToken)).Dispose();
        Assert.True(transport.Multiplexes(both));
        Assert.False(transport.Multiplexes(both[1..]));
        (await transport.Get("http://old/repo/config", null, null, TestContext.Current.CancellationToken)).Dispose();
        Assert.False(transport.Multiplexes(both));
        Assert.True(transport.Multiplexes(both[..1]));
    }

    [Fact]
    public void What_is_remembered_is_asked_first_and_one_unknown_beside()
    {
        DateTimeOffset then = DateTimeOffset.UnixEpoch;
        var known = new Dictionary<string, MirrorMemory.Line> { ["bad"] = new(0, then), ["slow"] = new(1000, then), ["fast"] = new(1_000_000, then), ["good"] = new(900_000, then), ["fine"] = new(800_000, then) };
        var race = new MirrorRace(["bad", "slow", "new", "newer", "fine", "good", "fast"], known);
        string[] first = [.. Enumerable.Range(0, 40).Select(_ => race.Next([], inOrder: false)!.Url)];
        Assert.Equal(["fast", "fine", "good", "new"], first.Distinct().Order());
        Assert.Equal("bad", new MirrorRace(["bad", "slow"], known).Next([], inOrder: true)!.Url);
    }

    private static PullException Cut { get; } = new("a", "x", "cut") { IsOfTheNetwork = true };

    private static Dictionary<MirrorRace.Mirror, MirrorRace.Failure> Failed(MirrorRace.Mirror mirror, PullException error, long began, bool isOfBytes = false) => new() { [mirror] = new(error, began, isOfBytes) };

    private string Metalink()
    {
        source.WriteSummary();
        byte[] summary = File.ReadAllBytes($"{source.Path}/summary");
        File.WriteAllText($"{source.Path}/link", $"""
            <metalink version="3.0"><files><file name="summary"><size>{summary.Length}</size>
            <verification><hash type="sha256">{Convert.ToHexStringLower(SHA256.HashData(summary))}</hash></verification>
            <resources>{string.Concat(servers.Select(static each => $"<url protocol=\"http\">{each.Url}/summary</url>"))}</resources></file></files></metalink>
            """);
        return $"metalink={servers[0].Url}/link";
    }

    private void Commit(int version)
    {
        Directory.CreateDirectory(scratch["tree/usr"]);
        for (int n = 0; n < Files; n++)
            File.WriteAllText(scratch[$"tree/usr/{n}"], $"{version} {n} {new string('x', n)}");
        commit = source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Timestamp = DateTimeOffset.UnixEpoch.AddDays(version) });
    }

    private async Task<PullResult> Pull(TimeSpan? timeout = null, string? url = null)
    {
        if (!Directory.Exists(scratch["target"]))
        {
            Repository.Create(scratch["target"], RepositoryMode.BareUser).Dispose();
            File.AppendAllText(scratch["target/config"], $"\n[remote \"origin\"]\nurl={url ?? $"mirrorlist={servers[0].Url}/list"}\ngpg-verify=false\n");
        }

        using Repository target = Repository.Open(scratch["target"]);
        PullResult result = await target.Pull(new PullOptions { Remote = "origin", Refs = ["main"], Timeout = timeout ?? TimeSpan.FromMinutes(2) }, null, TestContext.Current.CancellationToken);
        Assert.Equal(commit, target.Resolve("origin:main"));
        Assert.True(target.Fsck().IsWhole);
        return result;
    }

    private static int Objects(StaticServer server) => Objects([server]).Length;

    private static string[] Objects(StaticServer[] servers) => [.. servers.SelectMany(static each => each.Requests).Where(static path => path.EndsWith(".filez", StringComparison.Ordinal))];

    private sealed class TwoVersions : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            Task.FromResult(new HttpResponseMessage(HttpStatusCode.NotFound) { Version = request.RequestUri!.Host == "new" ? HttpVersion.Version20 : HttpVersion.Version11 });
    }
}
