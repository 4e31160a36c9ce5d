using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>What the disks' own tables say of their partitions. udev says the same, once it comes to them: on a slow machine that is after the login prompt.</summary>
public static class PartitionTables
{
    /// <summary>Adds type and UUID to the partitions of which udev said none yet.</summary>
    /// <param name="devices">All block devices.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="dev">Where the device nodes are.</param>
    /// <returns>The same devices; those on a disk that cannot be read, or with another kind of table, as they were.</returns>
    public static IReadOnlyList<BlockDevice> Complete(IReadOnlyList<BlockDevice> devices, string sys = "/sys", string dev = "/dev")
    {
        var tables = new Dictionary<string, GuidPartitionTable?>(StringComparer.Ordinal);
        return [.. devices.Select(device => device.Disk is { } disk && (device.PartitionUuid is null || device.PartitionType is null) ? With(device, TableOf(disk)) : device)];

        GuidPartitionTable? TableOf(string disk) => tables.TryGetValue(disk, out GuidPartitionTable? known) ? known : tables[disk] = TryRead(dev, disk);

        BlockDevice With(BlockDevice device, GuidPartitionTable? table) =>
            Number(sys, device.Name) is { } number && table is not null && number <= table.Slots.Count && table.Slots[number - 1] is { } partition
                ? device with
                {
                    Properties = new Dictionary<string, string>(device.Properties, StringComparer.Ordinal)
                    {
                        ["ID_PART_ENTRY_UUID"] = $"{partition.Id:D}", ["ID_PART_ENTRY_TYPE"] = $"{partition.Type:D}",
                    },
                }
                : device;
    }

    /// <summary>The beginning of a disk, in which the first copy of its table lies.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="path">Its path, for errors.</param>
    /// <returns><see cref="GuidPartitionTable.HeadBytes"/> bytes.</returns>
    /// <exception cref="LinuxException">It cannot be read, or ends before (EIO).</exception>
    public static byte[] ReadHead(SafeFileHandle disk, string path)
    {
        var head = new byte[GuidPartitionTable.HeadBytes];
        for (int filled = 0, read; filled < head.Length; filled += read)
        {
            read = Files.ReadAt(disk, head.AsSpan(filled), filled, path);
            if (read == 0)
                throw new LinuxException(Errno.EIO, "pread", $"{path}: it ends after {filled} bytes");
        }

        return head;
    }

    private static int? Number(string sys, string partition)
    {
        try
        {
            return int.TryParse(File.ReadAllText($"{sys}/class/block/{partition}/partition").AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number > 0 ? number : null;
        }
        catch (IOException) // it left while we looked
        {
            return null;
        }
    }

    private static GuidPartitionTable? TryRead(string dev, string disk)
    {
        try
        {
            using Dir nodes = Dir.Open(dev);
            using SafeFileHandle handle = nodes.OpenFile(disk);
            return GuidPartitionTable.Parse(ReadHead(handle, nodes.Of(disk)));
        }
        catch (Exception unread) when (unread is MalformedException or LinuxException)
        {
            return null;
        }
    }
}
