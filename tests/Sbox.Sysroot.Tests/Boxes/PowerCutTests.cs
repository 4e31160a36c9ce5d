using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>The power is cut before each step that changes the disk. What the firmware then finds must boot, and the same command must finish.</summary>
public sealed class PowerCutTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly Checksum one, two, three;

    public PowerCutTests()
    {
        (one, two, three) = (box.Publish(1), box.Publish(2, kernel: "second"), box.Publish(3, kernel: "third"));
        using OstreeSysroot sysroot = box.Install();
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, one);
        box.Deploy(deployer, two);
        box.Fetch(three);
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void An_upgrade_cut_anywhere_boots_the_old_version_or_the_new_and_can_be_finished()
    {
        DeploymentName running = new(TestBox.Os, two, 0);
        AtEveryStep(running, deployer => deployer.Deploy(TestBox.Request(three)), cut =>
        {
            Assert.Contains(Firmware(cut), new[] { two, three });
            using OstreeSysroot again = Open(cut, running, beforeStep: null);
            using var deployer = new Deployer(again, $"{cut}/esp");
            if (again.Deployments[0].Name.Commit == three)
                deployer.Finish();
            else
                deployer.Deploy(TestBox.Request(three));
            Assert.Equal([three, two], again.Deployments.Select(each => each.Name.Commit));
            AssertFinished(cut, again, deployer);
        });
    }

    [Fact]
    public void Going_back_cut_anywhere_boots_the_one_or_the_other_and_can_be_finished()
    {
        DeploymentName running = new(TestBox.Os, two, 0);
        AtEveryStep(running, deployer => deployer.Rollback(), cut =>
        {
            Assert.Contains(Firmware(cut), new[] { one, two });
            using OstreeSysroot again = Open(cut, running, beforeStep: null);
            using var deployer = new Deployer(again, $"{cut}/esp");
            if (Firmware(cut) == two)
                deployer.Rollback();
            else
                deployer.Finish();
            Assert.Equal([one, two], again.Deployments.Select(each => each.Name.Commit));
            AssertFinished(cut, again, deployer);
        });
    }

    [Fact]
    public void Removing_a_deployment_cut_anywhere_leaves_the_other_whole()
    {
        DeploymentName running = new(TestBox.Os, two, 0);
        AtEveryStep(running, deployer => deployer.Undeploy(new DeploymentName(TestBox.Os, one, 0)), cut =>
        {
            Assert.Equal(two, Firmware(cut));
            using OstreeSysroot again = Open(cut, running, beforeStep: null);
            using var deployer = new Deployer(again, $"{cut}/esp");
            if (again.Deployments.Any(each => each.Name.Commit == one))
                deployer.Undeploy(new DeploymentName(TestBox.Os, one, 0));
            else
                deployer.Finish();
            Assert.Equal([two], again.Deployments.Select(each => each.Name.Commit));
            AssertFinished(cut, again, deployer);
        });
    }

    [Fact]
    public void A_second_cut_while_the_first_is_repaired_leaves_a_box_that_boots()
    {
        DeploymentName running = new(TestBox.Os, two, 0);
        void Upgrade(Deployer deployer) => deployer.Deploy(TestBox.Request(three));
        int steps = 0;
        using (var whole = new TempDir(inMemory: true))
            Cut(Copy(whole), running, Upgrade, _ => steps++ < 0);
        var random = new Random(20261123);
        for (int pair = 0; pair < 30; pair++)
        {
            using var copy = new TempDir(inMemory: true);
            int first = random.Next(1, steps + 1), second = random.Next(1, steps + 1), step = 0;
            string? one = Cut(Copy(copy), running, Upgrade, _ => ++step == first);
            step = 0;
            string? other = Cut(copy.Path, running, Upgrade, _ => ++step == second);
            AssertWhole(copy.Path, $"{one}', then '{other}");
            Cut(copy.Path, running, Upgrade, _ => false);
            Assert.Equal(three, Firmware(copy.Path));
            AssertWhole(copy.Path, "nothing");
        }
    }

    private void AtEveryStep(DeploymentName running, Action<Deployer> change, Action<string> check)
    {
        var steps = new List<string>();
        while (true)
        {
            using var copy = new TempDir(inMemory: true);
            int step = 0;
            string? cut = Cut(Copy(copy), running, change, _ => ++step > steps.Count);
            AssertWhole(copy.Path, cut ?? "nothing");
            if (cut is null)
                break;
            steps.Add(cut);
            check(copy.Path);
        }

        Assert.True(steps.Count > 5, $"only {steps.Count} steps were cut: {string.Join(", ", steps)}");
    }

    private string Copy(TempDir to)
    {
        Judge.OnPath("cp").Run("-a", box.SysrootPath, box.EspPath, to.Path);
        return to.Path;
    }

    /// <summary>Makes a change until the power is cut; which step was not made any more, or null where it came to its end.</summary>
    private static string? Cut(string directory, DeploymentName running, Action<Deployer> change, Func<string, bool> cutBefore)
    {
        using OstreeSysroot sysroot = Open(directory, running, step =>
        {
            if (cutBefore(step))
                throw new PowerCutException(step);
        });
        using var deployer = new Deployer(sysroot, $"{directory}/esp");
        try
        {
            change(deployer);
            return null;
        }
        catch (PowerCutException cut)
        {
            return cut.Message;
        }
    }

    private static OstreeSysroot Open(string directory, DeploymentName running, Action<string>? beforeStep) => OstreeSysroot.Open(
        $"{directory}/sysroot",
        TestBox.Options() with { CommandLine = $"root=LABEL=sbox-root sbox.deployment={running}", BeforeStep = beforeStep });

    /// <summary>What systemd-boot boots when nobody chooses: loader.conf's default, else the newest version.</summary>
    private static Checksum Firmware(string directory)
    {
        Dictionary<string, string[]> ukis = Directory.GetFiles($"{directory}/esp/EFI/Linux", "*.efi").ToDictionary(path => Path.GetFileName(path), File.ReadAllLines);
        string? named = File.Exists($"{directory}/esp/loader/loader.conf") ? new LoaderConf(File.ReadAllText($"{directory}/esp/loader/loader.conf")).Default : null;
        string chosen = named is not null && ukis.ContainsKey(named) ? named
            : ukis.MaxBy(each => each.Value.Single(line => line.StartsWith("IMAGE_VERSION=", StringComparison.Ordinal)), StringComparer.Ordinal).Key;
        return NameIn(ukis[chosen]).Commit;
    }

    private static DeploymentName NameIn(string[] uki)
    {
        string text = KernelArguments.Parse(uki[1]).Get("sbox.deployment")!;
        Assert.True(DeploymentName.TryParse(text, out DeploymentName name), text);
        return name;
    }

    /// <summary>Whatever firmware or a classic boot loader offers leads to a whole deployment, and real ostree is content.</summary>
    private static void AssertWhole(string directory, string step)
    {
        foreach (string path in Directory.GetFiles($"{directory}/esp/EFI/Linux").Where(path => !Path.GetFileName(path).StartsWith('.')))
        {
            string[] uki = File.ReadAllLines(path);
            Assert.Equal("whole", uki[0]);
            Assert.StartsWith("initrd of", uki[^1]);
            AssertDeployed(directory, NameIn(uki), $"{Path.GetFileName(path)} after a cut before '{step}'");
        }

        using OstreeSysroot sysroot = OstreeSysroot.Open($"{directory}/sysroot", TestBox.Options());
        Assert.NotEmpty(sysroot.Deployments);
        foreach (Deployment deployment in sysroot.Deployments)
        {
            AssertDeployed(directory, deployment.Name, $"entry '{deployment.Entry.Title}' after a cut before '{step}'");
            Assert.True(File.Exists($"{directory}/sysroot/boot{deployment.Entry.Linux}"), $"no kernel for '{deployment.Entry.Title}' after a cut before '{step}'");
            Assert.All(deployment.Entry.Initrds, initrd => Assert.True(File.Exists($"{directory}/sysroot/boot{initrd}")));
        }

        Judge.HostOstree.Run("admin", "status", $"--sysroot={directory}/sysroot");
        Judge.HostOstree.Run("fsck", "--quiet", $"--repo={directory}/sysroot/ostree/repo");
    }

    private static void AssertDeployed(string directory, DeploymentName name, string by)
    {
        string root = $"{directory}/sysroot/{name.Directory}";
        foreach (string path in (string[])[".ostree.cfs", "usr/bin/version", "usr/etc/hostname", "etc/hostname", "etc/default/thing", "usr/lib/modules/6.12.1/vmlinuz"])
            Assert.True(File.Exists($"{root}/{path}"), $"{by} leads to {name.Short}, which has no {path}");
        Assert.True(File.Exists($"{root}.origin"), $"{by} leads to {name.Short}, which has no origin");
        Assert.Equal($"from version {File.ReadAllText($"{root}/usr/bin/version")}\n", File.ReadAllText($"{root}/etc/default/thing"));
    }

    private static void AssertFinished(string directory, OstreeSysroot sysroot, Deployer deployer)
    {
        AssertWhole(directory, "nothing");
        Assert.True(deployer.IsSettled);
        Assert.Equal(sysroot.Deployments.Count, Directory.GetDirectories($"{directory}/sysroot/ostree/deploy/{TestBox.Os}/deploy").Length);
        Assert.Equal(sysroot.Deployments.Count, Directory.GetFiles($"{directory}/sysroot/ostree/deploy/{TestBox.Os}/deploy", "*.origin").Length);
        Assert.Equal(sysroot.Deployments.Count, Directory.GetFiles($"{directory}/esp/EFI/Linux").Length);
        Assert.Equal(sysroot.Deployments.Count, sysroot.Repository.Refs("ostree").Count);
    }

    private sealed class PowerCutException(string step) : Exception(step);
}
