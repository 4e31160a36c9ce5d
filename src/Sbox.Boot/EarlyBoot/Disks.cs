using System.Diagnostics;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>A disk or partition that was looked at.</summary>
/// <param name="Device">The device; its properties are made of what its own bytes say.</param>
/// <param name="Superblock">The file system on it.</param>
internal sealed record ProbedDisk(BlockDevice Device, Superblock Superblock);

/// <summary>
/// Looks for the disk of <c>root=</c> without udev: reads the first bytes of each disk that appears, once. Two disks with the same box, a stick and what was
/// installed from it, have the same labels: the one that the boot loader came from is meant, and is waited for.
/// </summary>
/// <param name="root">What <c>root=</c> asks for: <c>LABEL=</c>, <c>UUID=</c>, <c>PARTLABEL=</c> or <c>/dev/NAME</c>.</param>
/// <param name="sys">Where sysfs is.</param>
/// <param name="dev">Where the device nodes are.</param>
/// <param name="torn">What an encryption that was cut short left of a disk's beginning: put back before that disk is looked at.</param>
/// <param name="say">One line for the console, where that is done.</param>
/// <param name="loader">The partition that the boot loader came from, lower case; null where the firmware does not say.</param>
internal sealed class Disks(string root, string sys = "/sys", string dev = "/dev", HeadCopy? torn = null, Action<string>? say = null, string? loader = null) : IDisposable
{
    /// <summary>How long a disk of that label waits for the boot loader's own, which may be a slow stick.</summary>
    internal static readonly TimeSpan LoaderLimit = TimeSpan.FromSeconds(10);

    private const string RootPartition = "sbox-root";

    // Each lives as long as something holds it: until the root is mounted, that is this.
    private readonly List<SafeFileHandle> partitionsOnCds = [];
    private long? first;

    private HeadCopy? torn = torn;
    private readonly HashSet<string> looked = new(StringComparer.Ordinal);
    private readonly List<ProbedDisk> found = [];

    /// <summary>Lets go of partitions on CDs: those that are not mounted vanish.</summary>
    public void Dispose()
    {
        foreach (SafeFileHandle partition in partitionsOnCds)
            partition.Dispose();
    }

    /// <summary>The file systems seen so far.</summary>
    public IEnumerable<BlockDevice> Present => found.Select(static disk => disk.Device);

    /// <summary>Whether this is a way to name a disk that is understood here.</summary>
    public static bool Understands(string root) =>
        root.StartsWith("LABEL=", StringComparison.Ordinal) || root.StartsWith("UUID=", StringComparison.Ordinal)
        || root.StartsWith("PARTLABEL=", StringComparison.Ordinal) || (root.StartsWith("/dev/", StringComparison.Ordinal) && root.LastIndexOf('/') == 4);

    /// <summary>Looks at what is new; null while the one that is wanted is not there.</summary>
    public ProbedDisk? Look()
    {
        foreach (BlockDevice device in BlockDevices.List(sys, udev: "/nonexistent"))
        {
            // A drive whose medium is changed keeps its name; its size is new. A disk is in sysfs some milliseconds before it can be opened,
            // and one that spins up fails its first reads: only what was read is not looked at again.
            string seen = $"{device.Name} {Line($"{sys}/class/block/{device.Name}/size")}";
            if (looked.Contains(seen) || !TryMend(device.Name) || !TryRead(device.Name, Superblock.Length, out byte[] bytes))
                continue;
            looked.Add(seen);
            if (device.Name.StartsWith("sr", StringComparison.Ordinal))
                OpenPartitionOnCd(device.Name);
            if (Superblock.Parse(bytes) is not { } superblock)
                continue;
            found.Add(new ProbedDisk(device with
            {
                Properties = new Dictionary<string, string>
                {
                    ["ID_FS_TYPE"] = superblock.Type,
                    ["ID_FS_UUID"] = superblock.Uuid,
                    ["ID_FS_LABEL"] = superblock.Label,
                    ["ID_PART_ENTRY_NAME"] = PartitionName(device.Name),
                },
            }, superblock));
        }

        return Choose(found.FindAll(IsWanted));
    }

    // A boot loader on another disk than its root, or none that Linux sees, only takes longer.
    private ProbedDisk? Choose(List<ProbedDisk> wanted)
    {
        if (wanted.Count == 0 || loader is null || !NamesMany())
            return wanted.FirstOrDefault();
        first ??= Stopwatch.GetTimestamp();
        if (wanted.Find(disk => disk.Device.Disk is { } whole && HasLoader(whole)) is { } own)
            return own;
        if (Stopwatch.GetElapsedTime(first.Value) < LoaderLimit)
            return null;
        say?.Invoke($"the boot loader came from the partition {loader}, and no disk with {root} has it: {wanted[0].Device} is taken");
        return wanted[0];
    }

    // A UUID is one disk's, and a device's name is what somebody chose.
    private bool NamesMany() => root.StartsWith("LABEL=", StringComparison.Ordinal) || root.StartsWith("PARTLABEL=", StringComparison.Ordinal);

    private bool HasLoader(string disk)
    {
        try
        {
            return TryRead(disk, GuidPartitionTable.HeadBytes, out byte[] head) && GuidPartitionTable.Parse(head).Slots.Any(partition => partition is not null && $"{partition.Id:D}" == loader);
        }
        catch (MalformedException) // another kind of table, or none
        {
            return false;
        }
    }

    // A volume of LUKS1 says nothing of itself, and is none of ours.
    private bool IsWanted(ProbedDisk disk) => disk.Superblock is { Type: Superblock.Ext4 } or { Type: Superblock.Luks, Uuid: not "" } && root.Split('=', 2) switch
    {
        ["LABEL", var label] => disk.Superblock.Label == label,
        ["UUID", var uuid] => disk.Superblock.Uuid.Equals(uuid, StringComparison.OrdinalIgnoreCase),
        ["PARTLABEL", var name] => disk.Device.Properties["ID_PART_ENTRY_NAME"] == name,
        _ => root == disk.Device.Path,
    };

    // False for a disk that cannot be read yet. One that can be read and not written stops the boot: the next one tries again.
    private bool TryMend(string name)
    {
        if (torn is null)
            return true;
        try
        {
            if (!torn.IsOf(name))
                return true;
        }
        catch (IOException)
        {
            return false;
        }

        say?.Invoke($"{dev}/{name}: the encryption was cut short as it began; what was there is put back");
        torn.PutBack(name);
        torn = null;
        return true;
    }

    private bool TryRead(string name, int length, out byte[] bytes)
    {
        bytes = [];
        try
        {
            using Dir devices = Dir.Open(dev);
            using SafeFileHandle? device = devices.TryOpenFile(name);
            if (device is null)
                return false;
            var buffer = new byte[length];
            int filled = 0;
            for (int read; filled < buffer.Length && (read = RandomAccess.Read(device, buffer.AsSpan(filled), filled)) > 0;)
                filled += read;
            bytes = buffer[..filled];
            return true;
        }
        catch (IOException) // not there yet, a drive without a medium, a disk that fails: asked again in the next round
        {
            return false;
        }
    }

    // The kernel looks for no partitions on a CD, whose sectors are not those of the image on it. A loop device is one, and is seen in the next round.
    private void OpenPartitionOnCd(string name)
    {
        try
        {
            using Dir devices = Dir.Open(dev);
            using SafeFileHandle cd = devices.OpenFile(name);
            if (!TryRead(name, GuidPartitionTable.HeadBytes, out byte[] head)
                || GuidPartitionTable.Parse(head).Slots.FirstOrDefault(static partition => partition?.Name == RootPartition) is not { } root)
                return;
            partitionsOnCds.Add(LoopDevice.Attach(cd, devices.Of(name), root.First * GuidPartitionTable.SectorSize, root.Sectors * GuidPartitionTable.SectorSize).Device);
        }
        catch (MalformedException) // a CD of something else
        {
        }
        catch (LinuxException refused)
        {
            say?.Invoke(refused.Message);
        }
    }

    private string PartitionName(string name) =>
        Lines($"{sys}/class/block/{name}/uevent").FirstOrDefault(static line => line.StartsWith("PARTNAME=", StringComparison.Ordinal))?["PARTNAME=".Length..] ?? "";

    private static string Line(string path) => Lines(path).FirstOrDefault() ?? "";

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (IOException) // the device left while we looked
        {
            return [];
        }
    }
}
