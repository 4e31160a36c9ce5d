using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>A new version is on trial until it is found good; one that the boot loader gives up is remembered and not tried again.</summary>
public sealed class HealthTests : IDisposable
{
    private const string Unit = "usr/lib/systemd/system/sbox-health.service";
    private readonly TestBox box = new(inMemory: true);
    private readonly Checksum one, two;

    public HealthTests()
    {
        (one, two) = (box.PublishWith(1, (Unit, "unit")), box.PublishWith(2, (Unit, "unit")));
        box.Installed(one).Dispose();
    }

    public void Dispose() => box.Dispose();

    private static string File1(Checksum commit, string counter) => $"debian-{commit.ToString()[..12]}.0{counter}.efi";

    [Fact]
    public void The_first_version_is_not_counted_and_the_next_has_three_tries()
    {
        Assert.Equal([File1(one, "")], box.Ukis());
        Upgrade();
        Assert.Equal(new[] { File1(one, ""), File1(two, "+3") }.Order(StringComparer.Ordinal), box.Ukis());
    }

    [Theory]
    [InlineData("+3", true), InlineData("+2-1", true), InlineData("+1-2", true), InlineData("+0-3", false), InlineData("", true)]
    public void It_is_the_default_as_long_as_it_has_a_try_left_and_when_it_was_found_good(string counter, bool isDefault)
    {
        Upgrade();
        Rename(two, "+3", counter);
        using OstreeSysroot sysroot = box.OpenBooted(Deployments()[1]);
        using var deployer = new Deployer(sysroot, box.EspPath);
        Assert.Equal(isDefault ? File1(two, counter) : null, deployer.Esp!.Choice.Entry);
    }

    [Fact]
    public void A_version_that_came_up_is_counted_no_more_and_stays_the_default()
    {
        Upgrade();
        Rename(two, "+3", "+2-1");
        using OstreeSysroot sysroot = box.OpenBooted(Deployments()[0]);
        using var deployer = new Deployer(sysroot, box.EspPath);
        var health = new BootHealth(sysroot, deployer.Esp!);
        BootVerdict verdict = health.Look()!;
        Assert.Equal((true, (int?)2), (verdict.IsCounted, verdict.TriesLeft));
        health.MarkGood();
        Assert.Contains(File1(two, ""), box.Ukis());
        Assert.Contains($"default {File1(two, "")}\n", box.LoaderConf);
        Assert.False(health.Look()!.IsCounted);
        Assert.True(deployer.IsSettled);
        Assert.Equal("good", BoxHistory.Read(sysroot, TestBox.Os)[^1].What);
    }

    [Fact]
    public async Task A_version_that_the_boot_loader_gave_up_is_remembered_and_not_tried_again_unless_asked()
    {
        Upgrade();
        Rename(two, "+3", "+0-3");
        using OstreeSysroot sysroot = box.OpenBooted(Deployments()[1]);
        using var deployer = new Deployer(sysroot, box.EspPath);
        var health = new BootHealth(sysroot, deployer.Esp!);
        BootVerdict verdict = health.Look()!;
        Assert.Equal([two], verdict.FellBackFrom.Select(static name => name.Commit));
        health.NoteFallback(verdict);
        deployer.Rollback(verdict.Running);
        Assert.Empty(health.Look()!.FellBackFrom);
        Assert.Equal(File1(one, ""), deployer.Esp!.Choice.Entry);
        Assert.True(deployer.IsSettled);
        Assert.Equal([two], StatusReport.Of(sysroot, deployer).Bad.Select(static bad => bad.Commit));

        var options = new UpgradeOptions { SwitchTo = new Refspec(null, two.ToString()) };
        Assert.Equal(UpgradeState.KnownBad, (await new Upgrader(sysroot, deployer).Fetch(options)).State);
        Assert.Equal(UpgradeState.Available, (await new Upgrader(sysroot, deployer).Fetch(options with { Retry = true })).State);
    }

    [Fact]
    public void Whoever_goes_back_to_a_version_that_was_given_up_gives_it_its_tries_again()
    {
        Upgrade();
        Rename(two, "+3", "+0-3");
        using OstreeSysroot sysroot = box.OpenBooted(Deployments()[1]);
        using var deployer = new Deployer(sysroot, box.EspPath);
        deployer.Rollback(new DeploymentName(TestBox.Os, two, 0));
        Assert.Equal(File1(two, "+3"), deployer.Esp!.Choice.Entry);
    }

    [Fact]
    public void A_tree_that_would_never_say_that_it_is_good_is_not_counted()
    {
        using InstalledBox installed = Open();
        Checksum plain = box.PublishWith(3);
        Directory.Delete($"{box.Path}/trees/3", recursive: true);
        box.Deploy(installed.Deployer, plain);
        Assert.Contains(File1(plain, ""), box.Ukis());
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

    private void Upgrade()
    {
        using InstalledBox installed = Open();
        box.Deploy(installed.Deployer, two);
    }

    private InstalledBox Open()
    {
        OstreeSysroot sysroot = box.OpenBooted(Deployments()[0]);
        return new InstalledBox(sysroot, new Deployer(sysroot, box.EspPath));
    }

    private void Rename(Checksum commit, string from, string to) =>
        File.Move($"{box.EspPath}/EFI/Linux/{File1(commit, from)}", $"{box.EspPath}/EFI/Linux/{File1(commit, to)}", overwrite: true);

    private IReadOnlyList<Deployment> Deployments()
    {
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments;
    }
}
