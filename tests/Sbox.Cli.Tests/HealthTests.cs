using System.Text.Json;
using Sbox.Codecs;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What sbox health does with a version on trial, by the program itself.</summary>
public sealed class HealthTests : IDisposable
{
    private readonly TestBox box = new() { RealStub = true };

    public void Dispose() => box.Dispose();

    [Fact]
    public void A_bad_version_is_restarted_out_of_whoever_asks_that_it_is_not_and_by_force_where_systemd_refuses()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using OstreeSysroot sysroot = OstreeSysroot.Init(box.SysrootPath);
        sysroot.InitStateroot(TestBox.Os);
        using (var deployer = new Deployer(sysroot, box.EspPath))
        {
            box.Deploy(deployer, one);
            box.Deploy(deployer, two);
        }

        string own = Directory.CreateDirectory($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/var/lib/sbox").FullName;
        File.WriteAllText($"{own}/trials", $"{two}.0 3 -\n");
        using var machine = new RunningBox(box, sysroot.Deployments[0]);
        string asked = machine.Run("""
            printf '#!/bin/sh\necho "systemctl $*" >> /run/asked; test "$2" = --force || test ! -e /run/refused || { echo "Access denied"; exit 1; }\n' > /run/systemctl; chmod +x /run/systemctl
            mount --bind /run/systemctl $(command -v systemctl)
            sbox health --deadline --esp=/run/esp >&2 || test $? = 3
            touch /run/refused; sbox health --deadline --esp=/run/esp 2> /run/said || test $? = 3
            cat /run/asked; grep systemctl /run/said
            """);
        Assert.Equal("""
            systemctl reboot --no-block --check-inhibitors=no
            systemctl reboot --no-block --check-inhibitors=no
            systemctl reboot --force
            systemctl reboot --no-block --check-inhibitors=no: Access denied

            """, asked);
    }

    [Fact]
    public void A_check_that_is_only_wanted_takes_no_version_back_and_is_told_until_it_passes()
    {
        using var machine = new RunningBox(box, Installed());
        string said = machine.Run(OwnEtc + """
            check wanted backup 'echo no backup since Monday; exit 1'; check required up true
            sbox health --at-boot --esp=/run/esp >&2
            sbox status --esp=/run/esp | grep Health:
            nobody status | grep Health:
            cat /run/motd.d/50-sbox-checks
            sbox status --esp=/run/esp --json
            check wanted backup true
            sbox health >&2; sbox status --esp=/run/esp | grep Health: || echo nothing
            ls /run/motd.d
            """);
        const string line = "Health: the wanted check /etc/sbox/health.d/wanted/backup failed: exit status 1: no backup since Monday (sbox health asks again)";
        string[] lines = said.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal([line, line, line], lines[..3]);
        JsonElement failed = JsonDocument.Parse(lines[3]).RootElement.GetProperty("failed-checks")[0];
        Assert.Equal("/etc/sbox/health.d/wanted/backup", failed.GetProperty("check").GetString());
        Assert.False(failed.GetProperty("required").GetBoolean());
        Assert.Equal("exit status 1: no backup since Monday", failed.GetProperty("failure").GetString());
        Assert.Equal(["nothing"], lines[4..]);
    }

    [Fact]
    public void Of_several_checks_that_failed_each_is_named_and_what_a_soft_reboot_starts_forgets_them()
    {
        using var machine = new RunningBox(box, Installed());
        string said = machine.Run(OwnEtc + """
            check wanted one false; check wanted two false; check required three false
            sbox health >&2 || echo $?
            sbox status --esp=/run/esp | grep Health:
            echo old > /run/motd.d/50-sbox-health; echo other > /run/motd.d/50-sbox-tomb
            sbox next-root at-boot
            sbox status --esp=/run/esp | grep Health: || echo nothing
            ls /run/motd.d
            """);
        Assert.Equal("3\nHealth: 3 checks failed: three, one, two (sbox health asks again)\nnothing\n50-sbox-tomb\n", said);
    }

    private const string OwnEtc = """
        mkdir /run/etc; cp -a /etc/passwd /etc/group /run/etc/; mount --bind /run/etc /etc; umask 022
        check() { mkdir -p /etc/sbox/health.d/$1; printf '#!/bin/sh\n%s\n' "$3" > /etc/sbox/health.d/$1/$2; chmod 755 /etc/sbox/health.d/$1/$2; }

        """;

    private Deployment Installed()
    {
        box.Installed(box.Publish(1)).Dispose();
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments[0];
    }
}
