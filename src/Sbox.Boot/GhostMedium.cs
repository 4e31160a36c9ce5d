using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>The disk, stick or CD that a ghost was started from, and whether it is still plugged in.</summary>
/// <param name="Name">The kernel's name of the lowest device: <c>sda2</c>.</param>
/// <param name="Device">Its directory in sysfs, which goes when it is taken out and is another one when it is put in again.</param>
/// <param name="IsCopied">Whether this boot runs from a copy of it in memory, and needs it no more.</param>
public sealed record GhostMedium(string Name, string Device, bool IsCopied)
{
    // A slot or bay gives whatever is put into it the same directory, by its name.
    private readonly ulong? inode = InodeOf(Device);

    /// <summary>Whether it is plugged in. Costs a system call, and touches no disk.</summary>
    public bool IsThere => inode is { } known && InodeOf(Device) == known;

    /// <summary>What the running ghost was started from.</summary>
    /// <param name="sysroot">The physical root.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="run">Where /run is.</param>
    /// <returns>Null where it is no block device that the kernel knows of (any more).</returns>
    public static GhostMedium? Find(string sysroot = "/sysroot", string sys = "/sys", string run = "/run")
    {
        if (MemoryDisk.Read(run) is { Refused: null } copy)
            return Lowest($"{sys}/class/block/{Path.GetFileName(copy.Medium)}", isCopied: true);
        using Dir root = Dir.Open(sysroot);
        return Of(root.Stat().Device, sys);
    }

    /// <summary>What lies below a file system.</summary>
    /// <param name="number">Its device, as stat(2) numbers it.</param>
    /// <param name="sys">Where sysfs is.</param>
    internal static GhostMedium? Of(ulong number, string sys)
    {
        ulong major = ((number >> 8) & 0xfff) | ((number >> 32) & ~0xfffUL), minor = (number & 0xff) | ((number >> 12) & ~0xffUL); // makedev(3)
        return Lowest(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{sys}/dev/block/{major}:{minor}"), isCopied: false);
    }

    private static ulong? InodeOf(string device)
    {
        try
        {
            return Files.StatFollowed(device).Inode;
        }
        catch (LinuxException gone) when (gone.Errno is Errno.ENOENT or Errno.ENOTDIR)
        {
            return null;
        }
    }

    // An encrypted volume stays when its disk goes.
    private static GhostMedium? Lowest(string link, bool isCopied)
    {
        if (!Directory.Exists(link))
            return null;
        string device = RealPath.Of(link);
        while (Directory.Exists($"{device}/slaves") && Directory.GetFileSystemEntries($"{device}/slaves") is [var below])
            device = RealPath.Of(below);
        return new GhostMedium(Path.GetFileName(device), device, isCopied);
    }
}
