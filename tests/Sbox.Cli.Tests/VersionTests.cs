using System.Text.Json;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What a person does with the versions of a box, by the program itself; real ostree looks at the result.</summary>
public sealed class VersionTests : IDisposable
{
    private readonly TestBox box = new() { RealStub = true };
    private readonly Checksum one, two;

    public VersionTests()
    {
        (one, two) = (box.Publish(1), box.Publish(2));
        box.Installed(one).Dispose();
        Judge.HostOstree.Run("remote", "add", "--no-gpg-verify", $"--repo={box.SysrootPath}/ostree/repo", TestBox.Remote, $"file://{box.Source}");
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void A_version_is_fetched_deployed_pinned_gone_back_from_and_removed()
    {
        Deployment first = Deployments()[0];
        using var machine = new RunningBox(box, first);
        Assert.Contains("version 2.0 is here; sbox upgrade --offline deploys it", machine.Run("sbox upgrade --download-only --esp=/run/esp"));
        Assert.Single(Deployments());
        Directory.Move(box.Source, $"{box.Source}.away"); // nothing more is fetched
        Assert.Contains("Version 2.0 runs after a reboot", machine.Run("sbox upgrade --offline --esp=/run/esp"));
        Directory.Move($"{box.Source}.away", box.Source);

        string status = machine.Run("sbox status --esp=/run/esp");
        Assert.StartsWith("● 1.0 ───── → 2.0\nruns now    boots next\n\n0 → debian 2.0      boots next\n", status);

        Assert.Contains("Version 1.0 is pinned", machine.Run("sbox pin --esp=/run/esp"));
        Assert.Contains("Pinned: yes", Judge.Ostree.Run("admin", "status", $"--sysroot={box.SysrootPath}"));
        Assert.Contains("Version 1.0 was already pinned", machine.Run("sbox pin 1.0 --esp=/run/esp"));
        Assert.Contains("Version 1.0 is not pinned", machine.Run("sbox pin --remove 1 --esp=/run/esp"));

        Assert.Contains("Version 1.0, which runs now, boots next", machine.Run($"sbox rollback --to {one.ToString()[..8]} --esp=/run/esp"));
        Assert.Contains("Version 2.0 is gone", machine.Run("sbox undeploy 2.0 --esp=/run/esp"));
        Assert.Equal([one], Deployments().Select(static each => each.Name.Commit));
        Assert.Equal(
            ["deploy", "deploy", "pin", "unpin", "rollback", "undeploy"],
            machine.Run("sbox history --json").Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonDocument.Parse(line).RootElement.GetProperty("what").GetString()));
    }

    [Fact]
    public void The_version_that_runs_is_not_removed_and_a_version_that_is_not_there_is_not_guessed()
    {
        using var machine = new RunningBox(box, Deployments()[0]);
        Assert.Contains("is running now and cannot be removed", machine.Run("sbox undeploy 0 --esp=/run/esp 2>&1 || true"));
        Assert.Contains("no deployment is '9'; there are 0: version 1.0", machine.Run("sbox rollback --to 9 --esp=/run/esp 2>&1 || true"));
    }

    [Fact]
    public void Changed_kernel_arguments_are_a_deployment_of_their_own_that_can_be_gone_back_from()
    {
        using var machine = new RunningBox(box, Deployments()[0]);
        Assert.Equal("root=LABEL=sbox-root quiet\n", machine.Run("sbox kargs"));
        Assert.Equal("root=LABEL=sbox-root debug loglevel=7\n", machine.Run("sbox kargs --delete quiet --append debug --append loglevel=7 --esp=/run/esp"));
        IReadOnlyList<Deployment> both = Deployments();
        Assert.Equal([("root=LABEL=sbox-root debug loglevel=7", 1), ("root=LABEL=sbox-root quiet", 0)], both.Select(static each => (each.Arguments.ToString(), each.Name.Serial)));
        machine.Run("sbox rollback --esp=/run/esp");
        Assert.Equal("root=LABEL=sbox-root quiet", Deployments()[0].Arguments.ToString());
    }

    [Fact]
    public void Another_branch_is_followed_from_now_on()
    {
        Judge.HostOstree.Run("commit", $"--repo={box.Source}", "--branch=debian/forky", $"--tree=ref={TestBox.Ref}", "--add-metadata-string=version=2.0");
        using var machine = new RunningBox(box, Deployments()[0]);
        Assert.Contains("Version 2.0 runs after a reboot", machine.Run("sbox switch debian/forky --esp=/run/esp"));
        Assert.Equal("origin:debian/forky", Deployments()[0].Origin!.Refspec!.ToString());
    }

    [Fact]
    public void A_reset_shows_what_goes_asks_and_then_the_next_boot_has_defaults_only()
    {
        Deployment first = Deployments()[0];
        string var = $"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/var";
        Directory.CreateDirectory($"{var}/home/me");
        File.WriteAllText($"{var}/home/me/letter", "dear");
        File.WriteAllText(box.Etc(first, "mine"), "mine");
        using var machine = new RunningBox(box, first);
        string shown = machine.Run("sbox reset --etc --var 2>&1 </dev/null || echo $?");
        Assert.Contains("1 files  /var/home\n", shown);
        Assert.Contains("A    mine\n", shown);
        Assert.EndsWith("Nothing was changed\n3\n", shown);
        Assert.True(File.Exists($"{var}/home/me/letter"));

        Assert.Contains("Done: reboot now", machine.Run("sbox reset --etc --var --yes"));
        Assert.False(Directory.Exists($"{var}/home"));
        Assert.False(File.Exists(box.Etc(first, "mine")));
        Assert.Equal("box\n", File.ReadAllText(box.Etc(first, "hostname")));
        Assert.True(File.Exists($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/.sbox-reset/var/home/me/letter")); // for who still runs; the next boot deletes it
    }

    [Fact]
    public void A_machine_that_is_no_box_says_so()
    {
        Verdict said = Judge.OnPath($"{RunningBox.Program}/sbox").Ask("where", "/etc/passwd");
        Assert.Equal((1, "sbox: this machine runs no box\n  On a box: sbox where PATH\n"), (said.ExitCode, said.Error));
    }

    private IReadOnlyList<Deployment> Deployments()
    {
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments;
    }
}
