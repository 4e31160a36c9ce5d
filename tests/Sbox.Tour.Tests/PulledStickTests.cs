using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>A ghost's stick that is pulled out while the ghost upgrades it.</summary>
[Collection("machine")]
public sealed class PulledStickTests(ITestOutputHelper output) : IDisposable
{
    private const string Ready = "ready";
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), ChangeLimit = TimeSpan.FromMinutes(15);
    private readonly string directory = Directory.CreateDirectory(Path.Combine(Judge.Cache, $"pulled-{Environment.ProcessId}")).FullName;

    // Each costs a boot and two upgrades, two to four minutes under emulation.
    private static int Pulls => int.Parse(Environment.GetEnvironmentVariable("SBOX_PULLS") ?? "2", CultureInfo.InvariantCulture);

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task A_stick_that_is_pulled_out_while_its_ghost_upgrades_is_whole_boots_and_takes_the_next_upgrade()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        image.Withdraw();
        image.Publish();
        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        var options = new VmOptions(Of("machine"), image.Disk) { AsStick = true };
        TimeSpan whole = PrepareAndTime(options);
        int seed = Environment.GetEnvironmentVariable("SBOX_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        output.WriteLine($"an upgrade takes {whole.TotalSeconds:0.0} s here; SBOX_SEED={seed}");
        var random = new Random(seed);
        for (int pull = 0; pull < Pulls; pull++)
            PullOnce(options, (pull + random.NextDouble()) / Pulls * whole, image);
    }

    // Asked for by name (-explicit only): one boot, and one power-off without a disk.
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void Whoever_pulls_a_ghosts_stick_out_is_told_so_can_still_copy_what_was_changed_and_switches_off_in_order()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        using Sbox.Vm.Vm vm = StartGhost(new VmOptions(Of("told"), image.Disk) { AsStick = true });
        vm.Run("mkdir -p /etc/sbox; printf 'farewell-seconds = 2\n' >/etc/sbox/ghost.toml; echo letter >/var/letter; systemctl is-system-running --wait >/dev/null; for n in $(seq 60); do journalctl -b -u sbox-ghost-memory | grep 'has copies' && break; sleep 1; done").OrThrow();
        output.WriteLine(vm.Run("journalctl -b -o cat -u sbox-ghost-memory; grep -E 'MemTotal|MemAvailable|Mlocked|Shmem:' /proc/meminfo").OrThrow());
        vm.Run("sync; echo 3 >/proc/sys/vm/drop_caches").OrThrow();
        int before = vm.Console.Text.Length;
        vm.PullOut(VmOptions.Stick);
        vm.Console.WaitFor("sbox: sda2 was taken out, and this ghost runs from it", ChangeLimit);
        vm.Console.WaitFor("wipes nothing", ChangeLimit);
        output.WriteLine(vm.Run("/usr/bin/ls /; true").Output); // why the copies are wanted: for the record
        vm.Run(". /run/initramfs/sbox-kit/env && cp /var/letter /run/copied && cat /run/copied && ls -l /run/copied").OrThrow();
        Assert.StartsWith("sbox ", vm.Run("sbox --version").OrThrow(), StringComparison.Ordinal);
        output.WriteLine(vm.Run("sbox tomb save").Output); // none is open
        vm.Console.SendLine("off");
        Assert.Equal(0, vm.WaitForExit(BootLimit));
        output.WriteLine(vm.Console.Text[before..]);
    }

    private static Sbox.Vm.Vm StartGhost(VmOptions options)
    {
        Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
        vm.Console.WaitFor("Boot in", BootLimit);
        vm.Console.Send("\u001b[B"); // down
        Thread.Sleep(TimeSpan.FromSeconds(2));
        vm.Console.Send("\r");
        vm.WaitForLogin(BootLimit);
        Assert.Contains("Ghost: this boot keeps nothing", vm.Run("sbox status").OrThrow(), StringComparison.Ordinal);
        return vm;
    }

    // As a ghost that has just started, to which each pull goes back.
    private static TimeSpan PrepareAndTime(VmOptions options)
    {
        using Sbox.Vm.Vm vm = StartGhost(options);
        vm.Save(Ready);
        long started = Stopwatch.GetTimestamp();
        vm.Run("sbox upgrade", ChangeLimit).OrThrow();
        return Stopwatch.GetElapsedTime(started);
    }

    private void PullOnce(VmOptions options, TimeSpan after, DemoImage image)
    {
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options with { MoreArguments = ["-loadvm", Ready] }))
        {
            int before = vm.Console.Text.Length;
            vm.Console.SendLine("echo 7 >/proc/sys/kernel/printk; TERM=vt220 sbox upgrade; printf '\\n%s-%s %d\\n' upgrade over $?");
            Thread.Sleep(after);
            vm.PullOut(VmOptions.Stick);
            string? ended = vm.Console.TryWaitFor("upgrade-over \\d+", TimeSpan.FromSeconds(60))?.Value;
            Thread.Sleep(TimeSpan.FromSeconds(5));
            output.WriteLine($"pulled out after {after.TotalSeconds:0.0} s; then: {ended ?? "it hung"}\n{vm.Console.Text[before..]}");
            vm.Kill();
        }

        IsSound(Path.Combine(options.Directory, "disk.qcow2"), image);
        using Sbox.Vm.Vm again = Sbox.Vm.Vm.Start(options);
        again.WaitForLogin(BootLimit);
        JsonElement booted = JsonDocument.Parse(again.Run("sbox status --json").OrThrow()).RootElement.GetProperty("booted");
        Assert.Contains(booted.GetProperty("checksum").GetString(), new[] { image.First, image.Second });
        string upgraded = again.Run("sbox upgrade", ChangeLimit).OrThrow();
        output.WriteLine($"version {booted.GetProperty("version")} booted; the next upgrade: {upgraded}\n{again.Run("sbox status").OrThrow()}");
        again.Reboot(BootLimit);
        again.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
        JsonElement status = JsonDocument.Parse(again.Run("sbox status --json").OrThrow()).RootElement;
        Assert.Equal(image.Second, status.GetProperty("booted").GetProperty("checksum").GetString());
        Assert.True(status.GetProperty("settled").GetBoolean());
        again.PowerDown(BootLimit);
    }

    // As it lay on the table, before any boot replays or mends something.
    private void IsSound(string disk, DemoImage image)
    {
        string esp = MachineDisk.TakeOut(disk, image.Disk, 0, Of("esp.img")), root = MachineDisk.TakeOut(disk, image.Disk, 1, Of("root.img"));
        Assert.Empty(EspJudge.Fsck(esp));
        RootLook look = RootLook.At(root, directory, new Dictionary<string, string>(), askOstree: true); // e2fsck, fsck of real ostree
        Assert.NotEmpty(look.Menu);
        Assert.Subset(new HashSet<string> { image.First, image.Second }, look.Menu.ToHashSet());
        Assert.Contains(image.First, look.Menu);
    }

    private string Of(string name) => Path.Combine(directory, name);
}
