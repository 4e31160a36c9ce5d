using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What the firmware finds.</summary>
public sealed class EspTests : IDisposable
{
    private readonly TestBox box = new();

    public void Dispose() => box.Dispose();

    [Fact]
    public void A_first_deployment_makes_the_partition_bootable()
    {
        Checksum one = box.Publish(1, kargs: ["quiet", "console=ttyS0"]);
        using OstreeSysroot sysroot = box.Install();
        using var deployer = new Deployer(sysroot, box.EspPath);
        DeployResult result = box.Deploy(deployer, one);
        string uki = $"debian-{one.ToString()[..12]}.0.efi";
        Assert.Equal([uki], box.Ukis());
        Assert.Equal($"timeout 3\nconsole-mode keep\ndefault {uki}\n", box.LoaderConf);
        Assert.Equal("boot loader of version 1", File.ReadAllText($"{box.EspPath}/EFI/BOOT/BOOTX64.EFI"));
        Assert.Equal("boot loader of version 1", File.ReadAllText($"{box.EspPath}/EFI/systemd/systemd-bootx64.efi"));
        string[] lines = File.ReadAllLines($"{box.EspPath}/EFI/Linux/{uki}");
        Assert.Equal($"root=LABEL=sbox-root sbox.deployment=debian/{one}.0 composefs={result.ImageDigest} quiet console=ttyS0", lines[1]);
        Assert.Contains("PRETTY_NAME=\"Debian GNU/Linux 13 (trixie) 1.0\"", lines);
        Assert.Contains("IMAGE_VERSION=\"1.0-20261123100000\"", lines);
        Assert.Contains("VERSION_ID=\"13\"", lines);
    }

    [Fact]
    public void An_upgrade_adds_its_kernel_image_and_the_third_takes_the_oldest_away()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2), box.Publish(3));
        using InstalledBox installed = box.Installed(one, two);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        Assert.Equal(Names(one, two), box.Ukis());
        Assert.EndsWith($"default {Name(two)}\n", box.LoaderConf);
        Assert.Equal("boot loader of version 2", File.ReadAllText($"{box.EspPath}/EFI/BOOT/BOOTX64.EFI"));
        box.Deploy(deployer, three);
        Assert.Equal(Names(two, three), box.Ukis());
    }

    [Fact]
    public void Going_back_changes_the_default_alone_and_going_back_again_undoes_it()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using InstalledBox installed = box.Installed(one, two);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        DateTime made = File.GetLastWriteTimeUtc($"{box.EspPath}/EFI/Linux/{Name(one)}");
        Assert.Equal(one, deployer.Rollback().Name.Commit);
        Assert.Equal([one, two], sysroot.Deployments.Select(each => each.Name.Commit));
        Assert.EndsWith($"default {Name(one)}\n", box.LoaderConf);
        Assert.Equal(Names(one, two), box.Ukis());
        Assert.Equal(made, File.GetLastWriteTimeUtc($"{box.EspPath}/EFI/Linux/{Name(one)}"));
        // The older tree's boot loader does not replace the newer one.
        Assert.Equal("boot loader of version 2", File.ReadAllText($"{box.EspPath}/EFI/BOOT/BOOTX64.EFI"));
        Assert.Equal(two, deployer.Rollback().Name.Commit);
    }

    [Fact]
    public void There_is_nothing_to_go_back_to_after_a_first_deployment()
    {
        Checksum one = box.Publish(1);
        using InstalledBox installed = box.Installed(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        Assert.Throws<NoSuchDeploymentException>(() => deployer.Rollback());
    }

    [Fact]
    public void What_the_owner_put_there_stays()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2), box.Publish(3));
        using InstalledBox installed = box.Installed(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        File.WriteAllText($"{box.EspPath}/EFI/Linux/rescue.efi", "the owner's");
        File.WriteAllText($"{box.EspPath}/loader/loader.conf", $"# mine\ntimeout 0\ndefault {Name(one)}\neditor no\n");
        box.Deploy(deployer, two);
        box.Deploy(deployer, three);
        Assert.Contains("rescue.efi", box.Ukis());
        Assert.Equal($"# mine\ntimeout 0\neditor no\ndefault {Name(three)}\n", box.LoaderConf);
    }

    [Fact]
    public void Too_little_room_is_refused_before_anything_is_written()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using OstreeSysroot sysroot = box.Install();
        using (var deployer = new Deployer(sysroot, box.EspPath))
            box.Deploy(deployer, one);
        box.Fetch(two);
        using OstreeSysroot full = box.Open(TestBox.Options() with { FreeBytes = EspOf(1000), BeforeStep = step => Assert.Fail($"'{step}' though there is no room") });
        using var refused = new Deployer(full, box.EspPath);
        NoSpaceException found = Assert.Throws<NoSpaceException>(() => refused.Deploy(TestBox.Request(two)));
        Assert.Equal(1000, found.Free);
        Assert.True(found.Needed > 1 << 20);
        Assert.Equal(Name(one), Assert.Single(found.Freeable).What);
        Assert.Single(Directory.GetDirectories($"{box.SysrootPath}/ostree/deploy/debian/deploy"));
    }

    [Fact]
    public void Too_little_room_for_the_tree_is_refused_before_anything_is_written_and_what_would_free_how_much_is_said()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.PublishWith(2, ("usr/share/large", new string('x', 3 << 20))), box.Publish(3));
        using InstalledBox installed = box.Installed(one, two);
        box.Fetch(three);
        using OstreeSysroot full = box.OpenBooted(installed.Sysroot.Deployments[1], options => options with
        {
            FreeBytes = static dir => dir.Path.EndsWith("sysroot", StringComparison.Ordinal) ? 5000 : long.MaxValue,
            BeforeStep = static step => Assert.Fail($"'{step}' though there is no room"),
        });
        using var refused = new Deployer(full, box.EspPath);
        NoSpaceException found = Assert.Throws<NoSpaceException>(() => refused.Deploy(TestBox.Request(three)));
        Assert.Equal((box.SysrootPath, 5000L), (found.Path, found.Free));
        Assert.Equal("version 2.0 (sbox undeploy 0)", Assert.Single(found.Freeable).What);
        Assert.InRange(found.Freeable[0].Bytes, 3 << 20, (3 << 20) + (64 << 10));
        Assert.Contains("frees 3.0 MiB", found.Message);
    }

    [Fact]
    public void What_a_deployment_takes_is_no_more_than_what_was_planned_for_it()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.PublishWith(2, [.. Enumerable.Range(0, 300).Select(static n => ($"usr/etc/many/{n / 10}/{n}", new string('x', n * 40)))]));
        using InstalledBox installed = box.Installed(one);
        box.Fetch(two);
        long before = Taken();
        DeployResult result = installed.Deployer.Deploy(TestBox.Request(two));
        long taken = Taken() - before;
        Assert.InRange(taken, 1, result.Plan.RootBytes);
        Assert.True(result.Plan.RootBytes < taken + (3 << 20), $"{result.Plan.RootBytes} planned, {taken} taken");

        long Taken() => long.Parse(Judge.OnPath("du").Run("-s", "-B1", box.SysrootPath).Split('\t')[0], System.Globalization.CultureInfo.InvariantCulture);
    }

    private static Func<Dir, long> EspOf(long free) => dir => dir.Path.EndsWith("esp", StringComparison.Ordinal) ? free : long.MaxValue;

    [Fact]
    public void Where_only_the_place_of_the_oldest_is_left_the_oldest_goes_first_and_what_runs_stays()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2), box.Publish(3));
        using InstalledBox installed = box.Installed(one, two);
        OstreeSysroot sysroot = installed.Sysroot;

        box.Fetch(three);
        // Nothing but what the oldest takes: less than the plan's rounded-up need, which its own size makes up for.
        File.AppendAllText($"{box.EspPath}/EFI/Linux/{Name(one)}", new string(' ', 2 << 20));
        var gone = new List<string>();
        using OstreeSysroot tight = box.OpenBooted(sysroot.Deployments[0], options => options with
        {
            FreeBytes = EspOf(1000),
            BeforeStep = step =>
            {
                if (step.Contains("check out", StringComparison.Ordinal))
                    gone.AddRange(box.Ukis());
            },
        });
        using var second = new Deployer(tight, box.EspPath);
        DeployPlan plan = second.Plan(TestBox.Request(three));
        Assert.True(plan.DropsFirst);
        Assert.Contains("before all else", plan.ToString());
        second.Deploy(TestBox.Request(three));
        Assert.Equal([Name(two)], gone);
        Assert.Equal(Names(two, three), box.Ukis());
        Assert.Equal([three, two], tight.Deployments.Select(each => each.Name.Commit));
    }

    [Fact]
    public void A_lost_kernel_image_and_a_lost_loader_conf_come_back()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using InstalledBox installed = box.Installed(one, two);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        byte[] before = File.ReadAllBytes($"{box.EspPath}/EFI/Linux/{Name(one)}");
        File.Delete($"{box.EspPath}/EFI/Linux/{Name(one)}");
        File.Delete($"{box.EspPath}/loader/loader.conf");
        Assert.False(deployer.IsSettled);
        deployer.Finish();
        Assert.True(deployer.IsSettled);
        Assert.Equal(before, File.ReadAllBytes($"{box.EspPath}/EFI/Linux/{Name(one)}"));
        Assert.EndsWith($"default {Name(two)}\n", box.LoaderConf);
    }

    [Fact]
    public void A_deployment_that_does_not_run_can_be_removed_and_the_one_that_runs_cannot()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using InstalledBox installed = box.Installed(one, two);
        OstreeSysroot sysroot = installed.Sysroot;

        using OstreeSysroot booted = box.OpenBooted(sysroot.Deployments[0]);
        using var second = new Deployer(booted, box.EspPath);
        Assert.Throws<DeploymentBootedException>(() => second.Undeploy(booted.Deployments[0].Name));
        Assert.Equal([one], second.Undeploy(booted.Deployments[1].Name).Deployments.Select(each => each.Commit));
        Assert.Equal(Names(two), box.Ukis());
        Assert.Equal([two], booted.Deployments.Select(each => each.Name.Commit));
        Assert.Throws<DeploymentBootedException>(() => second.Undeploy(booted.Deployments[0].Name));
    }

    [Fact]
    public void A_status_says_what_runs_what_comes_next_and_what_was_changed()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using InstalledBox installed = box.Installed(one, two);
        OstreeSysroot sysroot = installed.Sysroot;

        File.WriteAllText(box.Etc(sysroot.Deployments[1], "mine"), "x");
        using OstreeSysroot booted = box.OpenBooted(sysroot.Deployments[1]);
        using var second = new Deployer(booted, box.EspPath);
        StatusReport report = StatusReport.Of(booted, second);
        Assert.Equal((one, "1.0", 1, false), (report.Booted!.Name.Commit, report.Booted.Version, report.Booted.EtcChanges, report.Booted.IsNext));
        Assert.Equal((two, "2.0", true, true), (report.Next!.Name.Commit, report.Next.Version, report.Next.IsPending, report.Next.HasUki));
        Assert.True(report.IsSettled);
        Assert.Equal(new Refspec(TestBox.Remote, TestBox.Ref), report.Next.Refspec);
    }

    private static string Name(Checksum commit) => $"debian-{commit.ToString()[..12]}.0.efi";

    private static IEnumerable<string> Names(params Checksum[] commits) => commits.Select(Name).Order(StringComparer.Ordinal);
}
