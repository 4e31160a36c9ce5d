using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>What a sealed box boots and what it refuses, in the console's own words.</summary>
[Collection("machine")]
public sealed class SealedBootTests(SealedBox box, ITestOutputHelper output) : IClassFixture<SealedBox>
{
    private static readonly TimeSpan ChangeLimit = TimeSpan.FromMinutes(15);
    private const string Secret = "what-nobody-else-may-read-5d1f0c";
    private static readonly TimeSpan FirmwareLimit = TimeSpan.FromMinutes(5), CheckLimit = TimeSpan.FromMinutes(5);

    [Fact, Trait("Category", "Slow")]
    public Task A_sealed_box_enrolls_its_owners_keys_encrypts_its_disk_verifies_every_file_and_asks_for_nothing_in_a_ghost() => Live(whole: false);

    // A quarter of an hour; asked for by name (-explicit only): docs/testing.md.
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public Task A_sealed_box_asks_for_nothing_through_upgrade_rollback_and_new_keys_until_it_begins_anew() => Live(whole: true);

    private async Task Live(bool whole)
    {
        string overlay = box.Overlay("first");
        SealedBox.FlipBit(overlay, box.Disk, box.FirstByte(box.ObjectOf(SealedBox.DamagedFile)));
        using Sbox.Vm.Vm vm = box.StartWithTpm("first", box.EncryptedDisk());
        vm.WaitForLogin(SealedBox.BootLimit);
        output.WriteLine($"power-on, enrolling, second start, login: {vm.Timings}");
        Assert.Contains("Enrolling", vm.Console.Text, StringComparison.Ordinal);
        Assert.Contains("sbox-root: encrypting /dev/vda2, once", vm.Console.Text, StringComparison.Ordinal);

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
        string recovery = IsEncrypted(vm);
        Proves(vm);
        EncryptsToTheOwnersKey(vm);
        if (!whole)
        {
            MakesAlice(vm);
            BootOnce(vm, box.Commit, "ghost");
            KeepsNothingAsGhost(vm);
            vm.PowerDown(SealedBox.BootLimit);
            return;
        }

        string second = box.PublishSecond();
        await Upgrades(vm, second);
        DiskIsOpen(vm);
        HasForgottenTheFirstKey(vm);
        Assert.Contains("Version 1 runs after a reboot", vm.Run("sbox rollback", ChangeLimit).OrThrow(), StringComparison.Ordinal);
        vm.Reboot(SealedBox.BootLimit);
        RunsSealed(vm, box.Commit);
        DiskIsOpen(vm);
        Assert.Equal("letter", vm.Run("cat /home/alice/letter && test ! -e /var/ghost && test ! -e /etc/ghost").OrThrow());
        Assert.Equal("alice kept", vm.Run("stat -c %U /home/alice/new/kept | tr '\\n' ' ' && cat /home/alice/new/kept && grep -q printer /etc/hosts").OrThrow());
        LearnsANewKey(vm);
        BootOnce(vm, box.Commit, "factory-reset");
        BeginsAnew(vm);
        SeesAnotherObject(vm, target);
        StartsNothingThatARevokedKeySigned(vm);
        vm.Kill();
        OpensByTheRecoveryKeyAlone(recovery);
    }

    // The first boot did it, and the service after it the rest.
    private string IsEncrypted(Sbox.Vm.Vm vm)
    {
        vm.Run("systemctl start sbox-disk.service", ChangeLimit).OrThrow();
        output.WriteLine(vm.Run("journalctl -b -o cat -u sbox-disk.service; sbox disk status").Output);
        Assert.Contains("/dev/vda2 is encrypted, and the key of the first boot still opens it", vm.Run("sbox status", CheckLimit).OrThrow(), StringComparison.Ordinal);
        Assert.Equal("crypto_LUKS", vm.Run("blkid -p -o value -s TYPE /dev/vda2").OrThrow());
        // The TPM gave the key out for a moment only: root asks in vain, as would a system on another disk that was started in this one's place.
        Assert.NotEqual(0, vm.Run("cryptsetup open --test-passphrase --token-only /dev/vda2", ChangeLimit).ExitCode);
        Assert.NotEqual(new string('0', 64), vm.Run("cat /sys/class/tpm/tpm0/pcr-sha256/15").OrThrow());
        // The first boot's key opens it until the TPM has been seen to.
        Assert.Equal("the key of the first boot", vm.Run("cat /run/sbox/disk-opened-by").OrThrow());
        Assert.Equal("600 root", vm.Run("stat -c '%a %U' /sys/firmware/efi/efivars/SboxFirstKey-*").OrThrow());
        vm.Run("test ! -e /sys/firmware/efi/efivars/SboxHeadCopy-*").OrThrow();
        string recovery = vm.Run("sbox disk recovery-key 2>/dev/null", ChangeLimit).OrThrow().Split('\n')[^1]; // what is said to all terminals comes before
        Assert.Matches("^([a-z]{8}-){7}[a-z]{8}$", recovery);
        Assert.Contains("\"disk\":{\"encrypted\":true,\"device\":\"/dev/vda2\"", vm.Run("sbox status --json", CheckLimit).OrThrow(), StringComparison.Ordinal);
        vm.Run($"echo {Secret} >/var/secret; sync").OrThrow();
        return recovery;
    }

    // Three keys are left, the TPM's, the box's own and the recovery key; that of the first boot is nowhere.
    private static void HasForgottenTheFirstKey(Sbox.Vm.Vm vm)
    {
        Assert.Equal("tpm", vm.Run("cat /run/sbox/disk-opened-by").OrThrow());
        vm.Run("systemctl start sbox-disk.service", ChangeLimit).OrThrow();
        string header = vm.Run("journalctl -b -o cat -u sbox-disk.service; sbox disk status; cryptsetup luksDump /dev/vda2 | grep -v '^\\s*\\([0-9a-f][0-9a-f] \\)*[0-9a-f][0-9a-f] *$'").OrThrow();
        Assert.True(header.Split('\n').Count(static line => line.TrimEnd().EndsWith(": luks2", StringComparison.Ordinal)) == 3, header);
        vm.Run("test ! -e /sys/firmware/efi/efivars/SboxFirstKey-*").OrThrow();
        Assert.Contains("/dev/vda2 is encrypted, and opens by this machine's TPM", vm.Run("sbox status", CheckLimit).OrThrow(), StringComparison.Ordinal);
    }

    // The firmware is told to refuse the key by which it started all this.
    private void StartsNothingThatARevokedKeySigned(Sbox.Vm.Vm vm)
    {
        Send(vm, box.RevokeKeys(), "/run/dbx.update.auth");
        Assert.Contains("it is needed for the next boot", vm.Run("sbox keys apply dbx /run/dbx.update.auth", CheckLimit).Output, StringComparison.Ordinal);
        output.WriteLine(vm.Run("sbox keys apply dbx /run/dbx.update.auth --force", ChangeLimit).OrThrow());
        vm.Console.SendLine("systemctl reboot");
        vm.Console.WaitFor("Restarting system", SealedBox.BootLimit);
        output.WriteLine(vm.Console.WaitFor(@"BdsDxe: failed to load .*(Access Denied|Security Violation)", FirmwareLimit).Value);
    }

    // What whoever takes the disk out has of it: in another machine, and on a desk.
    private void OpensByTheRecoveryKeyAlone(string recovery)
    {
        string disk = box.TakeDisk("first");
        try
        {
            using (FileStream taken = File.OpenRead(disk))
            {
                Assert.True(Contains(taken, "timeout ", to: box.RootOffset)); // loader.conf, which is not encrypted: this looks as it should
                Assert.False(Contains(taken, Secret, to: taken.Length));
            }

            // In a machine that has a TPM by its firmware's word, and none that comes.
            using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(box.WithAbsentTpm("another", disk));
            vm.Console.WaitFor("sbox-root: waiting for the TPM", SealedBox.BootLimit);
            output.WriteLine(vm.Console.WaitFor(@"the TPM does not give the key of /dev/vda2 out \(the firmware tells of one, and it did not come\).*", SealedBox.BootLimit).Value);
            vm.Console.WaitFor("Type its recovery key", FirmwareLimit);
            vm.Console.SendLine((recovery[0] == 'b' ? 'c' : 'b') + recovery[1..]);
            vm.Console.WaitFor("that does not open /dev/vda2", FirmwareLimit);
            vm.Console.WaitFor("Type its recovery key", FirmwareLimit);
            vm.Console.SendLine(recovery.Replace("-", " ", StringComparison.Ordinal));
            vm.Console.WaitFor("it did not come, so register 15 was not extended; the boot goes on", SealedBox.BootLimit);
            vm.Console.WaitFor("systemd\\[1\\]|Welcome to|login", SealedBox.BootLimit);
        }
        finally
        {
            File.Delete(disk);
        }
    }

    private static bool Contains(FileStream file, string text, long to)
    {
        byte[] wanted = System.Text.Encoding.ASCII.GetBytes(text), buffer = new byte[8 << 20];
        file.Position = 0;
        int kept = 0;
        for (int read; file.Position < to && (read = file.Read(buffer, kept, buffer.Length - kept)) > 0;)
        {
            Span<byte> there = buffer.AsSpan(0, kept + read);
            if (there.IndexOf(wanted) >= 0)
                return true;
            kept = Math.Min(wanted.Length - 1, there.Length);
            there[^kept..].CopyTo(buffer);
        }

        return false;
    }

    private static void Send(Sbox.Vm.Vm vm, byte[] bytes, string to)
    {
        foreach (char[] part in Convert.ToBase64String(bytes).Chunk(2000))
            vm.Run($"printf %s '{new string(part)}' >>{to}.base64").OrThrow();
        vm.Run($"base64 -d {to}.base64 >{to}").OrThrow();
    }

    // What the box says of itself while one bit of one file is turned around on its disk.
    private void Proves(Sbox.Vm.Vm vm)
    {
        CommandResult proof = vm.Run("sbox prove --receipt=/tmp/receipt --nonce=0badcafe", CheckLimit);
        output.WriteLine(proof.Output);
        foreach (string fact in (string[])["firmware", "kernel", "command-line", "uki", "root", "mounts", "modules", "etc"])
            Assert.Matches($"ok +{fact} ", proof.Output);
        Assert.Matches("unchecked disk .*the key of its first boot still opens it", proof.Output);
        Assert.Matches("unchecked approval .*nothing says who must have signed", proof.Output);
        Assert.Equal(3, proof.ExitCode); // nothing is wrong, and this tree has no policy of approval
        Assert.Matches("ok +signature .*ok +nonce .*ok +quote", vm.Run("sbox prove --check=/tmp/receipt --nonce=0badcafe", CheckLimit).Output.ReplaceLineEndings(" "));

        Assert.Contains("fs-verity: every file that runs is sealed", vm.Run("sbox status", CheckLimit).OrThrow(), StringComparison.Ordinal); // by the seal: none is looked at
        Assert.Matches("\"verity\":\\{\"supported\":true,\"sealed\":([0-9]+),\"files\":\\1\\}", vm.Run("sbox status --json", CheckLimit).OrThrow());
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

    // As an owner does it by hand: the box has the key and the signatures from its UKI.
    private void EncryptsToTheOwnersKey(Sbox.Vm.Vm vm)
    {
        vm.GuestBootTimes(); // waits until everything was started
        Assert.Equal(box.Measured().ToString(), vm.Run("cat /sys/class/tpm/tpm0/pcr-sha256/11").OrThrow().ToLowerInvariant());
        Assert.Equal(File.ReadAllText(Path.Combine(box.Keys, "pcr.pub")).Trim(), vm.Run("cat /run/systemd/tpm2-pcr-public-key.pem").OrThrow().Trim());
        // Exactly the file's bytes: cryptsetup took them all.
        vm.Run("printf 'of a test\\n' >/run/passphrase").OrThrow();
        output.WriteLine(vm.Run(
            "systemd-cryptenroll --unlock-key-file=/run/passphrase --tpm2-device=auto --tpm2-public-key=/run/systemd/tpm2-pcr-public-key.pem --tpm2-public-key-pcrs=11 --tpm2-pcrs=7 /dev/vdb "
            + "&& systemd-cryptenroll --unlock-key-file=/run/passphrase --recovery-key --wipe-slot=password /dev/vdb && systemd-cryptenroll /dev/vdb", ChangeLimit).OrThrow());
        // Now, long after the moments for which there is a signature, the TPM keeps the key even from root.
        Assert.NotEqual(0, vm.Run("systemd-cryptsetup attach data /dev/vdb - tpm2-device=auto,headless=true", ChangeLimit).ExitCode);
        vm.Run("echo 'data /dev/vdb - tpm2-device=auto,headless=true' >>/etc/crypttab").OrThrow();
    }

    // The firmware judges whether the owner's KEK signed it.
    private void LearnsANewKey(Sbox.Vm.Vm vm)
    {
        const string sizes = "stat -c %s /sys/firmware/efi/efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f";
        string before = vm.Run(sizes).OrThrow();
        Send(vm, box.RotateKeys(), "/run/db.update.auth");
        CommandResult applied = vm.Run("sbox keys apply db /run/db.update.auth", ChangeLimit);
        output.WriteLine(applied.OrThrow());
        Assert.Contains("gives the disk's key out at the next boot whatever the firmware checks", applied.Output, StringComparison.Ordinal);
        Assert.True(int.Parse(vm.Run(sizes).OrThrow()) > int.Parse(before) + 700, before);
        // One changed bit, and it is nobody's word.
        vm.Run("printf '\\377' | dd of=/run/db.update.auth bs=1 seek=400 conv=notrunc 2>/dev/null").OrThrow();
        output.WriteLine(vm.Run("sbox keys apply db /run/db.update.auth").Output);
        Assert.NotEqual(0, vm.Run("sbox keys apply db /run/db.update.auth").ExitCode);
    }

    private void DiskIsOpen(Sbox.Vm.Vm vm)
    {
        output.WriteLine(vm.Run("journalctl -b -o cat -u systemd-cryptsetup@data.service | tail -n 5; findmnt -n -o OPTIONS /").Output);
        vm.Run("test -b /dev/mapper/data").OrThrow();
    }

    private static void MakesAlice(Sbox.Vm.Vm vm) =>
        vm.Run("useradd --create-home --shell /bin/bash alice && echo letter >/home/alice/letter && echo changed >>/etc/profile").OrThrow();

    // A ghost forgets what was done in it, and updates itself all the same.
    private async Task Upgrades(Sbox.Vm.Vm vm, string second)
    {
        MakesAlice(vm);
        BootOnce(vm, box.Commit, "ghost");
        KeepsNothingAsGhost(vm);
        DiskIsOpen(vm);
        await using FileServer server = await FileServer.Start(box.Repository, port: 0);
        output.WriteLine(vm.Run($"sbox upgrade --url http://10.0.2.2:{server.Port}", ChangeLimit).OrThrow());
        IsReadOnly(vm);
        vm.Reboot(SealedBox.BootLimit);
        Assert.Contains("/var/ghost", vm.Console.Text, StringComparison.Ordinal); // the shutdown said what was forgotten
        RunsSealed(vm, second);
        vm.Run("command -v tree").OrThrow();
    }

    // By the menu's entry, as a person chooses it: each entry's command line is signed, and its own.
    private static void BootOnce(Sbox.Vm.Vm vm, string commit, string profile)
    {
        const string variable = "/sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
        vm.Run($@"{{ printf '\a\0\0\0'; printf 'debian-{commit[..12]}.0.efi@{profile}\0' | LC_ALL=C sed -z 's/./&\x00/g; s/$/\x00/' ; }} | dd iflag=fullblock bs=4096 of={variable} && od -c {variable} | tail -n 3").OrThrow();
        Assert.Contains("\"next-once\":{", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        vm.Reboot(SealedBox.BootLimit);
    }

    private static void KeepsNothingAsGhost(Sbox.Vm.Vm vm)
    {
        Assert.Contains("Ghost: this boot keeps nothing", vm.Run("sbox status").OrThrow(), StringComparison.Ordinal);
        Assert.Contains("\"sealed\":true", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        Assert.Equal("letter", vm.Run("cat /home/alice/letter").OrThrow());
        vm.Run("echo ghost >/var/ghost && echo ghost >/etc/ghost && rm /home/alice/letter && sync").OrThrow();
        TellsWhatIsLostAndKeepsWhatIsAskedFor(vm);
        Assert.Equal("", vm.Run("systemctl --failed --no-legend --plain").OrThrow());
    }

    private static void TellsWhatIsLostAndKeepsWhatIsAskedFor(Sbox.Vm.Vm vm)
    {
        string alarms = Alarms(vm);
        vm.Run("mkdir /home/alice/new && echo kept >/home/alice/new/kept && chown -R alice /home/alice/new && echo 192.0.2.1 printer >>/etc/hosts").OrThrow();
        string ledger = vm.Run("sbox ledger").OrThrow();
        foreach (string line in (string[])["new      /etc/ghost", "new      /var/ghost", "deleted  /var/home/alice/letter", "new      /var/home/alice/new/kept", "network: networks, 1 change", "that nobody misses"])
            Assert.Contains(line, ledger, StringComparison.Ordinal);
        Assert.Contains("kept new      /var/home/alice/new/kept", vm.Run("sbox keep /home/alice/new network", ChangeLimit).OrThrow(), StringComparison.Ordinal);
        Assert.DoesNotContain("/etc/hosts", vm.Run("sbox ledger --all").OrThrow(), StringComparison.Ordinal);
        IsReadOnly(vm);
        Assert.Equal(alarms, Alarms(vm));
        vm.Run("sbox forget /etc/ghost && test ! -e /etc/ghost && echo ghost >/etc/ghost").OrThrow();
    }

    // What is said to all terminals comes before.
    private static string Alarms(Sbox.Vm.Vm vm) => vm.Run("sbox watch history --json | wc -l").OrThrow().Trim().Split('\n')[^1];

    // A ghost's disk, to everyone.
    private static void IsReadOnly(Sbox.Vm.Vm vm) => Assert.DoesNotContain("rw", vm.Run("findmnt -n -o VFS-OPTIONS /sysroot").OrThrow().Split(',', ' ', '\n'));

    private void BeginsAnew(Sbox.Vm.Vm vm)
    {
        output.WriteLine(string.Join('\n', vm.Console.Text.Split('\n').Where(static line => line.Contains("factory reset", StringComparison.Ordinal))));
        Assert.Contains("factory reset in 5 s", vm.Console.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("recovery key, and Enter", vm.Console.Text, StringComparison.Ordinal); // in no boot so far
        vm.Run("systemctl start sbox-disk.service", ChangeLimit).OrThrow();
        output.WriteLine(vm.Run("journalctl -b -o cat -u sbox-disk.service; sbox disk status").Output);
        Assert.Contains("\"bound\":true,\"loose\":false", vm.Run("sbox disk status --json", ChangeLimit).OrThrow(), StringComparison.Ordinal);
        // What the ghost did was gone with it, and all else went now.
        vm.Run("test ! -e /home/alice && ! id alice && ! grep data /etc/crypttab && ! grep changed /etc/profile").OrThrow();
        Assert.Equal("", vm.Run("systemctl --failed --no-legend --plain").OrThrow());
    }

    private static void RunsSealed(Sbox.Vm.Vm vm, string commit)
    {
        string status = vm.Run("sbox status --json").OrThrow();
        Assert.Contains("\"seal\":{\"sealed\":true", status, StringComparison.Ordinal);
        Assert.Contains("\"settled\":true", status, StringComparison.Ordinal);
        string arguments = vm.Run("cat /proc/cmdline").OrThrow();
        Assert.Contains($"sbox.commit={commit}", arguments, StringComparison.Ordinal);
        Assert.DoesNotContain("sbox.ghost", arguments, StringComparison.Ordinal);
        Assert.Contains("verity=require", vm.Run("grep ' / / ' /proc/self/mountinfo").OrThrow(), StringComparison.Ordinal);
        vm.Run("cat /usr/bin/less >/dev/null").OrThrow();
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

    // Both at once, in one boot: the line names what came onto the command line, all of it.
    [Fact, Trait("Category", "Slow")]
    public void An_argument_that_the_machine_adds_to_the_signed_command_line_stops_the_boot_with_one_line_and_an_addon_that_nobody_signed_adds_none()
    {
        string disk = box.PlainDisk("addon.img"), esp = $"{disk}@@1048576", beside = $"::/EFI/Linux/debian-{box.Commit[..12]}.0.efi.extra.d", addon = box.Of("evil.addon.efi");
        try
        {
            Judge.Ukify.Run("build", $"--stub={Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "addon*.efi.stub").Single()}", "--cmdline=worse=1", $"--output={addon}");
            Judge.OnPath("mmd").Run("-i", esp, beside);
            Judge.OnPath("mcopy").Run("-i", esp, addon, beside);
            using Sbox.Vm.Vm vm = box.StartWith("argument", disk, "-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=evil=1");
            output.WriteLine(vm.Console.WaitFor("sbox-root.*: 'evil=1' is on the kernel command line, and not on the signed one.*", SealedBox.BootLimit).Value);
            output.WriteLine(vm.Console.WaitFor("sbox-root: the machine restarts in.*", FirmwareLimit).Value);
            Assert.DoesNotContain("emergency mode", vm.Console.Text, StringComparison.Ordinal);
            Assert.DoesNotContain("Enrolling", vm.Console.Text, StringComparison.Ordinal); // they are there already
            output.WriteLine(string.Join('\n', vm.Console.Text.Split('\n').Where(static line => line.Contains("addon", StringComparison.Ordinal))));
            Assert.Matches("evil.addon.efi.*(Access Denied|Security [Vv]iolation|ignoring)", vm.Console.Text.ReplaceLineEndings(" "));
        }
        finally
        {
            File.Delete(disk);
        }
    }

    [Fact, Trait("Category", "Slow")]
    public void Another_image_in_the_place_of_the_deployments_is_not_mounted()
    {
        string copy = box.PlainDisk("image.img"), cfs = $"/ostree/deploy/debian/deploy/{box.Commit}.0/.ostree.cfs", at = $"{copy}?offset={box.RootOffset}";
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

    // Somebody bought this machine with keys in it and switched the check off: the boot loader runs, and takes nothing over.
    [Fact, Trait("Category", "Slow")]
    public void A_firmware_that_has_keys_keeps_them()
    {
        byte[] platformKey = box.GiveOthersKeys("others");
        using (Sbox.Vm.Vm vm = box.Start("others", enrolled: false))
        {
            vm.Console.WaitFor("sbox-root: ", SealedBox.BootLimit);
            Assert.DoesNotContain("Enrolling", vm.Console.Text, StringComparison.Ordinal);
        }

        byte[] variables = box.Variables("others");
        Assert.True(variables.AsSpan().IndexOf(platformKey) > 0, "the platform key is another one now");
    }

    // A broken TPM must not be the end of a machine whose disk needs none. Two minutes and more; asked for by name (-explicit only): docs/testing.md.
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void A_plain_disk_boots_where_the_TPM_that_the_firmware_tells_of_stays_away_and_the_owner_is_told()
    {
        string disk = box.PlainDisk("plain.img");
        try
        {
            using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(box.WithAbsentTpm("plain", disk));
            output.WriteLine(vm.Console.WaitFor("sbox-root: .*the firmware tells of a TPM, and it did not come, so register 15 was not extended; the boot goes on.*", SealedBox.BootLimit).Value);
            vm.WaitForLogin(SealedBox.BootLimit);
            Assert.Contains("TPM: /dev/tpmrm0: the firmware tells of a TPM, and it did not come", vm.Run("sbox status", CheckLimit).OrThrow(), StringComparison.Ordinal);
            string proof = vm.Run("sbox prove", CheckLimit).Output;
            output.WriteLine(proof);
            Assert.Matches("unchecked disk .*is not encrypted.*and it did not come", proof);
        }
        finally
        {
            File.Delete(disk);
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
