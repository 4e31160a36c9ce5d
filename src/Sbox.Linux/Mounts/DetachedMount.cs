using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Attributes of one mount, as opposed to its file system's; the kernel's MOUNT_ATTR_ bits.</summary>
[Flags]
public enum MountAttributes : uint
{
    /// <summary>None.</summary>
    None = 0,
    /// <summary>Nothing is written through this mount.</summary>
    ReadOnly = 1,
    /// <summary>Set-user-id bits are ignored.</summary>
    NoSetUid = 2,
    /// <summary>Device nodes are not opened.</summary>
    NoDevices = 4,
    /// <summary>Nothing is executed.</summary>
    NoExecute = 8,
    /// <summary>Access times are not written.</summary>
    NoAccessTime = 0x10,
    /// <summary>Access times are always written.</summary>
    StrictAccessTime = 0x20,
    /// <summary>Access times of directories are not written.</summary>
    NoDirectoryAccessTime = 0x80,
    /// <summary>Symbolic links are not followed.</summary>
    NoSymlinkFollow = 0x200000,
}

/// <summary>A mount that has no place yet: <see cref="AttachAt"/> gives it one; disposed without, it is gone.</summary>
public sealed unsafe class DetachedMount : IDisposable
{
    private readonly SafeFileHandle handle;
    private readonly string what;

    internal DetachedMount(SafeFileHandle handle, string what) => (this.handle, this.what) = (handle, what);

    /// <summary>A second mount of what is at a path: a bind mount in the making.</summary>
    /// <param name="path">A directory or file; its own mount attributes are taken over.</param>
    /// <param name="recursive">Whether the mounts below it come along.</param>
    /// <exception cref="LinuxException">There is nothing at the path, or the caller may not mount.</exception>
    public static DetachedMount CloneOf(string path, bool recursive = false)
    {
        fixed (byte* from = CString.Of(path))
        {
            int fd = LibC.open_tree(LibC.AT_FDCWD, from, LibC.OPEN_TREE_CLONE | LibC.OPEN_TREE_CLOEXEC | (recursive ? LibC.AT_RECURSIVE : 0));
            Answer.Check(fd, "open_tree", path);
            return new DetachedMount(new SafeFileHandle(fd, ownsHandle: true), path);
        }
    }

    /// <summary>Its root directory, for as long as it has no place: no other mount namespace has it, or gets a copy of it.</summary>
    /// <param name="path">What it is called in messages.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public Dir OpenRoot(string path)
    {
        using var mount = new Borrowed(handle);
        fixed (byte* here = CString.Of("."))
        {
            int fd = LibC.openat(mount.Number, here, LibC.O_RDONLY | LibC.O_DIRECTORY | LibC.O_CLOEXEC, 0);
            Answer.Check(fd, "openat", path);
            return new Dir(new SafeFileHandle(fd, ownsHandle: true), path);
        }
    }

    /// <summary>Sets and clears attributes of this mount alone.</summary>
    /// <exception cref="LinuxException">Refused; writable is refused with EROFS where the superblock is read-only.</exception>
    public DetachedMount With(MountAttributes set = MountAttributes.None, MountAttributes clear = MountAttributes.None)
    {
        var attributes = new LibC.MountAttr { Set = (ulong)set, Clear = (ulong)clear };
        using var mount = new Borrowed(handle);
        byte empty = 0;
        Answer.Check(
            LibC.mount_setattr(mount.Number, &empty, LibC.AT_EMPTY_PATH, &attributes, sizeof(LibC.MountAttr)), "mount_setattr", what);
        return this;
    }

    /// <summary>Attaches it over a directory (or a file, for a file).</summary>
    /// <exception cref="LinuxException">There is nothing at the path to cover.</exception>
    public void AttachAt(string path) => Attach(path, 0);

    /// <summary>Attaches it under the topmost mount at a path: unseen until that one is unmounted, and then at once.</summary>
    /// <exception cref="LinuxException">EINVAL: nothing is mounted there, or the kernel is older than 6.5.</exception>
    public void AttachBeneath(string path) => Attach(path, LibC.MOVE_MOUNT_BENEATH);

    /// <summary>By what path another process of root's can attach it, for as long as this thread holds it: see <see cref="AttachFrom"/>.</summary>
    public string PathForOthers
    {
        get
        {
            using Dir proc = Dir.Open("/proc");
            return $"/proc/{proc.ReadLink("thread-self")}/fd/{(int)handle.DangerousGetHandle()}"; // of a thread: one that is apart has descriptors of its own
        }
    }

    /// <summary>Attaches a mount that another process holds.</summary>
    /// <param name="other">What <see cref="PathForOthers"/> is there.</param>
    /// <param name="path">The directory to cover.</param>
    /// <exception cref="LinuxException">It is no detached mount, or has a place already.</exception>
    public static void AttachFrom(string other, string path)
    {
        fixed (byte* from = CString.Of(other), to = CString.Of(path))
            Answer.Check(LibC.move_mount(LibC.AT_FDCWD, from, LibC.AT_FDCWD, to, LibC.MOVE_MOUNT_F_SYMLINKS), "move_mount", $"{other} -> {path}");
    }

    private void Attach(string path, uint how)
    {
        using var mount = new Borrowed(handle);
        byte empty = 0;
        fixed (byte* to = CString.Of(path))
            Answer.Check(LibC.move_mount(mount.Number, &empty, LibC.AT_FDCWD, to, LibC.MOVE_MOUNT_F_EMPTY_PATH | how), "move_mount", $"{what} -> {path}");
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();
}
