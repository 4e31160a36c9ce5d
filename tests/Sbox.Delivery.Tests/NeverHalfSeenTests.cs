using System.Diagnostics;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>A reader at any moment, and after any cut, finds all of the old state or all of the new.</summary>
public sealed class NeverHalfSeenTests(ITestOutputHelper output)
{
    [Fact]
    public async Task At_every_step_a_reader_pulls_the_old_version_or_the_new_and_finds_it_signed()
    {
        using var shop = new Workshop();
        Checksum old = shop.Commit();
        await shop.Publish();
        Checksum @new = shop.Commit();
        await using var place = new WatchedPlace(new DirectoryPlace(shop["www"]) { Staleness = TimeSpan.Zero });
        string url = shop.Serve();
        var seen = new List<Checksum>();
        place.AfterStep = async () =>
        {
            using Repository reader = NewReader(shop, url, $"reader-{seen.Count}");
            await reader.Pull(new PullOptions { Remote = "origin", Refs = [Workshop.Branch], Timeout = TimeSpan.FromSeconds(10) });
            seen.Add(reader.Resolve($"origin:{Workshop.Branch}"));
        };
        await new Publisher(shop.Repository, place, shop.Signed()).Run(cancel: TestContext.Current.CancellationToken);
        int turned = seen.IndexOf(@new);
        Assert.True(turned > 5, $"{seen.Count} steps");
        Assert.All(seen.Take(turned), commit => Assert.Equal(old, commit));
        Assert.All(seen.Skip(turned), commit => Assert.Equal(@new, commit));
    }

    [Fact]
    public async Task Signatures_taken_at_one_step_fit_a_summary_taken_at_any_later_one_within_the_time_that_readers_are_given()
    {
        using var shop = new Workshop();
        shop.Commit();
        await shop.Publish();
        shop.Commit();
        await using var place = new WatchedPlace(new DirectoryPlace(shop["www"]) { Staleness = TimeSpan.Zero });
        var steps = new List<(byte[] Summary, byte[] Signature)>();
        place.AfterStep = () =>
        {
            steps.Add((File.ReadAllBytes(shop["www/summary"]), File.ReadAllBytes(shop["www/summary.sig"])));
            return Task.CompletedTask;
        };
        await new Publisher(shop.Repository, place, shop.Signed()).Run(cancel: TestContext.Current.CancellationToken);
        int announced = steps.FindIndex(step => Fits(shop, steps[^1].Summary, step.Signature));
        Assert.InRange(announced, 0, 3);
        for (int taken = announced; taken < steps.Count; taken++)
        {
            for (int later = taken; later < steps.Count; later++)
                Assert.True(Fits(shop, steps[later].Summary, steps[taken].Signature), $"signatures of step {taken}, summary of step {later} of {steps.Count}");
        }

        // Who has the old summary with signatures that fit both must not take it for the newest for ever.
        Assert.All(steps.Where(step => !step.Summary.AsSpan().SequenceEqual(steps[^1].Summary)), step => Assert.NotEqual(steps[^1].Signature, step.Signature));
    }

    [Fact]
    public async Task A_branch_that_goes_back_in_its_own_history_is_told_of()
    {
        using var shop = new Workshop();
        Checksum old = shop.Commit(files: 1);
        shop.Commit(files: 1);
        Assert.DoesNotContain((await shop.Publish()).Plan.Notes, IsBack);
        shop.Repository.SetRef(Workshop.Branch, old);
        Assert.Contains((await shop.Publish()).Plan.Notes, IsBack);
        shop.Commit(files: 2);
        Assert.DoesNotContain((await shop.Publish()).Plan.Notes, IsBack);

        static bool IsBack(string note) => note.StartsWith($"'{Workshop.Branch}' goes back", StringComparison.Ordinal);
    }

    [Fact, Trait("Category", "Slow")]
    public async Task Killed_at_any_moment_while_readers_pull_it_leaves_them_whole_and_the_next_run_finishes()
    {
        int seed = int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEED"), out int given) ? given : Random.Shared.Next();
        output.WriteLine($"SBOX_SEED={seed}");
        var random = new Random(seed);
        using var shop = new Workshop();
        var versions = new List<Checksum> { shop.Commit(files: 50) };
        await shop.Publish();
        string reader = shop.NewReader(shop.Serve(), "reader");
        int kills = 0, round = 0;
        for (; round < 6 || (kills < 3 && round < 30); round++)
        {
            versions.Add(shop.Commit(files: 50));
            int sent = Sent(shop) + random.Next(1, 40); // of some fifty files that are new
            using Process publishing = Publish(shop);
            Task<Checksum> pulling = Task.Run(() => Workshop.Pull(reader)); // beside it: a pull may take longer than a publication
            while (!publishing.HasExited && Sent(shop) < sent)
                await Task.Delay(1, TestContext.Current.CancellationToken);
            publishing.Kill();
            publishing.WaitForExit();
            kills += publishing.ExitCode == Killed ? 1 : 0;
            Checksum before = await pulling;
            Assert.Contains(before, versions);
            Checksum after = Workshop.Pull(reader);
            Assert.True(versions.IndexOf(after) >= versions.IndexOf(before), "a reader went back");
            if (round % 2 == 1)
                await shop.Publish();
        }

        await shop.Publish();
        Assert.Equal(versions[^1], Workshop.Pull(reader));
        Assert.Empty(Directory.GetFiles(shop["www/tmp"]));
        output.WriteLine($"{kills} of {round} publications were killed");
        Assert.True(kills >= 3, $"only {kills} of {round} publications were killed before their end");
    }

    private const int Killed = 128 + 9;

    private static int Sent(Workshop shop) => Directory.EnumerateFiles(shop["www/objects"], "*.filez", SearchOption.AllDirectories).Count();

    private static Process Publish(Workshop shop)
    {
        var start = new ProcessStartInfo(TestedProgram.Sbox, ["publish", "--repo", shop["repo"], "--to", shop["www"], "--sign-from-file", shop["secret"]])
        {
            RedirectStandardError = true, RedirectStandardOutput = true,
        };
        return Process.Start(start)!;
    }

    private static Repository NewReader(Workshop shop, string url, string name)
    {
        const string group = "remote \"origin\"";
        var reader = Repository.Create(shop[name], RepositoryMode.Archive);
        reader.WriteConfig(reader.Config.With(group, "url", url).With(group, "gpg-verify", "false").With(group, "sign-verify-summary", "true").With(group, "verification-ed25519-file", shop["public"]));
        return reader;
    }

    private static bool Fits(Workshop shop, byte[] summary, byte[] signature) =>
        CommitSignatures.Of(VariantDictionary.Parse(signature), CommitSignatures.Key).Any(each => shop.Key.Public.Verify(summary, each));
}
