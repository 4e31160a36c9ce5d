using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>What a sealed box boots and what it refuses, in the console's own words.</summary>
[Collection("machine")]
public sealed class SealedBootTests(SealedBox box, ITestOutputHelper output) : IClassFixture<SealedBox>
{
    private static readonly TimeSpan FirmwareLimit = TimeSpan.FromMinutes(5), CheckLimit = TimeSpan.FromMinutes(5);

    [Fact, Trait("Category", "Slow")]
    public void A_sealed_disk_enrolls_its_owners_keys_by_itself_boots_signed_and_verifies_every_file()
    {
        string overlay = box.Overlay("first");
        SealedBox.FlipBit(overlay, box.Disk, box.FirstByte(box.ObjectOf(SealedBox.DamagedFile)));
        using Sbox.Vm.Vm vm = box.Start("first", enrolled: false);
        vm.WaitForLogin(SealedBox.BootLimit);
        output.WriteLine($"power-on, enrolling, second start, login: {vm.Timings}");
        Assert.Contains("Enrolling", vm.Console.Text, StringComparison.Ordinal);

        Assert.Equal("1", vm.Run("od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-* | tr -d ' '").OrThrow());
        Assert.Equal("0", vm.Run("od -An -tu1 -j4 /sys/firmware/efi/efivars/SetupMode-* | tr -d ' '").OrThrow());
        Assert.Equal(box.CommandLine, vm.Run("cat /proc/cmdline").OrThrow());
        Assert.Contains("verity=require", vm.Run("grep ' / / ' /proc/self/mountinfo").OrThrow(), StringComparison.Ordinal);
        string status = vm.Run("sbox status --json").OrThrow();
        Assert.Contains("\"seal\":{\"sealed\":true", status, StringComparison.Ordinal);
        Assert.Contains("Read-only file system", vm.Run("touch /usr/x").Output, StringComparison.Ordinal);

        // One bit of one object was turned around on the disk.
        CommandResult damaged = vm.Run($"cat {SealedBox.DamagedFile} >/dev/null");
        Assert.Contains("Input/output error", damaged.Output, StringComparison.Ordinal);
        string words = vm.Run("dmesg | grep 'FILE CORRUPTED' | head -n 1").OrThrow();
        output.WriteLine(words);
        Assert.Contains("fs-verity", words, StringComparison.Ordinal);
        vm.Run("cat /usr/bin/less >/dev/null").OrThrow();

        // Nobody writes to an object, root neither.
        string target = "/sysroot" + box.ObjectOf("/usr/bin/less");
        Assert.NotEqual(0, vm.Run($"unshare -m sh -c 'mount -o remount,rw /sysroot; echo x >>{target}'").ExitCode);
        Proves(vm);
        SeesAnotherObject(vm, target);
        vm.PowerDown(SealedBox.BootLimit);
    }

    // What the box says of itself while one bit of one file is turned around on its disk.
    private void Proves(Sbox.Vm.Vm vm)
    {
        CommandResult proof = vm.Run("sbox prove --receipt=/tmp/receipt --nonce=0badcafe", CheckLimit);
        output.WriteLine(proof.Output);
        foreach (string fact in (string[])["firmware", "kernel", "command-line", "uki", "root", "mounts", "modules", "etc"])
            Assert.Matches($"ok +{fact} ", proof.Output);
        Assert.Matches("unchecked approval .*nothing says who must have signed", proof.Output);
        Assert.Equal(3, proof.ExitCode); // nothing is wrong, and this tree has no policy of approval
        Assert.Contains("this machine has no TPM", proof.Output, StringComparison.Ordinal);
        Assert.Matches("ok +signature .*ok +nonce", vm.Run("sbox prove --check=/tmp/receipt --nonce=0badcafe", CheckLimit).Output.ReplaceLineEndings(" "));

        Assert.Matches("all [0-9]+ files are sealed", vm.Run("sbox status", CheckLimit).OrThrow());
        // At idle priority: it may still be looking.
        vm.Run("sh -c 'until test -e /var/lib/sbox/verity.done; do systemctl is-failed --quiet sbox-verity && exit 1; sleep 1; done'", CheckLimit).OrThrow();
        CommandResult quick = vm.Run("sbox verify", CheckLimit), deep = vm.Run("sbox verify --deep --full-speed", SealedBox.BootLimit);
        output.WriteLine(deep.Output);
        Assert.Equal((0, 1), (quick.ExitCode, deep.ExitCode)); // the kernel's word stands for the bytes that nobody read
        Assert.Contains($"that is {SealedBox.DamagedFile} of debian/", deep.Output, StringComparison.Ordinal);
        Assert.Contains(", 1 faults;", deep.Output, StringComparison.Ordinal);
    }

    // Root puts another file in an object's place, and then has the kernel hold it to its own digest.
    private void SeesAnotherObject(Sbox.Vm.Vm vm, string target)
    {
        vm.Run("systemctl stop sbox-watch").OrThrow(); // it would undo the mount
        vm.Run($"unshare -m sh -ec 'mount -o remount,rw /sysroot; cp -p {target} {target}.x; printf x | dd of={target}.x conv=notrunc status=none; mv {target}.x {target}'").OrThrow();
        Assert.Contains("Input/output error", vm.Run("sync; echo 3 >/proc/sys/vm/drop_caches; cat /usr/bin/less >/dev/null").Output, StringComparison.Ordinal);
        CommandResult lacks = vm.Run("sbox verify", CheckLimit);
        Assert.Contains("the content of 1 files was not looked at", lacks.Output, StringComparison.Ordinal);
        Assert.Equal(3, lacks.ExitCode);
        Assert.Contains("Sealed 1 files", vm.Run("sbox verity", CheckLimit).OrThrow(), StringComparison.Ordinal);
        CommandResult other = vm.Run("sbox verify", CheckLimit), proof = vm.Run("sbox prove", CheckLimit);
        output.WriteLine($"{other.Output}\n{proof.Output}");
        Assert.Contains("and the commit's files give", other.Output, StringComparison.Ordinal);
        Assert.Matches("wrong +root .*and the commit's files give", proof.Output);
        Assert.Equal((1, 1), (other.ExitCode, proof.ExitCode));
    }

    [Fact, Trait("Category", "Slow")]
    public void One_bit_of_the_kernel_image_changed_and_the_firmware_does_not_start_it()
    {
        string overlay = box.Overlay("uki"), uki = Esp($"::/EFI/Linux/debian-{box.Commit[..12]}.0.efi", "uki.efi");
        SealedBox.FlipBit(overlay, box.Disk, Find(File.ReadAllBytes(uki).AsSpan(8_000_000, 4096)) + 100);
        using Sbox.Vm.Vm vm = box.Start("uki", enrolled: true);
        output.WriteLine(vm.Console.WaitFor(@"Error loading .*debian-.*|Access denied.*", FirmwareLimit).Value);
        Assert.DoesNotContain("Linux version", vm.Console.Text, StringComparison.Ordinal);
    }

    [Fact, Trait("Category", "Slow")]
    public void A_boot_loader_that_nobody_signed_is_not_started()
    {
        string overlay = box.Overlay("loader");
        // The signature's own bytes: the program itself is whole.
        foreach (string name in (string[])["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"])
            Judge.OnPath("mcopy").Run("-i", $"{box.Disk}@@1048576", $"::/{name}", box.Of("loader.efi"));
        byte[] loader = File.ReadAllBytes(box.Of("loader.efi"));
        foreach (long place in FindAll(loader.AsSpan(loader.Length - 400, 256)))
            SealedBox.FlipBit(overlay, box.Disk, place + 200);
        using Sbox.Vm.Vm vm = box.Start("loader", enrolled: true);
        output.WriteLine(vm.Console.WaitFor(@"BdsDxe: failed to load .*Access Denied", FirmwareLimit).Value);
        Assert.DoesNotContain("Linux version", vm.Console.Text, StringComparison.Ordinal);
    }

    [Fact, Trait("Category", "Slow")]
    public void An_argument_that_the_machine_adds_to_the_signed_command_line_stops_the_boot_with_one_line()
    {
        using Sbox.Vm.Vm vm = box.Start("argument", enrolled: true, "-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=evil=1");
        output.WriteLine(vm.Console.WaitFor("sbox-root.*'evil=1' is on the kernel command line, and not on the signed one.*", SealedBox.BootLimit).Value);
        output.WriteLine(vm.Console.WaitFor("sbox-root: the machine restarts in.*", FirmwareLimit).Value);
        Assert.DoesNotContain("emergency mode", vm.Console.Text, StringComparison.Ordinal);
    }

    [Fact, Trait("Category", "Slow")]
    public void Another_image_in_the_place_of_the_deployments_is_not_mounted()
    {
        string copy = box.Of("image.img"), cfs = $"/ostree/deploy/debian/deploy/{box.Commit}.0/.ostree.cfs", at = $"{copy}?offset={box.RootOffset}";
        Judge.OnPath("cp").Run("--sparse=always", box.Disk, copy);
        try
        {
            // As an attacker with the disk in hand would: the same image with one bit changed, as a file of its own.
            string mine = box.Of("mine.cfs");
            Judge.OnPath("debugfs").Run("-R", $"dump {cfs} {mine}", at);
            byte[] bytes = File.ReadAllBytes(mine);
            bytes[^1] ^= 1;
            File.WriteAllBytes(mine, bytes);
            Judge.OnPath("debugfs").Run("-w", "-R", $"rm {cfs}", at);
            Judge.OnPath("debugfs").Run("-w", "-R", $"write {mine} {cfs}", at);
            Judge.OnPath("e2fsck").Run("-fn", at);
            (string kernel, string initrd) = box.BootFiles();
            using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(box.Of("image"), copy) { Kernel = kernel, Initrd = initrd, CommandLine = box.CommandLine });
            output.WriteLine(vm.Console.WaitFor(@"sbox-root.*\.ostree\.cfs was changed: its digest is .*", SealedBox.BootLimit).Value);
        }
        finally
        {
            File.Delete(copy);
        }
    }

    private string Esp(string file, string local)
    {
        Judge.OnPath("mcopy").Run("-n", "-o", "-i", $"{box.Disk}@@1048576", file, box.Of(local));
        return box.Of(local);
    }

    private long Find(ReadOnlySpan<byte> bytes) => FindAll(bytes)[0];

    // FAT keeps files in clusters that may lie anywhere, so a file's bytes are looked for where they are.
    private List<long> FindAll(ReadOnlySpan<byte> bytes)
    {
        using FileStream disk = File.OpenRead(box.Disk);
        var esp = new byte[box.RootOffset];
        disk.ReadExactly(esp);
        var places = new List<long>();
        for (int at = 0, found; (found = esp.AsSpan(at).IndexOf(bytes)) >= 0; at += found + 1)
            places.Add(at + found);
        return places.Count > 0 ? places : throw new InvalidOperationException("the bytes are nowhere on the EFI partition");
    }
}
