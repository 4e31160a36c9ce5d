using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What may become of something that a list of what stays once kept and names no more.</summary>
public enum OrphanFate
{
    /// <summary>It is as it was kept, and the disk had nothing there before: it can be deleted.</summary>
    Deletable,
    /// <summary>The disk had something there before that was kept; what that was nobody knows any more, so this stays.</summary>
    WasThere,
    /// <summary>Somebody has changed it since: it is theirs by now, and stays.</summary>
    ChangedSince,
}

/// <summary>Something that a list of what stays once kept, and that none names any more.</summary>
/// <param name="Kept">What was kept, when, and by what.</param>
/// <param name="Bytes">A file's size on the disk now.</param>
/// <param name="Fate">What may become of it.</param>
public sealed record Orphan(KeptPath Kept, long Bytes, OrphanFate Fate);

/// <summary>Finds and deletes what lists of what stays have left behind on the disk.</summary>
public static class KeptOrphans
{
    /// <summary>Lists them, each directory before what is in it.</summary>
    /// <param name="record">What was ever kept.</param>
    /// <param name="rules">What is named now.</param>
    /// <param name="layers">The directories, as a ghost has them; on a boot that is none, with <see cref="GhostLayer.At"/> for the disk's side too.</param>
    public static IReadOnlyList<Orphan> Find(IReadOnlyList<KeptPath> record, IReadOnlyList<KeepRule> rules, IReadOnlyList<GhostLayer> layers)
    {
        var orphans = new List<Orphan>();
        var deletable = new HashSet<string>(StringComparer.Ordinal);
        foreach (GhostLayer layer in layers)
        {
            using Dir disk = Dir.Open(layer.Lower), session = Dir.Open(layer.At);
            // What is in a directory before it: nothing but orphans makes it one.
            foreach (KeptPath kept in record.Where(kept => layer.Holds(kept.Path) && kept.Path != layer.At && rules.For(kept.Path) is null).Reverse())
            {
                string path = layer.Relative(kept.Path);
                if (Stat(disk, path) is not { } now || (kept.IsDirectory && !(kept.IsNew && HoldsOnly(session, path, kept.Path, deletable))))
                    continue;
                bool isSame = kept.IsStill(now) && Stat(session, path) is { } seen && kept.IsStill(seen);
                var orphan = new Orphan(kept, now.IsRegular ? now.Size : 0, !kept.IsNew ? OrphanFate.WasThere : isSame ? OrphanFate.Deletable : OrphanFate.ChangedSince);
                orphans.Add(orphan);
                if (orphan.Fate == OrphanFate.Deletable)
                    deletable.Add(kept.Path);
            }
        }

        return [.. orphans.OrderBy(static orphan => orphan.Kept.Path, StringComparer.Ordinal)];
    }

    /// <summary>
    /// Deletes those that may be: files first, then directories that have become empty. Names are opened one by one, so nobody's link leads elsewhere; what
    /// has changed since it was listed stays. Killed at any moment, each is there or is not.
    /// </summary>
    /// <param name="orphans">As <see cref="Find"/> listed them.</param>
    /// <param name="layer">The directory; others' orphans are left alone.</param>
    /// <param name="isGhost">Whether a session stands over the disk: then the session forgets it first, so that it never sees the disk change below it.</param>
    /// <param name="cancel">Looked at between two.</param>
    /// <returns>What is gone.</returns>
    /// <exception cref="LinuxException">The disk refused.</exception>
    public static IReadOnlyList<Orphan> Delete(IReadOnlyList<Orphan> orphans, GhostLayer layer, bool isGhost, CancellationToken cancel = default)
    {
        Orphan[] mine = [.. orphans.Where(orphan => orphan.Fate == OrphanFate.Deletable && layer.Holds(orphan.Kept.Path)).Reverse()];
        var gone = new List<Orphan>();
        using Dir session = Dir.Open(layer.At), disk = Dir.Open(layer.Lower);
        foreach (Orphan orphan in mine.Where(static orphan => !orphan.Kept.IsDirectory).Concat(mine.Where(static orphan => orphan.Kept.IsDirectory)))
        {
            cancel.ThrowIfCancellationRequested();
            string path = layer.Relative(orphan.Kept.Path);
            if (Stat(disk, path) is not { } now || !orphan.Kept.IsStill(now))
                continue;
            if (Remove(session, path, orphan.Kept) && (!isGhost || Remove(disk, path, orphan.Kept)))
                gone.Add(orphan);
        }

        Durable.SyncFileSystem(disk);
        return gone;
    }

    private static bool HoldsOnly(Dir root, string relative, string path, HashSet<string> these)
    {
        using Dir? parent = root.TryOpenParent(relative, out string name);
        using Dir? inner = parent?.TryStat(name) is { IsDirectory: true } ? parent.TryOpenDir(name) : null;
        return inner is not null && inner.Entries().All(entry => these.Contains($"{path}/{entry.Name}"));
    }

    private static bool Remove(Dir root, string path, KeptPath kept)
    {
        using Dir? parent = root.TryOpenParent(path, out string name);
        if (parent?.TryStat(name) is not { } now || !kept.IsStill(now))
            return false;
        if (!kept.IsDirectory)
            return parent.TryUnlink(name);
        using (Dir inner = parent.OpenDir(name))
        {
            if (inner.Entries().Count > 0)
                return false;
        }

        parent.RemoveDir(name);
        return true;
    }

    private static FileStat? Stat(Dir root, string path)
    {
        using Dir? parent = root.TryOpenParent(path, out string name);
        return parent?.TryStat(name);
    }
}
