using System.Globalization;

namespace Sbox.Linux;

/// <summary>What other processes hold open.</summary>
public static unsafe class DescriptorDevice
{
    /// <summary>The device of what a process holds open, as mountinfo writes it (<c>254:2</c>); null when the process or the descriptor is gone.</summary>
    public static string? Of(int process, int descriptor)
    {
        fixed (byte* path = CString.Of($"/proc/{process}/fd/{descriptor}"))
        {
            LibC.Statx stat;
            return Answer.Of(LibC.statx(LibC.AT_FDCWD, path, 0, LibC.STATX_BASIC_STATS, &stat)) == Errno.None
                ? string.Create(CultureInfo.InvariantCulture, $"{stat.Major}:{stat.Minor}") : null;
        }
    }
}
