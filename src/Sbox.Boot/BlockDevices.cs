using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>A disk or partition, as the kernel and udev know it.</summary>
/// <param name="Name">The kernel's name: <c>vda2</c>.</param>
/// <param name="Number">Major and minor: <c>254:2</c>.</param>
/// <param name="Disk">The disk that the partition is on: <c>vda</c>; null for a disk.</param>
/// <param name="Properties">udev's properties of it (ID_FS_LABEL, ID_PART_ENTRY_UUID ...); none before udev saw it.</param>
public sealed record BlockDevice(string Name, string Number, string? Disk, IReadOnlyDictionary<string, string> Properties)
{
    /// <summary>The device that this one was opened from, an encrypted volume's: <c>vda2</c>; null for others.</summary>
    public string? Below { get; init; }

    /// <summary>The device node.</summary>
    public string Path => $"/dev/{Name}";

    /// <summary>The file system's label.</summary>
    public string? Label => Properties.GetValueOrDefault("ID_FS_LABEL");

    /// <summary>The file system's type.</summary>
    public string? FileSystem => Properties.GetValueOrDefault("ID_FS_TYPE");

    /// <summary>The partition's own UUID, lower case.</summary>
    public string? PartitionUuid => Properties.GetValueOrDefault("ID_PART_ENTRY_UUID");

    /// <summary>The partition's type UUID, lower case.</summary>
    public string? PartitionType => Properties.GetValueOrDefault("ID_PART_ENTRY_TYPE");

    /// <summary>As a person reads it: <c>vda2 (ext4 sbox-root)</c>.</summary>
    public override string ToString() => (FileSystem, Label) switch
    {
        (null, _) => Name,
        (_, null) => $"{Name} ({FileSystem})",
        _ => $"{Name} ({FileSystem} {Label})",
    };
}

/// <summary>The machine's disks and partitions.</summary>
public static class BlockDevices
{
    /// <summary>All that have a size, by name; without RAM disks and unused loop devices.</summary>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="udev">Where udev keeps its properties.</param>
    public static IReadOnlyList<BlockDevice> List(string sys = "/sys", string udev = "/run/udev/data")
    {
        var devices = new List<BlockDevice>();
        if (!Directory.Exists($"{sys}/class/block"))
            return devices;
        foreach (string link in Directory.EnumerateFileSystemEntries($"{sys}/class/block").Order(StringComparer.Ordinal))
        {
            string name = System.IO.Path.GetFileName(link);
            if (ReadLine($"{link}/size") is null or "0" || name.StartsWith("ram", StringComparison.Ordinal))
                continue;
            string number = ReadLine($"{link}/dev") ?? "";
            devices.Add(new BlockDevice(name, number, DiskOf(link, name), Properties($"{udev}/b{number}"))
            {
                Below = EncryptedDisk.Below(number, sys)?.Device,
            });
        }

        return devices;
    }

    /// <summary>Whether nothing can be written to a device: a CD, a stick with a switch.</summary>
    /// <param name="name">The kernel's name.</param>
    /// <param name="sys">Where sysfs is.</param>
    public static bool IsReadOnly(string name, string sys = "/sys") => ReadLine($"{sys}/class/block/{name}/ro") == "1";

    // A partition's directory lies in its disk's: .../block/vda/vda2.
    private static string? DiskOf(string link, string name)
    {
        if (!File.Exists($"{link}/partition"))
            return null;
        string? target = new DirectoryInfo(link).LinkTarget;
        return target is null ? null : System.IO.Path.GetFileName(System.IO.Path.GetDirectoryName(target)) is { Length: > 0 } disk && disk != name ? disk : null;
    }

    private static Dictionary<string, string> Properties(string path)
    {
        var properties = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string line in ReadLines(path))
        {
            int equals = line.IndexOf('=', StringComparison.Ordinal);
            if (equals > 2 && line.StartsWith("E:", StringComparison.Ordinal))
                properties[line[2..equals]] = line[(equals + 1)..];
        }

        return properties;
    }

    private static string? ReadLine(string path) => ReadLines(path).FirstOrDefault();

    private static string[] ReadLines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (IOException) // it has none, or left while we looked
        {
            return [];
        }
    }
}
