using System.Text;
using System.Text.RegularExpressions;
using CsCheck;
using Sbox.Codecs.Gpt;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Boot.Tests;

public sealed class EarlyBootTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-early-").FullName;

    [Theory]
    [InlineData("pci:v00001AF4d00001042sv*sd*bc*sc*i*", "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00", true)]
    [InlineData("pci:v00001AF4d00001042sv*sd*bc*sc*i*", "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", false)]
    [InlineData("virtio:d00000002v*", "virtio:d00000002v00001AF4", true)]
    [InlineData("usb:v*p*d*dc*dsc*dp*ic08isc0[0-6]ip50in*", "usb:v0781p5591d0100dc00dsc00dp00ic08isc06ip50in00", true)]
    [InlineData("usb:v*p*d*dc*dsc*dp*ic08isc0[0-6]ip50in*", "usb:v0781p5591d0100dc00dsc00dp00ic08isc07ip50in00", false)]
    [InlineData("a?c", "abc", true)]
    [InlineData("a[xyz]", "ay", true)]
    [InlineData("*", "", true)]
    [InlineData("", "", true)]
    [InlineData("a", "", false)]
    public void A_pattern_of_modules_alias_matches_as_fnmatch_does(string pattern, string modalias, bool matches) =>
        Assert.Equal(matches, AliasPattern.Matches(pattern, modalias));

    [Fact]
    public void What_the_stub_took_out_of_the_image_for_the_tpm_is_kept_where_systemd_looks_for_it()
    {
        string run = Directory.CreateDirectory($"{directory}/run").FullName;
        StubFiles.Keep(directory, run);
        Directory.CreateDirectory($"{directory}/.extra");
        StubFiles.Keep(directory, run);
        Assert.False(Directory.Exists($"{run}/systemd"));
        File.WriteAllText($"{directory}/.extra/tpm2-pcr-signature.json", "{}");
        StubFiles.Keep(directory, run);
        Assert.Equal("{}", File.ReadAllText($"{run}/systemd/tpm2-pcr-signature.json"));
    }

    [Fact]
    public void Any_pattern_matches_what_the_same_regular_expression_matches()
    {
        Gen<string> letters = Gen.Char["ab"].Array[0, 8].Select(static text => new string(text));
        Gen<string> pattern = Gen.Char["ab*?"].Array[0, 8].Select(static text => new string(text));
        Gen.Select(pattern, letters).Sample((glob, text) =>
            AliasPattern.Matches(glob, text) == Regex.IsMatch(text, $"^{glob.Replace("*", ".*", StringComparison.Ordinal).Replace('?', '.')}$", RegexOptions.Singleline), iter: 10_000);
    }

    [Fact]
    public void A_module_comes_after_all_that_it_needs_and_once()
    {
        var index = new ModuleIndex(
            [new("crc", []), new("jbd2", ["crc"]), new("ext4", ["jbd2", "crc"])],
            [new("virtio:d00000002v*", "virtio_blk"), new("fs-ext4", "ext4")]);
        ModuleIndex read = ModuleIndex.Parse(index.ToString());
        Assert.Equal(["crc", "jbd2", "ext4"], read.LoadOrder("ext4"));
        Assert.Empty(read.LoadOrder("built_in"));
        Assert.Equal(["virtio_blk"], read.For("virtio:d00000002v00001AF4"));
    }

    [Fact]
    public void The_disk_is_found_by_what_mkfs_wrote_on_it_and_by_its_partition()
    {
        Disk("vda", "254:0", null);
        Disk("vda1", "254:1", "ESP");
        Disk("vda2", "254:2", "sbox-root");
        Make("vda2", "-L", "sbox-root", "-U", "0f0e0d0c-0b0a-4908-8706-050403020100");
        foreach (string root in (string[])["LABEL=sbox-root", "UUID=0F0E0D0C-0b0a-4908-8706-050403020100", "PARTLABEL=sbox-root", "/dev/vda2"])
            Assert.Equal("vda2 (ext4 sbox-root)", Look(root)?.Device.ToString());
        Assert.Null(Look("LABEL=other"));
        Assert.False(Disks.Understands("/dev/disk/by-uuid/0f0e0d0c"));
        Assert.False(Look("LABEL=sbox-root")!.Superblock.HasErrors);
    }

    [Fact]
    public void A_disk_that_comes_later_is_found_when_it_is_looked_for_again()
    {
        var disks = new Disks("LABEL=late", $"{directory}/sys", $"{directory}/dev");
        Assert.Null(disks.Look());
        Disk("sda1", "8:1", null);
        Make("sda1", "-L", "late");
        Assert.Equal("sda1", disks.Look()?.Device.Name);
    }

    [Fact]
    public void Of_two_disks_with_the_same_box_the_one_that_the_boot_loader_came_from_is_taken_and_waited_for()
    {
        var esp = Guid.NewGuid();
        PartitionedDisk("vda", Guid.NewGuid());
        var disks = new Disks("LABEL=sbox-root", $"{directory}/sys", $"{directory}/dev", loader: $"{esp}");
        Assert.Null(disks.Look()); // the stick's twin is there first
        Assert.Equal("vda2", new Disks("LABEL=sbox-root", $"{directory}/sys", $"{directory}/dev").Look()?.Device.Name);
        PartitionedDisk("sda", esp);
        Assert.Equal("sda2", disks.Look()?.Device.Name);
    }

    [Fact]
    public void A_boot_loader_from_a_disk_without_a_root_is_waited_for_no_longer_than_that_and_said()
    {
        PartitionedDisk("vda", Guid.NewGuid());
        var said = new List<string>();
        var disks = new Disks("LABEL=sbox-root", $"{directory}/sys", $"{directory}/dev", say: said.Add, loader: $"{Guid.NewGuid()}");
        var clock = System.Diagnostics.Stopwatch.StartNew();
        ProbedDisk? taken;
        while ((taken = disks.Look()) is null)
            Thread.Sleep(50);
        Assert.Equal("vda2", taken.Device.Name);
        Assert.InRange(clock.Elapsed, Disks.LoaderLimit - TimeSpan.FromSeconds(1), Disks.LoaderLimit + TimeSpan.FromSeconds(60));
        Assert.Contains("no disk with LABEL=sbox-root has it: vda2", Assert.Single(said), StringComparison.Ordinal);
    }

    [Fact]
    public void A_disk_that_is_listed_before_it_can_be_opened_is_found_too()
    {
        var disks = new Disks("LABEL=late", $"{directory}/sys", $"{directory}/dev");
        Disk("nvme0n1p2", "259:2", null);
        File.Delete($"{directory}/dev/nvme0n1p2");
        Assert.Null(disks.Look());
        Make("nvme0n1p2", "-L", "late");
        Assert.Equal("nvme0n1p2", disks.Look()?.Device.Name);
    }

    [Theory]
    [InlineData(0, "LUKS\u00ba\u00be", "crypto_LUKS")]
    [InlineData(536, "LVM2 001", "LVM2_member")]
    [InlineData(0, "XFSB", "xfs")]
    [InlineData(65600, "_BHRfS_M", "btrfs")]
    public void Other_file_systems_are_named_and_never_taken_for_the_root(int at, string magic, string type)
    {
        Disk("vda2", "254:2", "sbox-root");
        var bytes = new byte[Superblock.Length];
        Encoding.Latin1.GetBytes(magic).CopyTo(bytes, at);
        File.WriteAllBytes($"{directory}/dev/vda2", bytes);
        var disks = new Disks("PARTLABEL=sbox-root", $"{directory}/sys", $"{directory}/dev");
        Assert.Null(disks.Look());
        Assert.Equal(type, Assert.Single(disks.Present).FileSystem);
    }

    [Fact]
    public void Parameters_of_modules_come_from_the_command_line_as_modprobe_reads_it()
    {
        var drivers = new Drivers(KernelArguments.Parse("quiet nvme-core.io_timeout=30 nvme_core.multipath=N other.x=1 modprobe.blacklist=a,b-c"), directory, directory);
        Assert.Equal("io_timeout=30 multipath=N", drivers.Parameters("nvme_core"));
        Assert.Equal("", drivers.Parameters("virtio_blk"));
    }

    [Theory]
    [InlineData("noatime", MountAttributes.NoAccessTime)]
    [InlineData("defaults", MountAttributes.None)]
    [InlineData("nodev", MountAttributes.NoDevices)]
    [InlineData("commit=30", null)]
    public void What_is_the_mounts_own_is_told_from_what_is_the_file_systems(string option, MountAttributes? attribute) =>
        Assert.Equal(attribute, FirstProgram.AttributeOf(option));

    [Fact]
    public void A_file_system_that_the_kernel_marked_as_damaged_is_known()
    {
        Disk("vda2", "254:2", null);
        Make("vda2", "-L", "sbox-root");
        Judge.OnPath("debugfs").Run("-w", "-R", "set_super_value state 2", $"{directory}/dev/vda2");
        Assert.True(Look("LABEL=sbox-root")!.Superblock.HasErrors);
    }

    [Fact]
    public void Bytes_that_are_no_ext4_are_none()
    {
        Gen.Byte.Array[0, 4096].Sample(bytes => Superblock.Parse(bytes) is null or { Label: "" }); // never throws
        Assert.Null(Superblock.Parse(new byte[Superblock.Length]));
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private ProbedDisk? Look(string root) => new Disks(root, $"{directory}/sys", $"{directory}/dev").Look();

    private void Disk(string name, string number, string? partition)
    {
        string own = $"{directory}/sys/class/block/{name}";
        Directory.CreateDirectory(own);
        Directory.CreateDirectory($"{directory}/dev");
        File.WriteAllText($"{own}/dev", $"{number}\n");
        File.WriteAllText($"{own}/size", "4096\n");
        File.WriteAllText($"{own}/uevent", partition is null ? "DEVTYPE=disk\n" : $"DEVTYPE=partition\nPARTN=2\nPARTNAME={partition}\n");
        File.WriteAllBytes($"{directory}/dev/{name}", Encoding.ASCII.GetBytes("nothing to see"));
    }

    // A disk with a table, and a root on its second partition, as sysfs has it: a partition's directory lies in its disk's.
    private void PartitionedDisk(string name, Guid esp)
    {
        foreach ((string device, string number, string? partition) in (ReadOnlySpan<(string, string, string?)>)[(name, "8:0", null), ($"{name}2", "8:2", "sbox-root")])
        {
            Disk(device, number, partition);
            string own = $"{directory}/sys/devices/{name}{(partition is null ? "" : $"/{device}")}";
            Directory.CreateDirectory(Path.GetDirectoryName(own)!);
            if (partition is null)
                Directory.CreateDirectory(own);
            foreach (string file in Directory.GetFiles($"{directory}/sys/class/block/{device}"))
            {
                Directory.CreateDirectory(own);
                File.Move(file, $"{own}/{Path.GetFileName(file)}");
            }

            Directory.Delete($"{directory}/sys/class/block/{device}");
            Directory.CreateSymbolicLink($"{directory}/sys/class/block/{device}", own);
        }

        File.WriteAllText($"{directory}/sys/devices/{name}/{name}2/partition", "2\n");
        GuidPartitionTable table = GuidPartitionTable.Empty(Guid.NewGuid(), 409600).With(0, new GptPartition(new Guid(EfiSystemPartition.PartitionType), esp, 2048, 67583, 0, "ESP"));
        File.WriteAllBytes($"{directory}/dev/{name}", [.. table.ToProtectiveRecord(new byte[512]), .. table.ToFirstCopy()]);
        Make($"{name}2", "-L", "sbox-root");
    }

    private void Make(string name, params string[] arguments)
    {
        string file = $"{directory}/dev/{name}";
        using (FileStream stream = File.Create(file))
            stream.SetLength(2 << 20);
        Judge.OnPath("mkfs.ext4").Run(["-q", "-F", .. arguments, file]);
    }
}
