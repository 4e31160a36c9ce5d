using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>How a lock is shared.</summary>
public enum LockKind
{
    /// <summary>Others may hold it shared at the same time.</summary>
    Shared,
    /// <summary>Nobody else holds it.</summary>
    Exclusive,
}

/// <summary>
/// A lock on a whole file that belongs to the open file (F_OFD_SETLK): threads of one process exclude each other too, and it is gone
/// when the file is closed, by a crash as well. libostree takes these; flock(2) would not be seen by it.
/// </summary>
public sealed unsafe class FileLock : IDisposable
{
    private readonly SafeFileHandle file;

    private FileLock(SafeFileHandle file) => this.file = file;

    /// <summary>Takes the lock on a file in <paramref name="dir"/>, making the file where it is missing; null when others hold it.</summary>
    /// <exception cref="LinuxException">The file cannot be opened, or its file system has no locks.</exception>
    public static FileLock? TryTake(Dir dir, string name, LockKind kind, uint mode = 0x1A4 /* 0644 */)
    {
        SafeFileHandle file = dir.OpenOrCreateFile(name, mode);
        try
        {
            switch (Set(file, kind))
            {
                case Errno.None:
                    return new FileLock(file);
                case Errno.EAGAIN or Errno.EACCES:
                    file.Dispose();
                    return null;
                case var errno:
                    throw new LinuxException(errno, "fcntl(F_OFD_SETLK)", dir.Of(name));
            }
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Whether the locked file is still what the name leads to: whoever deletes a lock's file may hold the old one.</summary>
    public bool IsStill(Dir dir, string name) =>
        dir.TryStat(name) is { } named && Files.Stat(file, dir.Of(name)) is var own && named.Inode == own.Inode && named.Device == own.Device;

    /// <summary>Lets it go.</summary>
    public void Dispose() => file.Dispose();

    private static Errno Set(SafeFileHandle file, LockKind kind)
    {
        using var fd = new Borrowed(file);
        var request = new LibC.FLock { Type = kind == LockKind.Shared ? LibC.F_RDLCK : LibC.F_WRLCK };
        return Answer.Of(LibC.fcntl(fd.Number, LibC.F_OFD_SETLK, &request));
    }
}

/// <summary>How full a file system is.</summary>
/// <param name="TotalBytes">All of it.</param>
/// <param name="FreeBytes">What is free, the part kept for root included.</param>
/// <param name="AvailableBytes">What is free for everyone.</param>
public readonly record struct DiskSpace(long TotalBytes, long FreeBytes, long AvailableBytes)
{
    /// <summary>The file system that holds <paramref name="dir"/>.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static unsafe DiskSpace Of(Dir dir)
    {
        using var fd = new Borrowed(dir.Handle);
        LibC.StatVfs raw = default;
        Answer.Check(LibC.fstatvfs(fd.Number, &raw), "fstatvfs", dir.Path);
        return new DiskSpace(
            (long)(raw.Blocks * raw.FragmentSize), (long)(raw.BlocksFree * raw.FragmentSize), (long)(raw.BlocksAvailable * raw.FragmentSize));
    }
}
