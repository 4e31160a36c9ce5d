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
        source.WriteSummary();
        byte[] summary = File.ReadAllBytes($"{source.Path}/summary");
        File.WriteAllText($"{source.Path}/link", $"""
            <metalink version="3.0"><files><file name="summary"><size>{summary.Length}</size>
            <verification><hash type="sha256">{Convert.ToHexStringLower(SHA256.HashData(summary))}</hash></verification>
            <resources>{string.Concat(servers.Select(static each => $"<url protocol=\"http\">{each.Url}/summary</url>"))}</resources></file></files></metalink>
            """);
        await Pull(url: $"metalink={servers[0].Url}/link");
        Assert.All(servers, static each => Assert.InRange(Objects(each), 2, Files));
    }

    [Theory, InlineData((int)Fault.Hang, "nothing for 5 seconds"), InlineData((int)Fault.Unavailable, "status 503"), InlineData((int)Fault.Corrupt, "bytes that hash to")]
    public async Task One_that_stalls_fails_or_lies_is_left_and_told_and_asked_last_the_next_time(int fault, string told)
    {
        servers[1].Misbehave = path => path.EndsWith(".filez", StringComparison.Ordinal) ? (Fault)fault : null;
        PullResult result = await Pull((Fault)fault == Fault.Hang ? TimeSpan.FromSeconds(5) : null);
        Assert.Contains(result.Notes, note => note.Contains($"{servers[1].Url} was left", StringComparison.Ordinal) && note.Contains(told, StringComparison.Ordinal));
        Assert.InRange(Objects(servers[1]), 1, Files / 2);

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
            race.Ended(done, 10_000, TimeSpan.FromSeconds(took));
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
            race.Ended(race.Next([], inOrder: true)!, 0, TimeSpan.FromSeconds(10));
            race.Ended(race.Next([a], inOrder: true)!, 0, TimeSpan.FromSeconds(10));
        }

        Assert.Empty(race.Notes);
        race.Came(b, new Dictionary<MirrorRace.Mirror, PullException> { [a] = new("a", "x", "cut") { IsOfTheNetwork = true } }, []);
        Assert.Empty(race.Notes);
        race.Came(b, new Dictionary<MirrorRace.Mirror, PullException> { [a] = new("a", "right bytes", "wrong ones") }, []);
        Assert.Single(race.Notes);
        Assert.Equal("b", race.Next([], inOrder: true)!.Url);
        Assert.Equal("a", race.Next([b, race.Next([b], inOrder: true)!], inOrder: true)!.Url); // when there is nobody else
        Assert.Equal(0, race.Learnt()["a"]);
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
}
