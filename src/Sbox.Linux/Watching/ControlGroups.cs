using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Control groups by their numbers.</summary>
public static unsafe class ControlGroups
{
    private const int KernfsHandle = 0xfe;

    /// <summary>The path of a control group from the root of their file system: <c>/system.slice/x.service</c>; null when it is gone.</summary>
    /// <param name="number">What bpf_get_current_cgroup_id answers: the inode of its directory.</param>
    /// <param name="mountPoint">Where cgroup2 is mounted.</param>
    public static string? PathOf(ulong number, string mountPoint = "/sys/fs/cgroup")
    {
        // struct file_handle: length, kind, then kernfs's 64-bit number.
        byte* handle = stackalloc byte[16];
        *(uint*)handle = 8;
        *(int*)(handle + 4) = KernfsHandle;
        *(ulong*)(handle + 8) = number;
        fixed (byte* mount = CString.Of(mountPoint))
        {
            int at = LibC.openat(LibC.AT_FDCWD, mount, LibC.O_RDONLY | LibC.O_DIRECTORY | LibC.O_CLOEXEC, 0);
            if (Answer.Of(at) != Errno.None)
                return null;
            using var root = new SafeFileHandle(at, ownsHandle: true);
            int fd = LibC.open_by_handle_at(at, handle, LibC.O_PATH | LibC.O_CLOEXEC);
            if (Answer.Of(fd) != Errno.None)
                return null;
            using var group = new SafeFileHandle(fd, ownsHandle: true);
            byte* text = stackalloc byte[4096];
            fixed (byte* link = CString.Of($"/proc/self/fd/{fd}"))
            {
                nint length = LibC.readlinkat(LibC.AT_FDCWD, link, text, 4096);
                if (Answer.Of(length) != Errno.None)
                    return null;
                string path = FileName.FromBytes(new ReadOnlySpan<byte>(text, (int)length));
                return !path.StartsWith(mountPoint, StringComparison.Ordinal) ? path : path.Length == mountPoint.Length ? "/" : path[mountPoint.Length..];
            }
        }
    }
}
