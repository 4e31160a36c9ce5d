using System.Globalization;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>
/// The program as it is published is killed, or refused by the kernel (EIO, ENOSPC), at its Nth call of every kind that changes a disk; strace
/// does it, and real ostree says what is left. Every call of every deed is in the list; a run takes a sample of it, by a seed that it prints.
/// SBOX_FAULTS=N takes N of them, SBOX_FAULTS=all all (some thousand); SBOX_SEED=S repeats a sample.
/// </summary>
public sealed class NeverLostTests(ITestOutputHelper output)
{
    private const int SampleEach = 30; // of a deed: a minute for all on two quiet processors
    private static readonly Judge Strace = Judge.OnPath("strace");

    private static readonly string[] Calls =
        ["write", "pwrite64", "copy_file_range", "ftruncate", "linkat", "symlinkat", "mkdirat", "renameat2", "unlinkat", "fsync", "syncfs", "fchmod", "fchown"];

    private static readonly string[] Faults = ["signal=KILL", "error=EIO", "error=ENOSPC"];

    public static TheoryData<string> Deeds => [.. (string[])["commit", "commit-archive", "pull-local", "prune", "summary", "apply"]];

    [Theory, Trait("Category", "Slow"), MemberData(nameof(Deeds))]
    public void Failed_or_killed_at_any_step_nothing_is_lost_and_the_next_try_finishes(string deed)
    {
        using var pristine = new Place(deed);
        List<(string Call, int When, string Fault)> all = [.. from counted in pristine.CountCalls() from when in Enumerable.Range(1, counted.Count) from fault in Faults select (counted.Call, when, fault)];
        int seed = int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEED"), CultureInfo.InvariantCulture, out int given) ? given : Random.Shared.Next();
        string asked = Environment.GetEnvironmentVariable("SBOX_FAULTS") ?? $"{SampleEach}";
        int take = asked == "all" ? all.Count : Math.Min(all.Count, int.Parse(asked, CultureInfo.InvariantCulture));
        (string Call, int When, string Fault)[] cases = [.. all];
        new Random(seed).Shuffle(cases);
        int hit = 0;
        foreach ((string call, int when, string fault) in cases.Take(take))
            hit += pristine.Try(call, when, fault, $"{deed}: {fault} at {call} {when} (SBOX_SEED={seed})") ? 1 : 0;
        output.WriteLine($"{deed}: {take} of {all.Count} faults tried, {hit} met their call; SBOX_SEED={seed}");
        // strace counts by thread, and which thread gets which file varies: not every plan meets a call.
        Assert.True(hit > take / 2, $"only {hit} of {take} faults met a call");
    }

    [Fact, Trait("Category", "Slow")]
    public void A_full_disk_is_noticed_before_it_happens_and_said_with_both_numbers()
    {
        using var place = new Place("commit");
        string repository = place.Reset();
        File.AppendAllText($"{repository}/config", "min-free-space-size=4000000GB\n");
        Verdict verdict = Judge.OnPath(Published.Sbox).Ask("store", "commit", $"--repo={repository}", "--branch=main", $"--tree=dir={place.NewTree}");
        Assert.Equal(1, verdict.ExitCode);
        Assert.Matches(@"\d+ bytes are needed, 0 are left above the reserve of min-free-space", verdict.Error);
        Assert.Equal(place.Old, Place.Branch(repository));
        Judge.Ostree.Run("fsck", $"--repo={repository}");
    }

    /// <summary>A repository to begin with, what is done to it, and what must be true whenever that ends.</summary>
    private sealed class Place : IDisposable
    {
        private readonly Scratch scratch = new();
        private readonly string deed;
        private readonly string program;
        private readonly string made;

        public Place(string deed)
        {
            this.deed = deed;
            program = scratch["ostree"]; // the name makes it the drop-in
            File.CreateSymbolicLink(program, Published.Sbox);
            string mode = deed is "commit-archive" or "summary" ? "archive" : "bare";
            Tree("old", "old");
            Tree("new", "new");
            Judge.Ostree.Run("init", $"--repo={scratch["pristine"]}", $"--mode={mode}");
            if (deed == "prune")
                Commit("pristine", "new", "main"); // a parent that goes
            Old = Commit("pristine", "old", "main");
            Judge.Ostree.Run("init", $"--repo={scratch["served"]}", "--mode=archive");
            Judge.Ostree.Run("pull-local", $"--repo={scratch["served"]}", scratch["pristine"], "main");
            made = Commit("served", "new", "main");
            Judge.Ostree.Run("static-delta", "generate", $"--repo={scratch["served"]}", $"--from={Old}", $"--to={made}", "--min-fallback-size=0", $"--filename={scratch["delta"]}");
        }

        public string Old { get; }

        public string NewTree => scratch["new"];

        private string Repository => scratch["repo"];

        private string[] Arguments => deed switch
        {
            "commit" or "commit-archive" => ["commit", $"--repo={Repository}", "--branch=main", "--timestamp=@1700000000", $"--tree=dir={NewTree}"],
            "pull-local" => ["pull-local", $"--repo={Repository}", scratch["served"], "main"],
            "prune" => ["prune", $"--repo={Repository}", "--refs-only", "--depth=0"],
            "summary" => ["summary", $"--repo={Repository}", "--update"],
            _ => ["static-delta", "apply-offline", $"--repo={Repository}", scratch["delta"]],
        };

        public static string Branch(string repository) => File.ReadAllText($"{repository}/refs/heads/main").Trim();

        public string Reset()
        {
            using (Linux.Dir dir = Linux.Dir.Open(scratch.Root))
                dir.RemoveAll("repo");
            Judge.OnPath("cp").Run("-a", scratch["pristine"], Repository);
            return Repository;
        }

        /// <summary>How often the thread that makes most of each call makes it, in a run that nothing disturbs.</summary>
        public IReadOnlyList<(string Call, int Count)> CountCalls()
        {
            Reset();
            Verdict verdict = Strace.Ask(["-f", "-qq", "-o", scratch["trace"], "-e", $"trace={string.Join(',', Calls)}", program, .. Arguments]);
            Assert.True(verdict.ExitCode == 0, verdict.Error);
            MustBeDone("undisturbed");
            string[] lines = File.ReadAllLines(scratch["trace"]);
            return [.. Calls.Select(call => (call, lines.Where(line => line.Contains($" {call}(", StringComparison.Ordinal))
                .GroupBy(static line => line[..line.IndexOf(' ', StringComparison.Ordinal)]).Select(static thread => thread.Count()).DefaultIfEmpty().Max())).Where(static counted => counted.Item2 > 0)];
        }

        /// <summary>Does it with one fault, and judges what is left.</summary>
        /// <returns>Whether the fault met its call.</returns>
        public bool Try(string call, int when, string fault, string what)
        {
            Reset();
            Verdict verdict = Strace.Ask(["-f", "-qq", "-o", scratch["trace"], "-e", $"inject={call}:{fault}:when={when}", program, .. Arguments]);
            bool met = verdict.ExitCode is 137 or 9 || File.ReadAllText(scratch["trace"]).Contains("(INJECTED)", StringComparison.Ordinal);
            MustBeWhole(what);
            if (verdict.ExitCode == 0)
            {
                // Whoever says that it is done has done it, and what was refused a sync is not done.
                MustBeDone(what);
                Assert.False(met && call is "fsync" or "syncfs", $"{what}: said to be done");
            }
            else if (met && !fault.StartsWith("signal", StringComparison.Ordinal))
            {
                Assert.True(verdict.Error.StartsWith("error: ", StringComparison.Ordinal) || call == "write", $"{what}: {verdict.Error}");
            }

            Verdict again = Judge.OnPath(program).Ask(Arguments);
            Assert.True(again.ExitCode == 0, $"{what}, and again: {again.Error}");
            MustBeWhole(what + ", and again");
            MustBeDone(what + ", and again");
            return met;
        }

        public void Dispose() => scratch.Dispose();

        private void MustBeWhole(string what)
        {
            Verdict fsck = Judge.Ostree.Ask("fsck", $"--repo={Repository}");
            Assert.True(fsck.ExitCode == 0, $"{what}: {fsck.Output}{fsck.Error}");
            string now = Branch(Repository);
            if (now == Old)
                return;
            Assert.True(deed is "commit" or "commit-archive" or "pull-local", $"{what}: the branch leads to {now}");
            Assert.Contains("/d/5", Judge.Ostree.Run("ls", $"--repo={Repository}", "-R", "main"));
        }

        private void MustBeDone(string what)
        {
            switch (deed)
            {
                case "prune":
                    Assert.Contains("No unreachable objects", Judge.Ostree.Run("prune", $"--repo={Repository}", "--refs-only", "--depth=0", "--no-prune"));
                    break;
                case "summary":
                    Assert.Contains(Old, Judge.Ostree.Run("summary", $"--repo={Repository}", "--view"));
                    break;
                case "apply":
                    Assert.Contains("/d/5", Judge.Ostree.Run("ls", $"--repo={Repository}", "-R", made));
                    break;
                default:
                    Assert.True(Branch(Repository) != Old, $"{what}: the branch is the old one");
                    break;
            }
        }

        private string Commit(string repository, string tree, string branch) =>
            Judge.Ostree.Run("commit", $"--repo={scratch[repository]}", $"--branch={branch}", "--timestamp=@1600000000", $"--tree=dir={scratch[tree]}").Trim();

        private void Tree(string name, string salt)
        {
            Directory.CreateDirectory(scratch[name] + "/d");
            for (int i = 0; i < 6; i++)
                File.WriteAllText($"{scratch[name]}/d/{i}", string.Concat(Enumerable.Repeat($"{salt} {i}\n", 1 + (i * 4000))));
            File.CreateSymbolicLink($"{scratch[name]}/link", salt);
        }
    }
}
