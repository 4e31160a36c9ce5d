using System.Diagnostics;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>A pull whose process is killed leaves the repository whole, and the next one goes on from there; one that gives up has waited longer each time.</summary>
public sealed class KilledPullTests
{
    [Theory, InlineData(true), InlineData(false)]
    public async Task After_a_kill_the_next_pull_fetches_only_what_had_not_come(bool delta)
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, out Checksum commit);
        DeltaReport? made = delta ? source.MakeDelta(new DeltaName(null, commit), new DeltaOptions { MinimumFallback = 0, MaximumPart = 1_000_000 }) : null;
        source.WriteSummary();
        Assert.True(made is null or { Parts.Count: 4 }, $"{made?.Parts.Count} parts");
        string last = made?.Name.Part(3) ?? FileOf(source, commit, "/3");
        using var server = new StaticServer(source.Path) { Misbehave = path => path == last ? Fault.Hang : null };
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        using (Process pull = Victim.Pull(ours, server.Url))
        {
            // All others are there: each is asked for once, and the last one is waited for.
            string[] others = made is null ? [.. Enumerable.Range(0, 3).Select(file => FileOf(source, commit, $"/{file}"))] : [.. Enumerable.Range(0, 3).Select(made.Name.Part)];
            await Until(() => server.Requests.Contains(last) && others.All(server.Requests.Contains) && (made is not null || StagedFiles(ours) == 3), pull);
            pull.Kill();
            pull.WaitForExit();
        }

        Assert.Empty(ours.Refs());
        Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
        server.Requests.Clear();
        server.Misbehave = static _ => null;
        PullResult result = await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Deltas = delta ? DeltaUse.Required : DeltaUse.WherePossible });
        Assert.Equal(delta ? 1 : 0, result.Deltas.Parts);
        Assert.Equal([last], server.Requests.Where(path => path.EndsWith(".filez", StringComparison.Ordinal) || (made is not null && Enumerable.Range(0, 4).Select(made.Name.Part).Contains(path))));
        Assert.Equal(commit, ours.Resolve("main"));
        Assert.False(ours.IsPartial(commit));
        Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
    }

    [Fact]
    public async Task A_server_that_fails_is_asked_again_as_often_as_is_said_and_longer_apart_each_time()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, out _);
        var asked = new List<long>();
        using var server = new StaticServer(source.Path)
        {
            Misbehave = path =>
            {
                if (path != "config")
                    return null;
                lock (asked)
                    asked.Add(Stopwatch.GetTimestamp());
                return Fault.Unavailable;
            },
        };
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Retries = 4 }));
        Assert.Equal(($"{server.Url}/config", "a whole file"), (failure.Url, failure.Expected));
        Assert.Equal(5, asked.Count);
        for (int attempt = 0; attempt < 4; attempt++)
            Assert.True(Stopwatch.GetElapsedTime(asked[attempt], asked[attempt + 1]) >= TimeSpan.FromMilliseconds((50 << attempt) - 10), $"pause {attempt}");
    }

    [Theory, InlineData(0, 100), InlineData(3, 800), InlineData(6, 6400), InlineData(40, 6400)]
    public void No_two_boxes_wait_equally_long(int attempt, int milliseconds)
    {
        TimeSpan[] pauses = [.. Enumerable.Range(0, 200).Select(_ => HttpFetcher.Pause(attempt))];
        Assert.All(pauses, pause => Assert.InRange(pause.TotalMilliseconds, milliseconds / 2, milliseconds * 1.5));
        Assert.True(pauses.Distinct().Count() > 150);
        Assert.True(pauses.Max() - pauses.Min() > TimeSpan.FromMilliseconds(milliseconds / 2));
    }

    private static Repository Source(Scratch scratch, out Checksum commit)
    {
        Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        string tree = Directory.CreateDirectory(scratch["tree"]).FullName;
        for (int file = 0; file < 4; file++)
            File.WriteAllBytes($"{tree}/{file}", RandomNumberGenerator.GetBytes(900_000));
        commit = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        return source;
    }

    private static string FileOf(Repository source, Checksum commit, string path) =>
        $"objects/{new ObjectName(source.Find(commit, path).Content!.Value, ObjectType.File).LoosePath(RepositoryMode.Archive)}";

    private static int StagedFiles(Repository ours) =>
        Directory.EnumerateFiles($"{ours.Path}/tmp", "*.file", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true }).Count();

    private static async Task Until(Func<bool> reached, Process pull)
    {
        long begun = Stopwatch.GetTimestamp();
        while (!reached())
        {
            Assert.False(pull.HasExited, "the pull ended by itself");
            Assert.True(Stopwatch.GetElapsedTime(begun) < TimeSpan.FromMinutes(3), "it never came so far");
            await Task.Delay(20);
        }
    }
}

/// <summary>A process that works on a repository, to be killed or told things by its environment.</summary>
internal static class Victim
{
    /// <summary>Pulls the branch main.</summary>
    public static Process Pull(Repository ours, string url, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "Sbox.Store.Victim"), ["pull", ours.Path, url]) { RedirectStandardError = true };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        return Process.Start(start)!;
    }
}
