using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What is done to a disk that becomes a box's, whatever it is made of.</summary>
internal static class InstalledDisk
{
    private const int PieceBytes = 4 << 20;
    private const int FatSerialAt = 67, FatCopyAt = 50, FatSignatureAt = 82;
    private static readonly TimeSpan NodeLimit = TimeSpan.FromSeconds(10);
    private static readonly Dictionary<string, string> WithoutSettings = new() { ["MKE2FS_CONFIG"] = "/dev/null" };

    /// <summary>Writes a table and has the kernel know its partitions; their nodes are there then.</summary>
    /// <exception cref="TargetDiskException">Something uses the disk.</exception>
    public static void Partition(TargetDisk disk, GuidPartitionTable table)
    {
        using SafeFileHandle handle = disk.Open();
        DiskTable.Write(handle, table, disk.Path);
        foreach (int old in disk.KnownPartitions())
            Disk.DropPartition(handle, old, disk.Path);
        foreach ((int slot, GptPartition? partition) in table.Slots.Index())
        {
            if (partition is not null)
                Disk.AddPartition(handle, slot + 1, partition.First * GuidPartitionTable.SectorSize, partition.Sectors * GuidPartitionTable.SectorSize, disk.Path);
        }

        foreach (int number in disk.KnownPartitions())
            WaitFor($"/dev/{disk.PartitionName(number)}", disk);
    }

    private static void WaitFor(string node, TargetDisk disk)
    {
        for (long started = Environment.TickCount64; !File.Exists(node); Thread.Sleep(20))
        {
            if (Environment.TickCount64 - started > NodeLimit.TotalMilliseconds)
                throw new TargetDiskException(disk.Path, $"{node} does not appear: nothing makes device nodes here");
        }
    }

    /// <summary>Makes the root's file system.</summary>
    /// <param name="device">The partition's node.</param>
    /// <param name="blocks">Its size, in blocks of <see cref="RootFileSystem.BlockSize"/> bytes.</param>
    /// <param name="inodes">How many files there can be.</param>
    /// <param name="cancel">Ends the tool.</param>
    /// <exception cref="ChildFailedException">mkfs.ext4 refused.</exception>
    public static void MakeRoot(string device, long blocks, long inodes, CancellationToken cancel) => ChildProcess.Check(
        new ChildCommand("mkfs.ext4", [.. RootFileSystem.Arguments(Guid.NewGuid(), inodes), device, $"{blocks}"]) { Environment = WithoutSettings }, cancel: cancel);

    /// <summary>Has the judge of ext4 look at all of it.</summary>
    /// <exception cref="ChildFailedException">It found an error.</exception>
    public static void Check(string device, CancellationToken cancel) => ChildProcess.Check(new ChildCommand("e2fsck", ["-f", "-n", device]), cancel: cancel);

    /// <summary>Gives the root's file system another UUID, which its metadata's checksums are made with.</summary>
    /// <exception cref="ChildFailedException">A tool refused.</exception>
    public static void ChangeRootId(string device, CancellationToken cancel)
    {
        Check(device, cancel);
        // Asked for by a program that cannot wait, it wants to know that the file system was just looked at.
        ChildResult looked = ChildProcess.Run(new ChildCommand("e2fsck", ["-f", "-p", device]), cancel: cancel);
        if (looked.ExitCode > 1)
            throw new ChildFailedException(new ChildCommand("e2fsck", ["-f", "-p", device]), looked.ExitCode, looked.LastLines);
        ChildProcess.Check(new ChildCommand("tune2fs", ["-U", "random", device]), cancel: cancel);
        Check(device, cancel);
    }

    /// <summary>Gives a FAT32 another serial number, in its first sector and that sector's copy; other bytes are left alone.</summary>
    /// <exception cref="LinuxException">The device refused.</exception>
    public static void ChangeFatSerial(SafeFileHandle device, string path)
    {
        var sector = new byte[GuidPartitionTable.SectorSize];
        if (Files.ReadAt(device, sector, 0, path) != sector.Length || !sector.AsSpan(FatSignatureAt).StartsWith("FAT32"u8))
            return;
        BinaryPrimitives.WriteInt32LittleEndian(sector.AsSpan(FatSerialAt), Random.Shared.Next());
        Files.WriteAt(device, sector, 0, path);
        int copy = BinaryPrimitives.ReadUInt16LittleEndian(sector.AsSpan(FatCopyAt));
        if (copy is > 0 and < 32)
            Files.WriteAt(device, sector, copy * GuidPartitionTable.SectorSize, path);
        Durable.Sync(device, path);
    }

    /// <summary>Writes bytes to a device, zeros by the device's own way, the beginning last of all: cut short, there is nothing that boots.</summary>
    /// <param name="from">What is read.</param>
    /// <param name="to">Written from its beginning.</param>
    /// <param name="bytes">How many.</param>
    /// <param name="path">The device's path.</param>
    /// <param name="progress">Told after each piece.</param>
    /// <param name="cancel">Looked at between pieces.</param>
    /// <param name="fromAt">Where reading begins, in bytes.</param>
    public static void Write(SafeFileHandle from, SafeFileHandle to, long bytes, string path, IProgress<InstallProgress>? progress, CancellationToken cancel, long fromAt = 0)
    {
        Disk.Zero(to, 0, Math.Min(PieceBytes, bytes), path);
        Durable.Sync(to, path);
        long done = 0;
        foreach ((long at, byte[] piece, int count) in Pieces(from, fromAt, bytes, path, headLast: true, cancel))
        {
            if (at == 0)
                Durable.Sync(to, path);
            if (piece.AsSpan(0, count).ContainsAnyExcept((byte)0))
                Files.WriteAt(to, piece.AsSpan(0, count), at, path);
            else
                Disk.Zero(to, at, count, path);
            progress?.Report(new InstallProgress("writing", done += count, bytes));
        }

        Durable.Sync(to, path);
    }

    /// <summary>Reads back what was written, from the device and not from memory.</summary>
    /// <exception cref="CloneDamagedException">There is something else.</exception>
    public static void Compare(SafeFileHandle from, SafeFileHandle with, long bytes, string path, IProgress<InstallProgress>? progress, CancellationToken cancel, long fromAt = 0)
    {
        Disk.ForgetCached(with, path);
        var there = new byte[PieceBytes];
        foreach ((long at, byte[] piece, int count) in Pieces(from, fromAt, bytes, path, headLast: false, cancel))
        {
            Fill(with, there.AsSpan(0, count), at, path);
            if (!piece.AsSpan(0, count).SequenceEqual(there.AsSpan(0, count)))
                throw new CloneDamagedException(path);
            progress?.Report(new InstallProgress("reading back", at + count, bytes));
        }
    }

    private static IEnumerable<(long At, byte[] Piece, int Count)> Pieces(SafeFileHandle from, long fromAt, long bytes, string path, bool headLast, CancellationToken cancel)
    {
        var piece = new byte[PieceBytes];
        long pieces = (bytes + PieceBytes - 1) / PieceBytes;
        for (long turn = 0; turn < pieces; turn++)
        {
            cancel.ThrowIfCancellationRequested();
            long at = (headLast ? (turn + 1) % pieces : turn) * PieceBytes;
            int count = (int)Math.Min(PieceBytes, bytes - at);
            Fill(from, piece.AsSpan(0, count), fromAt + at, path);
            yield return (at, piece, count);
        }
    }

    private static void Fill(SafeFileHandle from, Span<byte> piece, long at, string path)
    {
        for (int filled = 0, read; filled < piece.Length; filled += read)
        {
            read = Files.ReadAt(from, piece[filled..], at + filled, path);
            if (read == 0)
                throw new LinuxException(Errno.EIO, "pread", $"{path}: it ends at {at + filled}");
        }
    }
}
