using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>A new version is on trial until it is found good; one that used up its tries is remembered and not tried again.</summary>
public sealed class HealthTests : IDisposable
{
    private const string Unit = "usr/lib/systemd/system/sbox-health.service";
    private readonly TestBox box = new(inMemory: true);
    private readonly TempDir efivars = new(inMemory: true);
    private readonly Checksum one, two;

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
        var health = new BootHealth(installed.Sysroot, installed.Deployer.Esp!);
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
            var health = new BootHealth(installed.Sysroot, installed.Deployer.Esp!);
            Assert.Equal(left + 1, health.Look()!.TriesLeft);
            Assert.Equal(left, health.MarkFailed(Name(two), "the database is down"));
            Assert.Equal((Entry(one), once), (Conf(), Once()));
        }

        using InstalledBox back = Running(one);
        Assert.Equal([two], new BootHealth(back.Sysroot, back.Deployer.Esp!).Look()!.FellBackFrom.Select(static name => name.Commit));
    }

    [Fact]
    public async Task A_version_that_never_came_up_is_tried_three_times_remembered_and_not_tried_again_unless_asked()
    {
        Upgrade();
        for (int left = 2; left > 0; left--)
        {
            BootOnce();
            using InstalledBox between = Running(one);
            var look = new BootHealth(between.Sysroot, between.Deployer.Esp!);
            Assert.Equal(Name(two), look.Look()!.Waiting);
            Assert.Equal(Entry(two), Once());
            Assert.Null(look.Look()!.Waiting); // once a boot
            Assert.Equal(left, StatusReport.Of(between.Sysroot, between.Deployer).Next!.TriesLeft);
        }

        BootOnce();
        using InstalledBox installed = Running(one);
        var health = new BootHealth(installed.Sysroot, installed.Deployer.Esp!);
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
            new BootHealth(trying.Sysroot, trying.Deployer.Esp!).MarkGood();
            Assert.Equal((Entry(one), null), (Conf(), Once()));
        }

        using InstalledBox back = Running(one);
        BootVerdict verdict = new BootHealth(back.Sysroot, back.Deployer.Esp!).Look()!;
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
    public void A_cut_between_the_entry_and_the_firmware_costs_a_try_and_no_more()
    {
        Assert.Throws<IOException>(() =>
        {
            using InstalledBox cut = Running(one, static step => { if (step == "tell the firmware to start it once") throw new IOException("cut"); });
            box.Deploy(cut.Deployer, two);
        });
        Assert.Equal((Entry(one), null), (Conf(), Once()));
        using InstalledBox installed = Running(one);
        Assert.Equal(Name(two), new BootHealth(installed.Sysroot, installed.Deployer.Esp!).Look()!.Waiting);
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
        Assert.False(new BootHealth(installed.Sysroot, installed.Deployer.Esp!).Look()!.IsOnTrial);
    }

    [Fact]
    public void Checks_of_etc_take_the_place_of_those_of_usr_lib_and_a_link_to_nothing_takes_one_away()
    {
        using var temp = new TempDir();
        temp.Write("usr/required/a", "#!/bin/sh\nexit 0\n", 0x1ED);
        temp.Write("usr/required/b", "#!/bin/sh\necho the database is down\nexit 7\n", 0x1ED);
        temp.Write("usr/required/gone", "#!/bin/sh\nexit 1\n", 0x1ED);
        temp.Write("usr/required/README", "no program");
        temp.Write("usr/wanted/w", "#!/bin/sh\nexit 1\n", 0x1ED);
        temp.Write("etc/required/a", "#!/bin/sh\nsleep 60\n", 0x1ED);
        File.CreateSymbolicLink(temp.Of("etc/required/gone"), "/dev/null");
        IReadOnlyList<HealthFinding> findings = HealthChecks.Run([temp.Of("usr"), temp.Of("etc")], TimeSpan.FromSeconds(2));
        Assert.Equal(
            [(temp.Of("etc/required/a"), true, "took more than 2 s"), (temp.Of("usr/required/b"), true, "exit status 7: the database is down"), (temp.Of("usr/wanted/w"), false, "exit status 1")],
            findings.Select(static finding => (finding.Path, finding.IsRequired, finding.Failure)));
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

    private InstalledBox Running(Checksum commit, Action<string>? beforeStep = null)
    {
        using OstreeSysroot plain = box.Open();
        OstreeSysroot sysroot = box.OpenBooted(
            plain.Deployments.First(each => each.Name.Commit == commit), options => options with { EfiVariables = efivars.Path, BeforeStep = beforeStep });
        return new InstalledBox(sysroot, new Deployer(sysroot, box.EspPath));
    }

    // As systemd-boot does it: the variable is gone before what it names is started.
    private void BootOnce() => File.Delete(OneShot);

    private string? Once() => File.Exists(OneShot) ? System.Text.Encoding.Unicode.GetString(File.ReadAllBytes(OneShot).AsSpan(4)).TrimEnd('\0') : null;

    private string Conf() => new LoaderConf(box.LoaderConf).Default!;

    private string OneShot => efivars.Of("LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
}
