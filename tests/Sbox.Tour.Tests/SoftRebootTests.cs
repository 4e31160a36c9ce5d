using System.Text.Json;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>Another version that runs without firmware, boot loader and kernel, by a real systemd.</summary>
[Collection("machine")]
public sealed class SoftRebootTests(ITestOutputHelper output)
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), ChangeLimit = TimeSpan.FromMinutes(15);

    // What a systemd that nobody restarted would have none of.
    private const string Kernel = "cat /proc/sys/kernel/random/boot_id", SoftReboots = "systemctl show --value --property SoftRebootsCount";

    // Two boots, an upgrade and two soft reboots; asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task A_soft_reboot_ends_in_the_new_version_and_another_in_the_old_while_the_kernel_goes_on()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        image.Withdraw();
        image.Publish();
        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(image.FreshMachine("soft-machine"), image.Disk));
        vm.WaitForLogin(BootLimit);
        string kernel = vm.Run(Kernel).OrThrow();
        (string failed, string verified) = Health(vm);
        vm.Run("useradd --create-home alice && echo letter >/home/alice/letter && echo kept >/var/lib/kept && echo '# before' >>/etc/profile").OrThrow();
        output.WriteLine(vm.Run("sbox upgrade", ChangeLimit).OrThrow());
        vm.Run("echo '# after' >>/etc/profile && echo late >/etc/late").OrThrow();

        vm.SoftReboot(BootLimit, "sbox upgrade --soft-reboot");
        Assert.Equal((kernel, "1"), (vm.Run(Kernel).OrThrow(), vm.Run(SoftReboots).OrThrow()));
        Assert.Equal((failed, verified), Health(vm));
        IsWhole(vm, image.Second, "2");
        Assert.Equal("# before\n# after\nlate", vm.Run("tail -n 2 /etc/profile; cat /etc/late").OrThrow());
        Assert.Equal("letter\nkept", vm.Run("su - alice -c 'cat letter'; cat /var/lib/kept").OrThrow());
        vm.Run("command -v tree && echo new >>/etc/late").OrThrow();

        vm.SoftReboot(BootLimit, "sbox rollback --soft-reboot");
        Assert.Equal((kernel, "2"), (vm.Run(Kernel).OrThrow(), vm.Run(SoftReboots).OrThrow()));
        Assert.Equal((failed, verified), Health(vm));
        IsWhole(vm, image.First, "1");
        // Each version has its own /etc; /var is of both.
        Assert.Equal("# after\nlate\nletter\nkept", vm.Run("tail -n 1 /etc/profile; cat /etc/late; su - alice -c 'cat letter'; cat /var/lib/kept").OrThrow());
        Assert.NotEqual(0, vm.Run("command -v tree").ExitCode);

        // What was said to boot next is what the boot loader starts.
        vm.Reboot(BootLimit);
        Assert.NotEqual(kernel, vm.Run(Kernel).OrThrow());
        IsWhole(vm, image.First, "1");
        vm.PowerDown(BootLimit);
    }

    // The units that failed once all has started, and what sbox says of its disk. A session's scope fails where the host gives the machine no processor for a minute and a half.
    private (string Failed, string Verified) Health(Sbox.Vm.Vm vm)
    {
        string failed = vm.Run("systemctl is-system-running --wait >/dev/null; systemctl --failed --no-legend --plain | grep -v '^session-' || true", BootLimit).OrThrow();
        vm.Run("systemctl start sbox-health.service sbox-verity.service", BootLimit).OrThrow();
        string verified = vm.Run("sbox verify", ChangeLimit).OrThrow();
        output.WriteLine($"failed: {failed}\n{verified}");
        return (failed, verified.Split('\n')[^1]);
    }

    private void IsWhole(Sbox.Vm.Vm vm, string commit, string version)
    {
        output.WriteLine(vm.Run("sbox status; findmnt; journalctl -b -o short-monotonic -u sbox-next-root -u sbox-etc -u sbox-health -u sbox-watch --no-pager | tail -n 40").OrThrow());
        vm.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
        JsonElement status = JsonDocument.Parse(vm.Run("sbox status --json").OrThrow()).RootElement;
        foreach (string which in (string[])["booted", "next"])
        {
            Assert.Equal(commit, status.GetProperty(which).GetProperty("checksum").GetString());
            Assert.False(status.GetProperty(which).TryGetProperty("tries-left", out _), "it was found good");
        }

        Assert.Equal(JsonValueKind.Null, status.GetProperty("next-once").ValueKind);
        Assert.True(status.GetProperty("settled").GetBoolean());
        Assert.Contains($"\n* debian {commit}.0", "\n" + vm.Run("ostree admin status").OrThrow(), StringComparison.Ordinal);
        Assert.Equal($"greeting = hello from version {version}", vm.Run("grep greeting /etc/sbox-demo.conf").OrThrow());
        Assert.Contains("Read-only file system", vm.Run("touch /usr/new").Output, StringComparison.Ordinal);
        // Nothing is mounted twice, and nothing of the root before is left.
        Assert.Equal("/\n/etc\n/sysroot\n/var", vm.Run("findmnt --list --noheadings --output TARGET | grep -E '^/(|etc|var|sysroot|run/(nextroot|sbox).*)$' | sort").OrThrow());
        // The sentinel looks at this root, and saw nothing on the way to it.
        Assert.Equal("active", vm.Run("systemctl is-active sbox-watch.service").OrThrow());
        Assert.Equal("", vm.Run("cat /var/lib/sbox/sentinel/history.jsonl 2>/dev/null || true").OrThrow());
    }
}
