using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>A new version that does not come up, and one whose health checks fail: the box goes back by itself, by systemd-boot and the firmware's variables as they are.</summary>
[Collection("machine")]
public sealed class FallbackTests(ITestOutputHelper output)
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), UpgradeLimit = TimeSpan.FromMinutes(15);

    // Seven boots; asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task A_version_that_hangs_or_fails_its_checks_is_tried_three_times_and_the_one_before_stays()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        image.Withdraw();
        image.Publish();
        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        var options = new VmOptions(image.FreshMachine("fallback-machine"), image.Disk);
        using (Sbox.Vm.Vm first = Sbox.Vm.Vm.Start(options))
        {
            first.WaitForLogin(BootLimit);
            first.Run("mkdir -p /etc/sbox/health.d/required && printf '#!/bin/sh\\n! command -v tree\\n' >/etc/sbox/health.d/required/no-tree && chmod 755 /etc/sbox/health.d/required/no-tree").OrThrow();
            output.WriteLine(first.Run("sbox upgrade", UpgradeLimit).OrThrow());
            Assert.Contains("on trial: 3 tries left", first.Run("sbox status").OrThrow(), StringComparison.Ordinal);
            first.Console.SendLine("systemctl reboot");
            first.Console.WaitFor("Restarting system", BootLimit);
            first.Console.WaitFor("Boot in", BootLimit);
            Thread.Sleep(TimeSpan.FromSeconds(20)); // somewhere on its way up
            first.Kill();
        }

        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
        vm.WaitForLogin(BootLimit);
        vm.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
        string after = vm.Run("sbox status").OrThrow();
        output.WriteLine(after);
        Assert.Contains("on trial: 2 tries left", after, StringComparison.Ordinal);
        Assert.Contains("\"booted\":{\"version\":\"1\"", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        Assert.Contains("did not come up", vm.Run("cat /run/motd.d/50-sbox-health").OrThrow(), StringComparison.Ordinal);
        vm.Console.SendLine("systemctl reboot");
        // Version 2, twice, each time restarted by its check; then version 1.
        for (int failed = 0; failed < 2; failed++)
            vm.Console.WaitFor("Restarting system", BootLimit);
        vm.WaitForLogin(BootLimit);
        vm.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
        string back = vm.Run("sbox status").OrThrow();
        output.WriteLine(back);
        Assert.Contains("did not come up: not tried again by itself", back, StringComparison.Ordinal);
        Assert.Contains("\"booted\":{\"version\":\"1\"", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        Assert.Contains("\"settled\":true", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        Assert.Contains("This box went back to", vm.Run("cat /run/motd.d/50-sbox-health").OrThrow(), StringComparison.Ordinal);
        output.WriteLine(vm.Run("sbox history | tail").OrThrow());
        vm.PowerDown(BootLimit);
    }
}
