using System.Globalization;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>One storage behind the system, as it was found when the sentinel started.</summary>
/// <param name="Rule">The policy's word on it.</param>
/// <param name="Device">Its device: <c>254:2</c>.</param>
/// <param name="Disk">All devices of the disk that it is on, itself and the disk included.</param>
public sealed record StorageFacts(GuardedStorage Rule, string Device, IReadOnlySet<string> Disk);

/// <summary>What the system is made of; found once, from the mounts of process 1.</summary>
/// <param name="RootDevice">The device number of the root's file system.</param>
/// <param name="RootPath">The directory of that file system which is the root.</param>
/// <param name="Namespace">The mount namespace of process 1.</param>
/// <param name="Storage">The storage that the policy names and that is mounted.</param>
public sealed record SystemFacts(string RootDevice, string RootPath, uint Namespace, IReadOnlyList<StorageFacts> Storage)
{
    /// <summary>A process that sees it as everyone does.</summary>
    public int Process { get; init; } = 1;

    /// <summary>Finds out.</summary>
    /// <param name="policy">Which storage is behind the system.</param>
    /// <param name="mounts">The mounts of process 1.</param>
    /// <param name="number">Its mount namespace.</param>
    /// <param name="diskOf">The devices on the same disk as one; see <see cref="DisksOf"/>.</param>
    public static SystemFacts Of(SentinelPolicy policy, IReadOnlyList<MountEntry> mounts, uint number, Func<string, IReadOnlySet<string>> diskOf)
    {
        MountEntry? root = MountTree.Of(mounts).Base;
        var storage = new List<StorageFacts>();
        foreach (IGrouping<string, GuardedStorage> rules in policy.Storage.GroupBy(static rule => rule.Mount))
        {
            // The lowest one there: what was mounted over it later is a finding, not a fact.
            MountEntry? entry = mounts.Where(each => each.MountPoint == rules.Key).MinBy(static each => each.Id);
            if (entry is null)
                continue;
            var rule = new GuardedStorage(rules.Key, [.. rules.SelectMany(static each => each.Writable)]);
            storage.Add(new StorageFacts(rule, entry.Device, diskOf(entry.Device)));
        }

        return new SystemFacts(root?.Device ?? "", root?.Root ?? "", number, storage);
    }

    /// <summary>The device's disk, all partitions of it, and what it is made of where it is a mapped one, by /sys/dev/block.</summary>
    public static IReadOnlySet<string> DisksOf(string device)
    {
        var devices = new HashSet<string>(StringComparer.Ordinal) { device };
        string here = $"/sys/dev/block/{device}";
        if (!Directory.Exists(here))
            return devices;
        string real = Path.GetFullPath(new DirectoryInfo(here).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? here);
        string disk = File.Exists($"{real}/partition") ? Path.GetDirectoryName(real)! : real;
        foreach (string each in Directory.GetDirectories(disk).Prepend(disk))
        {
            if (File.Exists($"{each}/dev") && (each == disk || File.Exists($"{each}/partition")))
                devices.Add(File.ReadAllText($"{each}/dev").Trim());
        }

        if (Directory.Exists($"{real}/slaves"))
        {
            foreach (string below in Directory.GetDirectories($"{real}/slaves"))
                devices.UnionWith(DisksOf(File.ReadAllText($"{below}/dev").Trim()));
        }

        return devices;
    }

    /// <summary>A kernel's inner device number as mountinfo writes it.</summary>
    public static string DeviceName(uint inner) => string.Create(CultureInfo.InvariantCulture, $"{inner >> 20}:{inner & 0xFFFFF}");
}

/// <summary>Mounts as the tree that they are.</summary>
public sealed class MountTree
{
    private readonly Dictionary<int, MountEntry> byId;

    private MountTree(IReadOnlyList<MountEntry> mounts, Dictionary<int, MountEntry> byId, MountEntry? root) =>
        (Mounts, this.byId, Base) = (mounts, byId, root);

    /// <summary>All of them.</summary>
    public IReadOnlyList<MountEntry> Mounts { get; }

    /// <summary>The lowest one: the mount on no other mount of this table.</summary>
    public MountEntry? Base { get; }

    /// <summary>Sorts a table.</summary>
    public static MountTree Of(IReadOnlyList<MountEntry> mounts)
    {
        var byId = new Dictionary<int, MountEntry>(mounts.Count);
        foreach (MountEntry each in mounts)
            byId.TryAdd(each.Id, each);
        return new MountTree(mounts, byId, mounts.FirstOrDefault(each => each.ParentId == each.Id || !byId.ContainsKey(each.ParentId)));
    }

    /// <summary>The mount that a mount is on; null for the lowest.</summary>
    public MountEntry? ParentOf(MountEntry entry) => entry.ParentId != entry.Id ? byId.GetValueOrDefault(entry.ParentId) : null;

    /// <summary>The mount that a path leads to: the topmost on the longest mount point above it.</summary>
    public MountEntry? Carrying(string path)
    {
        MountEntry? best = Base;
        for (int depth = 0; best is not null && depth <= Mounts.Count; depth++)
        {
            MountEntry? next = Mounts.FirstOrDefault(each => each.ParentId == best.Id && each.Id != best.Id && IsAtOrBelow(path, each.MountPoint));
            if (next is null)
                return best;
            best = next;
        }

        return best;
    }

    /// <summary>Whether a path is another, or lies below it.</summary>
    public static bool IsAtOrBelow(string path, string above) =>
        above == "/" || (path.StartsWith(above, StringComparison.Ordinal) && (path.Length == above.Length || path[above.Length] == '/'));
}
