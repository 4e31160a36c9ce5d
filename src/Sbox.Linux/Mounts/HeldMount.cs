using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>The mount that a path led to when it was taken hold of: what is done to it hits no other, whatever is mounted there since.</summary>
public sealed unsafe class HeldMount : IDisposable
{
    private readonly SafeFileHandle handle;
    private readonly string path;

    private HeldMount(SafeFileHandle handle, string path, int id) => (this.handle, this.path, Id) = (handle, path, id);

    /// <summary>Its number, as in mountinfo.</summary>
    public int Id { get; }

    /// <summary>Takes hold of the topmost mount at a path.</summary>
    /// <exception cref="LinuxException">There is nothing at the path.</exception>
    public static HeldMount At(string path)
    {
        fixed (byte* name = CString.Of(path))
        {
            int fd = LibC.openat(LibC.AT_FDCWD, name, LibC.O_PATH | LibC.O_NOFOLLOW | LibC.O_CLOEXEC, 0);
            Answer.Check(fd, "open", path);
            var handle = new SafeFileHandle(fd, ownsHandle: true);
            byte empty = 0;
            LibC.Statx stat = default;
            // The kernel alone is asked, not the file system: one that nobody answers for is a mount like any other.
            Errno errno = Answer.Of(LibC.statx(fd, &empty, LibC.AT_EMPTY_PATH | LibC.AT_STATX_DONT_SYNC, LibC.STATX_MNT_ID, &stat));
            if (errno == Errno.None)
                return new HeldMount(handle, path, (int)stat.MountId);
            handle.Dispose();
            throw new LinuxException(errno, "statx", path);
        }
    }

    /// <summary>Sets attributes of this mount alone.</summary>
    /// <exception cref="LinuxException">The path was no mount point, the mount is in no namespace of the caller's any more, or refused.</exception>
    public void SetAttributes(MountAttributes set)
    {
        var attributes = new LibC.MountAttr { Set = (ulong)set };
        using var mount = new Borrowed(handle);
        byte empty = 0;
        Answer.Check(LibC.mount_setattr(mount.Number, &empty, LibC.AT_EMPTY_PATH, &attributes, sizeof(LibC.MountAttr)), "mount_setattr", path);
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();
}
