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
}
