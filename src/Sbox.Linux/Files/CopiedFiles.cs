using System.Buffers;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Copies of files, one behind the other in a file without a name that is gone with its handle. Where the file system can share blocks (FICLONERANGE) a copy costs no room.</summary>
public sealed class CopiedFiles : IDisposable
{
    // What every file system that shares blocks is content with as the beginning of a shared range.
    private const long Boundary = 64 * 1024;

    // Below this a copy through a buffer costs less than one inside the kernel.
    private const int Small = 64 * 1024;

    private readonly string path;
    private long end, room;
    private bool shares = true;

    /// <summary>Makes the file that takes them.</summary>
    /// <param name="place">Where, on the file system of the files.</param>
    /// <param name="room">Bytes that copies may take in all; those that share their blocks take none.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public CopiedFiles(Dir place, long room)
    {
        this.room = room;
        path = place.Path;
        File = place.CreateUnnamed();
    }

    /// <summary>Holds the copies.</summary>
    public SafeFileHandle File { get; }

    /// <summary>Copies a file to the end.</summary>
    /// <param name="file">Open for reading; nobody changes it meanwhile.</param>
    /// <param name="size">Its bytes.</param>
    /// <returns>Where its copy begins in <see cref="File"/>; null where there is no room for it.</returns>
    /// <exception cref="LinuxException">Refused, ENOSPC too; or the file has not that many bytes.</exception>
    public long? Add(SafeFileHandle file, long size)
    {
        long at = end;
        if (size == 0)
            return at;
        if (size > Small && shares)
        {
            long shared = (end + Boundary - 1) / Boundary * Boundary;
            shares = TryShare(file, shared);
            if (shares)
            {
                end = shared + size;
                return shared;
            }
        }

        if (size > room)
            return null;
        if (size <= Small)
            CopySmall(file, (int)size);
        else
            CopyLarge(file, size);
        end += size;
        room -= size;
        return at;
    }

    /// <summary>They are gone.</summary>
    public void Dispose() => File.Dispose();

    private unsafe bool TryShare(SafeFileHandle file, long at)
    {
        using var from = new Borrowed(file);
        using var to = new Borrowed(File);
        var range = new CloneRange { From = from.Number, At = (ulong)at };
        return Answer.Of(LibC.ioctl(to.Number, LibC.FICLONERANGE, &range)) == Errno.None;
    }

    private void CopySmall(SafeFileHandle file, int size)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Small);
        try
        {
            int filled = 0;
            for (int read; filled < size && (read = Files.ReadAt(file, buffer.AsSpan(filled, size - filled), filled, path)) > 0;)
                filled += read;
            Files.WriteAt(File, buffer.AsSpan(0, filled), end, path);
            if (filled != size)
                throw new LinuxException(Errno.EIO, "pread", $"{path}: {filled} bytes of {size}");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer, clearArray: true);
        }
    }

    private unsafe void CopyLarge(SafeFileHandle file, long size)
    {
        using var from = new Borrowed(file);
        using var to = new Borrowed(File);
        for (long done = 0; done < size;)
        {
            long source = done, target = end + done;
            nint copied = LibC.copy_file_range(from.Number, &source, to.Number, &target, (nint)Math.Min(1 << 30, size - done), 0);
            Errno errno = Answer.Of(copied);
            if (errno == Errno.EINTR)
                continue;
            if (errno != Errno.None || copied == 0)
                throw new LinuxException(errno == Errno.None ? Errno.EIO : errno, "copy_file_range", $"{path}: {done} bytes of {size}");
            done += copied;
        }
    }

    /// <summary>struct file_clone_range of linux/fs.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct CloneRange
    {
        public long From;
        public ulong FromAt, Length, At;
    }
}
