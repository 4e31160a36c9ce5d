using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>The inode flags that chattr(1) sets.</summary>
public static class InodeFlags
{
    private const uint Immutable = 0x10, AppendOnly = 0x20, Encrypted = 0x800;

    /// <summary>Whether what is made in a directory is encrypted by its file system (fscrypt).</summary>
    public static unsafe bool IsEncrypted(Dir dir)
    {
        using var fd = new Borrowed(dir.Handle);
        uint flags = 0;
        return Answer.Of(LibC.ioctl_flags(fd.Number, LibC.FS_IOC_GETFLAGS, &flags)) == Errno.None && (flags & Encrypted) != 0;
    }

    /// <summary>Takes off a directory what forbids to remove names from it, as <c>chattr -ia</c> does; file systems without such flags have none to take off.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void ClearImmutable(Dir dir) => ClearImmutable(dir.Handle, dir.Path);

    /// <summary>Takes off an open file what forbids to change or remove it: immutable, append only.</summary>
    /// <param name="file">Open for reading.</param>
    /// <param name="path">What it is, for the error.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static unsafe void ClearImmutable(SafeFileHandle file, string path)
    {
        using var fd = new Borrowed(file);
        uint flags = 0;
        Errno errno = Answer.Of(LibC.ioctl_flags(fd.Number, LibC.FS_IOC_GETFLAGS, &flags));
        if (errno is Errno.ENOTTY or Errno.EOPNOTSUPP or Errno.ENOSYS or Errno.EINVAL)
            return;
        if (errno == Errno.None && (flags & (Immutable | AppendOnly)) == 0)
            return;
        flags &= ~(Immutable | AppendOnly);
        if (errno == Errno.None)
            errno = Answer.Of(LibC.ioctl_flags(fd.Number, LibC.FS_IOC_SETFLAGS, &flags));
        if (errno != Errno.None)
            throw new LinuxException(errno, "ioctl(FS_IOC_SETFLAGS)", path);
    }

    /// <summary>
    /// Removes a name and all below it, following nothing, also where an owner forbade it (<c>chattr +i</c>, <c>+a</c>); false when there was none.
    /// </summary>
    /// <exception cref="LinuxException">Refused for another reason.</exception>
    public static bool RemoveAllMarked(Dir parent, string name)
    {
        try
        {
            return parent.RemoveAll(name);
        }
        catch (LinuxException) // marked, most likely; what it is otherwise is told below
        {
            ClearBelow(parent, name);
            return parent.RemoveAll(name);
        }
    }

    private static void ClearBelow(Dir parent, string name)
    {
        if (parent.TryStat(name) is not { } stat || !(stat.IsDirectory || stat.IsRegular))
            return;
        if (stat.IsRegular)
        {
            using SafeFileHandle file = parent.OpenFile(name);
            ClearImmutable(file, parent.Of(name));
            return;
        }

        using Dir dir = parent.OpenDir(name);
        ClearImmutable(dir);
        foreach (DirEntry entry in dir.Entries())
            ClearBelow(dir, entry.Name);
    }
}

internal static unsafe partial class LibC
{
    // _IOR('f', 1, long) and _IOW('f', 2, long); the kernel moves an int all the same.
    public const nuint FS_IOC_GETFLAGS = 0x80086601;
    public const nuint FS_IOC_SETFLAGS = 0x40086602;

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int ioctl_flags(int fd, nuint request, uint* flags);
}
