using System.Text.Json;
using Sbox.Cli.Commands;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What sbox auto says and does, by the program itself, on a machine of its own.</summary>
public sealed class AutoTests : IDisposable
{
    // Settings and machine of a box, in place of those of the machine that tests.
    private const string Own = """
        mount -t tmpfs own /etc; echo 0123456789abcdef > /etc/machine-id; umask 022
        mkdir -p /run/systemd/sessions

        """;

    private readonly TestBox box = new() { RealStub = true };
    private readonly Checksum two;
    private readonly Deployment first;

    public AutoTests()
    {
        Checksum one = box.Publish(1);
        using OstreeSysroot sysroot = OstreeSysroot.Init(box.SysrootPath);
        sysroot.InitStateroot(TestBox.Os);
        Judge.HostOstree.Run("remote", "add", $"--repo={box.SysrootPath}/ostree/repo", "--no-gpg-verify", TestBox.Remote, $"file://{box.Source}");
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, one);
        first = sysroot.Deployments[0];
        two = box.Publish(2);
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void It_is_off_until_it_is_turned_on_and_says_what_would_happen_and_what_is_in_the_way()
    {
        using var machine = new RunningBox(box, first);
        string said = machine.Run(Own + """
            sbox auto run; test ! -e /etc/sbox/auto.toml
            sbox auto status --esp=/run/esp --json
            sbox auto on --window 'Mon-Fri 02:00-05:00' --window 22:00-23:00 --reboot idle --battery 50 --rollout '10% 0h' --rollout '100% 2d' >&2
            sbox auto status --esp=/run/esp --json
            sbox auto on --reboot sometimes >&2 || echo refused
            cat /etc/sbox/auto.toml
            sbox auto off >&2
            sbox auto why --esp=/run/esp
            """);
        string[] lines = said.Split('\n');
        Assert.Equal("Automatic updates are off", lines[0]);
        JsonElement off = JsonDocument.Parse(lines[1]).RootElement, on = JsonDocument.Parse(lines[2]).RootElement;
        Assert.False(off.GetProperty("enabled").GetBoolean());
        Assert.Equal((false, true), (off.GetProperty("timer").GetBoolean(), on.GetProperty("timer").GetBoolean()));
        Assert.Contains("off", off.GetProperty("obstacles").EnumerateArray().Select(static each => each.GetProperty("name").GetString()));
        Assert.True(on.GetProperty("enabled").GetBoolean());
        Assert.Equal("check", on.GetProperty("next").GetString());
        Assert.Equal(["Mon,Tue,Wed,Thu,Fri 02:00-05:00", "22:00-23:00"], on.GetProperty("windows").EnumerateArray().Select(static each => each.GetString()));
        Assert.Equal(("idle", 50), (on.GetProperty("reboot").GetString(), on.GetProperty("battery-minimum").GetInt32()));
        Assert.Equal("refused", lines[3]);
        Assert.Contains("reboot = \"idle\"", lines);
        Assert.Contains("what is next: look what the branch leads to", said);
        Assert.Contains("  off: automatic updates are off: sbox auto on", lines);
    }

    [Fact]
    public void It_restarts_for_what_it_deployed_also_with_people_logged_in_where_that_is_set_and_a_restart_that_is_refused_is_told()
    {
        using (OstreeSysroot sysroot = box.OpenBooted(first))
        {
            using var deployer = new Deployer(sysroot, box.EspPath);
            box.Deploy(deployer, two);
            new AutoUpdater(sysroot, deployer, MachineProbe.This).NoteUpgrade(two);
        }

        using var machine = new RunningBox(box, first);
        string said = machine.Run(Own + """
            printf '#!/bin/sh\necho "systemctl $*" >> /run/asked; test ! -e /run/refused || { echo "Access denied"; exit 1; }\n' > /etc/systemctl; chmod +x /etc/systemctl
            mount --bind /etc/systemctl $(command -v systemctl)
            printf 'UID=1000\nUSER=ann\nSTATE=active\nCLASS=user\n' > /run/systemd/sessions/1
            sbox auto on --reboot idle >&2; sbox auto run >&2; test ! -e /run/asked
            sbox auto on --reboot always >&2; sbox auto run >&2; cat /run/asked
            touch /run/refused; sbox auto run >&2 || echo failed; sbox auto why --esp=/run/esp
            """);
        Assert.StartsWith("systemctl reboot --check-inhibitors=no\nfailed\n", said);
        Assert.Contains(" (systemctl reboot: Access denied): the next one is an hour later\n", said);
        using OstreeSysroot after = box.Open();
        Assert.Equal("systemctl reboot: Access denied", AutoState.Read(after, TestBox.Os).Failure!.Value.Why);
    }

    [Fact]
    public void Turned_on_by_the_tree_alone_it_says_that_the_timer_waits_for_the_owners_file()
    {
        var on = new AutoSettings { Enabled = true };
        Assert.StartsWith("\nsbox-auto.timer does not run: it waits for /etc/sbox/auto.toml, and", AutoCommand.TimerText(on, ownFile: false));
        Assert.Empty(AutoCommand.TimerText(on, ownFile: true));
        Assert.Empty(AutoCommand.TimerText(new AutoSettings(), ownFile: false));
    }

    [Fact]
    public void What_an_upgrade_answers_is_read_with_its_notes_and_its_error()
    {
        UpgradeAnswer answer = UpgradeAnswer.Of(["Fetching", $$"""{"state":"deployed","version":"2.0","checksum":"{{two}}","bytes-transferred":1,"notes":["one","two"]}""", "{half"]);
        Assert.Equal(("deployed", two, null), (answer.State, answer.Commit!.Value, answer.Error));
        Assert.Equal(["one", "two"], answer.Notes);
        answer = UpgradeAnswer.Of(["""{"error":"no EFI partition","kind":"NoEspException","remedy":"find one"}"""]);
        Assert.Equal((null, null, "no EFI partition"), (answer.State, answer.Commit, answer.Error));
    }

    [Fact]
    public void Turned_on_it_looks_at_the_branch_and_deploys_as_a_person_would()
    {
        using var machine = new RunningBox(box, first);
        // A network of its own with a route to somewhere, and the server beside it; the EFI partition is a directory here, so the upgrade itself says that there is none.
        string said = machine.Run(Own + $$"""
            sbox() { unshare --net sh -c 'ip link set lo up; ip route add default dev lo; exec "$@"' net {{RunningBox.Program}}/sbox "$@"; }
            sbox auto on >&2
            sbox auto run --json || echo failed
            sbox auto status --esp=/run/esp
            """);
        string[] lines = said.Split('\n');
        Assert.Equal("check", JsonDocument.Parse(lines[0]).RootElement.GetProperty("did").GetString());
        JsonElement deploys = JsonDocument.Parse(lines[1]).RootElement;
        Assert.Equal(("deploy", "2.0"), (deploys.GetProperty("did").GetString(), deploys.GetProperty("version").GetString()));
        Assert.Equal("failed", lines[2]);
        Assert.Contains("FAILED", said);
        Assert.Contains("  failure: the last attempt failed at", said);
        using OstreeSysroot sysroot = box.Open();
        Assert.Equal(two, AutoState.Read(sysroot, TestBox.Os).Offer!.Commit);
    }
}
