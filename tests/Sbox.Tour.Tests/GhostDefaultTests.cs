using System.Text.Json;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>A box whose recipe has it be a ghost: nobody presses a key, and it updates itself, finds versions good and goes back from bad ones, as a ghost all the time.</summary>
[Collection("machine")]
public sealed class GhostDefaultTests(ITestOutputHelper output) : IDisposable
{
    private const string Variables = "/sys/firmware/efi/efivars", Vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), ChangeLimit = TimeSpan.FromMinutes(15);
    private readonly string directory = Directory.CreateDirectory(Path.Combine(Judge.Cache, $"ghost-default-{Environment.ProcessId}")).FullName;
    private readonly Tools tools = new(SourceTree.Root);

    public void Dispose() => Directory.Delete(directory, recursive: true);

    // Seven boots; asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task A_box_that_is_always_a_ghost_keeps_what_it_upgraded_to_and_goes_back_from_what_fails()
    {
        string builds = MakeTwoVersions("boots-as = \"ghost\"\n", DemoImage.Port);
        await using FileServer server = await FileServer.Start(builds, DemoImage.Port);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("machine"), Of("disk.img")));
        vm.WaitForLogin(BootLimit);
        Runs(vm, "1");
        vm.Run("echo secret >/var/session && echo secret >/etc/session").OrThrow();
        output.WriteLine(vm.Run("sbox upgrade", ChangeLimit).OrThrow());
        Assert.EndsWith("@ghost", Said(vm, "LoaderEntryOneShot"), StringComparison.Ordinal);

        vm.Reboot(BootLimit);
        Runs(vm, "2");
        vm.Run("test ! -e /var/session && test ! -e /etc/session").OrThrow();
        Assert.DoesNotContain("tries-left", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        Assert.Matches("good +version 2", vm.Run("sbox history").OrThrow());

        vm.Reboot(BootLimit);
        Runs(vm, "2");
        Assert.Equal("0", vm.Run("awk '{print $7}' /sys/block/vda/stat").OrThrow()); // sectors written in this boot: it had nothing to decide

        Build(builds, 3, "[[file]]\npath = \"/usr/lib/sbox/health.d/required/never\"\nmode = \"0755\"\ncontent = \"#!/bin/sh\\nexit 1\\n\"\n");
        FallsBack(vm);
        vm.PowerDown(BootLimit);
    }

    // Key d of systemd-boot's menu, on the entry below the normal one. Two boots; asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task What_the_menus_key_says_outlives_the_upgrade_that_clears_it()
    {
        const int port = DemoImage.Port + 1;
        string builds = MakeTwoVersions("", port);
        await using FileServer server = await FileServer.Start(builds, port);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("machine"), Of("disk.img")));
        vm.Console.WaitFor("Boot in", BootLimit);
        foreach (string key in (string[])["\u001b[B", "d", "\r"])
        {
            vm.Console.Send(key);
            Thread.Sleep(TimeSpan.FromSeconds(2));
        }

        vm.WaitForLogin(BootLimit);
        Runs(vm, "1");
        Assert.EndsWith(".efi@ghost", Said(vm, "LoaderEntryDefault"), StringComparison.Ordinal);
        string upgraded = vm.Run("sbox upgrade 2>&1", ChangeLimit).OrThrow();
        output.WriteLine(upgraded);
        Assert.Contains("is cleared, and loader.conf decides again", upgraded, StringComparison.Ordinal);
        Assert.Equal("", Said(vm, "LoaderEntryDefault"));
        Assert.EndsWith(".efi@ghost", Said(vm, "LoaderEntryOneShot"), StringComparison.Ordinal);
        vm.Reboot(BootLimit);
        Runs(vm, "2");
        output.WriteLine(vm.Run("sbox ghost default off").OrThrow());
        Assert.Equal("normal", Status(vm).GetProperty("boots-as").GetString());
        vm.PowerDown(BootLimit);
    }

    private string MakeTwoVersions(string first, int port)
    {
        string builds = Of("builds");
        tools.Ostree($"--repo={builds}", "init", "--mode=archive");
        Build(builds, 1, first);
        string branch = tools.Ostree($"--repo={builds}", "refs");
        tools.Sbox("image", "--repo", builds, branch, "--remote-url", $"http://10.0.2.2:{port}", "--free-mib", "512", "--output", Of("disk.img"));
        Build(builds, 2, "");
        return builds;
    }

    private void FallsBack(Sbox.Vm.Vm vm)
    {
        output.WriteLine(vm.Run("sbox upgrade", ChangeLimit).OrThrow());
        Assert.EndsWith("@ghost", Said(vm, "LoaderEntryOneShot"), StringComparison.Ordinal); // version 3 is tried, and as a ghost
        vm.Console.SendLine("systemctl reboot");
        // Out of version 2, and of version 3 three times by its check.
        for (int restarts = 0; restarts < 4; restarts++)
            vm.Console.WaitFor("Restarting system", BootLimit);
        vm.WaitForLogin(BootLimit);
        Runs(vm, "2");
        string back = vm.Run("sbox status; cat /run/motd.d/50-sbox-health; sbox history").OrThrow();
        output.WriteLine(back);
        Assert.Contains("did not come up: not tried again by itself", back, StringComparison.Ordinal);
        Assert.Contains("This box went back to", back, StringComparison.Ordinal);
    }

    private void Runs(Sbox.Vm.Vm vm, string version)
    {
        vm.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
        output.WriteLine(vm.Run("cat /proc/cmdline; journalctl -b -o cat -u sbox-health.service --no-pager; journalctl -b -o cat -t sbox-watch --no-pager | tail -n 5; findmnt -n -o VFS-OPTIONS,FS-OPTIONS /sysroot; systemctl --failed --no-legend").OrThrow());
        vm.Run("grep -w sbox.ghost /proc/cmdline").OrThrow();
        JsonElement status = Status(vm);
        Assert.Equal(version, status.GetProperty("booted").GetProperty("version").GetString());
        Assert.True(status.GetProperty("ghost").GetBoolean());
        Assert.Equal("ghost", status.GetProperty("boots-as").GetString());
        Assert.True(status.GetProperty("settled").GetBoolean());
    }

    private static JsonElement Status(Sbox.Vm.Vm vm) => JsonDocument.Parse(vm.Run("sbox status --json").OrThrow()).RootElement;

    // Nothing of efivarfs can seek.
    private static string Said(Sbox.Vm.Vm vm, string variable) =>
        vm.Run($"cat {Variables}/{variable}-{Vendor} 2>/dev/null | tail -c +5 | tr -d '\\0'; true").OrThrow().Trim();

    private void Build(string repository, int version, string more)
    {
        string recipe = Of($"version-{version}.toml");
        File.WriteAllText(recipe, $"extends = \"{Path.Combine(SourceTree.Root, "images", "debian-minimal.toml")}\"\nversion = \"{version}\"\n{more}");
        tools.Sbox("build", recipe, "--repo", repository);
    }

    private string Of(string name) => Path.Combine(directory, name);
}
