using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>One name in a directory.</summary>
/// <param name="Name">The name, by <see cref="FileName"/>.</param>
/// <param name="Kind">Its kind, or <see cref="FileKind.Unknown"/> where the file system does not say.</param>
/// <param name="Inode">Its inode number.</param>
public readonly record struct DirEntry(string Name, FileKind Kind, ulong Inode);

/// <summary>
/// A directory held open. Every call takes a name in it (or a relative path below it), so nothing can be raced by renaming a parent.
/// No call follows a symbolic link in the last component unless it says so.
/// </summary>
public sealed unsafe class Dir : IDisposable
{
    private const uint DirMode = 0x1ED; // 0755
    private const uint FileMode = 0x1A4; // 0644
    private static volatile bool linksByDescriptor = true;

    internal Dir(SafeFileHandle handle, string path) => (Handle, Path) = (handle, path);

    /// <summary>The descriptor; belongs to this object.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>The path it was opened by, for messages only.</summary>
    public string Path { get; }

    /// <summary>Opens a directory by path.</summary>
    /// <exception cref="LinuxException">There is none, or it may not be read.</exception>
    public static Dir Open(string path) => new(
        TryOpenAt(null, path, LibC.O_RDONLY | LibC.O_DIRECTORY, 0, out Errno errno) ?? throw new LinuxException(errno, "openat", path), path);

    /// <summary>Opens a directory in this one.</summary>
    /// <exception cref="LinuxException">There is none by that name, or it is a link or no directory.</exception>
    public Dir OpenDir(string name) => new(Opened(name, LibC.O_RDONLY | LibC.O_DIRECTORY | LibC.O_NOFOLLOW, 0), Of(name));

    /// <summary>Opens a directory in this one; null where there is nothing by that name.</summary>
    /// <exception cref="LinuxException">Refused for any other reason than absence.</exception>
    public Dir? TryOpenDir(string name)
    {
        SafeFileHandle? handle = TryOpenAt(Handle, name, LibC.O_RDONLY | LibC.O_DIRECTORY | LibC.O_NOFOLLOW, 0, out Errno errno);
        return handle is not null ? new Dir(handle, Of(name))
            : errno == Errno.ENOENT ? null
            : throw new LinuxException(errno, "openat", Of(name));
    }

    /// <summary>
    /// The directory that holds a path below this one, opened name by name: no symbolic link on the way is followed, whoever puts it there meanwhile.
    /// </summary>
    /// <param name="path">Relative to this directory.</param>
    /// <param name="name">The path's last name.</param>
    /// <returns>Null where a directory on the way is missing, or is none.</returns>
    /// <exception cref="LinuxException">Refused for any other reason.</exception>
    public Dir? TryOpenParent(string path, out string name)
    {
        string[] names = path.Split('/');
        name = names[^1];
        Dir here = OpenDir(".");
        foreach (string each in names.AsSpan(0, names.Length - 1))
        {
            using Dir above = here;
            SafeFileHandle? next = TryOpenAt(above.Handle, each, LibC.O_RDONLY | LibC.O_DIRECTORY | LibC.O_NOFOLLOW, 0, out Errno errno);
            if (next is null)
                return errno is Errno.ENOENT or Errno.ENOTDIR or Errno.ELOOP ? null : throw new LinuxException(errno, "openat", above.Of(each));
            here = new Dir(next, above.Of(each));
        }

        return here;
    }

    /// <summary>Opens a directory in this one, making it and its parents first where they are missing.</summary>
    public Dir MakeAndOpenDir(string name, uint mode = DirMode)
    {
        MakeDirs(name, mode);
        return OpenDir(name);
    }

    /// <summary>Opens a file for reading; a symbolic link is refused with ELOOP.</summary>
    /// <exception cref="LinuxException">There is none by that name, or it may not be read.</exception>
    public SafeFileHandle OpenFile(string name) => Opened(name, LibC.O_RDONLY | LibC.O_NOFOLLOW | LibC.O_NONBLOCK, 0);

    /// <summary>Opens a file for reading; null where there is nothing by that name.</summary>
    public SafeFileHandle? TryOpenFile(string name)
    {
        SafeFileHandle? handle = TryOpenAt(Handle, name, LibC.O_RDONLY | LibC.O_NOFOLLOW | LibC.O_NONBLOCK, 0, out Errno errno);
        return handle is not null || errno == Errno.ENOENT ? handle : throw new LinuxException(errno, "openat", Of(name));
    }

    /// <summary>Opens a file for reading; null with the reason (ENOENT, or ELOOP for a symbolic link) where it cannot be.</summary>
    public SafeFileHandle? TryOpenFile(string name, out Errno errno) =>
        TryOpenAt(Handle, name, LibC.O_RDONLY | LibC.O_NOFOLLOW | LibC.O_NONBLOCK, 0, out errno);

    /// <summary>Opens what is there for reading and writing: a device node, say.</summary>
    /// <exception cref="LinuxException">There is none by that name, or it may not be written.</exception>
    public SafeFileHandle OpenToWrite(string name) => Opened(name, LibC.O_RDWR | LibC.O_NOFOLLOW, 0);

    /// <summary>Opens a block device for reading and writing that nothing in the kernel uses, in whatever namespace: no file system, no swap, no volume.</summary>
    /// <exception cref="LinuxException">It is in use (EBUSY), or may not be opened.</exception>
    public SafeFileHandle OpenUnusedDevice(string name) => Opened(name, LibC.O_RDWR | LibC.O_EXCL | LibC.O_NOFOLLOW, 0);

    /// <summary>Makes a new file; EEXIST when the name is taken. The umask applies.</summary>
    public SafeFileHandle CreateFile(string name, uint mode = FileMode) =>
        Opened(name, LibC.O_RDWR | LibC.O_CREAT | LibC.O_EXCL | LibC.O_NOFOLLOW, mode);

    /// <summary>Opens a file for reading and writing, making it where it is missing (a lock file, say).</summary>
    public SafeFileHandle OpenOrCreateFile(string name, uint mode = FileMode) =>
        Opened(name, LibC.O_RDWR | LibC.O_CREAT | LibC.O_NOFOLLOW, mode);

    /// <summary>A file without a name (O_TMPFILE), to be given one by <see cref="TryLink(SafeFileHandle, string)"/> when it is whole.</summary>
    public SafeFileHandle CreateUnnamed(uint mode = FileMode) => Opened(".", LibC.O_RDWR | LibC.O_TMPFILE, mode);

    /// <summary>Gives an unnamed file its name; false when the name is taken.</summary>
    public bool TryLink(SafeFileHandle unnamed, string name)
    {
        using var dir = new Borrowed(Handle);
        using var file = new Borrowed(unnamed);
        Errno errno = linksByDescriptor ? LinkDescriptor(file.Number, dir.Number, name) : Errno.ENOENT;
        if (errno == Errno.ENOENT)
        {
            // Without CAP_DAC_READ_SEARCH, before Linux 6.10: by the name that /proc has for it. (Or the directory is not there.)
            fixed (byte* from = CString.Of($"/proc/self/fd/{file.Number}"), to = CString.Of(name))
                errno = Answer.Of(LibC.linkat(LibC.AT_FDCWD, from, dir.Number, to, LibC.AT_SYMLINK_FOLLOW));
            linksByDescriptor &= errno == Errno.ENOENT;
        }

        return errno switch
        {
            Errno.None => true,
            Errno.EEXIST => false,
            _ => throw new LinuxException(errno, "linkat", Of(name)),
        };
    }

    private static Errno LinkDescriptor(int file, int dir, string name)
    {
        byte empty = 0;
        fixed (byte* to = CString.Of(name))
            return Answer.Of(LibC.linkat(file, &empty, dir, to, LibC.AT_EMPTY_PATH));
    }

    /// <summary>A second name for what <paramref name="name"/> is, a symbolic link itself included; false when the new name is taken.</summary>
    public bool TryLink(string name, Dir destination, string newName)
    {
        Errno errno = LinkInto(name, destination, newName);
        return errno switch
        {
            Errno.None => true,
            Errno.EEXIST => false,
            _ => throw new LinuxException(errno, "linkat", destination.Of(newName)),
        };
    }

    /// <summary>As <see cref="TryLink(string, Dir, string)"/>, but answers with the reason of any refusal (EMLINK, EXDEV, EPERM ...).</summary>
    public Errno LinkInto(string name, Dir destination, string newName)
    {
        using var fromDir = new Borrowed(Handle);
        using var toDir = new Borrowed(destination.Handle);
        fixed (byte* from = CString.Of(name), to = CString.Of(newName))
            return Answer.Of(LibC.linkat(fromDir.Number, from, toDir.Number, to, 0));
    }

    /// <summary>Renames over whatever the new name was.</summary>
    public void Rename(string name, Dir destination, string newName) => Rename(name, destination, newName, 0);

    /// <summary>Renames where the new name is free; false when it is taken.</summary>
    public bool TryRename(string name, Dir destination, string newName)
    {
        using var fromDir = new Borrowed(Handle);
        using var toDir = new Borrowed(destination.Handle);
        fixed (byte* from = CString.Of(name), to = CString.Of(newName))
        {
            Errno errno = Answer.Of(LibC.renameat2(fromDir.Number, from, toDir.Number, to, LibC.RENAME_NOREPLACE));
            return errno switch
            {
                Errno.None => true,
                Errno.EEXIST => false,
                _ => throw new LinuxException(errno, "renameat2", $"{Of(name)} -> {destination.Of(newName)}"),
            };
        }
    }

    /// <summary>Swaps two names as one step.</summary>
    public void Exchange(string name, Dir destination, string newName) => Rename(name, destination, newName, LibC.RENAME_EXCHANGE);

    /// <summary>Removes a name that is no directory.</summary>
    public void Unlink(string name) => Answer.Check(UnlinkAt(name, 0), "unlinkat", Of(name));

    /// <summary>Removes a name that is no directory; false when there was none.</summary>
    public bool TryUnlink(string name) => Gone(Answer.Of(UnlinkAt(name, 0)), name);

    /// <summary>Removes an empty directory.</summary>
    public void RemoveDir(string name) => Answer.Check(UnlinkAt(name, LibC.AT_REMOVEDIR), "unlinkat", Of(name));

    /// <summary>Removes a name and all below it, following nothing; false when there was none.</summary>
    public bool RemoveAll(string name) => RemoveAll(name, FileKind.Unknown);

    private bool RemoveAll(string name, FileKind kind)
    {
        // Many directories are empty by now: then one call does.
        Errno errno = kind == FileKind.Directory ? Answer.Of(UnlinkAt(name, LibC.AT_REMOVEDIR)) : Errno.ENOTDIR;
        if (errno == Errno.None)
            return true;
        if (errno != Errno.ENOTEMPTY)
        {
            errno = Answer.Of(UnlinkAt(name, 0));
            if (errno is Errno.None or Errno.ENOENT)
                return Gone(errno, name);
            if (errno is not (Errno.EISDIR or Errno.EPERM))
                throw new LinuxException(errno, "unlinkat", Of(name));
        }

        using (Dir inner = OpenDir(name))
        {
            foreach (DirEntry entry in inner.EntriesOnce())
                inner.RemoveAll(entry.Name, entry.Kind);
        }

        RemoveDir(name);
        return true;
    }

    /// <summary>Makes a directory; EEXIST when the name is taken. The umask applies.</summary>
    public void MakeDir(string name, uint mode = DirMode) => Answer.Check(MakeDirAt(name, mode), "mkdirat", Of(name));

    /// <summary>Makes a directory; false where it is there, or may not be made.</summary>
    public bool TryMakeDir(string name, uint mode = DirMode) => Answer.Of(MakeDirAt(name, mode)) == Errno.None;

    /// <summary>Makes a directory and its missing parents.</summary>
    /// <param name="path">Below this one.</param>
    /// <param name="mode">Its permissions.</param>
    /// <param name="parents">Those of the parents that are missing; null for the same.</param>
    public void MakeDirs(string path, uint mode = DirMode, uint? parents = null)
    {
        for (int slash = path.IndexOf('/', 1); ; slash = path.IndexOf('/', slash + 1))
        {
            string part = slash < 0 ? path : path[..slash];
            Errno errno = Answer.Of(MakeDirAt(part, slash < 0 ? mode : parents ?? mode));
            if (errno is not (Errno.None or Errno.EEXIST))
                throw new LinuxException(errno, "mkdirat", Of(part));
            if (slash < 0)
                return;
        }
    }

    /// <summary>Makes a device node, FIFO or socket.</summary>
    public void MakeNode(string name, uint mode, ulong device)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            Answer.Check(LibC.mknodat(dir.Number, path, mode, device), "mknodat", Of(name));
    }

    /// <summary>Makes a symbolic link; EEXIST when the name is taken.</summary>
    public void Symlink(string target, string name)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* to = CString.Of(target), path = CString.Of(name))
            Answer.Check(LibC.symlinkat(to, dir.Number, path), "symlinkat", Of(name));
    }

    /// <summary>Makes or replaces a symbolic link in one step.</summary>
    public void ReplaceSymlink(string target, string name)
    {
        using var temporary = new TemporaryName(System.IO.Path.GetFileName(name));
        string beside = System.IO.Path.GetDirectoryName(name) is { Length: > 0 } parent ? $"{parent}/{temporary.Text}" : temporary.Text;
        TryUnlink(beside);
        Symlink(target, beside);
        Rename(beside, this, name);
    }

    /// <summary>Where a symbolic link points.</summary>
    public string ReadLink(string name)
    {
        using var dir = new Borrowed(Handle);
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(4096);
        try
        {
            fixed (byte* path = CString.Of(name), into = buffer)
            {
                nint length = LibC.readlinkat(dir.Number, path, into, buffer.Length);
                Errno errno = Answer.Of(length);
                return errno == Errno.None ? FileName.FromBytes(buffer.AsSpan(0, (int)length)) : throw new LinuxException(errno, "readlinkat", Of(name));
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>What the name is.</summary>
    public FileStat Stat(string name) =>
        StatAt(name, out FileStat stat) is var errno && errno == Errno.None ? stat : throw new LinuxException(errno, "statx", Of(name));

    /// <summary>What the name is; null where there is nothing (or a parent is missing).</summary>
    public FileStat? TryStat(string name) => StatAt(name, out FileStat stat) switch
    {
        Errno.None => stat,
        Errno.ENOENT or Errno.ENOTDIR => null,
        var errno => throw new LinuxException(errno, "statx", Of(name)),
    };

    /// <summary>What this directory is.</summary>
    public FileStat Stat() => Files.Stat(Handle, Path);

    /// <summary>Whether there is anything by that name.</summary>
    public bool Exists(string name) => TryStat(name) is not null;

    /// <summary>Sets permission bits; the name must not be a symbolic link.</summary>
    public void ChangeMode(string name, uint mode)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            Answer.Check(LibC.fchmodat(dir.Number, path, mode, 0), "fchmodat", Of(name));
    }

    /// <summary>Sets permission bits of what the name itself is; a symbolic link is refused, so that none put in its place is followed.</summary>
    public void ChangeOwnMode(string name, uint mode)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            Answer.Check(LibC.fchmodat(dir.Number, path, mode, LibC.AT_SYMLINK_NOFOLLOW), "fchmodat", Of(name));
    }

    /// <summary>Sets owner and group, of a symbolic link itself too. Clears setuid bits, so set the mode after.</summary>
    public void ChangeOwner(string name, uint uid, uint gid)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            Answer.Check(LibC.fchownat(dir.Number, path, uid, gid, LibC.AT_SYMLINK_NOFOLLOW), "fchownat", Of(name));
    }

    /// <summary>Sets access and modification time, of a symbolic link itself too.</summary>
    public void SetTimes(string name, long seconds, uint nanoseconds = 0)
    {
        using var dir = new Borrowed(Handle);
        LibC.Timespec* times = stackalloc LibC.Timespec[2];
        times[0] = times[1] = new LibC.Timespec { Seconds = seconds, Nanoseconds = nanoseconds };
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            Answer.Check(LibC.utimensat(dir.Number, path, times, LibC.AT_SYMLINK_NOFOLLOW), "utimensat", Of(name));
    }

    /// <summary>All names here, in the order of their bytes.</summary>
    public IReadOnlyList<DirEntry> Entries() => EntriesEnding("");

    /// <summary>All names here for a directory that is read once, and by one thread: without opening it again for a read position of its own. A second time there are none.</summary>
    public IReadOnlyList<DirEntry> EntriesOnce() => Read(Handle, "");

    /// <summary>The names here that end so, in the order of their bytes. The others cost nothing: of a directory of thousands a few may be wanted.</summary>
    public IReadOnlyList<DirEntry> EntriesEnding(string ending)
    {
        using SafeFileHandle own = Opened(".", LibC.O_RDONLY | LibC.O_DIRECTORY, 0); // its own read position
        return Read(own, ending);
    }

    private List<DirEntry> Read(SafeFileHandle handle, string ending)
    {
        var entries = new List<DirEntry>();
        ReadOnlySpan<byte> last = FileName.ToBytes(ending);
        using var fd = new Borrowed(handle);
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(32 * 1024);
        try
        {
            fixed (byte* into = buffer)
            {
                while (true)
                {
                    nint filled = LibC.getdents64(fd.Number, into, buffer.Length);
                    Answer.Check(filled, "getdents64", Path);
                    if (filled == 0)
                        break;
                    AddEntries(buffer.AsSpan(0, (int)filled), last, entries);
                }
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }

        entries.Sort(static (a, b) => CompareNames(a.Name, b.Name));
        return entries;
    }

    /// <summary>Reads a whole small file.</summary>
    public byte[] ReadAll(string name)
    {
        using SafeFileHandle file = OpenFile(name);
        return Files.ReadAll(file, Of(name));
    }

    /// <summary>Reads a whole small file; null where there is none.</summary>
    public byte[]? TryReadAll(string name)
    {
        using SafeFileHandle? file = TryOpenFile(name);
        return file is null ? null : Files.ReadAll(file, Of(name));
    }

    /// <summary>The path of a name here, for messages.</summary>
    public string Of(string name) => name is "." or "" ? Path : Path.EndsWith('/') ? Path + name : $"{Path}/{name}";

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();

    /// <summary>The order of <c>strcmp</c>: by bytes, which for UTF-8 is by code point.</summary>
    public static int CompareNames(string a, string b)
    {
        int common = a.AsSpan().CommonPrefixLength(b);
        return common == a.Length || common == b.Length ? a.Length.CompareTo(b.Length)
            : char.IsSurrogate(a[common]) || char.IsSurrogate(b[common]) ? CompareBytes(a, b) : a[common].CompareTo(b[common]);
    }

    private static int CompareBytes(string a, string b) => FileName.ToBytes(a).AsSpan().SequenceCompareTo(FileName.ToBytes(b));

    private static void AddEntries(ReadOnlySpan<byte> records, ReadOnlySpan<byte> ending, List<DirEntry> entries)
    {
        var all = new DirRecords(records);
        while (all.TryNext(out ReadOnlySpan<byte> name, out FileKind kind, out ulong inode))
        {
            if (name.EndsWith(ending))
                entries.Add(new DirEntry(FileName.FromBytes(name), kind, inode));
        }
    }

    private bool Gone(Errno errno, string name) => errno switch
    {
        Errno.None => true,
        Errno.ENOENT => false,
        _ => throw new LinuxException(errno, "unlinkat", Of(name)),
    };

    private void Rename(string name, Dir destination, string newName, uint flags)
    {
        using var fromDir = new Borrowed(Handle);
        using var toDir = new Borrowed(destination.Handle);
        fixed (byte* from = CString.Of(name), to = CString.Of(newName))
            Answer.Check(LibC.renameat2(fromDir.Number, from, toDir.Number, to, flags), "renameat2", $"{Of(name)} -> {destination.Of(newName)}");
    }

    private int UnlinkAt(string name, int flags)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            return LibC.unlinkat(dir.Number, path, flags);
    }

    private int MakeDirAt(string name, uint mode)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            return LibC.mkdirat(dir.Number, path, mode);
    }

    private Errno StatAt(string name, out FileStat stat)
    {
        using var dir = new Borrowed(Handle);
        fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            return Files.Statx(dir.Number, path, LibC.AT_SYMLINK_NOFOLLOW, out stat);
    }

    // The path is made where it is told, and nowhere else: most files open.
    private SafeFileHandle Opened(string name, int flags, uint mode) =>
        TryOpenAt(Handle, name, flags, mode, out Errno errno) ?? throw new LinuxException(errno, "openat", Of(name));

    private static SafeFileHandle? TryOpenAt(SafeFileHandle? dir, string name, int flags, uint mode, out Errno errno)
    {
        int number = LibC.AT_FDCWD;
        bool held = false;
        try
        {
            if (dir is not null)
            {
                dir.DangerousAddRef(ref held);
                number = (int)dir.DangerousGetHandle();
            }

            fixed (byte* path = CString.Of(name, stackalloc byte[CString.Short]))
            {
                int fd;
                do
                {
                    fd = LibC.openat(number, path, flags | LibC.O_CLOEXEC, mode);
                    errno = Answer.Of(fd);
                }
                while (errno == Errno.EINTR);
                return fd < 0 ? null : new SafeFileHandle(fd, ownsHandle: true);
            }
        }
        finally
        {
            if (held)
                dir!.DangerousRelease();
        }
    }
}
