using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>The C library's calls by which one process holds another.</summary>
internal static unsafe partial class LibC
{
    public const int PTRACE_DETACH = 17;
    public const int PTRACE_SEIZE = 0x4206;
    public const int PTRACE_INTERRUPT = 0x4207;
    public const int PTRACE_EVENT_STOP = 128;
    public const int WNOHANG = 1;
    public const int WALL = 0x40000000;

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint ptrace(nint request, nint task, nint address, nint data);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int waitpid(int task, int* status, int options);
}
