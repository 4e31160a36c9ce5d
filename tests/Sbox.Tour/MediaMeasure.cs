using System.Globalization;
using System.Text;
using Sbox.Vm;

namespace Sbox.Tour;

/// <summary>
/// One image on each medium: boot to login as disk, stick and CD; what is written to the medium by a session and by an upgrade; the memory that a ghost takes, idle and after an hour's
/// worth of use; the time of the ledger; sizes beside the squashfs that a live system of the same packages would be.
/// </summary>
public sealed class MediaMeasure(DemoImage image, Tools tools, string work)
{
    private const int Rounds = 60;
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(20), Limit = TimeSpan.FromMinutes(20);

    // What a person leaves behind in a minute: a document saved, a browser's cache and history, a log, a setting.
    private const string Use = """
        mkdir -p /home/u/.cache/browser /home/u/documents; cd /home/u
        for n in $(seq 60); do
          head -c 100000 /dev/urandom >documents/$((n % 7)).new && mv documents/$((n % 7)).new documents/$((n % 7))
          head -c 300000 /dev/urandom >.cache/browser/$n; cat .cache/browser/$((n - 1)) >/dev/null 2>&1
          head -c 20000 /dev/urandom | dd of=history.sqlite bs=4096 seek=$((n * 3)) conv=notrunc,fsync status=none
          logger "minute $n: $(head -c 600 /dev/urandom | base64 -w 0)"; echo "# $n" >>/etc/profile; ls -lR /etc >/dev/null
        done; sync
        """;

    private readonly List<(string What, string Value)> rows = [];

    /// <summary>Boots each and writes the page.</summary>
    public async Task<string> Run()
    {
        if (Directory.Exists(work))
            Directory.Delete(work, recursive: true);
        Directory.CreateDirectory(work);
        image.Withdraw();
        await using (FileServer server = await FileServer.Start(image.Served, DemoImage.Port))
        {
            OnDisk();
            image.Withdraw();
            OnStick();
        }

        OnCd();
        Sizes();
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"# One image, every medium\n\nMade by `./bench media` on {DateTime.UtcNow:yyyy-MM-dd} of images/debian-minimal.toml, in QEMU with OVMF{(File.Exists("/dev/kvm") ? "" : ", without KVM: times compare with each other, and with no real machine's")}. Bytes are those that the\n");
        page.Append(CultureInfo.InvariantCulture, $"guest wrote to its medium, counted by QEMU. An hour of use is {Rounds} rounds without the waiting: each a document of 100 KB saved anew, 300 KB of a browser's cache, 20 KB of a data base synced, a log line, a line in /etc.\n\n");
        page.Append("| what | |\n|---|---|\n");
        foreach ((string what, string value) in rows)
            page.Append(CultureInfo.InvariantCulture, $"| {what} | {value} |\n");
        return page.ToString();
    }

    private void OnDisk()
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("disk"), image.Disk));
        Booted(vm, "disk, first boot");
        Settle(vm);
        Row("disk: written by the first boot, every file sealed", Written(vm, 0));
        long before = vm.BytesWritten;
        vm.Run(Use, Limit).OrThrow();
        Row("disk: written by an hour of use", Written(vm, before));
        Update(vm, "disk", reboot: true);
        vm.PowerDown(BootLimit);
    }

    private void OnStick()
    {
        var options = new VmOptions(Of("stick"), image.Disk) { AsStick = true };
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options))
        {
            Booted(vm, "stick, first boot");
            Settle(vm);
            vm.PowerDown(BootLimit);
        }

        using Sbox.Vm.Vm ghost = Sbox.Vm.Vm.Start(options);
        ChooseGhost(ghost);
        Booted(ghost, "stick, ghost");
        ghost.GuestBootTimes();
        Memory(ghost, "idle");
        ghost.Run(Use, Limit).OrThrow();
        Memory(ghost, "after an hour of use");
        Row("ghost: `sbox ledger` then", Ledger(ghost));
        Row("ghost: written to the stick until then", Written(ghost, 0));
        ghost.Run("mkdir /var/many && cd /var/many && for d in $(seq 100); do mkdir $d && (cd $d && seq 1000 | xargs touch); done", Limit).OrThrow();
        Row("ghost: `sbox ledger` with 100,000 files more", Ledger(ghost));
        ghost.Run("rm -r /var/many", Limit).OrThrow();
        Update(ghost, "ghost", reboot: false);
    }

    private void OnCd()
    {
        string iso = Of("cd.img");
        tools.Sbox("image", "--iso", "--repo", image.Served, image.Ref, "--output", iso);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("cd"), iso) { AsCd = true });
        ChooseGhost(vm);
        Booted(vm, "CD, ghost");
        Row("image that is also an ISO, holes not counted, MiB", Mebibytes(StepCost.DiskUsage(iso)));
    }

    // What the first boot goes on with behind the login is not the session's.
    private static void Settle(Sbox.Vm.Vm vm)
    {
        vm.GuestBootTimes();
        vm.Run("systemctl start sbox-grow.service sbox-verity.service; sync", Limit).OrThrow();
    }

    private void Booted(Sbox.Vm.Vm vm, string what)
    {
        vm.WaitForLogin(BootLimit);
        Row($"{what}: boot to login, s (processor's)", string.Create(CultureInfo.InvariantCulture, $"{vm.Timings.Login!.Value.TotalSeconds:0} ({vm.ProcessorTime.TotalSeconds:0})"));
    }

    private void Update(Sbox.Vm.Vm vm, string what, bool reboot)
    {
        image.Publish();
        vm.Run("sync").OrThrow();
        long before = vm.BytesWritten;
        Row($"{what}: `sbox upgrade` to version 2, s", Timed(vm, "sbox upgrade && sync"));
        Row($"{what}: written by it", Written(vm, before));
        if (!reboot)
            return;
        vm.Reboot(BootLimit);
        vm.GuestBootTimes();
        vm.Run("systemctl start sbox-health.service sbox-verity.service; sync", Limit).OrThrow();
        Row($"{what}: written by it with the shutdown, the boot of version 2, and until it is found good", Written(vm, before));
    }

    private void Memory(Sbox.Vm.Vm vm, string when)
    {
        string[] words = vm.Run("sync; echo 3 >/proc/sys/vm/drop_caches; stat -f -c '%b %f %S' /run/sbox/ghost; awk '/MemTotal/{t=$2} /MemAvailable/{a=$2} END{print t-a}' /proc/meminfo").OrThrow().Split((char[])[' ', '\n']);
        long[] numbers = [.. words.Select(static word => long.Parse(word, CultureInfo.InvariantCulture))];
        Row($"ghost, {when}: changes in memory; all of the memory in use", $"{Mebibytes((numbers[0] - numbers[1]) * numbers[2])} MiB; {numbers[3] / 1024} of 2048 MiB");
    }

    private static string Ledger(Sbox.Vm.Vm vm) => $"{Timed(vm, "sbox ledger >/run/ledger")} s";

    private static string Timed(Sbox.Vm.Vm vm, string command)
    {
        string[] words = vm.Run($"read a rest </proc/uptime; {{ {command}; }} >/run/said 2>&1 || {{ cat /run/said; exit 1; }}; read b rest </proc/uptime; echo $a $b", Limit).OrThrow().Split(' ');
        return (double.Parse(words[1], CultureInfo.InvariantCulture) - double.Parse(words[0], CultureInfo.InvariantCulture)).ToString("0.0", CultureInfo.InvariantCulture);
    }

    // By xz with blocks of a mebibyte, as live images are made where size counts most, and by zstd, as where the start does.
    private void Sizes()
    {
        string tree = Of("tree"), squashed = Of("squashed"), packed = Of("disk.zst");
        tools.Ostree($"--repo={image.Served}", "checkout", "-U", image.First, tree);
        Row("disk image, holes not counted, MiB", Mebibytes(StepCost.DiskUsage(image.Disk)));
        Tools.Do("sh", "-c", $"zstd -q -10 -T0 --sparse -o '{packed}' '{image.Disk}'");
        Row("the same as it would be downloaded (zstd -10), MiB", Mebibytes(new FileInfo(packed).Length));
        foreach (string by in (string[])["xz", "zstd"])
        {
            Tools.Do("mksquashfs", tree, squashed, "-comp", by, "-b", "1M", "-no-progress", "-quiet", "-noappend");
            Row($"a squashfs ({by}) of the same files, kernel and initrd included, MiB", Mebibytes(new FileInfo(squashed).Length));
        }
    }

    private static void ChooseGhost(Sbox.Vm.Vm vm)
    {
        vm.Console.WaitFor("Boot in", BootLimit);
        vm.Console.Send("\u001b[B");
        Thread.Sleep(TimeSpan.FromSeconds(2)); // the firmware drops keys that come at once
        vm.Console.Send("\r");
    }

    private void Row(string what, string value)
    {
        rows.Add((what, value));
        Console.Error.WriteLine($"{what}: {value}");
    }

    private static string Written(Sbox.Vm.Vm vm, long before) => $"{Mebibytes(vm.BytesWritten - before)} MiB";

    private static string Mebibytes(long bytes) => (bytes / 1048576.0).ToString("0.0", CultureInfo.InvariantCulture);

    private string Of(string name) => Path.Combine(work, name);
}
