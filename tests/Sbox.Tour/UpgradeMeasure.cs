using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Vm;

namespace Sbox.Tour;

/// <summary>
/// What an upgrade costs from the first byte to the version that was found good, step by step, and how soon a box is back: by itself, from a version whose health check fails at each of
/// its three tries, and by a soft reboot.
/// </summary>
public sealed class UpgradeMeasure(DemoImage image, string work)
{
    private const int Tries = 3;
    private const string Check = "/etc/sbox/health.d/required/no-tree";
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(20), Limit = TimeSpan.FromMinutes(20);

    private readonly List<(string What, TimeSpan? Wall, TimeSpan? Processor, long? Bytes)> rows = [];

    /// <summary>Lives through it and writes the page.</summary>
    public async Task<string> Run()
    {
        if (Directory.Exists(work))
            Directory.Delete(work, recursive: true);
        Directory.CreateDirectory(work);
        image.Withdraw();
        await using (FileServer server = await FileServer.Start(image.Served, DemoImage.Port))
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Path.Combine(work, "machine"), image.Disk)))
        {
            vm.WaitForLogin(BootLimit);
            // What the first boot goes on with behind the login is not the upgrade's. Version 2 brings 'tree', and fails for it.
            vm.GuestBootTimes();
            vm.Run($"systemctl start sbox-grow.service sbox-verity.service; mkdir -p {Path.GetDirectoryName(Check)} && printf '#!/bin/sh\\n! command -v tree\\n' >{Check} && chmod 755 {Check}; sync", Limit).OrThrow();
            Stage(vm);
            FallBack(vm);
            ComeUp(vm);
            vm.PowerDown(BootLimit);
        }

        return Page();
    }

    private void Stage(Sbox.Vm.Vm vm)
    {
        image.Publish();
        Timed(vm, "fetched: `sbox upgrade --download-only`", "sbox upgrade --download-only");
        Timed(vm, "staged: `sbox upgrade --offline`", "sbox upgrade --offline");
        vm.Run("useradd --create-home alice; echo '# edited' >>/etc/profile; sync").OrThrow();
        Timed(vm, "finalized: a new user and an edited file of /etc go along, as `sbox-etc.service` does it when the machine goes down", "systemctl stop sbox-etc.service");
        vm.Run($"grep -q '# edited' /sysroot/ostree/deploy/debian/deploy/{image.Second}.0/etc/profile && systemctl start sbox-etc.service").OrThrow();
    }

    // Three times version 2 with a check that fails, then version 1.
    private void FallBack(Sbox.Vm.Vm vm)
    {
        var all = Stretch.Begin(vm);
        vm.Console.SendLine("systemctl reboot");
        vm.Console.WaitFor("Restarting system", BootLimit);
        var trials = Stretch.Begin(vm);
        for (int tried = 1; tried <= Tries; tried++)
        {
            var one = Stretch.Begin(vm);
            vm.Console.WaitFor("Restarting system", BootLimit);
            Row(one, $"try {tried} of a version whose check fails, from the machine's restart to the next");
        }

        Row(trials, "all three");
        var back = Stretch.Begin(vm);
        vm.WaitForLogin(BootLimit);
        Row(back, "from the last restart to the login of the version before");
        Row(all, "from `systemctl reboot` to the login of the version before, by itself");
        Require(vm, image.First);
    }

    private void ComeUp(Sbox.Vm.Vm vm)
    {
        vm.Run($"systemctl is-system-running --wait >/dev/null; systemctl start sbox-health.service; rm {Check}; sync", Limit).OrThrow();
        long before = vm.BytesWritten;
        Timed(vm, "staged once more: `sbox upgrade --offline --retry`", "sbox upgrade --offline --retry");
        var restart = Stretch.Begin(vm);
        vm.Reboot(BootLimit);
        Row(restart, "from `systemctl reboot` to the login of version 2");
        Timed(vm, "until it is found good", "systemctl is-system-running --wait; systemctl start sbox-health.service");
        rows.Add(("written from there to there: shutdown, boot and verdict too", null, null, vm.BytesWritten - before));
        Require(vm, image.Second);
        var soft = Stretch.Begin(vm);
        vm.SoftReboot(BootLimit, "sbox rollback --soft-reboot");
        Row(soft, "from `sbox rollback --soft-reboot` to the login of version 1");
        Require(vm, image.First);
    }

    private static void Require(Sbox.Vm.Vm vm, string commit)
    {
        JsonElement status = JsonDocument.Parse(vm.Run("sbox status --json").OrThrow()).RootElement;
        if (status.GetProperty("booted").GetProperty("checksum").GetString() is var runs && runs != commit)
            throw new TourException($"commit {commit} should run, and {runs} does");
    }

    private void Timed(Sbox.Vm.Vm vm, string what, string command)
    {
        long before = vm.BytesWritten;
        var stretch = Stretch.Begin(vm);
        vm.Run($"{{ {command}; }} >/run/said 2>&1 || {{ cat /run/said; exit 1; }}; sync", Limit).OrThrow();
        Row(stretch, what, vm.BytesWritten - before);
    }

    private void Row(Stretch stretch, string what, long? bytes = null)
    {
        rows.Add((what, stretch.Wall, stretch.Processor, bytes));
        Console.Error.WriteLine($"{what}: {stretch.Wall.TotalSeconds:0.0} s, {stretch.Processor.TotalSeconds:0.0} s of the processor");
    }

    private string Page()
    {
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"# An upgrade, step by step, and the way back\n\nMade by `./bench upgrade` on {DateTime.UtcNow:yyyy-MM-dd} of images/debian-minimal.toml and its version 2, in QEMU with OVMF{(File.Exists("/dev/kvm") ? "" : ", without KVM: times compare with each other, and with no real machine's")}.\n");
        page.Append("The processor's seconds are those of the emulator, whatever else the host does. Bytes are those that the guest wrote to its disk, counted by QEMU, with a sync behind each step.\n\n");
        page.Append("| step | s | processor's s | MiB written |\n|---|---|---|---|\n");
        foreach ((string what, TimeSpan? wall, TimeSpan? processor, long? bytes) in rows)
            page.Append(CultureInfo.InvariantCulture, $"| {what} | {Seconds(wall)} | {Seconds(processor)} | {(bytes is { } count ? (count / 1048576.0).ToString("0.0", CultureInfo.InvariantCulture) : "")} |\n");
        return page.ToString();
    }

    private static string Seconds(TimeSpan? time) => time?.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture) ?? "";

    // A piece of a machine's life.
    private sealed class Stretch
    {
        private readonly Sbox.Vm.Vm vm;
        private readonly long started = Stopwatch.GetTimestamp();
        private readonly TimeSpan before;

        private Stretch(Sbox.Vm.Vm vm) => (this.vm, before) = (vm, vm.ProcessorTime);

        public static Stretch Begin(Sbox.Vm.Vm vm) => new(vm);

        public TimeSpan Wall => Stopwatch.GetElapsedTime(started);

        public TimeSpan Processor => vm.ProcessorTime - before;
    }
}
