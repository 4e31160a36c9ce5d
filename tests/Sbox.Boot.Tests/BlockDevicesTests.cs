namespace Sbox.Boot.Tests;

public sealed class BlockDevicesTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-block-").FullName;

    [Fact]
    public void Disks_and_partitions_are_listed_with_what_udev_knows_of_them()
    {
        Device("devices/pci0/virtio2/block/vda", "254:0", 2048);
        Device("devices/pci0/virtio2/block/vda/vda2", "254:2", 1024, partition: true);
        Device("devices/virtual/block/loop0", "7:0", 0);
        Device("devices/virtual/block/ram0", "1:0", 8);
        Directory.CreateDirectory($"{directory}/udev");
        File.WriteAllText($"{directory}/udev/b254:2", "S:disk/by-label/sbox-root\nE:ID_FS_LABEL=sbox-root\nE:ID_FS_TYPE=ext4\nE:ID_PART_ENTRY_UUID=ab=c\nG:systemd\n");

        IReadOnlyList<BlockDevice> found = BlockDevices.List($"{directory}/sys", $"{directory}/udev");

        Assert.Equal(["vda", "vda2 (ext4 sbox-root)"], found.Select(static device => device.ToString()));
        Assert.Null(found[0].Disk);
        Assert.Equal("vda", found[1].Disk);
        Assert.Equal(("254:2", "/dev/vda2", "ab=c"), (found[1].Number, found[1].Path, found[1].PartitionUuid));
    }

    [Fact]
    public void A_machine_without_sysfs_has_none() => Assert.Empty(BlockDevices.List($"{directory}/none", $"{directory}/none"));

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private void Device(string path, string number, int sectors, bool partition = false)
    {
        string own = $"{directory}/sys/{path}", links = $"{directory}/sys/class/block";
        Directory.CreateDirectory(own);
        Directory.CreateDirectory(links);
        File.WriteAllText($"{own}/dev", $"{number}\n");
        File.WriteAllText($"{own}/size", $"{sectors}\n");
        if (partition)
            File.WriteAllText($"{own}/partition", "2\n");
        File.CreateSymbolicLink($"{links}/{Path.GetFileName(path)}", $"../../{path}");
    }
}
