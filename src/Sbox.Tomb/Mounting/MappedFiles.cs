using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// Which files of an upper layer may change without a trace: what is written through a shared mapping changes no time of a file in memory,
/// and on a disk only once in a while. They are read again by every save while they are mapped, and by the one after.
/// </summary>
/// <param name="upper">The upper layer's path.</param>
/// <param name="mountPoint">Where the overlay is.</param>
internal sealed class MappedFiles(string upper, string mountPoint)
{
    private HashSet<ulong> mapped = [], before = [];
    private bool pending, allBefore;

    /// <summary>The upper layer's inodes that are mapped, or were at the last save.</summary>
    public IReadOnlySet<ulong> Suspects { get; private set; } = new HashSet<ulong>();

    /// <summary>Who has files of the overlay mapped.</summary>
    public IReadOnlyList<int> Mappers { get; private set; } = [];

    /// <summary>Looks who maps what now.</summary>
    public void Look()
    {
        (IReadOnlyList<string> devices, Func<SharedMap, bool> isOurs) = Overlay();
        Note([.. SharedMap.On(devices).Where(isOurs)]);
    }

    /// <summary>Looks at some processes once more, and adds what they have mapped since.</summary>
    public void LookAgain(IReadOnlyCollection<int> processes)
    {
        (IReadOnlyList<string> devices, Func<SharedMap, bool> isOurs) = Overlay();
        HashSet<ulong> earlier = mapped;
        IReadOnlyList<int> mappers = Mappers;
        Note([.. SharedMap.On(devices, processes).Where(isOurs)]);
        mapped.UnionWith(earlier);
        Mappers = [.. mappers.Union(Mappers)];
        Suspects = new HashSet<ulong>(mapped.Concat(before));
    }

    private void Note(SharedMap[] maps)
    {
        mapped = [.. maps.Select(static map => map.Inode)];
        Mappers = [.. maps.Select(static map => map.Process).Distinct()];
        Suspects = new HashSet<ulong>(mapped.Concat(before));
    }

    private (IReadOnlyList<string> Devices, Func<SharedMap, bool> IsOurs) Overlay()
    {
        IReadOnlyList<MountEntry> mounts = MountTable.Read();
        string? overlay = mounts.LastOrDefault(mount => mount.MountPoint == mountPoint && mount.Type == "overlay")?.Device;
        MountEntry? holds = mounts.Where(mount => upper.StartsWith($"{mount.MountPoint.TrimEnd('/')}/", StringComparison.Ordinal)).OrderBy(static mount => mount.MountPoint.Length).LastOrDefault();
        bool isOwn = holds?.MountPoint == Path.GetDirectoryName(upper); // memory of the session's: nothing else is on it

        // Kernels from 6.8 on show the overlay's device and number, those before the upper layer's, both with the overlay's path.
        return (
            [.. new[] { overlay, holds?.Device }.OfType<string>()],
            map => !map.IsDeleted && (map.Device == overlay || isOwn || map.Path.StartsWith($"{mountPoint}/", StringComparison.Ordinal)));
    }

    /// <summary>Whether something may have changed that no time tells of.</summary>
    public bool Any => Suspects.Count > 0 || allBefore;

    /// <summary>Has them read by this save.</summary>
    /// <param name="look">The upper layer, looked at with these <see cref="Suspects"/>.</param>
    /// <param name="saved">Forgets them; all files when the overlay shows numbers that are not the upper layer's.</param>
    public void Forget(UpperLook look, SavedFiles saved)
    {
        bool unknown = !mapped.IsSubsetOf(look.Suspects);
        if (unknown || allBefore)
            saved.Clear();
        else
            saved.Forget(Suspects);
        pending = unknown;
    }

    /// <summary>The save that read them is done.</summary>
    public void Saved() => (before, allBefore, Suspects) = (mapped, pending, mapped);
}
