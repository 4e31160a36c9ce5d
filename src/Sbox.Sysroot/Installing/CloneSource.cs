using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A box on a disk, of which another disk is made.</summary>
/// <param name="Root">Where its physical root is mounted; it is only read.</param>
/// <param name="Esp">The device with its EFI system partition: <c>sda1</c>; of a CD, on which the kernel looks for no partitions, all of it: <c>sr0</c>.</param>
/// <param name="EspAt">Where on that device it begins, in bytes.</param>
/// <param name="EspBytes">How many bytes it has.</param>
/// <param name="RootType">The type of its root's partition.</param>
/// <param name="IsEncrypted">Whether its root is on an encrypted volume.</param>
public sealed record CloneSource(string Root, string Esp, long EspAt, long EspBytes, Guid RootType, bool IsEncrypted)
{
    /// <summary>What is deployed, by the time at which that changed last.</summary>
    internal (long Seconds, uint Nanoseconds) DeployedAt
    {
        get
        {
            using Dir root = Dir.Open(Root);
            FileStat stat = root.Stat("ostree/deploy");
            return (stat.ModifiedSeconds, stat.ModifiedNanoseconds);
        }
    }

    /// <summary>Looks at a mounted box.</summary>
    /// <param name="root">Where its physical root is mounted.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <exception cref="NoDiskException">This boot runs from memory.</exception>
    /// <exception cref="NoEspException">Its disk has no EFI system partition.</exception>
    /// <exception cref="DiskImageException">Its disk has no table that is understood.</exception>
    public static CloneSource Of(string root, string sys = "/sys")
    {
        if (root == "/sysroot" && MemoryDisk.IsUsed())
            throw new NoDiskException();
        IReadOnlyList<BlockDevice> devices = BlockDevices.List(sys);
        string? number = MountTable.At(root)?.Device;
        BlockDevice fileSystem = devices.FirstOrDefault(device => device.Number == number)
            ?? throw new DiskImageException(root, "it is on no disk of this machine");
        BlockDevice partition = fileSystem.Below is { } below ? devices.First(device => device.Name == below) : fileSystem;
        string? cd = partition.Disk is null ? CdBelow(partition.Name, devices, sys) : null;
        if ((partition.Disk ?? cd) is not { } disk)
            throw new DiskImageException(partition.Path, "it is no partition of a disk, so there is no table to go by");
        using Dir dev = Dir.Open("/dev");
        using SafeFileHandle handle = dev.OpenFile(disk);
        try
        {
            GuidPartitionTable table = DiskTable.Read(handle, dev.Of(disk));
            int at = IndexOf(table, static each => $"{each.Type}" == EfiSystemPartition.PartitionType);
            if (at < 0 || (cd ?? devices.FirstOrDefault(device => device.Disk == disk && Number(sys, device.Name, "partition") == at + 1)?.Name) is not { } boots)
                throw new NoEspException($"{dev.Of(disk)}: it has no EFI system partition");
            GptPartition esp = table.Slots[at]!;
            GptPartition own = table.Slots[cd is null ? (int)Number(sys, partition.Name, "partition") - 1 : RootOnCd(partition, table, sys)]!;
            return new CloneSource(root, boots, cd is null ? 0 : esp.First * GuidPartitionTable.SectorSize, esp.Sectors * GuidPartitionTable.SectorSize, own.Type, fileSystem.Below is not null);
        }
        catch (Codecs.MalformedException unread)
        {
            throw new DiskImageException(dev.Of(disk), unread.Message);
        }
    }

    // sbox-root makes a loop device of the root's partition on a CD: the device that it reads from.
    private static string? CdBelow(string loop, IReadOnlyList<BlockDevice> devices, string sys)
    {
        string backing = $"{sys}/class/block/{loop}/loop/backing_file";
        string? name = File.Exists(backing) ? Path.GetFileName(File.ReadAllText(backing).Trim()) : null;
        return devices.FirstOrDefault(device => device.Name == name && device.Disk is null)?.Name;
    }

    private static int RootOnCd(BlockDevice loop, GuidPartitionTable table, string sys)
    {
        long offset = Number(sys, loop.Name, "loop/offset");
        int slot = IndexOf(table, each => each.First * GuidPartitionTable.SectorSize == offset);
        return slot >= 0 ? slot : throw new DiskImageException(loop.Path, $"the table has no partition that begins at byte {offset}, where this one does");
    }

    private static int IndexOf(GuidPartitionTable table, Func<GptPartition, bool> wanted) =>
        Enumerable.Range(0, table.Slots.Count).FirstOrDefault(slot => table.Slots[slot] is { } each && wanted(each), -1);

    private static long Number(string sys, string device, string attribute) =>
        long.Parse(File.ReadAllText($"{sys}/class/block/{device}/{attribute}").Trim(), CultureInfo.InvariantCulture);
}
