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

    /// <summary>Looks who maps what now.</summary>
    public void Look()
    {
        var devices = new HashSet<string>();
        IReadOnlyList<MountEntry> mounts = MountTable.Read();
        foreach (string place in (string[])[upper, mountPoint])
        {
            // The one that holds it: the longest mount point, the last of those.
            MountEntry? holds = mounts.Where(mount => place == mount.MountPoint || place.StartsWith($"{mount.MountPoint.TrimEnd('/')}/", StringComparison.Ordinal))
                .OrderBy(static mount => mount.MountPoint.Length).LastOrDefault();
            if (holds is not null && (place == upper || holds.MountPoint == mountPoint))
                devices.Add(holds.Device);
        }

        mapped = [.. SharedMap.On(devices).Where(static map => !map.IsDeleted).Select(static map => map.Inode)];
        Suspects = new HashSet<ulong>(mapped.Concat(before));
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
