using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using static Sbox.Sysroot.Tests.Afterwards;

namespace Sbox.Sysroot.Tests;

/// <summary>The power is cut before each step that changes the disk. What the firmware then finds must boot, and the same command must finish.</summary>
public sealed class PowerCutTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly Checksum one, two, three;

    public PowerCutTests()
    {
        (one, two, three) = (box.Publish(1), box.Publish(2, kernel: "second"), box.Publish(3, kernel: "third"));
        using InstalledBox installed = box.Installed(one, two);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
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

    private sealed class PowerCutException(string step) : Exception(step);
}
