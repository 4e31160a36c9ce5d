using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>How a lock is shared.</summary>
public enum LockKind
{
    /// <summary>Nobody else holds it.</summary>
    Exclusive,
    /// <summary>Others may hold it shared at the same time.</summary>
    Shared,
}

/// <summary>
/// A lock on a whole file, held until disposed or the process ends. It is an open file description lock (fcntl(2)), the kind
/// that libostree takes: flock(2) would not keep libostree out, nor it us.
/// </summary>
public sealed class FileLock : IDisposable
{
    private readonly SafeFileHandle file;

    private FileLock(SafeFileHandle file) => this.file = file;

    /// <summary>Takes the lock on a file, which is made where it is missing; null when someone else holds it.</summary>
    /// <param name="dir">Where.</param>
    /// <param name="name">The file.</param>
    /// <param name="kind">How it is shared.</param>
    /// <param name="mode">Permission bits where it is made, under the umask: who may write the file may lock it.</param>
    /// <exception cref="LinuxException">Refused for any other reason.</exception>
    public static FileLock? TryTake(Dir dir, string name, LockKind kind = LockKind.Exclusive, uint mode = 0x1A4 /* 0644 */)
    {
        SafeFileHandle file = dir.OpenOrCreateFile(name, mode);
        Errno errno = Set(file, kind == LockKind.Shared ? LibC.F_RDLCK : LibC.F_WRLCK);
        if (errno == Errno.None)
            return new FileLock(file);
        file.Dispose();
        return errno is Errno.EAGAIN or Errno.EACCES ? null : throw new LinuxException(errno, "fcntl", dir.Of(name));
    }

    /// <summary>Whether the locked file is still what the name leads to: whoever deletes a lock's file may hold the old one.</summary>
    public bool IsStill(Dir dir, string name) =>
        dir.TryStat(name) is { } named && Files.Stat(file, dir.Of(name)) is var own && named.Inode == own.Inode && named.Device == own.Device;

    /// <inheritdoc/>
    /// <remarks>
    /// Unlocked aloud, not only by closing: a child that another thread is starting shares the open file until its exec, and the lock with it.
    /// </remarks>
    public void Dispose()
    {
        if (!file.IsClosed)
            Set(file, LibC.F_UNLCK);
        file.Dispose();
    }

    private static unsafe Errno Set(SafeFileHandle file, short type)
    {
        using var fd = new Borrowed(file);
        var whole = new LibC.FileLockRange { Type = type };
        return Answer.Of(LibC.fcntl_lock(fd.Number, LibC.F_OFD_SETLK, &whole));
    }
}

internal static unsafe partial class LibC
{
    public const int F_OFD_SETLK = 37;
    public const short F_RDLCK = 0;
    public const short F_WRLCK = 1;
    public const short F_UNLCK = 2;

    /// <summary>struct flock of a 64-bit kernel. Start and length 0 mean the whole file.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct FileLockRange
    {
        public short Type, Whence;
        public long Start, Length;
        public int Pid;
    }

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    public static partial int fcntl_lock(int fd, int command, FileLockRange* range);
}
