using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Calls on block devices, and on the file systems that are on them.</summary>
public static unsafe class Disk
{
    /// <summary>Tells the kernel of a partition, whatever kinds of tables it reads by itself; its node is there soon afterwards.</summary>
    /// <param name="disk">The disk that it is on.</param>
    /// <param name="number">Its number.</param>
    /// <param name="start">Where it begins, in bytes.</param>
    /// <param name="length">How many bytes it has.</param>
    /// <param name="path">The disk's path.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void AddPartition(SafeFileHandle disk, int number, long start, long length, string path) =>
        OfPartition(disk, LibC.BLKPG_ADD_PARTITION, new LibC.BlkpgPartition { Start = start, Length = length, Number = number }, path);

    /// <summary>Has the kernel forget a partition.</summary>
    /// <exception cref="LinuxException">It is in use (EBUSY).</exception>
    public static void DropPartition(SafeFileHandle disk, int number, string path) =>
        OfPartition(disk, LibC.BLKPG_DEL_PARTITION, new LibC.BlkpgPartition { Number = number }, path);

    /// <summary>Tells the kernel that a partition has another size, also while it is in use.</summary>
    /// <param name="disk">The disk that it is on.</param>
    /// <param name="number">Its number.</param>
    /// <param name="start">Where it begins, in bytes, as before.</param>
    /// <param name="length">How many bytes it has now.</param>
    /// <param name="path">The disk's path.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void ResizePartition(SafeFileHandle disk, int number, long start, long length, string path) =>
        OfPartition(disk, LibC.BLKPG_RESIZE_PARTITION, new LibC.BlkpgPartition { Start = start, Length = length, Number = number }, path);

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

    private static void OfPartition(SafeFileHandle disk, int operation, LibC.BlkpgPartition partition, string path)
    {
        var argument = new LibC.BlkpgArgument { Operation = operation, Length = sizeof(LibC.BlkpgPartition), Data = &partition };
        Ask(disk, LibC.BLKPG, &argument, "ioctl(BLKPG)", path);
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
    public const ulong BLKFLSBUF = 0x1261, BLKPG = 0x1269, BLKZEROOUT = 0x127F;
    public const ulong EXT4_IOC_RESIZE_FS = 0x40086610;
    public const int BLKPG_ADD_PARTITION = 1, BLKPG_DEL_PARTITION = 2, BLKPG_RESIZE_PARTITION = 3;

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
