namespace Sbox.Linux;

/// <summary>Whether mounts made below a mount show up in its copies, and theirs in it; mount_namespaces(7).</summary>
public enum Propagation
{
    /// <summary>Both ways.</summary>
    Shared,
    /// <summary>From the others to here, not back.</summary>
    Slave,
    /// <summary>Neither.</summary>
    Private,
}

/// <summary>Calls on what is mounted.</summary>
public static unsafe class Mounts
{
    /// <summary>Sets how mounts propagate at a mount point, and in all below it when <paramref name="recursive"/>.</summary>
    /// <exception cref="LinuxException">It is no mount point, or the caller may not mount.</exception>
    public static void SetPropagation(string mountPoint, Propagation propagation, bool recursive)
    {
        ulong flags = propagation switch
        {
            Propagation.Shared => LibC.MS_SHARED,
            Propagation.Slave => LibC.MS_SLAVE,
            _ => LibC.MS_PRIVATE,
        };
        fixed (byte* path = CString.Of(mountPoint))
            Answer.Check(LibC.mount(null, path, null, flags | (recursive ? LibC.MS_REC : 0), null), "mount", mountPoint);
    }

    /// <summary>Makes a file system's superblock writable (or read-only) for all of its mounts; each mount's own attribute stays as it is.</summary>
    /// <exception cref="MountException">The file system refuses, or the disk is write-protected (EROFS, EACCES).</exception>
    public static void SetSuperblockWritable(string mountPoint, bool writable)
    {
        using FileSystemContext context = FileSystemContext.Pick(mountPoint);
        context.Set(writable ? "rw" : "ro").Reconfigure();
    }

    /// <summary>Sets and clears attributes of one mount; other mounts of the same file system stay as they are.</summary>
    /// <exception cref="LinuxException">It is no mount point, or refused.</exception>
    public static void SetAttributes(string mountPoint, MountAttributes set = MountAttributes.None, MountAttributes clear = MountAttributes.None)
    {
        var attributes = new LibC.MountAttr { Set = (ulong)set, Clear = (ulong)clear };
        fixed (byte* path = CString.Of(mountPoint))
            Answer.Check(LibC.mount_setattr(LibC.AT_FDCWD, path, 0, &attributes, sizeof(LibC.MountAttr)), "mount_setattr", mountPoint);
    }

    /// <summary>Mounts what is at <paramref name="from"/> also at <paramref name="to"/>.</summary>
    /// <exception cref="LinuxException">One of them is missing, or refused.</exception>
    public static void Bind(string from, string to, MountAttributes set = MountAttributes.None, MountAttributes clear = MountAttributes.None)
    {
        using DetachedMount mount = DetachedMount.CloneOf(from);
        if ((set | clear) != MountAttributes.None)
            mount.With(set, clear);
        mount.AttachAt(to);
    }

    /// <summary>Moves a mount, with all below it. Its parent must not be shared: the kernel answers EINVAL then.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Move(string from, string to)
    {
        fixed (byte* source = CString.Of(from), target = CString.Of(to))
            Answer.Check(LibC.move_mount(LibC.AT_FDCWD, source, LibC.AT_FDCWD, target, 0), "move_mount", $"{from} -> {to}");
    }

    /// <summary>Unmounts; EBUSY while it is in use.</summary>
    /// <exception cref="LinuxException">It is no mount point, or in use.</exception>
    public static void Unmount(string mountPoint) => Unmount(mountPoint, LibC.UMOUNT_NOFOLLOW);

    /// <summary>Takes a mount off its place at once; it ends for good when nothing uses it any more.</summary>
    /// <exception cref="LinuxException">It is no mount point.</exception>
    public static void Detach(string mountPoint) => Unmount(mountPoint, LibC.UMOUNT_NOFOLLOW | LibC.MNT_DETACH);

    /// <summary>As <see cref="Detach"/>, and whoever waits for an answer of its file system waits no more: FUSE's requests fail at once.</summary>
    /// <exception cref="LinuxException">It is no mount point.</exception>
    public static void DetachByForce(string mountPoint) => Unmount(mountPoint, LibC.UMOUNT_NOFOLLOW | LibC.MNT_DETACH | LibC.MNT_FORCE);

    /// <summary>Puts the calling thread, and what it executes, in a mount namespace of its own.</summary>
    /// <remarks>Other threads of the process stay behind: execute a program next, from this very thread.</remarks>
    /// <exception cref="LinuxException">The caller may not (EPERM).</exception>
    public static void UnshareNamespace() => Answer.Check(LibC.unshare(LibC.CLONE_NEWNS), "unshare", "mount namespace");

    /// <summary>
    /// Puts a mounted tree in the place of the root: over <c>/</c>, since an initramfs cannot be unmounted or pivoted, and makes it the
    /// root of this process. What was the root before is only reached by handles that are still open.
    /// </summary>
    /// <exception cref="LinuxException">It is no mount point, or shared with others.</exception>
    public static void SwitchRoot(string mountPoint)
    {
        fixed (byte* path = CString.Of(mountPoint), here = CString.Of("."), root = CString.Of("/"))
        {
            Answer.Check(LibC.chdir(path), "chdir", mountPoint);
            Answer.Check(LibC.move_mount(LibC.AT_FDCWD, here, LibC.AT_FDCWD, root, 0), "move_mount", $"{mountPoint} -> /");
            Answer.Check(LibC.chroot(here), "chroot", mountPoint);
            Answer.Check(LibC.chdir(root), "chdir", "/");
        }
    }

    private static void Unmount(string mountPoint, int flags)
    {
        fixed (byte* path = CString.Of(mountPoint))
            Answer.Check(LibC.umount2(path, flags), "umount2", mountPoint);
    }
}
