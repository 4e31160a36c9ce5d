using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A box's root cannot grow, and stays as it is.</summary>
/// <param name="path">The device.</param>
/// <param name="finding">Why not.</param>
public sealed class RootGrowthException(string path, string finding) : SysrootException($"{path}: {finding}")
{
    /// <summary>The device.</summary>
    public string Path { get; } = path;
}

/// <summary>How a box's root takes what is free behind it on its disk: partition, volume, file system, each as large as what it is on. Nothing is touched by making it.</summary>
/// <param name="Sysroot">Where the physical root is mounted.</param>
/// <param name="Disk">The disk's device: <c>sda</c>.</param>
/// <param name="Partition">The root's partition: <c>sda2</c>.</param>
/// <param name="Number">The partition's number.</param>
/// <param name="FileSystem">The device with the file system: the partition, or the volume that was opened from it.</param>
/// <param name="Table">The table to be written.</param>
/// <param name="Before">Bytes of the partition now.</param>
/// <param name="After">Bytes of the partition then.</param>
public sealed record RootGrowth(string Sysroot, string Disk, string Partition, int Number, string FileSystem, GuidPartitionTable Table, long Before, long After)
{
    private const string Volume = "cryptsetup";

    /// <summary>Whether the partition is smaller than it could be.</summary>
    public bool Grows => After > Before;

    private bool IsEncrypted => FileSystem != Partition;

    /// <summary>Plans it.</summary>
    /// <param name="sysroot">Where the physical root is mounted.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <exception cref="RootGrowthException">The root is on no partition of a GPT that is whole.</exception>
    /// <exception cref="LinuxException">The disk cannot be read.</exception>
    public static RootGrowth Plan(string sysroot, string sys = "/sys")
    {
        IReadOnlyList<BlockDevice> devices = BlockDevices.List(sys);
        string number = MountTable.At(sysroot)?.Device ?? throw new RootGrowthException(sysroot, "nothing is mounted there");
        BlockDevice fileSystem = devices.FirstOrDefault(device => device.Number == number)
            ?? throw new RootGrowthException(sysroot, $"its device {number} is no disk's: there is nothing to grow into");
        BlockDevice partition = fileSystem.Below is { } below ? devices.First(device => device.Name == below) : fileSystem;
        if (partition.Disk is not { } disk)
            throw new RootGrowthException(partition.Path, "it is a whole disk, or none: only a partition grows");
        using Dir dev = Dir.Open("/dev");
        using SafeFileHandle handle = dev.OpenFile(disk);
        try
        {
            GuidPartitionTable table = DiskTable.Read(handle, dev.Of(disk)).On(ReadNumber(sys, disk, "size"));
            return Make(sysroot, disk, partition.Name, fileSystem.Name, table, (int)ReadNumber(sys, partition.Name, "partition"), ReadNumber(sys, partition.Name, "start"));
        }
        catch (Exception unusable) when (unusable is Codecs.MalformedException or ArgumentException)
        {
            throw new RootGrowthException(dev.Of(disk), $"{unusable.Message}; a table that sbox image or sbox install wrote is understood");
        }
    }

    private static RootGrowth Make(string sysroot, string disk, string partition, string fileSystem, GuidPartitionTable table, int number, long start)
    {
        if (number > table.Slots.Count || table.Slots[number - 1] is not { } entry || entry.First != start)
            throw new RootGrowthException($"/dev/{partition}", "the kernel has it at another place than the disk's table: reboot, and try again");
        long last = table.RoomFor(number - 1);
        GuidPartitionTable grown = table.With(number - 1, entry with { Last = last });
        return new RootGrowth(sysroot, disk, partition, number, fileSystem, grown, entry.Sectors * GuidPartitionTable.SectorSize, (last - entry.First + 1) * GuidPartitionTable.SectorSize);
    }

    /// <summary>
    /// Does it. Cut short at any moment, the box boots, and the same again does the rest: nothing is moved, and each part grows when what it is on has grown.
    /// </summary>
    /// <param name="cancel">Looked at between two parts.</param>
    /// <returns>Bytes that the file system got.</returns>
    /// <exception cref="LinuxException">The kernel refused (EPERM without CAP_SYS_RESOURCE); what has grown by then stays so.</exception>
    /// <exception cref="ChildFailedException">cryptsetup refused, which is asked where the root is encrypted.</exception>
    public long Execute(CancellationToken cancel = default)
    {
        using Dir root = Dir.Open(Sysroot);
        if (!IsEncrypted && root.Exists(EncryptedDisk.Marker))
            throw new RootGrowthException($"/dev/{Partition}", "its first boot has not encrypted it yet, and would encrypt what is free too");
        GrowPartition();
        cancel.ThrowIfCancellationRequested();
        if (IsEncrypted)
            ChildProcess.Check(new ChildCommand(Volume, ["resize", "--key-file", $"{Sysroot}/{EncryptedDisk.KeyFile}", EncryptedDisk.MappedName]), cancel: cancel);
        cancel.ThrowIfCancellationRequested();
        long before = DiskSpace.Of(root).TotalBytes;
        Linux.Disk.GrowExt4(root, SizeOf(FileSystem));
        Durable.SyncFileSystem(root);
        return DiskSpace.Of(root).TotalBytes - before;
    }

    // The kernel's own table first: where it refuses, the disk's is as it was.
    private void GrowPartition()
    {
        using Dir dev = Dir.Open("/dev");
        using SafeFileHandle disk = dev.OpenToWrite(Disk);
        Linux.Disk.ResizePartition(disk, Number, Table.Slots[Number - 1]!.First * GuidPartitionTable.SectorSize, After, dev.Of(Disk));
        DiskTable.Write(disk, Table, dev.Of(Disk));
    }

    private static long SizeOf(string device) => ReadNumber("/sys", device, "size") * GuidPartitionTable.SectorSize;

    // In sectors of 512 bytes, whatever the disk's own are.
    private static long ReadNumber(string sys, string device, string attribute) =>
        long.Parse(File.ReadAllText($"{sys}/class/block/{device}/{attribute}").Trim(), CultureInfo.InvariantCulture);
}
