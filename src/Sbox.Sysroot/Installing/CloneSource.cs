using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A box on a disk, of which another disk is made.</summary>
/// <param name="Root">Where its physical root is mounted; it is only read.</param>
/// <param name="Esp">Its EFI system partition: <c>sda1</c>.</param>
/// <param name="RootType">The type of its root's partition.</param>
/// <param name="IsEncrypted">Whether its root is on an encrypted volume.</param>
public sealed record CloneSource(string Root, string Esp, Guid RootType, bool IsEncrypted)
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
        if (partition.Disk is not { } disk)
            throw new DiskImageException(partition.Path, "it is no partition of a disk, so there is no table to go by");
        using Dir dev = Dir.Open("/dev");
        using SafeFileHandle handle = dev.OpenFile(disk);
        try
        {
            GuidPartitionTable table = DiskTable.Read(handle, dev.Of(disk));
            int esp = Enumerable.Range(0, table.Slots.Count).FirstOrDefault(slot => table.Slots[slot] is { } each && $"{each.Type}" == EfiSystemPartition.PartitionType, -1);
            BlockDevice boots = devices.FirstOrDefault(device => device.Disk == disk && Number(sys, device.Name, "partition") == esp + 1)
                ?? throw new NoEspException($"{dev.Of(disk)}: it has no EFI system partition");
            return new CloneSource(root, boots.Name, table.Slots[(int)Number(sys, partition.Name, "partition") - 1]!.Type, fileSystem.Below is not null);
        }
        catch (Codecs.MalformedException unread)
        {
            throw new DiskImageException(dev.Of(disk), unread.Message);
        }
    }

    /// <summary>How many bytes its EFI system partition has.</summary>
    internal long EspBytes => Number("/sys", Esp, "size") * GuidPartitionTable.SectorSize;

    private static long Number(string sys, string device, string attribute) =>
        long.Parse(File.ReadAllText($"{sys}/class/block/{device}/{attribute}").Trim(), CultureInfo.InvariantCulture);
}
