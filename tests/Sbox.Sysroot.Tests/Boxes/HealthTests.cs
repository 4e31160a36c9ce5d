using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>A new version is on trial until it is found good; one that used up its tries is remembered and not tried again.</summary>
public sealed class HealthTests : IDisposable
{
    private const string Unit = "usr/lib/systemd/system/sbox-health.service";
    private readonly TestBox box = new(inMemory: true);
    private readonly TempDir efivars = new(inMemory: true);
    private readonly Checksum one, two;
    private int boots;

    public HealthTests()
    {
        (one, two) = (box.PublishWith(1, (Unit, "unit")), box.PublishWith(2, (Unit, "unit")));
        box.Installed(one).Dispose();
    }

    public void Dispose()
    {
        box.Dispose();
        efivars.Dispose();
    }

    private static string Entry(Checksum commit) => $"debian-{commit.ToString()[..12]}.0.efi";

    [Fact]
    public void The_first_version_is_the_default_at_once_and_the_next_is_started_once()
    {
        Assert.Equal((Entry(one), null), (Conf(), Once()));
        Upgrade();
        Assert.Equal((Entry(one), Entry(two)), (Conf(), Once()));
        using InstalledBox installed = Running(one);
        StatusReport status = StatusReport.Of(installed.Sysroot, installed.Deployer);
        Assert.Equal((two, 3), (status.Next!.Name.Commit, status.Next.TriesLeft));
        Assert.Null(status.NextOnce);
        Assert.True(status.IsSettled);
    }

    [Fact]
    public void A_version_that_came_up_is_the_default_for_good()
    {
        Upgrade();
        BootOnce();
        using InstalledBox installed = Running(two);
        var health = Health(installed);
        Assert.Equal(new BootVerdict(Name(two), 3, null, []), health.Look()! with { FellBackFrom = [] });
        health.MarkGood();
        Assert.Equal((Entry(two), null), (Conf(), Once()));
        Assert.False(health.Look()!.IsOnTrial);
        Assert.True(installed.Deployer.IsSettled);
        Assert.Equal("good", BoxHistory.Read(installed.Sysroot, TestBox.Os)[^1].What);
    }

    [Fact]
    public void A_version_whose_checks_fail_is_started_again_by_itself_until_no_try_is_left()
    {
        Upgrade();
        foreach ((int left, string? once) in (ReadOnlySpan<(int, string?)>)[(2, Entry(two)), (1, Entry(two)), (0, null)])
        {
            BootOnce();
            using InstalledBox installed = Running(two);
            var health = Health(installed);
            Assert.Equal(left + 1, health.Look()!.TriesLeft);
            Assert.Equal(left, health.MarkFailed("the database is down"));
            Assert.Equal((Entry(one), once), (Conf(), Once()));
        }

        using InstalledBox back = Running(one);
        Assert.Equal([two], Health(back).Look()!.FellBackFrom.Select(static name => name.Commit));
    }

    [Fact]
    public async Task A_version_that_never_came_up_is_tried_three_times_remembered_and_not_tried_again_unless_asked()
    {
        Upgrade();
        for (int left = 2; left > 0; left--)
        {
            BootOnce();
            using InstalledBox between = Running(one);
            var look = Health(between);
            Assert.Equal(Name(two), look.Look()!.Waiting);
            Assert.Equal(Entry(two), Once());
            Assert.Null(look.Look()!.Waiting);
            File.Delete(OneShot);
            Assert.NotNull(look.Look()!.Waiting); // set again, and not counted again
            Assert.Equal(left, StatusReport.Of(between.Sysroot, between.Deployer).Next!.TriesLeft);
        }

        BootOnce();
        using InstalledBox installed = Running(one);
        var health = Health(installed);
        BootVerdict verdict = health.Look()!;
        Assert.Equal([two], verdict.FellBackFrom.Select(static name => name.Commit));
        health.NoteFallback(verdict);
        installed.Deployer.Rollback(verdict.Running);
        Assert.Empty(health.Look()!.FellBackFrom);
        Assert.Equal((Entry(one), null), (Conf(), Once()));
        Assert.True(installed.Deployer.IsSettled);
        Assert.Equal([two], StatusReport.Of(installed.Sysroot, installed.Deployer).Bad.Select(static bad => bad.Commit));

        var options = new UpgradeOptions { SwitchTo = new Refspec(null, two.ToString()) };
        Assert.Equal(UpgradeState.KnownBad, (await new Upgrader(installed.Sysroot, installed.Deployer).Fetch(options)).State);
        Assert.Equal(UpgradeState.Available, (await new Upgrader(installed.Sysroot, installed.Deployer).Fetch(options with { Retry = true })).State);

        // Whoever asks for it by name gives it its tries again.
        installed.Deployer.Rollback(Name(two));
        Assert.Equal((Entry(one), Entry(two)), (Conf(), Once()));
        Assert.Equal(3, StatusReport.Of(installed.Sysroot, installed.Deployer).Next!.TriesLeft);
    }

    [Fact]
    public void Who_goes_back_before_it_was_found_good_did_not_see_it_fail()
    {
        Upgrade();
        BootOnce();
        using (InstalledBox trying = Running(two))
        {
            Assert.Equal(two, StatusReport.Of(trying.Sysroot, trying.Deployer).Next!.Name.Commit);
            Assert.Equal(one, trying.Deployer.Rollback().Name.Commit);
            Assert.Equal((Entry(one), null), (Conf(), Once()));
            Health(trying).MarkGood();
            Assert.Equal((Entry(one), null), (Conf(), Once()));
        }

        using InstalledBox back = Running(one);
        BootVerdict verdict = Health(back).Look()!;
        Assert.Empty(verdict.FellBackFrom);
        Assert.Null(verdict.Waiting);
        // It was found good in the meantime.
        back.Deployer.Rollback();
        Assert.Equal((Entry(two), null), (Conf(), Once()));
    }

    [Fact]
    public void Who_goes_back_before_the_reboot_takes_the_trial_back()
    {
        Upgrade();
        using InstalledBox installed = Running(one);
        RollbackResult result = installed.Deployer.Rollback();
        Assert.Equal(one, result.Name.Commit);
        Assert.Empty(result.Cleanup.Notes);
        Assert.Equal((Entry(one), null), (Conf(), Once()));
    }

    [Fact]
    public void Who_goes_back_by_hand_is_not_overruled_by_a_check_that_fails_later()
    {
        Upgrade();
        BootOnce();
        using InstalledBox trying = Running(two);
        trying.Deployer.Rollback();
        Assert.Null(Health(trying).MarkFailed("too late"));
        Assert.Equal((Entry(one), null), (Conf(), Once()));
    }

    [Fact]
    public void What_the_box_would_fall_back_on_stays_while_a_version_is_on_trial()
    {
        Upgrade();
        BootOnce();
        using InstalledBox trying = Running(two);
        box.Deploy(trying.Deployer, box.PublishWith(3, (Unit, "unit")));
        Assert.Equal(Entry(one), Conf());
        Assert.Contains(trying.Sysroot.Deployments, each => each.Name.Commit == one);
        Assert.True(Directory.Exists($"{box.SysrootPath}/{Name(one).Directory}"));
    }

    [Fact]
    public void Without_anything_to_fall_back_on_a_failed_check_restarts_nothing()
    {
        Upgrade();
        BootOnce();
        using InstalledBox trying = Running(two);
        trying.Deployer.Undeploy(Name(one));
        Assert.Equal((Entry(two), null), (Conf(), Once()));
        BootHealth health = Health(trying);
        Assert.False(health.Look()!.IsOnTrial);
        Assert.Null(health.MarkFailed("the database is down"));
        Assert.True(trying.Deployer.IsSettled);
    }

    [Fact]
    public void A_firmware_that_takes_no_more_variables_ends_the_tries_and_not_the_verdict()
    {
        Upgrade();
        BootOnce();
        Directory.CreateDirectory(OneShot); // nothing can be written there
        using InstalledBox trying = Running(two);
        Assert.Equal(0, Health(trying).MarkFailed("the database is down"));
        Directory.Delete(OneShot);
        using InstalledBox back = Running(one);
        Assert.Equal([two], Health(back).Look()!.FellBackFrom.Select(static name => name.Commit));
        Assert.Equal(Entry(one), Conf());
    }

    [Fact]
    public void A_version_that_fills_the_disk_is_restarted_out_of()
    {
        Upgrade();
        BootOnce();
        string own = $"{box.SysrootPath}/ostree/deploy/debian/var/lib/sbox";
        byte[] trials = File.ReadAllBytes($"{own}/trials");
        Judge.OnPath("mount").Run("-t", "tmpfs", "-o", "size=4k", "tmpfs", own);
        try
        {
            File.WriteAllBytes($"{own}/trials", trials); // its page was the last one
            using (InstalledBox trying = Running(two))
                Assert.Equal(0, Health(trying).MarkFailed("the database is down"));
            Assert.Equal((Entry(one), null), (Conf(), Once()));
            using InstalledBox back = Running(one);
            Assert.Null(Health(back).Look()!.Waiting);
            Assert.Equal((Entry(one), null), (Conf(), Once()));
        }
        finally
        {
            Unmounting.Unmount(own);
        }
    }

    [Fact]
    public void Whoever_changes_the_sysroot_meanwhile_is_waited_for()
    {
        Upgrade();
        BootOnce();
        using InstalledBox trying = Running(two), other = Running(two);
        IDisposable held = other.Sysroot.Lock();
        using var timer = new Timer(_ => held.Dispose(), null, TimeSpan.FromSeconds(1), Timeout.InfiniteTimeSpan);
        Health(trying).MarkGood();
        Assert.Equal(Entry(two), Conf());
    }

    [Fact]
    public void A_version_that_was_found_good_is_the_default_also_where_a_reset_took_its_trial()
    {
        Upgrade();
        BootOnce();
        File.Delete($"{box.SysrootPath}/ostree/deploy/debian/var/lib/sbox/trials");
        using InstalledBox trying = Running(two);
        Health(trying).MarkGood();
        Assert.Equal(Entry(two), Conf());
    }

    [Fact]
    public void A_version_that_is_retried_and_fails_again_is_given_up_again()
    {
        Upgrade();
        for (int round = 0; round < 2; round++)
        {
            for (int failed = 0; failed < 3; failed++)
            {
                BootOnce();
                using InstalledBox trying = Running(two);
                Health(trying).MarkFailed("the database is down");
            }

            using InstalledBox back = Running(one);
            BootVerdict verdict = Health(back).Look()!;
            Assert.Equal([two], verdict.FellBackFrom.Select(static name => name.Commit));
            back.Deployer.Rollback(verdict.Running);
            Health(back).NoteFallback(verdict);
            Assert.Empty(Health(back).Look()!.FellBackFrom);
            Assert.Equal([two], BadVersions.Read(back.Sysroot, TestBox.Os).Select(static bad => bad.Commit));
            back.Deployer.Rollback(Name(two));
            Assert.Equal(Entry(two), Once());
            Assert.Empty(BadVersions.Read(back.Sysroot, TestBox.Os));
        }
    }

    [Fact]
    public void Going_back_passes_over_a_version_that_was_given_up_and_says_how_it_is_tried_anew()
    {
        GiveUp();
        using InstalledBox back = Running(one);
        string said = Assert.Throws<NoSuchDeploymentException>(() => back.Deployer.Rollback()).Message;
        Assert.EndsWith($"version 2.0 has no try left, and there is no other to go back to: sbox rollback --to {Name(two).Short} tries it anew", said);
        Assert.Equal((Entry(one), null), (Conf(), Once()));

        Checksum three = box.PublishWith(3, (Unit, "unit"));
        Pinning.Set(back.Sysroot, Name(two), pinned: true);
        box.Deploy(back.Deployer, three);
        Assert.Equal((three, Entry(three)), (back.Sysroot.Deployments[0].Name.Commit, Once()));
        Assert.Equal(one, back.Deployer.Rollback().Name.Commit);
        Assert.Equal((Entry(one), null), (Conf(), Once()));
        Assert.Equal(three, back.Deployer.Rollback().Name.Commit);
        Assert.Equal((Entry(one), Entry(three)), (Conf(), Once()));
    }

    [Fact]
    public void The_commit_that_runs_is_not_bad_because_it_did_not_come_up_with_other_kernel_arguments()
    {
        DeploymentName again = new(TestBox.Os, one, 1);
        using (InstalledBox installed = Running(one))
        {
            box.Deploy(installed.Deployer, TestBox.Request(one) with { Arguments = KernelArguments.Parse("quiet no-such-root") });
            Trials.Set(installed.Sysroot, again, new Trial(0, "boot-1"));
        }

        using InstalledBox back = Running(one);
        Assert.Equal([again], Health(back).Look()!.FellBackFrom);
        BootVerdict verdict = Health(back).Look()!;
        back.Deployer.Rollback(verdict.Running);
        Health(back).NoteFallback(verdict);
        Assert.Empty(BadVersions.Read(back.Sysroot, TestBox.Os));
        Assert.Equal("fallback", BoxHistory.Read(back.Sysroot, TestBox.Os)[^1].What);
        Assert.Empty(Health(back).Look()!.FellBackFrom); // said once
        Assert.Equal((Entry(one), null), (Conf(), Once()));
    }

    [Fact]
    public void A_version_that_was_found_good_is_not_tried_again_where_its_entry_was_lost()
    {
        Upgrade();
        BootOnce();
        using (InstalledBox trying = Running(two))
            Health(trying).MarkGood();
        File.Delete($"{box.EspPath}/EFI/Linux/{Entry(two)}");
        using InstalledBox installed = Running(two);
        installed.Deployer.Finish();
        Assert.Equal((Entry(two), null), (Conf(), Once()));
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Nothing_leads_to_a_version_before_whoever_must_know_was_told_and_at_that_time_its_entry_is_there(bool onTrial)
    {
        if (!onTrial)
            efivars.Dispose();
        var told = new List<bool>();
        using InstalledBox installed = Running(one, _ => Assert.True(told.Count > 0 || !LeadsToTwo()));
        installed.Deployer.BeforeDefault = next =>
        {
            Assert.Equal((Name(two), true, false), (next, File.Exists($"{box.EspPath}/EFI/Linux/{Entry(two)}"), LeadsToTwo()));
            told.Add(File.ReadAllText(Loader) == "boot loader of version 2");
        };
        box.Deploy(installed.Deployer, two);
        Assert.Equal([false, true], told); // before and after the boot loader, which is measured too
        Assert.True(LeadsToTwo());

        bool LeadsToTwo() => Conf() == Entry(two) || Once() == Entry(two);
    }

    [Fact]
    public void Going_back_is_told_too_and_whoever_refuses_it_keeps_what_boots()
    {
        using InstalledBox installed = Running(one);
        installed.Deployer.BeforeDefault = next => throw new IOException($"{next.Short}: the disk did not take the key");
        Assert.Throws<IOException>(() => box.Deploy(installed.Deployer, two));
        Assert.Equal((Entry(one), null), (Conf(), Once()));
        installed.Deployer.BeforeDefault = null;
        installed.Deployer.Finish();
        Assert.Equal((Entry(one), Entry(two)), (Conf(), Once()));
        var told = new List<DeploymentName>();
        installed.Deployer.BeforeDefault = told.Add;
        installed.Deployer.Rollback();
        Assert.Equal([Name(one), Name(one)], told);
    }

    [Fact]
    public void A_cut_between_the_entry_and_the_firmware_costs_a_try_and_no_more()
    {
        Assert.Throws<IOException>(() =>
        {
            using InstalledBox cut = Running(one, static step => { if (step == "tell the firmware to start it once") throw new IOException("cut"); });
            box.Deploy(cut.Deployer, two);
        });
        Assert.Equal((Entry(one), null), (Conf(), Once()));
        using InstalledBox installed = Running(one);
        Assert.False(installed.Deployer.IsSettled); // the next upgrade finishes it
        Assert.Equal(Name(two), Health(installed).Look()!.Waiting);
        Assert.Equal(Entry(two), Once());
    }

    [Fact]
    public void A_tree_that_would_never_say_that_it_is_good_is_not_tried()
    {
        using InstalledBox installed = Running(one);
        Checksum plain = box.PublishWith(3);
        Directory.Delete($"{box.Path}/trees/3", recursive: true);
        box.Deploy(installed.Deployer, plain);
        Assert.Equal((Entry(plain), null), (Conf(), Once()));
    }

    [Fact]
    public void Without_variables_in_the_firmware_a_version_is_the_default_at_once()
    {
        efivars.Dispose();
        Upgrade();
        Assert.Equal(Entry(two), Conf());
        using InstalledBox installed = Running(two);
        Assert.False(Health(installed).Look()!.IsOnTrial);
    }

    [Fact]
    public void Checks_of_etc_take_the_place_of_those_of_usr_lib_and_a_link_to_nothing_takes_one_away()
    {
        using var temp = new TempDir();
        Check("usr/required/a", "exit 0");
        Check("usr/required/b", "echo the database is down\nexit 7");
        Check("usr/required/gone", "exit 1");
        temp.Write("usr/required/README", "no program");
        Check("usr/wanted/w", "exit 1");
        Check("etc/required/a", "sleep 60");
        File.CreateSymbolicLink(temp.Of("etc/required/gone"), "/dev/null");
        IReadOnlyList<HealthFinding> findings = HealthChecks.Run([temp.Of("usr"), temp.Of("etc")], TimeSpan.FromSeconds(10));
        Assert.Equal(
            [(temp.Of("etc/required/a"), true, "took more than 10 s"), (temp.Of("usr/required/b"), true, "exit status 7: the database is down"), (temp.Of("usr/wanted/w"), false, "exit status 1")],
            findings.Select(static finding => (finding.Path, finding.IsRequired, finding.Failure)));

        void Check(string path, string text)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(temp.Of(path))!);
            Script.Write(temp.Of(path), text);
        }
    }

    [Theory]
    [InlineData("a[.+][e123]*fi", "a.efi", true), InlineData("a[.+][e123]*fi", "a+2-1.efi", true), InlineData("a[.+][e123]*fi", "a+0-3.efi", false)]
    [InlineData("a[.+][e123]*fi", "a.efi@ghost", false), InlineData("*.EFI", "x.efi", true), InlineData("[a-c]?.efi", "b1.efi", true), InlineData("[a-c]?.efi", "d1.efi", false)]
    public void A_pattern_fits_what_systemd_boot_says_it_fits(string pattern, string name, bool fits) => Assert.Equal(fits, BootChoice.Fits(pattern, name));

    private static DeploymentName Name(Checksum commit) => new(TestBox.Os, commit, 0);

    private void Upgrade()
    {
        using InstalledBox installed = Running(one);
        box.Deploy(installed.Deployer, two);
    }

    // Version two fails its three tries, and one takes its place.
    private void GiveUp()
    {
        Upgrade();
        for (int failed = 0; failed < 3; failed++)
        {
            BootOnce();
            using InstalledBox trying = Running(two);
            Health(trying).MarkFailed("the database is down");
        }

        using InstalledBox back = Running(one);
        BootVerdict verdict = Health(back).Look()!;
        back.Deployer.Rollback(verdict.Running);
        Health(back).NoteFallback(verdict);
    }

    private InstalledBox Running(Checksum commit, Action<string>? beforeStep = null, int serial = 0)
    {
        using OstreeSysroot plain = box.Open();
        OstreeSysroot sysroot = box.OpenBooted(
            plain.Deployments.First(each => each.Name.Commit == commit && each.Name.Serial == serial), options => options with { EfiVariables = efivars.Path, BeforeStep = beforeStep });
        return new InstalledBox(sysroot, new Deployer(sysroot, box.EspPath));
    }

    // As systemd-boot does it: the variable is gone before what it names is started.
    private void BootOnce()
    {
        boots++;
        File.Delete(OneShot);
    }

    private BootHealth Health(InstalledBox installed) => new(installed.Sysroot, installed.Deployer.Esp!, $"boot-{boots}", TimeSpan.FromSeconds(20));

    private string? Once() => File.Exists(OneShot) ? System.Text.Encoding.Unicode.GetString(File.ReadAllBytes(OneShot).AsSpan(4)).TrimEnd('\0') : null;

    private string Conf() => new LoaderConf(box.LoaderConf).Default!;

    private string Loader => $"{box.EspPath}/EFI/systemd/systemd-bootx64.efi";

    private string OneShot => efivars.Of("LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
}
