using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using Sbox.Codecs;
using Sbox.Codecs.Cpio;
using Sbox.Codecs.Uki;
using Sbox.Judges;
using Sbox.Tour;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>
/// A sealed disk of the demo's first version, which its first boot encrypts, and firmware variables with its owner's keys. Every test starts a machine of its own.
/// </summary>
public sealed class SealedBox : IDisposable
{
    /// <summary>Under emulation on a busy host.</summary>
    public static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);

    /// <summary>A file that no boot reads; its object is damaged on the disk before the first boot.</summary>
    public const string DamagedFile = "/usr/bin/nano";

    private readonly DemoImage image;
    private readonly string directory;

    public SealedBox()
    {
        Tools = new Tools(SourceTree.Root);
        image = DemoImage.Ensure(Tools, Judge.Cache);
        directory = Path.Combine(image.Directory, "sealed");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        Directory.CreateDirectory(directory);
        // A publisher's repository of its own: what others serve stays unsealed.
        Repository = Of("repo");
        Tools.Ostree($"--repo={Repository}", "init", "--mode=archive");
        Tools.Ostree($"--repo={Repository}", "pull-local", image.Builds, image.First);
        File.WriteAllText(Of("passphrase"), "of a test\n");
        Tools.Sbox("keys", "init", Keys, "--owner", "Test", "--passphrase-file", Of("passphrase"));
        Tools.Ostree($"--repo={Repository}", "refs", $"--create={image.Ref}", image.First);
        CommandLine = Field(Tools.Sbox("seal", "--repo", Repository, "--keys", Keys, "--passphrase-file", Of("passphrase"), "--json", image.Ref), "command-line");
        Tools.Sbox("image", "--repo", Repository, "--keys", Keys, "--encrypt", "--free-mib", "256", "--output", Disk, "--remote-url", "http://10.0.2.2", image.Ref);
    }

    /// <summary>Publishes version 2, sealed by the same keys.</summary>
    /// <returns>Its commit.</returns>
    public string PublishSecond()
    {
        Tools.Ostree($"--repo={Repository}", "pull-local", image.Builds, image.Second);
        Tools.Sbox("seal", "--repo", Repository, "--keys", Keys, "--passphrase-file", Of("passphrase"), image.Second);
        Tools.Ostree($"--repo={Repository}", "refs", $"--create={image.Ref}", "--force", image.Second);
        return image.Second;
    }

    public Tools Tools { get; }

    public string Repository { get; }

    public string Keys => Of("keys");

    public string Disk => Of("disk.img");

    public string Commit => image.First;

    /// <summary>The command line that is signed.</summary>
    public string CommandLine { get; }

    public string Of(string name) => Path.Combine(directory, name);

    /// <summary>Makes a new db key, after which nothing must be sealed by the old one alone.</summary>
    /// <returns>What tells a box's firmware.</returns>
    public byte[] RotateKeys()
    {
        Tools.Sbox("keys", "rotate", Keys, "--passphrase-file", Of("passphrase"));
        return File.ReadAllBytes(Path.Combine(Keys, "db.update.auth"));
    }

    /// <summary>Refuses the key that signed all of this.</summary>
    /// <returns>What tells a box's firmware.</returns>
    public byte[] RevokeKeys()
    {
        Tools.Sbox("keys", "revoke", Keys, "db-1", "--passphrase-file", Of("passphrase"));
        return File.ReadAllBytes(Path.Combine(Keys, "dbx.update.auth"));
    }

    /// <summary>All of a machine's disk, as whoever takes it out has it.</summary>
    public string TakeDisk(string name)
    {
        string taken = Of($"{name}.taken.img");
        Judge.OnPath("qemu-img").Run("convert", "-f", "qcow2", "-O", "raw", Of($"{name}/disk.qcow2"), taken);
        return taken;
    }

    /// <summary>A LUKS2 volume with one passphrase, of a disk beside the box's.</summary>
    public string EncryptedDisk()
    {
        string disk = Of("data.img");
        using (FileStream file = File.Create(disk))
            file.SetLength(64 << 20);
        Judge.OnPath("cryptsetup").Run("luksFormat", "--batch-mode", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", disk, Of("passphrase"));
        return disk;
    }

    /// <summary>
    /// A machine for <see cref="BootFiles"/> whose firmware tells of a TPM that never comes: ACPI's table is there, and no device. Its initrd has the signatures of the
    /// owner's pcr key, as systemd's stub would have left them.
    /// </summary>
    public VmOptions WithAbsentTpm(string name, string disk)
    {
        Directory.CreateDirectory(Of(name));
        (string kernel, string initrd) = BootFiles();
        string signed = Of($"{name}/initrd");
        using (FileStream file = File.Create(signed))
        {
            file.Write(File.ReadAllBytes(initrd));
            file.Write(new byte[(int)(-file.Length & 3)]); // the kernel looks for the next archive at a multiple of four
            file.Write(CpioWriter.Of(".extra/tpm2-pcr-signature.json", Sections().First(static section => section.Name == ".pcrsig").Content.Span));
        }

        string table = Of($"{name}/tpm2-table"); // its body: platform class 0, no control area, memory mapped (start method 6)
        File.WriteAllBytes(table, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0]);
        return new VmOptions(Of(name), disk)
        {
            Kernel = kernel, Initrd = signed, CommandLine = CommandLine, Patient = false, MoreArguments = ["-acpitable", $"sig=TPM2,rev=4,data={table}"],
        };
    }

    /// <summary>All of the disk, with an ext4 that the first boot leaves as it is.</summary>
    public string PlainDisk(string name)
    {
        string copy = Of(name);
        Judge.OnPath("cp").Run("--sparse=always", Disk, copy);
        Judge.OnPath("debugfs").Run("-w", "-R", "rm /.sbox/encrypt", $"{copy}?offset={RootOffset}");
        return copy;
    }

    /// <summary>What a TPM's register 11 holds when version 1 has booted by the menu's first entry, and all of its services run.</summary>
    public Checksum Measured()
    {
        Checksum entry = BootMeasurement.OfEntries(Sections())[0];
        return BootMeasurement.After(BootMeasurement.After(entry, "sysinit"), "ready");
    }

    // Of version 1's UKI, as it lies on the EFI partition.
    private IReadOnlyList<UkiSection> Sections()
    {
        Judge.OnPath("mcopy").Run("-n", "-o", "-i", $"{Disk}@@1048576", $"::/EFI/Linux/debian-{Commit[..12]}.0.efi", Of("measured.efi"));
        return UnifiedKernelImage.Read(File.ReadAllBytes(Of("measured.efi")));
    }

    /// <summary>Where the root partition begins on the disk.</summary>
    public long RootOffset => long.Parse(Judge.OnPath("sfdisk").Run("--json", Disk).Split("\"start\": ")[2].Split(',')[0]) * 512;

    /// <summary>A machine of its own, with firmware that checks signatures.</summary>
    /// <param name="name">Its directory.</param>
    /// <param name="enrolled">Whether its firmware has the owner's keys already.</param>
    /// <param name="more">More arguments for QEMU.</param>
    public Sbox.Vm.Vm Start(string name, bool enrolled, params string[] more) => Start(name, enrolled, dataDisk: null, more);

    /// <summary>A machine of its own, with a second disk and a TPM; its firmware knows nobody's keys yet.</summary>
    public Sbox.Vm.Vm StartWithTpm(string name, string dataDisk) => Start(name, enrolled: false, dataDisk, []);

    /// <summary>A machine whose firmware has the owner's keys, with another disk than <see cref="Disk"/>.</summary>
    public Sbox.Vm.Vm StartWith(string name, string disk, params string[] more) => Start(name, enrolled: true, dataDisk: null, more, disk);

    private Sbox.Vm.Vm Start(string name, bool enrolled, string? dataDisk, string[] more, string? disk = null)
    {
        Directory.CreateDirectory(Of(name));
        if (enrolled)
            File.Copy(EnrolledVariables(), Of($"{name}/vars.qcow2"));
        return Sbox.Vm.Vm.Start(new VmOptions(Of(name), disk ?? Disk) { SecureBoot = true, Patient = false, MoreArguments = more, Tpm = dataDisk is not null, DataDisk = dataDisk });
    }

    /// <summary>Gives a machine that was not started yet firmware variables as they are sold: with others' keys, and here with the check switched off.</summary>
    /// <returns>The platform key's whole record, header included.</returns>
    public byte[] GiveOthersKeys(string name)
    {
        const int header = 60, sizeAt = 40; // AUTHENTICATED_VARIABLE_HEADER of EDK II: DataSize behind NameSize, then the vendor's GUID, the name, the data
        byte[] variables = File.ReadAllBytes("/usr/share/OVMF/OVMF_VARS_4M.ms.fd"), enabled = Wide("SecureBootEnable\0"), platform = Wide("PK\0");
        variables[variables.AsSpan().IndexOf(enabled) + enabled.Length] = 0;
        Directory.CreateDirectory(Of(name));
        File.WriteAllBytes(Of($"{name}/vars.fd"), variables);
        Judge.OnPath("qemu-img").Run("convert", "-f", "raw", "-O", "qcow2", Of($"{name}/vars.fd"), Of($"{name}/vars.qcow2"));
        int at = variables.AsSpan().IndexOf((byte[])[.. EfiGlobalVariable, .. platform]) + EfiGlobalVariable.Length - header;
        int size = BinaryPrimitives.ReadInt32LittleEndian(variables.AsSpan(at + sizeAt));
        return variables[at..(at + header + platform.Length + size)];
    }

    /// <summary>A machine's firmware variables as they lie in its flash.</summary>
    public byte[] Variables(string name)
    {
        Judge.OnPath("qemu-img").Run("convert", "-f", "qcow2", "-O", "raw", Of($"{name}/vars.qcow2"), Of($"{name}/vars.after"));
        return File.ReadAllBytes(Of($"{name}/vars.after"));
    }

    private static byte[] EfiGlobalVariable => Guid.Parse("8be4df61-93ca-11d2-aa0d-00e098032b8c").ToByteArray();

    private static byte[] Wide(string text) => Encoding.Unicode.GetBytes(text);

    // Once for all tests: power-on in setup mode until the boot loader has enrolled and the firmware starts again.
    private string EnrolledVariables()
    {
        if (!File.Exists(Of("enrolled.qcow2")))
        {
            using (Sbox.Vm.Vm vm = Start("enrolling", enrolled: false))
            {
                vm.Console.WaitFor("Secure Boot keys successfully enrolled", BootLimit);
                vm.Console.WaitFor("BdsDxe: starting", BootLimit);
            }

            File.Move(Of("enrolling/vars.qcow2"), Of("enrolled.qcow2"));
        }

        return Of("enrolled.qcow2");
    }

    /// <summary>A machine's own changes of the disk, before it is started: it sees what is written here.</summary>
    public string Overlay(string name)
    {
        Directory.CreateDirectory(Of(name));
        string overlay = Of($"{name}/disk.qcow2");
        Judge.OnPath("qemu-img").Run("create", "-q", "-f", "qcow2", "-F", "raw", "-b", Disk, overlay);
        return overlay;
    }

    /// <summary>Turns one bit of the disk around in a machine's overlay.</summary>
    public static void FlipBit(string overlay, string disk, long at)
    {
        using FileStream raw = File.OpenRead(disk);
        raw.Position = at;
        int changed = raw.ReadByte() ^ 1;
        Judge.OnPath("qemu-io").Run("-f", "qcow2", "-c", $"write -q -P 0x{changed:x2} {at} 1", overlay);
    }

    /// <summary>Where the first byte of a file on the root lies on the disk.</summary>
    public long FirstByte(string path)
    {
        string blocks = Judge.OnPath("debugfs").Run("-R", $"blocks {path}", $"{Disk}?offset={RootOffset}");
        return RootOffset + (long.Parse(blocks.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0]) * 4096);
    }

    /// <summary>The object of a file of the tree, from the root partition's top.</summary>
    public string ObjectOf(string path)
    {
        // "-00755 0 0 1234 CHECKSUM /usr/bin/nano"
        string line = Tools.Ostree($"--repo={Repository}", "ls", "-C", Commit, path);
        string checksum = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[4];
        return $"/ostree/repo/objects/{checksum[..2]}/{checksum[2..]}.file";
    }

    /// <summary>Kernel and initrd of the tree, for machines without firmware.</summary>
    public (string Kernel, string Initrd) BootFiles()
    {
        string modules = Tools.Ostree($"--repo={Repository}", "ls", Commit, "/usr/lib/modules").Split('/')[^1];
        string Taken(string name)
        {
            if (!File.Exists(Of($"{name}.d/{name}")))
                Tools.Ostree($"--repo={Repository}", "checkout", "-U", $"--subpath=/usr/lib/modules/{modules}/{name}", Commit, Of($"{name}.d"));
            return Of($"{name}.d/{name}");
        }

        return (Taken("vmlinuz"), Taken("initramfs.img"));
    }

    public void Dispose()
    {
        // 3 GB, sparse; the transcripts stay.
        File.Delete(Disk);
    }

    private static string Field(string json, string name) => json.Split($"\"{name}\":\"")[1].Split('"')[0];
}
