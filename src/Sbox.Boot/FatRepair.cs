using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// Has fsck.vfat put a FAT in order that a power cut left in use, before it is written to. A cut may leave clusters that no file has, a wrong count of free ones, and a half-written file
/// whose entry leads to clusters that are free: the kernel makes the whole file system read-only when such a file is removed, so nothing could be installed any more.
/// </summary>
internal static class FatRepair
{
    private const string Program = "fsck.vfat";
    private const int BootSector = 512;

    /// <summary>Puts it in order where its boot sector says that it was not unmounted, and nothing in the kernel uses it.</summary>
    /// <param name="device">The partition.</param>
    /// <returns>Whether it was; also not where the box has no fsck.vfat, or that one gave up: the mount says what is wrong then.</returns>
    /// <exception cref="LinuxException">The partition cannot be read.</exception>
    public static bool IfLeftInUse(string device)
    {
        using Dir root = Dir.Open("/");
        SafeFileHandle held;
        try
        {
            // Held until the end: so long, nobody mounts what is being repaired.
            held = root.OpenUnusedDevice(device.TrimStart('/'));
        }
        catch (LinuxException refused) when (refused.Errno == Errno.EBUSY)
        {
            return false; // mounted: of course it is in use
        }

        using (held)
        {
            Span<byte> sector = stackalloc byte[BootSector];
            return RandomAccess.Read(held, sector, 0) == BootSector && IsInUse(sector) && Repaired(device);
        }
    }

    /// <summary>Whether a FAT's boot sector says that it is in use: the lowest bit of what Microsoft reserved, as Linux and Windows set it.</summary>
    /// <param name="boot">The first 512 bytes.</param>
    internal static bool IsInUse(ReadOnlySpan<byte> boot)
    {
        const int SectorsOfOldTable = 22, OldState = 37, State = 65; // FAT32 has no old count of a table's sectors
        return (boot[BinaryPrimitives.ReadUInt16LittleEndian(boot[SectorsOfOldTable..]) == 0 ? State : OldState] & 1) != 0;
    }

    private static bool Repaired(string device)
    {
        try
        {
            return ChildProcess.Run(new ChildCommand(Program, ["-a", device])).ExitCode <= 1; // 1: there was something to mend
        }
        catch (ChildFailedException) // a box without the program
        {
            return false;
        }
    }
}
