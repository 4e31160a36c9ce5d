namespace Sbox.Linux;

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
            (long)(raw.Blocks * raw.FragmentSize), (long)(raw.BlocksFree * raw.FragmentSize), (long)(raw.BlocksAvailable * raw.FragmentSize))
        {
            UsedInodes = (long)(raw.Files - raw.FilesFree),
        };
    }

    /// <summary>Files, directories and all else that it has; 0 where it does not count them.</summary>
    public long UsedInodes { get; init; }
}
