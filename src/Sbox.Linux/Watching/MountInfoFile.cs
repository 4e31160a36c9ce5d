using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>
/// The mounts of one mount namespace, held open: it can be read again and again, also when the process that showed it has ended, and
/// <see cref="Handle"/> becomes <see cref="Readiness.Changed"/> when they change. As long as it is open, the namespace lives on.
/// </summary>
public sealed unsafe class MountInfoFile : IDisposable
{
    private readonly string path;

    private MountInfoFile(SafeFileHandle handle, string path) => (Handle, this.path) = (handle, path);

    /// <summary>The descriptor; belongs to this object.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>Opens the mounts that a process or thread sees; null when it has ended.</summary>
    /// <exception cref="LinuxException">Refused for another reason.</exception>
    public static MountInfoFile? TryOpen(int process)
    {
        string path = $"/proc/{process}/mountinfo";
        using var proc = new Borrowed(HeldProc.Directory.Handle);
        fixed (byte* name = CString.Of($"{process}/mountinfo"))
        {
            int fd = LibC.openat(proc.Number, name, LibC.O_RDONLY | LibC.O_CLOEXEC, 0);
            Errno errno = Answer.Of(fd);
            return errno switch
            {
                Errno.None => new MountInfoFile(new SafeFileHandle(fd, ownsHandle: true), path),
                // EINVAL: the process is ending and has given its namespace back.
                Errno.ENOENT or Errno.ESRCH or Errno.EINVAL or Errno.EACCES => null,
                _ => throw new LinuxException(errno, "open", path),
            };
        }
    }

    /// <summary>The mounts that the calling thread sees.</summary>
    /// <param name="proc">A procfs, which may be one of another mount namespace.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    internal static MountInfoFile OfThread(Dir proc)
    {
        const string path = "thread-self/mountinfo";
        using var dir = new Borrowed(proc.Handle);
        fixed (byte* name = CString.Of(path))
        {
            int fd = LibC.openat(dir.Number, name, LibC.O_RDONLY | LibC.O_CLOEXEC, 0);
            Answer.Check(fd, "open", $"{proc.Path}/{path}");
            return new MountInfoFile(new SafeFileHandle(fd, ownsHandle: true), path);
        }
    }

    /// <summary>All mounts as they are now.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public IReadOnlyList<MountEntry> Read()
    {
        using (var fd = new Borrowed(Handle))
            Answer.Check(LibC.lseek(fd.Number, 0, 0), "lseek", path);
        return MountTable.Parse(FileName.FromBytes(Files.ReadAll(Handle, path)));
    }

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();
}
