using System.Text.Json;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What sbox etc says and does, by the program itself.</summary>
public sealed class EtcTests : IDisposable
{
    private readonly TestBox box = new();
    private readonly Checksum two;
    private readonly Deployment first;

    public EtcTests()
    {
        Checksum one = box.Publish(1, etc: [("app.conf", "a\nb\nc\nd\n")]);
        two = box.Publish(2, etc: [("app.conf", "a\nb\nc\nnew\n")]);
        using InstalledBox installed = box.Installed(one);
        first = installed.Sysroot.Deployments[0];
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void What_did_not_come_along_at_shutdown_is_told_at_the_next_login()
    {
        Deployment next;
        using (OstreeSysroot running = box.OpenBooted(first))
        {
            using var deployer = new Deployer(running, box.EspPath);
            box.Deploy(deployer, two);
            next = running.Deployments[0];
        }

        File.WriteAllText(box.Etc(next, "own"), "written in a rescue shell\n");
        File.WriteAllText(box.Etc(first, "late"), "late\n");
        using (var machine = new RunningBox(box, first))
            machine.Run("sbox etc at-shutdown || true");
        using var after = new RunningBox(box, next);
        string said = after.Run("sbox etc at-boot; cat /run/motd.d/50-sbox-etc");
        Assert.StartsWith("/etc: what was edited after the upgrade did not come with it: its /etc is not as the merge wrote it", said);
        Assert.Contains($"The /etc that it came from: /sysroot/{first.Name.Directory}/etc.", said);
        Assert.Equal("", after.Run("sbox etc at-boot; ls /run/motd.d 2>/dev/null || true"));
    }

    [Fact]
    public void A_day_with_a_conflict()
    {
        File.WriteAllText(box.Etc(first, "app.conf"), "a\nb\nc\nmine\n");
        File.WriteAllText(box.Etc(first, "own"), "own\n");
        using var machine = new RunningBox(box, first);
        Assert.Equal("M    app.conf\nA    own\n", machine.Run("sbox etc diff"));
        Assert.Equal("--- /usr/etc/app.conf\n+++ /etc/app.conf\n@@ -1,4 +1,4 @@\n a\n b\n c\n-d\n+mine\n", machine.Run("sbox etc diff /etc/app.conf"));

        box.Fetch();
        string plan = machine.Run("sbox etc plan");
        Assert.Contains("onto version 2.0".Replace("onto", "on top of"), plan);
        Assert.Contains("keep /etc/app.conf\n    you and the new tree changed the same lines; yours is kept\n", plan);
        Assert.EndsWith("2 changes, 0 files merged, 1 conflicts: yours is kept, and sbox etc resolve lists them afterwards\n", plan);

        using (OstreeSysroot running = box.OpenBooted(first))
        {
            using var deployer = new Deployer(running, box.EspPath);
            box.Deploy(deployer, two);
        }

        Assert.Contains("/etc/app.conf", machine.Run("sbox etc resolve"));
        Assert.Contains("1 conflict in /etc waits", machine.Run("sbox status --esp=/run/esp"));
        JsonElement choice = JsonDocument.Parse(machine.Run("sbox etc resolve --new app.conf --json")).RootElement;
        Assert.Equal(("/etc/app.conf", "new"), (choice.GetProperty("path").GetString(), choice.GetProperty("choice").GetString()));
        Assert.Equal("", machine.Run("sbox etc resolve 2>/dev/null"));
        Assert.Contains("is as it was before sbox etc resolve", machine.Run("sbox etc undo"));
        Assert.Contains("/etc/app.conf", machine.Run("sbox etc resolve"));

        File.WriteAllText(box.Etc(first, "late"), "late\n");
        Assert.Contains("has what was edited since", machine.Run("sbox etc at-shutdown"));
        using OstreeSysroot after = box.Open();
        Assert.Equal("late\n", File.ReadAllText(box.Etc(after.Deployments[0], "late")));
    }

    [Fact]
    public void What_was_reset_is_the_default_again_and_comes_back()
    {
        File.WriteAllText(box.Etc(first, "app.conf"), "mine\n");
        using var machine = new RunningBox(box, first);
        Assert.StartsWith("/etc/app.conf is as version debian/", machine.Run("sbox etc reset /etc/app.conf"));
        Assert.Equal("", machine.Run("sbox etc diff"));
        machine.Run("sbox etc undo");
        Assert.Equal("M    app.conf\n", machine.Run("sbox etc diff"));
    }

    [Fact]
    public void A_path_elsewhere_is_refused_with_a_way_out()
    {
        Verdict said = Judge.OnPath($"{RunningBox.Program}/sbox").Ask("etc", "reset", "/usr/bin/sh", $"--sysroot={box.SysrootPath}");
        Assert.Equal((1, "sbox: /usr/bin/sh: is no path below /etc\n  What is changed below /etc: sbox etc diff. What merges decided: sbox etc resolve\n"), (said.ExitCode, said.Error));
    }
}
