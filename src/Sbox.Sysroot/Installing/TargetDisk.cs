using System.Globalization;
using Sbox.Boot;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A device that nothing will be installed on; it was not touched.</summary>
/// <param name="path">The device, as it was named.</param>
/// <param name="finding">Why not.</param>
public sealed class TargetDiskException(string path, string finding) : SysrootException($"{path}: {finding}")
{
    /// <summary>The device.</summary>
    public string Path { get; } = path;
}

/// <summary>A whole disk that a box may be written to: all that is on it will be gone.</summary>
/// <param name="Name">The kernel's name: <c>sdb</c>.</param>
/// <param name="Model">What its maker calls it; of a loop device, its file.</param>
/// <param name="Sectors">Its size in sectors of 512 bytes.</param>
/// <param name="Present">What is on it now.</param>
public sealed record TargetDisk(string Name, string Model, long Sectors, IReadOnlyList<BlockDevice> Present)
{
    /// <summary>The device node.</summary>
    public string Path => $"/dev/{Name}";

    /// <summary>Its size in bytes.</summary>
    public long Bytes => Sectors * GuidPartitionTable.SectorSize;

    /// <summary>Looks at a disk, and refuses one that is in use, that this machine runs from, or that is none.</summary>
    /// <param name="path">The device, or a link to it.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <exception cref="TargetDiskException">It is refused.</exception>
    public static TargetDisk Look(string path, string sys = "/sys")
    {
        string name = System.IO.Path.GetFileName(RealPath.Of(System.IO.Path.GetFullPath(path)));
        string block = $"{sys}/class/block/{name}";
        if (!Directory.Exists(block))
            throw new TargetDiskException(path, "there is no such disk");
        if (File.Exists($"{block}/partition"))
            throw new TargetDiskException(path, "it is a partition: a box has a disk of its own, with a table of partitions on it");
        if (Directory.Exists($"{block}/dm") || Directory.Exists($"{block}/md"))
            throw new TargetDiskException(path, "it is made of other devices, and firmware starts from none of those");
        if (Number(block, "size") is 0)
            throw new TargetDiskException(path, "there is no medium in it");
        if (Number(block, "ro") is not 0)
            throw new TargetDiskException(path, "it is read-only: a stick or card may have a switch for that");
        if (Number(block, "queue/logical_block_size") is var sector and not GuidPartitionTable.SectorSize)
            throw new TargetDiskException(path, $"its sectors have {sector} bytes, and the image of a box is made for {GuidPartitionTable.SectorSize}");
        IReadOnlyList<BlockDevice> present = [.. BlockDevices.List(sys).Where(device => device.Name == name || device.Disk == name)];
        RefuseUsed(path, present, sys);
        return new TargetDisk(name, ModelOf(block), Number(block, "size"), present);
    }

    /// <summary>Opens it for writing, and refuses one that anything uses, in whatever mount namespace.</summary>
    /// <exception cref="TargetDiskException">It is in use.</exception>
    /// <exception cref="LinuxException">It may not be opened.</exception>
    internal Microsoft.Win32.SafeHandles.SafeFileHandle Open()
    {
        using Dir dev = Dir.Open("/dev");
        try
        {
            return dev.OpenUnusedDevice(Name);
        }
        catch (LinuxException busy) when (busy.Errno == Errno.EBUSY)
        {
            throw new TargetDiskException(Path, "something uses it that is not seen from here: a container, a virtual machine, a volume");
        }
    }

    /// <summary>The device node of a partition: a number behind a name that ends with one has a <c>p</c> before it.</summary>
    internal string PartitionName(int number) => $"{Name}{(char.IsAsciiDigit(Name[^1]) ? "p" : "")}{number.ToString(CultureInfo.InvariantCulture)}";

    /// <summary>The numbers of the partitions that the kernel knows of it now.</summary>
    internal IReadOnlyList<int> KnownPartitions() =>
        [.. Directory.GetDirectories($"/sys/class/block/{Name}/", $"{Name}*").Where(static part => File.Exists($"{part}/partition")).Select(static part => (int)Number(part, "partition")).Order()];

    private static void RefuseUsed(string path, IReadOnlyList<BlockDevice> present, string sys)
    {
        IReadOnlyList<MountEntry> mounts = MountTable.Read();
        string swaps = File.Exists("/proc/swaps") ? File.ReadAllText("/proc/swaps") : "";
        foreach (BlockDevice device in present)
        {
            string[] holders = Directory.Exists($"{sys}/class/block/{device.Name}/holders") ? Directory.GetFileSystemEntries($"{sys}/class/block/{device.Name}/holders") : [];
            string[] at = [.. mounts.Where(mount => mount.Device == device.Number).Select(static mount => mount.MountPoint)];
            if (at.Contains("/sysroot") || holders.Any(holder => mounts.Any(mount => mount.MountPoint == "/sysroot" && mount.Device == Line(holder, "dev"))))
                throw new TargetDiskException(path, "this box runs from it");
            if (at.Length > 0)
                throw new TargetDiskException(path, $"{device.Path} is mounted at {string.Join(", ", at.Distinct())}");
            if (swaps.Split('\n').Any(line => line.StartsWith(device.Path + " ", StringComparison.Ordinal)))
                throw new TargetDiskException(path, $"{device.Path} is swap space in use");
            if (holders.Length > 0)
                throw new TargetDiskException(path, $"{device.Path} is part of {string.Join(", ", holders.Select(System.IO.Path.GetFileName))}");
        }
    }

    private static string ModelOf(string block)
    {
        string model = $"{Line(block, "device/vendor")} {Line(block, "device/model")}".Trim();
        return model.Length > 0 ? model : Line(block, "loop/backing_file") is { Length: > 0 } file ? $"loop device of {file}" : "a disk without a name";
    }

    private static long Number(string block, string attribute) => long.TryParse(Line(block, attribute), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : 0;

    private static string Line(string directory, string attribute) => File.Exists($"{directory}/{attribute}") ? File.ReadAllText($"{directory}/{attribute}").Trim() : "";
}
