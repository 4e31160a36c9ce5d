using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>A file made into a read-only block device, for kernels that mount only those.</summary>
public static unsafe class LoopDevice
{
    private const uint LO_FLAGS_READ_ONLY = 1;
    private const uint LO_FLAGS_AUTOCLEAR = 4;

    /// <summary>Binds a file to a free loop device; the device lets go of it when its last user (a mount, or the answer) is gone.</summary>
    /// <param name="file">The file; the device keeps it open by itself.</param>
    /// <param name="path">What it is, for errors.</param>
    /// <param name="offset">Where in the file the device begins, in bytes.</param>
    /// <param name="length">Bytes of the device; 0 for all that follows.</param>
    /// <returns>The device, held open, and its path.</returns>
    /// <exception cref="LinuxException">No loop device to be had.</exception>
    public static (SafeFileHandle Device, string Path) Attach(SafeFileHandle file, string path, long offset = 0, long length = 0)
    {
        using Dir dev = Dir.Open("/dev");
        using SafeFileHandle control = dev.OpenFile("loop-control");
        while (true)
        {
            int number = FreeNumber(control);
            SafeFileHandle device = dev.OpenFile($"loop{number}");
            Errno errno = Configure(device, file, offset, length);
            if (errno == Errno.None)
                return (device, $"/dev/loop{number}");
            device.Dispose();
            if (errno != Errno.EBUSY) // EBUSY: someone took the same free one first
                throw new LinuxException(errno, "ioctl LOOP_CONFIGURE", path);
        }
    }

    private static int FreeNumber(SafeFileHandle control)
    {
        using var fd = new Borrowed(control);
        int number = LibC.ioctl(fd.Number, LibC.LOOP_CTL_GET_FREE, null);
        Answer.Check(number, "ioctl LOOP_CTL_GET_FREE", "/dev/loop-control");
        return number;
    }

    private static Errno Configure(SafeFileHandle device, SafeFileHandle file, long offset, long length)
    {
        using var loop = new Borrowed(device);
        using var backing = new Borrowed(file);
        var config = new LoopConfig { File = (uint)backing.Number, Offset = (ulong)offset, SizeLimit = (ulong)length, Flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR };
        return Answer.Of(LibC.ioctl(loop.Number, LibC.LOOP_CONFIGURE, &config));
    }

    /// <summary>struct loop_config of linux/loop.h: descriptor, block size, then a struct loop_info64 whose offset, size limit and flags are at 24, 32 and 52 in itself.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 304)]
    private struct LoopConfig
    {
        [FieldOffset(0)]
        public uint File;

        [FieldOffset(4)]
        public uint BlockSize;

        [FieldOffset(32)]
        public ulong Offset;

        [FieldOffset(40)]
        public ulong SizeLimit;

        [FieldOffset(60)]
        public uint Flags;
    }
}
