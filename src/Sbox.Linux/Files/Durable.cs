using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Bytes that must survive a power cut. The class library's own flushes hide a failed fsync; these do not.</summary>
public static class Durable
{
    /// <summary>fsync(2) of a file or directory.</summary>
    /// <param name="file">An open descriptor.</param>
    /// <param name="path">What it is, for the error.</param>
    /// <exception cref="LinuxException">The bytes may not be on the disk.</exception>
    public static void Sync(SafeFileHandle file, string path)
    {
        using var fd = new Borrowed(file);
        Answer.Check(LibC.fsync(fd.Number), "fsync", path);
    }

    /// <summary>Has the disk begin to write what a file holds, and does not wait: a later <see cref="Sync(SafeFileHandle, string)"/> waits the less, and only that one says whether it worked.</summary>
    public static void Begin(SafeFileHandle file)
    {
        using var fd = new Borrowed(file);
        _ = LibC.sync_file_range(fd.Number, 0, 0, LibC.SYNC_FILE_RANGE_WRITE); // a hint: where it is refused, the sync does it all
    }

    /// <summary>fsync(2) of a directory: the names in it survive from here on.</summary>
    /// <exception cref="LinuxException">The names may not be on the disk.</exception>
    public static void Sync(Dir dir) => Sync(dir.Handle, dir.Path);

    /// <summary>syncfs(2): all that was written to the file system that holds <paramref name="dir"/>.</summary>
    /// <exception cref="LinuxException">Some of it may not be on the disk.</exception>
    public static void SyncFileSystem(Dir dir)
    {
        using var fd = new Borrowed(dir.Handle);
        Answer.Check(LibC.syncfs(fd.Number), "syncfs", dir.Path);
    }

    /// <summary>
    /// Replaces a small file as a whole: a reader at any moment, or after a power cut, finds the old bytes or the new; of two who write it at once, those of one.
    /// </summary>
    /// <param name="dir">Where.</param>
    /// <param name="name">The name to replace or make.</param>
    /// <param name="bytes">All of the new content.</param>
    /// <param name="mode">Permission bits of the new file, past the umask.</param>
    /// <param name="complete">What else belongs to the file, done to it before it has its name; null for nothing.</param>
    /// <exception cref="LinuxException">Any step was refused; the old file is as it was.</exception>
    public static void Replace(Dir dir, string name, ReadOnlySpan<byte> bytes, uint mode = 0x1A4 /* 0644 */, Action<SafeFileHandle>? complete = null)
    {
        using var held = new TemporaryName(name);
        string temporary = held.Text;
        dir.TryUnlink(temporary);
        using (SafeFileHandle file = dir.CreateFile(temporary, mode))
        {
            RandomAccess.Write(file, bytes, fileOffset: 0);
            Files.ChangeMode(file, mode, $"{dir.Path}/{temporary}");
            complete?.Invoke(file);
            Sync(file, $"{dir.Path}/{temporary}");
        }

        dir.Rename(temporary, dir, name);
        Sync(dir);
    }
}

/// <summary>A raw descriptor that lives for one statement and cannot be closed underneath it.</summary>
internal ref struct Borrowed
{
    private readonly SafeFileHandle handle;
    private bool held;

    public Borrowed(SafeFileHandle handle)
    {
        this.handle = handle;
        handle.DangerousAddRef(ref held);
    }

    public readonly int Number => (int)handle.DangerousGetHandle();

    public void Dispose()
    {
        if (held)
            handle.DangerousRelease();
        held = false;
    }
}
