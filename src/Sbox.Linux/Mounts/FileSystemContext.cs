using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>
/// A file system being configured, by the mount calls of Linux 5.2: parameters first, then <see cref="Create"/>.
/// What the kernel says about a refusal is read from the context, so an error tells more than EINVAL.
/// </summary>
public sealed unsafe class FileSystemContext : IDisposable
{
    private readonly SafeFileHandle handle;
    private readonly string type;

    private FileSystemContext(SafeFileHandle handle, string type) => (this.handle, this.type) = (handle, type);

    /// <summary>Starts to configure a new file system.</summary>
    /// <param name="type">Its type, as /proc/filesystems has it.</param>
    /// <exception cref="MountException">This kernel has no such file system (ENODEV), or the caller may not mount.</exception>
    public static FileSystemContext Open(string type)
    {
        fixed (byte* name = CString.Of(type))
        {
            int fd = LibC.fsopen(name, LibC.FSOPEN_CLOEXEC);
            Errno errno = Answer.Of(fd);
            return errno == Errno.None
                ? new FileSystemContext(new SafeFileHandle(fd, ownsHandle: true), type)
                : throw new MountException(errno, type, "fsopen", "");
        }
    }

    /// <summary>Takes up a mounted file system to change its superblock, for all of its mounts at once.</summary>
    /// <param name="mountPoint">Where it is mounted.</param>
    /// <exception cref="LinuxException">Nothing is mounted there, or the caller may not mount.</exception>
    public static FileSystemContext Pick(string mountPoint)
    {
        fixed (byte* path = CString.Of(mountPoint))
        {
            int fd = LibC.fspick(LibC.AT_FDCWD, path, LibC.FSPICK_CLOEXEC);
            Answer.Check(fd, "fspick", mountPoint);
            return new FileSystemContext(new SafeFileHandle(fd, ownsHandle: true), mountPoint);
        }
    }

    /// <summary>Sets a parameter that has no value: <c>ro</c>.</summary>
    /// <exception cref="MountException">The file system does not know it.</exception>
    public FileSystemContext Set(string flag)
    {
        fixed (byte* key = CString.Of(flag))
            Config(LibC.FSCONFIG_SET_FLAG, key, null, $"fsconfig {flag}");
        return this;
    }

    /// <summary>Sets a parameter: <c>metacopy</c> to <c>on</c>.</summary>
    /// <exception cref="MountException">The file system does not know it, or refuses the value.</exception>
    public FileSystemContext Set(string key, string value)
    {
        fixed (byte* name = CString.Of(key), text = CString.Of(value))
            Config(LibC.FSCONFIG_SET_STRING, name, text, $"fsconfig {key}={value}");
        return this;
    }

    /// <summary>Makes the file system and a mount of it that is not attached anywhere yet.</summary>
    /// <param name="attributes">The mount's own attributes, beside the superblock's.</param>
    /// <exception cref="MountException">The parameters do not make a file system.</exception>
    public DetachedMount Create(MountAttributes attributes = MountAttributes.None)
    {
        Config(LibC.FSCONFIG_CMD_CREATE, null, null, "fsconfig create");
        using var context = new Borrowed(handle);
        int fd = LibC.fsmount(context.Number, LibC.FSMOUNT_CLOEXEC, (uint)attributes);
        Errno errno = Answer.Of(fd);
        return errno == Errno.None
            ? new DetachedMount(new SafeFileHandle(fd, ownsHandle: true), type)
            : throw new MountException(errno, type, "fsmount", KernelWords());
    }

    /// <summary>Applies the parameters to the mounted file system that was picked.</summary>
    /// <exception cref="MountException">It cannot be changed so; an overlay without an upper layer never becomes writable.</exception>
    public void Reconfigure() => Config(LibC.FSCONFIG_CMD_RECONFIGURE, null, null, "fsconfig reconfigure");

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

    private void Config(uint command, byte* key, byte* value, string step)
    {
        using var context = new Borrowed(handle);
        Errno errno = Answer.Of(LibC.fsconfig(context.Number, command, key, value, 0));
        if (errno != Errno.None)
            throw new MountException(errno, type, step, KernelWords());
    }

    // One message a read, each "e overlay: text" (or w, i); ENODATA when there is none left.
    private string KernelWords()
    {
        var words = new StringBuilder();
        var buffer = new byte[1024];
        using var context = new Borrowed(handle);
        fixed (byte* into = buffer)
        {
            for (nint length; (length = LibC.read(context.Number, into, buffer.Length)) > 2;)
                words.Append(words.Length > 0 ? "; " : "").Append(Encoding.UTF8.GetString(buffer, 2, (int)length - 2).TrimEnd('\n'));
        }

        return words.ToString();
    }
}
