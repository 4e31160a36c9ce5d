using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What a merge decided can be seen, chosen anew, and taken back; and what is edited until the shutdown is merged too.</summary>
public sealed class EtcKeeperTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly Checksum one, two;
    private readonly OstreeSysroot booted;

    public EtcKeeperTests()
    {
        one = box.Publish(1, etc: [("app.conf", "a\nb\nc\nd\n"), ("gone.conf", "1\n")]);
        two = box.Publish(2, etc: [("app.conf", "a\nb\nc\nnew\n"), ("gone.conf", "2\n")]);
        using (InstalledBox installed = box.Installed(one))
            booted = box.OpenBooted(installed.Sysroot.Deployments[0]);
    }

    public void Dispose()
    {
        booted.Dispose();
        box.Dispose();
    }

    private Deployment Running => booted.Booted!;

    private Deployment Next => booted.Deployments[0];

    private EtcKeeper Keeper => new(booted);

    [Fact]
    public void A_conflict_is_in_the_record_and_in_the_notes_and_the_owners_file_stands()
    {
        Edit("app.conf", "a\nb\nc\nmine\n");
        DeployResult result = Upgrade();
        Assert.Contains(result.Notes, static note => note.Contains("changed 1 of the same files"));
        (_, EtcFinding finding) = Assert.Single(Keeper.Open());
        Assert.Equal(("app.conf", "you and the new tree changed the same lines; yours is kept"), (finding.Path, Assert.Single(finding.Notes)));
        Assert.Equal("a\nb\nc\nmine\n", ReadNext("app.conf"));
    }

    [Theory]
    [InlineData(EtcChoice.New, "a\nb\nc\nnew\n")]
    [InlineData(EtcChoice.Base, "a\nb\nc\nd\n")]
    [InlineData(EtcChoice.Mine, "a\nb\nc\nmine\n")]
    [InlineData(EtcChoice.Accepted, "a\nb\nc\nmine\n")]
    public void A_conflict_is_resolved_by_choosing_a_side_and_that_can_be_taken_back(EtcChoice choice, string expected)
    {
        Edit("app.conf", "a\nb\nc\nmine\n");
        Upgrade();
        Assert.Equal(Next.Name, Keeper.Resolve("app.conf", choice));
        Assert.Equal(expected, ReadNext("app.conf"));
        Assert.Empty(Keeper.Open());
        Assert.Equal("app.conf", Keeper.Undo()!.Path);
        Assert.Equal("a\nb\nc\nmine\n", ReadNext("app.conf"));
        Assert.Single(Keeper.Open());
        Assert.Null(Keeper.Undo());
    }

    [Fact]
    public void A_merged_file_can_be_had_as_it_was_before()
    {
        Edit("app.conf", "mine\na\nb\nc\nd\n");
        Upgrade();
        Assert.Equal("mine\na\nb\nc\nnew\n", ReadNext("app.conf"));
        Assert.Empty(Keeper.Open());
        Keeper.Resolve("app.conf", EtcChoice.Mine);
        Assert.Equal("mine\na\nb\nc\nd\n", ReadNext("app.conf"));
    }

    [Fact]
    public void What_is_edited_after_the_upgrade_is_in_the_new_version_after_the_shutdown()
    {
        Upgrade();
        Edit("app.conf", "a\nlate\nc\nd\n");
        Edit("late/file", "late\n");
        File.Delete(box.Etc(Running, "gone.conf"));
        LateMerge merged = Assert.Single(new LateEtcMerge(booted).Run());
        Assert.Equal((true, null), (merged.Changed, merged.Failure));
        Assert.Equal(("a\nlate\nc\nnew\n", "late\n"), (ReadNext("app.conf"), ReadNext("late/file")));
        Assert.False(File.Exists(box.Etc(Next, "gone.conf")));
        Assert.Equal(["gone.conf"], Keeper.Open().Select(static each => each.Finding.Path)); // a conflict of its own, found only now
        Assert.False(Assert.Single(new LateEtcMerge(booted).Run()).Changed);
    }

    [Fact]
    public void What_was_chosen_before_the_shutdown_holds_in_the_merge_at_the_shutdown()
    {
        Edit("app.conf", "a\nb\nc\nmine\n");
        Upgrade();
        Keeper.Resolve("app.conf", EtcChoice.New);
        Edit("other", "late\n");
        Assert.True(Assert.Single(new LateEtcMerge(booted).Run()).Changed);
        Assert.Equal(("a\nb\nc\nnew\n", "late\n"), (ReadNext("app.conf"), ReadNext("other")));
        Assert.Empty(Keeper.Open());
    }

    [Fact]
    public void A_version_that_ran_is_never_merged_into_again()
    {
        Upgrade();
        using (OstreeSysroot ran = box.OpenBooted(Next))
            new LateEtcMerge(ran).MarkBooted();
        Edit("app.conf", "a\nlate\nc\nd\n");
        Assert.Empty(new LateEtcMerge(booted).Run());
        Assert.Equal("a\nb\nc\nnew\n", ReadNext("app.conf"));
    }

    [Fact]
    public void A_version_that_ran_without_saying_so_keeps_its_etc_and_the_record_says_what_is_not_in_it()
    {
        Upgrade();
        File.WriteAllText(box.Etc(Next, "own.conf"), "written in a rescue shell\n");
        Edit("app.conf", "a\nlate\nc\nd\n");
        LateMerge left = Assert.Single(new LateEtcMerge(booted).Run());
        Assert.False(left.Changed);
        Assert.Contains("it ran or was edited", left.Failure);
        Assert.Contains("it ran or was edited", EtcRecord.Of(booted, Next.Name)!.Failure);
        Assert.Equal(("written in a rescue shell\n", "a\nb\nc\nnew\n"), (ReadNext("own.conf"), ReadNext("app.conf")));
        Assert.Empty(new LateEtcMerge(booted).Run());
    }

    [Fact]
    public void The_etc_that_a_merge_at_shutdown_replaced_is_kept()
    {
        Upgrade();
        Edit("app.conf", "a\nlate\nc\nd\n");
        Assert.True(Assert.Single(new LateEtcMerge(booted).Run()).Changed);
        Assert.Equal("a\nb\nc\nnew\n", File.ReadAllText($"{Backing}/etc-replaced/etc/app.conf"));
    }

    [Fact]
    public void A_merge_at_shutdown_that_finds_the_lock_taken_says_so_where_status_looks()
    {
        Upgrade();
        using (OstreeSysroot other = box.Open())
        using (other.Lock())
            Assert.NotNull(Assert.Single(new LateEtcMerge(booted, TimeSpan.Zero).Run()).Failure);
        Assert.Contains("holds the lock", EtcRecord.Of(booted, Next.Name)!.Failure);
        Assert.Null(Assert.Single(new LateEtcMerge(booted).Run()).Failure);
        Assert.Null(EtcRecord.Of(booted, Next.Name)!.Failure);
    }

    [Theory, InlineData("sync the copies"), InlineData("sync the merged /etc"), InlineData("exchange it for the one before"), InlineData("exchange the record")]
    public void A_merge_at_shutdown_that_fails_never_gives_one_file_the_bytes_of_another(string at)
    {
        Edit("gone.conf", "mine\n");
        Upgrade();
        Edit("app.conf", "a\nb\nc\nmine\n"); // a finding that comes before the first one
        using (OstreeSysroot failing = box.OpenBooted(Running, options => options with { BeforeStep = name => { if (name == at) throw new IOException("no room"); } }))
            Assert.Equal("no room", Assert.Single(new LateEtcMerge(failing).Run()).Failure);
        Keeper.Resolve("gone.conf", EtcChoice.Mine);
        Assert.Equal("mine\n", ReadNext("gone.conf"));
    }

    [Fact]
    public void A_choice_whose_copy_is_lost_is_refused_and_the_file_stays()
    {
        Edit("app.conf", "a\nb\nc\nmine\n");
        Upgrade();
        Directory.Delete($"{Backing}/etc-merge/mine", recursive: true);
        Assert.Contains("is missing", Assert.Throws<EtcPathException>(() => Keeper.Resolve("app.conf", EtcChoice.Mine)).Message);
        Assert.Equal("a\nb\nc\nmine\n", ReadNext("app.conf"));
        Assert.Null(Keeper.LastChange());
    }

    [Fact]
    public void A_merge_at_shutdown_that_is_cut_at_any_step_leaves_the_one_etc_or_the_other_whole()
    {
        Edit("gone.conf", "mine\n");
        Upgrade();
        Edit("app.conf", "a\nlate\nc\nd\n");
        var cuts = new List<string>();
        while (true)
        {
            int step = 0;
            string? cut = null;
            using OstreeSysroot again = box.OpenBooted(Running, options => options with
            {
                BeforeStep = name =>
                {
                    if (++step > cuts.Count)
                        throw new InvalidOperationException(cut = name);
                },
            });
            if (Record.Exception(() => new LateEtcMerge(again).Run()) is null)
                break;
            cuts.Add(cut!);
            Assert.Contains(ReadNext("app.conf"), new[] { "a\nb\nc\nnew\n", "a\nlate\nc\nnew\n" });
            Assert.Equal("box\n", ReadNext("hostname"));
            foreach (EtcFinding finding in EtcRecord.Of(booted, Next.Name)!.Findings)
                Assert.Equal(finding.Path == "gone.conf" ? "mine\n" : "a\nlate\nc\nd\n", File.ReadAllText($"{Backing}/etc-merge/mine/{Checksum.Of(FileName.ToBytes(finding.Path))}"));
        }

        Assert.True(cuts.Count >= 3, string.Join(", ", cuts));
        Assert.Contains("keep the one before", cuts);
        using (Dir etc = Dir.Open(box.Etc(Next, "")))
            Assert.Equal(EtcTree.Read(etc).Digest().ToString(), EtcRecord.Of(booted, Next.Name)!.Written);
        Assert.False(Directory.Exists($"{Backing}/etc-merge.new"));
        Assert.Equal("a\nlate\nc\nnew\n", ReadNext("app.conf"));
        Assert.Empty(Directory.GetDirectories($"{box.SysrootPath}/{Next.Name.Directory}", "*sbox-new*"));
    }

    [Fact]
    public void A_merge_at_shutdown_that_fails_leaves_etc_as_it_was_and_the_record_says_why()
    {
        Upgrade();
        string defaults = $"{box.SysrootPath}/{Running.Name.Directory}/usr/etc";
        Directory.Move(defaults, defaults + ".away");
        LateMerge failed = Assert.Single(new LateEtcMerge(booted).Run());
        Assert.Contains("usr/etc", failed.Failure);
        Assert.Contains("usr/etc", EtcRecord.Of(booted, Next.Name)!.Failure);
        Assert.Equal("a\nb\nc\nnew\n", ReadNext("app.conf"));
    }

    [Fact]
    public void What_a_merge_at_shutdown_could_not_do_is_news_at_one_boot_and_stays_in_the_status()
    {
        Upgrade();
        string defaults = $"{box.SysrootPath}/{Running.Name.Directory}/usr/etc";
        Directory.Move(defaults, defaults + ".away");
        new LateEtcMerge(booted).Run();
        using OstreeSysroot ran = box.OpenBooted(Next);
        Assert.Contains("usr/etc", new LateEtcMerge(ran).MarkBooted()!.Failure);
        Assert.Null(new LateEtcMerge(ran).MarkBooted());
        using var deployer = new Deployer(ran, espDirectory: null);
        Assert.Contains("usr/etc", StatusReport.Of(ran, deployer).EtcFailure);
    }

    [Fact]
    public void Reset_brings_a_default_back_whatever_was_done_to_it_and_undo_takes_that_back()
    {
        Edit("app.conf", "mine\n");
        File.Delete(box.Etc(Running, "gone.conf"));
        Edit("own/a", "a\n");
        foreach (string path in (string[])["app.conf", "gone.conf", "own"])
            Keeper.Reset(Running.Name, path);
        Assert.Empty(booted.EtcChanges(Running));
        foreach (string path in (string[])["own", "gone.conf", "app.conf"])
            Assert.Equal(path, Keeper.Undo()!.Path);
        Assert.Equal(["M    app.conf", "D    gone.conf", "A    own", "A    own/a"], booted.EtcChanges(Running).Select(static change => change.ToString()));
        Assert.Equal("mine\n", File.ReadAllText(box.Etc(Running, "app.conf")));
    }

    [Theory, InlineData("../../escape"), InlineData("/var/lib"), InlineData("."), InlineData("a/../b"), InlineData("/etc"), InlineData("")]
    public void A_path_that_is_not_below_etc_is_refused(string path) => Assert.Throws<EtcPathException>(() => EtcKeeper.Below(path));

    [Fact]
    public void A_path_through_a_link_is_refused()
    {
        Directory.CreateDirectory($"{box.Path}/outside");
        File.WriteAllText($"{box.Path}/outside/f", "not in /etc");
        Directory.CreateSymbolicLink(box.Etc(Running, "link"), $"{box.Path}/outside");
        Assert.Throws<EtcPathException>(() => Keeper.Reset(Running.Name, "link/f"));
        Assert.Equal("not in /etc", File.ReadAllText($"{box.Path}/outside/f"));
    }

    [Fact]
    public void What_is_kept_is_for_root_alone_and_goes_with_the_deployment_also_when_real_ostree_removes_it()
    {
        Edit("app.conf", "a\nb\nc\nmine\n");
        Upgrade();
        string backing = Backing;
        using (Dir kept = Dir.Open($"{backing}/etc-merge"))
            Assert.Equal((0x1C0u, 0x180u), (kept.Stat().Permissions, kept.Stat("record").Permissions));
        Judge.Ostree.Run("admin", "status", $"--sysroot={box.SysrootPath}");
        Judge.Ostree.Run("admin", "undeploy", $"--sysroot={box.SysrootPath}", "0");
        Assert.False(Directory.Exists(backing));
    }

    [Fact]
    public void What_was_kept_beside_a_deployment_that_an_older_ostree_removed_goes_with_the_next_cleanup()
    {
        Edit("app.conf", "a\nb\nc\nmine\n");
        Upgrade();
        string backing = Backing;
        Judge.HostOstree.Run("admin", "undeploy", $"--sysroot={box.SysrootPath}", "0");
        using var deployer = new Deployer(booted, box.EspPath);
        booted.Reload();
        deployer.Finish();
        Assert.False(Directory.Exists(backing));
    }

    private string Backing => $"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/backing/{Next.Name.Commit}.0";

    private void Edit(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(box.Etc(Running, path))!);
        File.WriteAllText(box.Etc(Running, path), text);
    }

    private string ReadNext(string path) => File.ReadAllText(box.Etc(Next, path));

    private DeployResult Upgrade()
    {
        using var deployer = new Deployer(booted, box.EspPath);
        return box.Deploy(deployer, two);
    }
}
