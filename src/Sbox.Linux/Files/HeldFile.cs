using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>
/// A file whose bytes stay in memory until this is disposed: whoever has it mapped needs no disk for them, even when the disk is gone (to open it then is refused by the file system). The pages are
/// those that everybody shares, so what is in use anyway costs nothing more.
/// </summary>
public sealed unsafe class HeldFile : IDisposable
{
    private readonly SafeFileHandle file; // keeps the way to its name, too
    private nint mapped;

    private HeldFile(SafeFileHandle file, nint mapped, long bytes) => (this.file, this.mapped, Bytes) = (file, mapped, bytes);

    /// <summary>How many bytes it holds.</summary>
    public long Bytes { get; }

    /// <summary>Reads a file and holds it.</summary>
    /// <param name="path">A regular file; symbolic links are followed.</param>
    /// <param name="most">Bytes that it may have.</param>
    /// <returns>Null where there is none, it is empty or has more, or where the kernel locks no more memory for this process (RLIMIT_MEMLOCK).</returns>
    public static HeldFile? TryHold(string path, long most)
    {
        SafeFileHandle file;
        try
        {
            file = File.OpenHandle(path);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        FileStat stat = Files.Stat(file, path);
        nint mapped = -1;
        if (stat.IsRegular && stat.Size > 0 && stat.Size <= most)
        {
            using var fd = new Borrowed(file);
            mapped = LibC.mmap(0, (nint)stat.Size, LibC.PROT_READ, LibC.MAP_SHARED, fd.Number, 0);
        }

        if (mapped != -1 && Answer.Of(LibC.mlock((void*)mapped, (nint)stat.Size)) == Errno.None)
            return new HeldFile(file, mapped, stat.Size);
        if (mapped != -1)
            _ = LibC.munmap(mapped, (nint)stat.Size); // it can only fail for an address that is no mapping
        file.Dispose();
        return null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Lets go of what nobody disposed.</summary>
    ~HeldFile() => Release();

    private void Release()
    {
        nint mine = Interlocked.Exchange(ref mapped, 0);
        if (mine == 0)
            return;
        _ = LibC.munmap(mine, (nint)Bytes); // unlocks it, too
        file.Dispose();
    }
}
