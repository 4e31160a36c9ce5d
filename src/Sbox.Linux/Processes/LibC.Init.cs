using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>The C library's calls that the first program of a machine needs.</summary>
internal static unsafe partial class LibC
{
    public const int LINUX_REBOOT_CMD_RESTART = 0x01234567;

    [LibraryImport("libc", SetLastError = true)]
    public static partial int init_module(byte* image, nuint length, byte* parameters);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int chroot(byte* path);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int chdir(byte* path);
}
