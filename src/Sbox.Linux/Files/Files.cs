using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Calls on an open file.</summary>
public static unsafe class Files
{
    private const int HolePiece = 64 * 1024;

    /// <summary>What fstat(2) says.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static FileStat Stat(SafeFileHandle file, string path)
    {
        using var fd = new Borrowed(file);
        byte empty = 0;
        Errno errno = Statx(fd.Number, &empty, LibC.AT_EMPTY_PATH, out FileStat stat);
        return errno == Errno.None ? stat : throw new LinuxException(errno, "statx", path);
    }

    /// <summary>Sets permission bits, all twelve, past the umask.</summary>
    public static void ChangeMode(SafeFileHandle file, uint mode, string path)
    {
        using var fd = new Borrowed(file);
        Answer.Check(LibC.fchmod(fd.Number, mode), "fchmod", path);
    }

    /// <summary>Sets owner and group. Clears setuid bits, so set the mode after.</summary>
    public static void ChangeOwner(SafeFileHandle file, uint uid, uint gid, string path)
    {
        using var fd = new Borrowed(file);
        byte empty = 0;
        Answer.Check(LibC.fchownat(fd.Number, &empty, uid, gid, LibC.AT_EMPTY_PATH), "fchownat", path);
    }

    /// <summary>Sets the modification time; the access time stays.</summary>
    public static void SetModified(SafeFileHandle file, long seconds, uint nanoseconds, string path)
    {
        using var fd = new Borrowed(file);
        LibC.Timespec* times = stackalloc LibC.Timespec[2];
        times[0] = new LibC.Timespec { Nanoseconds = LibC.UTIME_OMIT };
        times[1] = new LibC.Timespec { Seconds = seconds, Nanoseconds = nanoseconds };
        Answer.Check(LibC.futimens(fd.Number, times), "futimens", path);
    }

    /// <summary>Copies bytes inside the kernel where it can, else by a buffer; both files at their beginnings.</summary>
    /// <returns>Bytes copied.</returns>
    public static long Copy(SafeFileHandle from, SafeFileHandle to, string path) => CopyUpTo(long.MaxValue, from, to, path);

    // No byte is asked for behind the end that is known: to find out that there is none costs a call.
    private static long CopyUpTo(long size, SafeFileHandle from, SafeFileHandle to, string path)
    {
        long done = 0;
        using (var source = new Borrowed(from))
        using (var target = new Borrowed(to))
        {
            while (done < size)
            {
                long fromAt = done, toAt = done;
                nint copied = LibC.copy_file_range(source.Number, &fromAt, target.Number, &toAt, (nint)Math.Min(1 << 30, size - done), 0);
                Errno errno = Answer.Of(copied);
                if (errno is Errno.EXDEV or Errno.EINVAL or Errno.EOPNOTSUPP or Errno.ENOSYS)
                    break; // this pair of file systems cannot: the buffer below does
                if (errno == Errno.EINTR)
                    continue;
                if (errno != Errno.None)
                    throw new LinuxException(errno, "copy_file_range", path);
                if (copied == 0)
                    break; // also /proc and the like, which say 0 for files that do have bytes
                done += copied;
            }
        }

        if (done >= size)
            return done;
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(128 * 1024);
        try
        {
            for (int read; (read = RandomAccess.Read(from, buffer, done)) > 0; done += read)
                RandomAccess.Write(to, buffer.AsSpan(0, read), done);
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }

        return done;
    }

    /// <summary>Copies a file with holes: where there are only zeros, the copy has a hole too.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void CopySparse(SafeFileHandle from, SafeFileHandle to, string path)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(HolePiece);
        try
        {
            long done = 0;
            for (int read; (read = ReadAt(from, buffer.AsSpan(0, HolePiece), done, path)) > 0; done += read)
            {
                if (buffer.AsSpan(0, read).ContainsAnyExcept((byte)0))
                    WriteAt(to, buffer.AsSpan(0, read), done, path);
            }

            RandomAccess.SetLength(to, done);
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>pread(2): as many bytes as there are, 0 at the end. One call, where the class library makes two for a file's first bytes.</summary>
    /// <exception cref="LinuxException">Refused: the disk may be failing.</exception>
    public static int ReadAt(SafeFileHandle file, Span<byte> into, long offset, string path)
    {
        using var fd = new Borrowed(file);
        fixed (byte* buffer = into)
        {
            while (true)
            {
                nint read = LibC.pread(fd.Number, buffer, into.Length, offset);
                Errno errno = Answer.Of(read);
                if (errno == Errno.None)
                    return (int)read;
                if (errno != Errno.EINTR)
                    throw new LinuxException(errno, "pread", path);
            }
        }
    }

    /// <summary>pwrite(2) of all the bytes.</summary>
    /// <exception cref="LinuxException">Refused; some of the bytes may be written.</exception>
    public static void WriteAt(SafeFileHandle file, ReadOnlySpan<byte> bytes, long offset, string path)
    {
        using var fd = new Borrowed(file);
        while (!bytes.IsEmpty)
        {
            fixed (byte* buffer = bytes)
            {
                nint written = LibC.pwrite(fd.Number, buffer, bytes.Length, offset);
                Errno errno = Answer.Of(written);
                if (errno == Errno.EINTR)
                    continue;
                if (errno != Errno.None)
                    throw new LinuxException(errno, "pwrite", path);
                bytes = bytes[(int)written..];
                offset += written;
            }
        }
    }

    /// <summary>Copies a file of which the size is known, and which nobody changes: as <see cref="Copy(SafeFileHandle, SafeFileHandle, string)"/> with fewer calls.</summary>
    /// <param name="from">Read from its beginning.</param>
    /// <param name="to">Written from its beginning.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="path">What is written, for errors.</param>
    public static void Copy(SafeFileHandle from, SafeFileHandle to, long size, string path)
    {
        // Below this a copy through a buffer costs less than the pipe that the kernel makes for a copy of its own.
        const int Small = 64 * 1024;
        if (size == 0)
            return;
        if (size > Small)
        {
            if (CopyUpTo(size, from, to, path) is var copied && copied != size)
                throw new LinuxException(Errno.EIO, "copy_file_range", $"{path}: {copied} bytes of {size}");
            return;
        }

        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(Small);
        try
        {
            int filled = 0;
            for (int read; filled < size && (read = ReadAt(from, buffer.AsSpan(filled, (int)size - filled), filled, path)) > 0;)
                filled += read;
            WriteAt(to, buffer.AsSpan(0, filled), 0, path);
            if (filled != size)
                throw new LinuxException(Errno.EIO, "pread", $"{path}: {filled} bytes of {size}");
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Reads a whole small file from where it stands, also from /proc, where the size is said to be 0, and from efivarfs and pipes.</summary>
    /// <param name="file">Open for reading.</param>
    /// <param name="path">What it is, for the error.</param>
    /// <param name="expected">Bytes that it is said to have, where that is known: then one array does, and none is thrown away.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static byte[] ReadAll(SafeFileHandle file, string path, int expected = 0)
    {
        // read(2) itself: the class library's RandomAccess refuses files that cannot seek, and efivarfs has such.
        using var fd = new Borrowed(file);
        var buffer = new byte[expected > 0 ? expected : 4096];
        int filled = 0;
        byte next = 0; // asks for the end where the array is full already
        while (true)
        {
            nint read;
            bool full = filled == buffer.Length;
            fixed (byte* start = buffer)
                read = full ? LibC.read(fd.Number, &next, 1) : LibC.read(fd.Number, start + filled, buffer.Length - filled);
            Errno errno = Answer.Of(read);
            if (errno == Errno.EINTR)
                continue;
            if (errno != Errno.None)
                throw new LinuxException(errno, "read", path);
            if (read == 0)
                return full ? buffer : buffer[..filled];
            if (full)
            {
                Array.Resize(ref buffer, buffer.Length * 2);
                buffer[filled] = next;
            }

            filled += (int)read;
        }
    }

    /// <summary>Reads a whole regular file of which most are small, in two calls where it is.</summary>
    /// <param name="file">Open for reading, from its beginning.</param>
    /// <param name="path">What it is, for the error.</param>
    /// <param name="most">Bytes that it may have.</param>
    /// <returns>Its bytes; null where it has more.</returns>
    /// <exception cref="LinuxException">Refused.</exception>
    public static byte[]? ReadAtMost(SafeFileHandle file, string path, int most)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(16 * 1024);
        try
        {
            int filled = 0;
            for (int read; (read = ReadAt(file, buffer.AsSpan(filled), filled, path)) > 0;)
            {
                filled += read;
                if (filled > most)
                    return null;
                if (filled < buffer.Length)
                    continue;
                byte[] larger = System.Buffers.ArrayPool<byte>.Shared.Rent(buffer.Length * 2);
                buffer.CopyTo(larger, 0);
                System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
                buffer = larger;
            }

            return buffer.AsSpan(0, filled).ToArray();
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>
    /// Asks the kernel to forget what it keeps of a file in memory, so that the next read comes from the disk. What programs have mapped, or
    /// what is not written yet, it keeps.
    /// </summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void ForgetCached(SafeFileHandle file, string path)
    {
        using var fd = new Borrowed(file);
        int refused = LibC.posix_fadvise(fd.Number, 0, 0, LibC.POSIX_FADV_DONTNEED); // the error itself, and no errno
        if (refused != 0)
            throw new LinuxException((Errno)refused, "posix_fadvise", path);
    }

    /// <summary>What stat(2) says of a path; links are followed.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static FileStat StatFollowed(string path)
    {
        fixed (byte* name = CString.Of(path, stackalloc byte[CString.Short]))
        {
            Errno errno = Statx(LibC.AT_FDCWD, name, 0, out FileStat stat);
            return errno == Errno.None ? stat : throw new LinuxException(errno, "statx", path);
        }
    }

    internal static Errno Statx(int dir, byte* path, int flags, out FileStat stat)
    {
        LibC.Statx raw = default;
        Errno errno = Answer.Of(LibC.statx(dir, path, flags, LibC.STATX_BASIC_STATS, &raw));
        stat = new FileStat(
            MakeDevice(raw.Major, raw.Minor), raw.Inode, raw.Mode, raw.Links, raw.Uid, raw.Gid, (long)raw.Size,
            raw.Modified.Seconds, raw.Modified.Nanoseconds, (long)raw.Blocks, MakeDevice(raw.RawMajor, raw.RawMinor))
        {
            ChangedSeconds = raw.Changed.Seconds, ChangedNanoseconds = raw.Changed.Nanoseconds,
        };
        return errno;
    }

    // The C library's makedev(): majors and minors interleaved, as st_dev has them.
    private static ulong MakeDevice(uint major, uint minor) =>
        ((ulong)(major & 0xfffff000) << 32) | ((ulong)(major & 0xfff) << 8) | ((ulong)(minor & 0xffffff00) << 12) | (minor & 0xff);
}
