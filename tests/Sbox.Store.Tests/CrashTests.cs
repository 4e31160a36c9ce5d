using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>The published program is killed, or refused by the kernel, at its Nth call of each kind; strace does it.</summary>
public sealed class CrashTests
{
    private static readonly Judge Strace = Judge.OnPath("strace");

    // Staging, the sync, moving into place, the refs, clearing up.
    private static readonly string[] Calls = ["linkat", "syncfs", "renameat2", "fsync", "unlinkat"];

    public static TheoryData<RepositoryMode, string> Deeds => new()
    {
        { RepositoryMode.Bare, "commit" },
        { RepositoryMode.Archive, "commit" },
        { RepositoryMode.Bare, "pull-local" },
        { RepositoryMode.Bare, "pull" },
    };

    [Theory, Trait("Category", "Slow"), MemberData(nameof(Deeds))]
    public void Killed_at_any_step_the_branch_is_the_old_or_the_new_and_ostree_finds_it_whole(RepositoryMode mode, string deed)
    {
        using var scene = new Scene(mode, deed);
        int planned = 0, killed = 0;
        foreach ((string call, int count) in scene.CountCalls(Calls))
        {
            // The first, the middle, and the last few, where names appear.
            foreach (int when in new[] { 1, count / 2, count - 1, count }.Where(static at => at > 0).Distinct())
            {
                planned++;
                scene.Reset();
                Verdict verdict = Strace.Ask(["-f", "-qq", "-o", "/dev/null", "-e", $"inject={call}:signal=KILL:when={when}", Published.Ostree, .. scene.Arguments]);
                killed += verdict.ExitCode == 0 ? 0 : 1;
                scene.MustBeOldOrNew($"{call} {when}");
                scene.MustSucceedNow();
            }
        }

        // strace counts by thread, and which thread gets which file varies: not every plan meets a call.
        Assert.True(killed > planned / 2, $"only {killed} of {planned} kills hit a call");
    }

    [Theory, Trait("Category", "Slow"), MemberData(nameof(Deeds))]
    public void Refused_by_the_kernel_at_any_step_it_says_so_and_the_branch_stays(RepositoryMode mode, string deed)
    {
        using var scene = new Scene(mode, deed);
        foreach (string fault in new[] { "linkat:error=ENOSPC:when=3+", "syncfs:error=EIO", "fsync:error=EIO:when=2", "renameat2:error=EROFS:when=4" })
        {
            scene.Reset();
            Verdict verdict = Strace.Ask(["-f", "-qq", "-o", "/dev/null", "-e", $"inject={fault}", Published.Ostree, .. scene.Arguments]);
            Assert.True(verdict.ExitCode == 1, fault);
            Assert.Contains(fault[..fault.IndexOf(':', StringComparison.Ordinal)], verdict.Error);
            Assert.Equal(scene.Old, scene.Branch());
            scene.MustBeOldOrNew(fault);
            scene.MustSucceedNow();
        }
    }

    [Theory, Trait("Category", "Slow"), MemberData(nameof(Deeds))]
    public void What_a_failed_sync_may_not_have_put_on_the_disk_is_nobodys_to_take_over(RepositoryMode mode, string deed)
    {
        using var scene = new Scene(mode, deed);
        scene.Reset();
        Assert.Equal(1, Strace.Ask(["-f", "-qq", "-o", "/dev/null", "-e", "inject=syncfs:error=EIO", Published.Ostree, .. scene.Arguments]).ExitCode);
        Assert.DoesNotContain(
            System.IO.Directory.EnumerateFiles($"{scene.Path}/tmp", "*", SearchOption.AllDirectories), static file => !file.EndsWith("-lock", StringComparison.Ordinal));
        scene.MustSucceedNow();
    }

    [Fact]
    public void An_early_sync_that_fails_is_told_at_once_also_where_nobody_waits_for_it()
    {
        bool told = false;
        using (var early = new EarlySync(static () => throw new Linux.LinuxException(Linux.Errno.EIO, "syncfs", "/"), () => told = true))
            early.Wrote(1L << 30);
        Assert.True(told);

        using var scratch = new Scratch();
        using Linux.Dir repository = Linux.Dir.Open(scratch.Root);
        string taken;
        using (Staging staging = Staging.Take(repository))
        {
            taken = Assert.Single(System.IO.Directory.EnumerateDirectories(scratch["tmp"]));
            staging.Distrust();
            using Staging next = Staging.Take(repository);
            Assert.DoesNotContain(taken, System.IO.Directory.EnumerateDirectories(scratch["tmp"]));
        }

        Assert.DoesNotContain(System.IO.Directory.EnumerateDirectories(scratch["tmp"]), static left => left.Contains("distrusted", StringComparison.Ordinal));
    }

    [Fact, Trait("Category", "Slow")]
    public void A_prune_cut_short_leaves_whole_commits()
    {
        using var scene = new Scene(RepositoryMode.Bare, "prune");
        int killed = 0;
        foreach (int when in new[] { 1, 2, 3, 5, 8 })
        {
            scene.Reset();
            using (Repository repository = Repository.Open(scene.Path))
                repository.SetRef("main", repository.CommitDirectory(scene.NewTree, new CommitOptions { Subject = "other" }));
            Verdict verdict = Strace.Ask(["-f", "-qq", "-o", "/dev/null", "-e", $"inject=unlinkat:signal=KILL:when={when}", Published.Ostree, .. scene.Arguments]);
            killed += verdict.ExitCode == 0 ? 0 : 1;
            Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={scene.Path}"));
        }

        Assert.True(killed > 2, $"only {killed} kills hit a call");
    }

    private sealed class Scene : IDisposable
    {
        private readonly Scratch scratch = new();
        private readonly StaticServer server;
        private readonly string deed;

        public Scene(RepositoryMode mode, string deed)
        {
            this.deed = deed;
            string tree = scratch["old"];
            NewTree = scratch["new"];
            foreach (string path in new[] { tree, NewTree })
            {
                System.IO.Directory.CreateDirectory(path + "/d");
                for (int i = 0; i < 6; i++)
                    System.IO.File.WriteAllText($"{path}/d/{i}", $"{path}{i}");
                System.IO.File.CreateSymbolicLink(path + "/link", path);
            }

            using Repository pristine = Repository.Create(scratch["pristine"], mode);
            Old = pristine.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
            using Repository served = Repository.Create(scratch["served"], RepositoryMode.Archive);
            served.CommitDirectory(NewTree, new CommitOptions { Branches = ["main"] });
            server = new StaticServer(served.Path);
            System.IO.File.AppendAllText($"{pristine.Path}/config", $"\n[remote \"origin\"]\nurl={server.Url}\ngpg-verify=false\n");
        }

        public Checksum Old { get; }

        public string NewTree { get; }

        public string Path => scratch["repo"];

        public string[] Arguments => deed switch
        {
            "commit" => [deed, $"--repo={Path}", "--branch=main", "--timestamp=@0", $"--tree=dir={NewTree}"],
            "pull-local" => [deed, $"--repo={Path}", scratch["served"], "main"],
            "pull" => [deed, $"--repo={Path}", "--mirror", "origin", "main"],
            _ => [deed, $"--repo={Path}", "--refs-only", "--depth=0"],
        };

        public void Reset()
        {
            using (Linux.Dir dir = Linux.Dir.Open(scratch.Root))
                dir.RemoveAll("repo");
            Judge.OnPath("cp").Run("-a", scratch["pristine"], Path);
        }

        /// <summary>How often the thread that makes most of each call makes it, in a run that nothing disturbs.</summary>
        public IEnumerable<(string Call, int Count)> CountCalls(string[] calls)
        {
            Reset();
            Verdict verdict = Strace.Ask(["-f", "-qq", "-o", scratch["trace"], "-e", $"trace={string.Join(',', calls)}", Published.Ostree, .. Arguments]);
            Assert.True(verdict.ExitCode == 0, verdict.Error);
            string[] lines = System.IO.File.ReadAllLines(scratch["trace"]);
            foreach (string call in calls)
            {
                int count = lines.Where(line => line.Contains($" {call}(", StringComparison.Ordinal))
                    .GroupBy(static line => line[..line.IndexOf(' ', StringComparison.Ordinal)]).Select(static thread => thread.Count()).DefaultIfEmpty().Max();
                Assert.True(count > 0, $"{deed} makes no {call}");
                yield return (call, count);
            }
        }

        public Checksum Branch()
        {
            using Repository repository = Repository.Open(Path);
            return repository.Resolve("main");
        }

        public void MustBeOldOrNew(string step)
        {
            using Repository repository = Repository.Open(Path);
            Checksum now = repository.Resolve("main");
            Assert.True(now == Old || repository.Find(now, "/d/3").Content is not null, step);
            Verdict fsck = Judge.Ostree.Ask("fsck", $"--repo={Path}");
            Assert.True(fsck.ExitCode == 0, $"{step}: {fsck.Output}{fsck.Error}");
            Assert.True(repository.Fsck().IsWhole, step);
        }

        public void MustSucceedNow()
        {
            Judge.OnPath(Published.Ostree).Run(Arguments);
            Assert.NotEqual(Old, Branch());
            using Repository repository = Repository.Open(Path);
            Assert.True(repository.Fsck().IsWhole);
            Assert.DoesNotContain(System.IO.Directory.EnumerateFileSystemEntries($"{Path}/tmp"), static entry => entry.Contains("staging-", StringComparison.Ordinal));
        }

        public void Dispose()
        {
            server.Dispose();
            scratch.Dispose();
        }
    }
}
