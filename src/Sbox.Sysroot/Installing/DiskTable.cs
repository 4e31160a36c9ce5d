using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>The partition table of a disk, read and written so that a power cut leaves one that is whole.</summary>
internal static class DiskTable
{
    private const int Page = 4096;

    /// <summary>Reads the first copy.</summary>
    /// <exception cref="Codecs.MalformedException">There is none that is whole.</exception>
    /// <exception cref="LinuxException">The disk cannot be read.</exception>
    public static GuidPartitionTable Read(SafeFileHandle disk, string path) => GuidPartitionTable.Parse(PartitionTables.ReadHead(disk, path));

    /// <summary>
    /// Writes both copies. The second one, which lies where nothing was, comes first. Of the first one, header and entries 1 to 24 are in the disk's first
    /// 4096 bytes, and are written as one: Linux alone does not look at the second copy where they do not fit each other.
    /// </summary>
    /// <exception cref="LinuxException">The disk refused.</exception>
    public static void Write(SafeFileHandle disk, GuidPartitionTable table, string path)
    {
        byte[] second = table.ToSecondCopy();
        Files.WriteAt(disk, second, (table.DiskSectors * GuidPartitionTable.SectorSize) - second.Length, path);
        Durable.Sync(disk, path);

        byte[] head = PartitionTables.ReadHead(disk, path);
        table.ToProtectiveRecord(head.AsSpan(0, GuidPartitionTable.SectorSize)).CopyTo(head, 0);
        table.ToFirstCopy().CopyTo(head, GuidPartitionTable.SectorSize);
        Files.WriteAt(disk, head.AsSpan(Page), Page, path);
        Durable.Sync(disk, path);
        Files.WriteAt(disk, head.AsSpan(0, Page), 0, path);
        Durable.Sync(disk, path);
    }
}
