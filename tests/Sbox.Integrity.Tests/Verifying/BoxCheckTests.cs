using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Integrity.Tests;

/// <summary>What a check of a box in directories sees; what only a kernel with fs-verity can tell is in the sealed machine's test.</summary>
public sealed class BoxCheckTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly Checksum one, two;

    public BoxCheckTests()
    {
        (one, two) = (box.Publish(1), box.Publish(2));
        box.Installed(one, two).Dispose();
    }

    private string State => $"{box.Path}/state";

    public void Dispose() => box.Dispose();

    [Fact]
    public void A_whole_box_is_whole_when_every_byte_was_read()
    {
        VerifyReport report = Check(deep: true);
        Assert.Equal((Verdict.Ok, 0L, 0), (report.Verdict, report.Unseen, report.Faults.Count));
        Assert.Equal(report.Objects, report.Read);
        Assert.Equal([two, one], report.Images.Select(static image => image.Deployment.Commit));
        Assert.All(report.Images, static image => Assert.Contains("as the commit's files say", image.Says, StringComparison.Ordinal));
    }

    [Fact]
    public void What_was_not_read_and_has_no_verity_is_unchecked_and_not_fine()
    {
        VerifyReport report = Check(deep: false);
        Assert.Equal(Verdict.Unchecked, report.Verdict);
        Assert.True(report.Unseen > 0);
        Assert.Contains(report.Unchecked, static line => line.Contains("files was not looked at", StringComparison.Ordinal));
    }

    [Fact]
    public void One_byte_of_a_file_is_found_by_reading_and_named_by_its_path()
    {
        Flip(ObjectOf(two, "/usr/bin/version"));
        VerifyReport report = Check(deep: true);
        ObjectFault fault = Assert.Single(report.Faults);
        Assert.Equal((Verdict.Wrong, FsckProblemKind.Corrupt), (report.Verdict, fault.Problem.Kind));
        Assert.Equal([$"/usr/bin/version of debian/{two.ToString()[..12]}.0"], fault.Paths);
    }

    [Fact]
    public void One_permission_of_a_file_is_found_by_reading()
    {
        Judge.OnPath("chmod").Run("4755", ObjectOf(two, "/usr/bin/version"));
        Assert.Equal("/usr/bin/version", Assert.Single(Check(deep: true).Faults).Paths[0].Split(' ')[0]);
    }

    [Fact]
    public void A_damaged_directory_is_found_without_reading_files_and_so_is_a_missing_file()
    {
        using (Repository repository = Repository.Open($"{box.SysrootPath}/ostree/repo"))
            Flip(Loose(new ObjectName(repository.Find(two, "/usr/bin").Tree!.Value, ObjectType.DirTree)));
        File.Delete(ObjectOf(one, "/usr/bin/version"));
        VerifyReport report = Check(deep: false);
        Assert.Equal(Verdict.Wrong, report.Verdict);
        Assert.Contains(report.Faults, static fault => fault.Problem.Subject.EndsWith(".dirtree", StringComparison.Ordinal) && fault.Paths[0].StartsWith("/usr/bin of", StringComparison.Ordinal));
        Assert.Contains(report.Faults, static fault => fault.Problem.Kind == FsckProblemKind.Missing && fault.Paths[0].StartsWith("/usr/bin/version of", StringComparison.Ordinal));
    }

    [Fact]
    public void Another_image_in_a_deployments_place_is_found()
    {
        Flip($"{box.SysrootPath}/ostree/deploy/debian/deploy/{one}.0/.ostree.cfs");
        Assert.Equal(Verdict.Unchecked, Check(deep: false).Images[1].Verdict); // nothing names its digest, and no file was read
        VerifyReport report = Check(deep: true);
        Assert.Equal((Verdict.Wrong, Verdict.Ok, Verdict.Wrong), (report.Verdict, report.Images[0].Verdict, report.Images[1].Verdict));
        Assert.Contains("and the commit's files give", report.Images[1].Says, StringComparison.Ordinal);
    }

    [Fact]
    public void A_check_that_was_cut_short_goes_on_where_it_was_and_says_so()
    {
        CutShort();
        VerifyState kept = VerifyState.Parse(File.ReadAllText(State))!;
        Assert.InRange(kept.Done, 1, (int)Check(deep: false).Objects - 1);

        VerifyReport report = Check(deep: true, options => options with { StateFile = State });
        Assert.NotNull(report.ResumedFrom);
        Assert.Equal((Verdict.Ok, report.Objects), (report.Verdict, report.Read));
        Assert.False(File.Exists(State));
        Assert.Null(Check(deep: true, options => options with { StateFile = State }).ResumedFrom);
    }

    [Fact]
    public void What_was_read_before_is_read_again_only_with_restart()
    {
        CutShort();
        // The commits come first in the list, so they were looked at before the cut.
        string commit = Loose(new ObjectName(two, ObjectType.Commit));
        byte[] good = File.ReadAllBytes(commit);
        File.WriteAllBytes(commit, [.. good[..^1], (byte)(good[^1] ^ 1)]);
        VerifyReport anew = Check(deep: true, options => options with { StateFile = State, Restart = true });
        Assert.Null(anew.ResumedFrom);
        Assert.Equal(Verdict.Wrong, anew.Verdict);
    }

    [Fact]
    public void What_was_wrong_before_the_cut_is_told_after_it()
    {
        Flip(ObjectOf(two, "/usr/bin/version"));
        for (int cuts = 0; cuts < 100 && !IsPastTheFault(); cuts++)
            CutShort();
        Assert.Single(Check(deep: true, options => options with { StateFile = State }).Faults);

        bool IsPastTheFault() => File.Exists(State) && VerifyState.Parse(File.ReadAllText(State))!.Again.Count > 0;
    }

    [Fact]
    public void What_an_upgrade_cleaned_up_meanwhile_is_not_missing()
    {
        Checksum three = box.Publish(3);
        box.Fetch(three);
        using OstreeSysroot sysroot = box.Open();
        // With the third deployed, the first is no longer kept, and its objects go.
        var upgrade = new Once(() =>
        {
            using OstreeSysroot other = box.OpenBooted(Deployments()[0]);
            using var deployer = new Deployer(other, box.EspPath);
            deployer.Deploy(TestBox.Request(three));
            Assert.DoesNotContain(other.Deployments, each => each.Name.Commit == one);
        });
        VerifyReport report = new BoxCheck(sysroot, new VerifyOptions { Deep = true }, upgrade).Run();
        Assert.True(upgrade.IsDone);
        Assert.Equal((Verdict.Ok, 0), (report.Verdict, report.Faults.Count));
        Assert.Equal([two], report.Images.Select(static image => image.Deployment.Commit));
    }

    [Fact]
    public void Every_thread_that_reads_is_idle_where_that_was_asked_for()
    {
        using OstreeSysroot sysroot = box.Open();
        var policies = new Policies();
        new BoxCheck(sysroot, new VerifyOptions { Deep = true, Idle = true }, policies).Run();
        Assert.All(policies.Seen, static policy => Assert.Equal("5", policy)); // SCHED_IDLE
        policies.Seen.Clear();
        new BoxCheck(sysroot, new VerifyOptions { Deep = true }, policies).Run();
        Assert.All(policies.Seen, static policy => Assert.Equal("0", policy));
    }

    private VerifyReport Check(bool deep, Func<VerifyOptions, VerifyOptions>? change = null)
    {
        using OstreeSysroot sysroot = box.Open();
        var options = new VerifyOptions { Deep = deep };
        return new BoxCheck(sysroot, change is null ? options : change(options)).Run();
    }

    private IReadOnlyList<Deployment> Deployments()
    {
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments;
    }

    private void CutShort()
    {
        using OstreeSysroot sysroot = box.Open();
        using var cut = new CancellationTokenSource();
        var check = new BoxCheck(sysroot, new VerifyOptions { Deep = true, StateFile = State, SaveEvery = TimeSpan.Zero }, new Cut(cut));
        Assert.ThrowsAny<OperationCanceledException>(() => check.Run(cut.Token));
    }

    private string ObjectOf(Checksum commit, string path)
    {
        using Repository repository = Repository.Open($"{box.SysrootPath}/ostree/repo");
        return Loose(new ObjectName(repository.Find(commit, path).Content!.Value, ObjectType.File));
    }

    private string Loose(ObjectName name) => $"{box.SysrootPath}/ostree/repo/objects/{name.LoosePath(RepositoryMode.Bare)}";

    private static void Flip(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
    }

    private sealed class Once(Action act) : IProgress<VerifyProgress>
    {
        public bool IsDone { get; private set; }

        // Told under the run's own lock: one at a time.
        public void Report(VerifyProgress value)
        {
            if (IsDone)
                return;
            IsDone = true;
            act();
        }
    }

    private sealed class Policies : IProgress<VerifyProgress>
    {
        public System.Collections.Concurrent.ConcurrentBag<string> Seen { get; } = [];

        // proc_pid_stat(5), field 41: the scheduling policy of the thread that just looked at an object.
        public void Report(VerifyProgress value)
        {
            string stat = File.ReadAllText("/proc/thread-self/stat");
            Seen.Add(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[41 - 3]);
        }
    }

    private sealed class Cut(CancellationTokenSource source) : IProgress<VerifyProgress>
    {
        public void Report(VerifyProgress value) => source.Cancel();
    }
}
