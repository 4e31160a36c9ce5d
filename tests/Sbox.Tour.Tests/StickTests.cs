using System.Globalization;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>A box on a stick larger than its image, put onto the machine's other disk, and both in one machine; a ghost and its goodbye; the same image as a CD.</summary>
[Collection("machine")]
public sealed class StickTests(ITestOutputHelper output) : IDisposable
{
    private const long DiskBytes = 6L << 30;
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), ChangeLimit = TimeSpan.FromMinutes(15);
    private readonly string directory = Directory.CreateDirectory(Path.Combine(Judge.Cache, "stick")).FullName;
    private readonly Tools tools = new(SourceTree.Root);

    public void Dispose() => Directory.Delete(directory, recursive: true);

    // Four boots and a CD's; asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void A_stick_uses_all_of_itself_installs_itself_and_each_disk_boots_its_own_root()
    {
        string stick = Image("--output", Of("stick.img")), other = Of("other.img");
        Truncate(stick);
        Truncate(other);
        using (Sbox.Vm.Vm vm = Start("one", stick, other))
        {
            HasGrown(vm);
            vm.Run("systemctl start sbox-verity.service", ChangeLimit).OrThrow();
            vm.Run("useradd -m ann && echo letter >/home/ann/letter && sync").OrThrow();
            IsRefused(vm);
            string installed = vm.Run("sbox install --to /dev/vdb --yes", ChangeLimit).OrThrow();
            output.WriteLine(installed);
            Assert.DoesNotMatch("[0-9]{3,} files of /etc and /var were written to", installed); // a journal and the like, and not every file that was sealed
            Assert.Contains("boots this box now", vm.Run("sbox install --to /dev/vdb --yes", ChangeLimit).OrThrow(), StringComparison.Ordinal); // again, over itself
            output.WriteLine(vm.Run("e2fsck -fn /dev/vdb2; lsblk -o NAME,SIZE,LABEL,PARTUUID,UUID").OrThrow());
            Assert.DoesNotContain("opened for writing", vm.Run("journalctl -b -t sbox-watch -o cat --no-pager").Output, StringComparison.Ordinal);
            vm.Reboot(BootLimit);
            Assert.Equal("/dev/vda2", RootOf(vm)); // with its twin beside it
            vm.Run("echo stays >/home/ann/on-the-stick").OrThrow();
            BootGhost(vm);
            IsSomebodyNew(vm);
            SaysGoodbye(vm);
        }

        using Sbox.Vm.Vm twin = Start("two", other, stick);
        Assert.Equal("/dev/vda2", RootOf(twin));
        Assert.Equal("letter", twin.Run("cat /home/ann/letter && test ! -e /home/ann/on-the-stick").OrThrow());
        Assert.Contains("\"verdict\":\"ok\"", twin.Run("sbox verify --json | tail -n 1", ChangeLimit).Output.Replace(" ", "", StringComparison.Ordinal), StringComparison.Ordinal);
        output.WriteLine(twin.Run("systemctl --failed --no-legend; cat /etc/machine-id; sbox status").OrThrow());
        twin.PowerDown(BootLimit);
    }

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void The_same_image_is_a_cd_from_which_a_ghost_runs_and_nothing_else()
    {
        string image = Image("--iso", "--output", Of("cd.img"));
        using (Sbox.Vm.Vm normal = Sbox.Vm.Vm.Start(new VmOptions(Of("cd-normal"), image) { AsCd = true }))
            normal.Console.WaitFor("is on a read-only medium", BootLimit);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("cd-ghost"), image) { AsCd = true });
        vm.Console.WaitFor("Boot in", BootLimit);
        vm.Console.Send("\u001b[B");
        Thread.Sleep(TimeSpan.FromSeconds(2));
        vm.Console.Send("\r");
        vm.WaitForLogin(BootLimit);
        Assert.Contains("Ghost: this boot keeps nothing", vm.Run("sbox status").OrThrow(), StringComparison.Ordinal);
        output.WriteLine(vm.Run("findmnt -n /sysroot; losetup --list; systemctl --failed --no-legend; touch /var/file && sbox ledger | tail -n 3").OrThrow());
        vm.PowerDown(BootLimit);
    }

    private string Image(params string[] arguments)
    {
        string builds = Of("builds");
        tools.Ostree($"--repo={builds}", "init", "--mode=archive");
        tools.Sbox("build", "images/debian-minimal.toml", "--repo", builds);
        tools.Sbox(["image", "--repo", builds, tools.Ostree($"--repo={builds}", "refs"), "--free-mib", "256", .. arguments]);
        return arguments[^1];
    }

    private static void Truncate(string image)
    {
        using FileStream file = File.Open(image, FileMode.OpenOrCreate);
        file.SetLength(DiskBytes);
    }

    private Sbox.Vm.Vm Start(string name, string disk, string other)
    {
        Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of(name), disk) { DataDisk = other });
        vm.WaitForLogin(BootLimit);
        return vm;
    }

    private void HasGrown(Sbox.Vm.Vm vm)
    {
        vm.Run("systemctl start sbox-grow.service", ChangeLimit).OrThrow();
        output.WriteLine(vm.Run("journalctl -b -o cat -u sbox-grow.service; df -h /sysroot; systemctl --failed --no-legend").OrThrow());
        Assert.InRange(long.Parse(vm.Run("blockdev --getsize64 /dev/vda2").OrThrow(), CultureInfo.InvariantCulture), DiskBytes * 8 / 10, DiskBytes);
        Assert.InRange(long.Parse(vm.Run("stat -f -c %b /sysroot").OrThrow(), CultureInfo.InvariantCulture) * 4096, DiskBytes * 8 / 10, DiskBytes);
        vm.Run("test -e /var/lib/sbox/grown").OrThrow();
    }

    private static void IsRefused(Sbox.Vm.Vm vm)
    {
        Assert.Contains("this box runs from it", vm.Run("sbox install --to /dev/vda --yes").Output, StringComparison.Ordinal);
        CommandResult shown = vm.Run("sbox stick --to /dev/vdb </dev/null");
        Assert.Equal(3, shown.ExitCode);
        Assert.Contains("Nothing was changed on /dev/vdb", shown.Output, StringComparison.Ordinal);
    }

    private static string RootOf(Sbox.Vm.Vm vm) => vm.Run("findmnt -n -o SOURCE /sysroot | head -n 1").OrThrow();

    private static void BootGhost(Sbox.Vm.Vm vm)
    {
        const string variable = "/sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
        string entry = vm.Run("bootctl list --json=short 2>/dev/null | tr ',' '\\n' | sed -n 's/^\"id\":\"\\(.*@ghost\\)\"$/\\1/p' | head -n 1").Output;
        if (entry.Length == 0) // a box without bootctl
            entry = vm.Run("sbox status --json").OrThrow() is var status && status.Contains("\"checksum\":\"", StringComparison.Ordinal)
                ? $"debian-{status[(status.IndexOf("\"checksum\":\"", StringComparison.Ordinal) + 12)..][..12]}.0.efi@ghost" : throw new InvalidOperationException(status);
        vm.Run($@"{{ printf '\a\0\0\0'; printf '{entry}\0' | LC_ALL=C sed -z 's/./&\x00/g; s/$/\x00/' ; }} | dd iflag=fullblock bs=4096 of={variable}").OrThrow();
        vm.Run("cat /etc/machine-id /etc/hostname /sys/class/net/en*/address >/var/who").OrThrow();
        vm.Reboot(BootLimit);
        Assert.Contains("Ghost: this boot keeps nothing", vm.Run("sbox status").OrThrow(), StringComparison.Ordinal);
    }

    private void IsSomebodyNew(Sbox.Vm.Vm vm)
    {
        string who = vm.Run("cat /etc/machine-id; hostnamectl hostname || hostname; cat /sys/class/net/en*/address; systemctl --failed --no-legend").OrThrow();
        output.WriteLine(who);
        string[] now = who.Split('\n'), before = vm.Run("cat /var/who").OrThrow().Split('\n');
        Assert.Matches("^desktop-[a-z0-9]{7}$", now[1]);
        foreach (string each in before)
            Assert.DoesNotContain(each, now);
        Assert.Contains("changes take", vm.Run("sbox ghost memory").OrThrow(), StringComparison.Ordinal);
        vm.Run("systemctl is-active sbox-ghost-memory.service sbox-farewell.service").OrThrow();
        // Its memory fills: everybody is told.
        vm.Run("head -c $(( $(stat -f -c '%b * %S * 82 / 100' /run/sbox/ghost) )) /dev/zero >/var/much; sleep 12").OrThrow();
        Assert.Contains("The memory of this ghost fills", vm.Run("journalctl -b -o cat -u sbox-ghost-memory.service --no-pager").OrThrow(), StringComparison.Ordinal);
        vm.Run("rm /var/much").OrThrow();
    }

    // Who typed it still has a shell; what is kept in that time is on the disk.
    private void SaysGoodbye(Sbox.Vm.Vm vm)
    {
        vm.Run("echo one >/home/ann/one; echo two >/home/ann/two; systemd-run --quiet --on-active=1 systemctl poweroff").OrThrow();
        vm.Console.WaitFor("This ghost is being switched off, and forgets", BootLimit);
        output.WriteLine(vm.Run("sbox keep /home/ann/one").OrThrow());
        vm.WaitForExit(BootLimit);
        string forgot = File.ReadAllText(vm.Console.TranscriptPath);
        forgot = forgot[forgot.LastIndexOf("kept new", StringComparison.Ordinal)..]; // the console's last words, when all has stopped
        Assert.Contains("/var/home/ann/two", forgot, StringComparison.Ordinal);
        Assert.Equal(1, forgot.Split("/var/home/ann/one").Length - 1);
    }

    private string Of(string name) => Path.Combine(directory, name);
}
