using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Calls on block devices, and on the file systems that are on them.</summary>
public static unsafe class Disk
{
    /// <summary>Has the kernel read a disk's partition table anew; nodes of partitions are there afterwards.</summary>
    /// <exception cref="LinuxException">A partition of the old table is in use (EBUSY).</exception>
    public static void ReadPartitions(SafeFileHandle disk, string path) => Ask(disk, LibC.BLKRRPART, null, "ioctl(BLKRRPART)", path);

    /// <summary>Tells the kernel that a partition has another size, also while it is in use.</summary>
    /// <param name="disk">The disk that it is on.</param>
    /// <param name="number">Its number.</param>
    /// <param name="start">Where it begins, in bytes, as before.</param>
    /// <param name="length">How many bytes it has now.</param>
    /// <param name="path">The disk's path.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void ResizePartition(SafeFileHandle disk, int number, long start, long length, string path)
    {
        var partition = new LibC.BlkpgPartition { Start = start, Length = length, Number = number };
        var argument = new LibC.BlkpgArgument { Operation = LibC.BLKPG_RESIZE_PARTITION, Length = sizeof(LibC.BlkpgPartition), Data = &partition };
        Ask(disk, LibC.BLKPG, &argument, "ioctl(BLKPG)", path);
    }

    /// <summary>Makes bytes of a block device zeros, by the device's own way where it has one.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Zero(SafeFileHandle device, long offset, long length, string path)
    {
        ulong* range = stackalloc ulong[] { (ulong)offset, (ulong)length };
        Ask(device, LibC.BLKZEROOUT, range, "ioctl(BLKZEROOUT)", path);
    }

    /// <summary>Has the next read of a block device come from the device and not from memory.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void ForgetCached(SafeFileHandle device, string path) => Ask(device, LibC.BLKFLSBUF, null, "ioctl(BLKFLSBUF)", path);

    /// <summary>Grows a mounted ext4 to all of its device; nothing where it has that already.</summary>
    /// <param name="mounted">A directory of it, on a mount that is writable.</param>
    /// <param name="deviceBytes">The device's size.</param>
    /// <exception cref="LinuxException">Refused: it is no ext4 (ENOTTY), or was made without room for so many groups.</exception>
    public static void GrowExt4(Dir mounted, long deviceBytes)
    {
        const int block = 4096;
        ulong blocks = (ulong)deviceBytes / block;
        Ask(mounted.Handle, LibC.EXT4_IOC_RESIZE_FS, &blocks, "ioctl(EXT4_IOC_RESIZE_FS)", mounted.Path);
    }

    private static void Ask(SafeFileHandle device, ulong request, void* argument, string call, string path)
    {
        using var fd = new Borrowed(device);
        Answer.Check(LibC.ioctl(fd.Number, request, argument), call, path);
    }
}

internal static unsafe partial class LibC
{
    // linux/fs.h, linux/blkpg.h, linux/ext4.h
    public const ulong BLKRRPART = 0x125F, BLKFLSBUF = 0x1261, BLKPG = 0x1269, BLKZEROOUT = 0x127F;
    public const ulong EXT4_IOC_RESIZE_FS = 0x40086610;
    public const int BLKPG_RESIZE_PARTITION = 3;

    [StructLayout(LayoutKind.Sequential)]
    public struct BlkpgArgument
    {
        public int Operation, Flags, Length;
        public void* Data;
    }

    /// <summary>struct blkpg_partition: two names of 64 bytes follow.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 152)]
    public struct BlkpgPartition
    {
        public long Start, Length;
        public int Number;
    }
}
