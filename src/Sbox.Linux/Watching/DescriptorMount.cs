using System.Globalization;

namespace Sbox.Linux;

/// <summary>The mount that a process holds by its root, in an open descriptor.</summary>
/// <param name="Device">Its file system's device, as mountinfo writes it (<c>254:2</c>).</param>
/// <param name="Id">Its number, the first field of a line of mountinfo; a mount without a place is in nobody's.</param>
public readonly record struct DescriptorMount(string Device, int Id)
{
    /// <summary>
    /// Looks at a descriptor of another process. Null when one of them is gone, or when it is no mount's root: a number is soon
    /// given to the next file that is opened.
    /// </summary>
    public static unsafe DescriptorMount? Of(int process, int descriptor)
    {
        using var proc = new Borrowed(HeldProc.Directory.Handle);
        fixed (byte* path = CString.Of($"{process}/fd/{descriptor}"))
        {
            LibC.Statx stat;
            return Answer.Of(LibC.statx(proc.Number, path, 0, LibC.STATX_BASIC_STATS | LibC.STATX_MNT_ID, &stat)) == Errno.None
                && (stat.Attributes & LibC.STATX_ATTR_MOUNT_ROOT) != 0
                ? new DescriptorMount(string.Create(CultureInfo.InvariantCulture, $"{stat.Major}:{stat.Minor}"), (int)stat.MountId) : null;
        }
    }
}
