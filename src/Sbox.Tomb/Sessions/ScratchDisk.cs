using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>Whether a directory that keeps what is not saved yet is readable to whoever takes the disk out.</summary>
/// <param name="mounts">The mount table.</param>
/// <param name="sys">Where sysfs is.</param>
public sealed class ScratchDisk(IReadOnlyList<MountEntry> mounts, string sys = "/sys")
{
    private static readonly string[] InMemory = ["tmpfs", "ramfs"];

    /// <summary>Looks at this machine.</summary>
    public static string? Finding(string directory) => new ScratchDisk(MountTable.Read()).FindingOf(directory);

    /// <summary>What is to be said of a directory.</summary>
    /// <param name="directory">An absolute path without symbolic links; it or a directory above it must be there.</param>
    /// <returns>Null where it is encrypted (dm-crypt, fscrypt) or in memory; else why what is written there is not safe, or that it cannot be told.</returns>
    public string? FindingOf(string directory)
    {
        MountEntry? mount = mounts.Where(each => each.MountPoint == "/" || directory == each.MountPoint || directory.StartsWith(each.MountPoint + "/", StringComparison.Ordinal))
            .OrderBy(static each => each.MountPoint.Length).LastOrDefault();
        if (mount is null || InMemory.Contains(mount.Type) || IsFscrypt(directory))
            return null;
        if (!mount.Source.StartsWith("/dev/", StringComparison.Ordinal))
            return $"it is on {mount.Type} of {mount.Source}, and whether that is encrypted cannot be told";
        string source = mount.Source;
        string device = Path.GetFileName(RealPath.Of(source));
        return IsEncrypted(device) ? null : $"it is on {source}, which is not encrypted: whoever takes the disk reads what was not saved";
    }

    // Through everything that is made of other devices: a volume on LUKS, a file on such a volume.
    private bool IsEncrypted(string device)
    {
        string at = $"{sys}/class/block/{device}";
        if (device.StartsWith("zram", StringComparison.Ordinal) || (File.Exists($"{at}/dm/uuid") && File.ReadAllText($"{at}/dm/uuid").StartsWith("CRYPT-", StringComparison.Ordinal)))
            return true;
        if (File.Exists($"{at}/loop/backing_file"))
            return FindingOf(File.ReadAllText($"{at}/loop/backing_file").Trim()) is null;
        string[] below = Directory.Exists($"{at}/slaves") ? Directory.GetFileSystemEntries($"{at}/slaves") : [];
        return below.Length > 0 && Array.TrueForAll(below, each => IsEncrypted(Path.GetFileName(each)));
    }

    private static bool IsFscrypt(string directory)
    {
        for (string? at = directory; at is not null; at = Path.GetDirectoryName(at))
        {
            if (!Directory.Exists(at))
                continue;
            using Dir dir = Dir.Open(at);
            return InodeFlags.IsEncrypted(dir);
        }

        return false;
    }
}
