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

/// <summary>Finds and deletes what lists of what stays have left behind on the disk. What is in doubt is no orphan, and stays.</summary>
public static class KeptOrphans
{
    private const string InUse = "the session reads from there what it renamed; in a boot that is no ghost it can be deleted";
    private const string Changed = "it has changed since it was listed";

    /// <summary>Lists them, each directory before what is in it. What something is mounted on, or is behind a mount, is none: it is another's.</summary>
    /// <param name="record">What was ever kept.</param>
    /// <param name="rules">What is named now, by whichever version's lists: /var and the record are common to all.</param>
    /// <param name="layers">The directories, as a ghost has them; on a boot that is none, with <see cref="GhostLayer.At"/> for the disk's side too.</param>
    /// <exception cref="LinuxException">A directory could not be looked at.</exception>
    public static IReadOnlyList<Orphan> Find(IReadOnlyList<KeptPath> record, IReadOnlyList<KeepRule> rules, IReadOnlyList<GhostLayer> layers)
    {
        var orphans = new List<Orphan>();
        KeptPath[] unnamed = [.. record.Where(kept => rules.For(kept.Path) is null)];
        foreach (GhostLayer layer in layers)
        {
            using Dir disk = Dir.Open(layer.Lower), session = Dir.Open(layer.At);
            string[] mounted = MountedBelow(layer);
            var deletable = new HashSet<string>(StringComparer.Ordinal);
            // What is in a directory before it: nothing but orphans makes it one.
            foreach (KeptPath kept in unnamed.Where(kept => layer.Holds(kept.Path) && kept.Path != layer.At && !IsBehind(mounted, kept.Path)).Reverse())
            {
                string path = layer.Relative(kept.Path);
                if (Stat(disk, path) is not { } now || (kept.IsDirectory && !IsOrphan(kept, rules, disk, session, path, deletable)))
                    continue;
                bool isSame = kept.IsStill(now) && Stat(session, path) is { } seen && kept.Looks(seen);
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
    /// has changed since it was listed stays, and so does what something was mounted over. Killed at any moment, each is there or is not.
    /// </summary>
    /// <param name="orphans">As <see cref="Find"/> listed them.</param>
    /// <param name="layer">The directory; others' orphans are left alone.</param>
    /// <param name="isGhost">Whether a session stands over the disk: then the session forgets it first, so that it never sees the disk change below it.</param>
    /// <param name="done">Told of each of this directory that may be deleted: null when it is gone, or why it is not.</param>
    /// <param name="cancel">Looked at between two.</param>
    /// <exception cref="LinuxException">The directory could not be looked at, or what is gone not be made durable.</exception>
    public static void Delete(IReadOnlyList<Orphan> orphans, GhostLayer layer, bool isGhost, Action<Orphan, string?> done, CancellationToken cancel = default)
    {
        Orphan[] mine = [.. orphans.Where(orphan => orphan.Fate == OrphanFate.Deletable && layer.Holds(orphan.Kept.Path)).Reverse()];
        if (mine.Length == 0)
            return;
        string[] renamed = isGhost ? [.. LedgerScan.Of(layer, cancel).Select(static entry => entry.From).OfType<string>()] : [];
        using Dir session = Dir.Open(layer.At), disk = Dir.Open(layer.Lower);
        try
        {
            foreach (Orphan orphan in mine.Where(static orphan => !orphan.Kept.IsDirectory).Concat(mine.Where(static orphan => orphan.Kept.IsDirectory)))
            {
                cancel.ThrowIfCancellationRequested();
                done(orphan, renamed.Any(from => GhostLayer.IsAtOrBelow(orphan.Kept.Path, from) || GhostLayer.IsAtOrBelow(from, orphan.Kept.Path)) ? InUse
                    : IsBehind(MountedBelow(layer), orphan.Kept.Path) ? "something is mounted there" : TryRemove(session, disk, layer.Relative(orphan.Kept.Path), orphan.Kept, isGhost));
            }
        }
        finally
        {
            Durable.SyncFileSystem(disk);
        }
    }

    // In the ledger's words, on either side: what is mounted is not what a list has kept, and to look there may wait for a network or start an automount.
    private static string[] MountedBelow(GhostLayer layer) =>
        [.. MountTable.Read().Select(static mount => mount.MountPoint).SelectMany(point => new[] { layer.At, layer.Lower }.Distinct(StringComparer.Ordinal)
            .Where(side => point != side && GhostLayer.IsAtOrBelow(point, side)).Select(side => layer.At + point[side.Length..])).Distinct(StringComparer.Ordinal)];

    private static bool IsBehind(string[] mounted, string path) => mounted.Any(point => GhostLayer.IsAtOrBelow(path, point));

    private static bool IsOrphan(KeptPath directory, IReadOnlyList<KeepRule> rules, Dir disk, Dir session, string path, HashSet<string> deletable)
    {
        // Where a list names something in it, it is that one's.
        if (!directory.IsNew || rules.Any(rule => rule.IsPath && GhostLayer.IsAtOrBelow(rule.What, directory.Path))
            || Stat(disk, path) is not { } now || !directory.IsStill(now) || Names(disk, path) is not { } kept || Names(session, path) is not { } seen)
            return false;
        string[] all = [.. kept.Union(seen, StringComparer.Ordinal)];
        return all.Length == 0 ? !directory.IsParent : all.All(name => deletable.Contains($"{directory.Path}/{name}"));
    }

    private static string[]? Names(Dir root, string path)
    {
        using Dir? parent = root.TryOpenParent(path, out string name);
        using Dir? inner = parent?.TryStat(name) is { IsDirectory: true } ? parent.TryOpenDir(name) : null;
        return inner is null ? null : [.. inner.Entries().Select(static entry => entry.Name)];
    }

    // Null when it is gone; else why not.
    private static string? TryRemove(Dir session, Dir disk, string path, KeptPath kept, bool isGhost)
    {
        try
        {
            if (Stat(disk, path) is not { } now || !kept.IsStill(now) || !Remove(session, path, isGhost ? kept.Looks : kept.IsStill))
                return Changed;
            return !isGhost || Remove(disk, path, kept.IsStill) ? null : Changed;
        }
        catch (LinuxException refused)
        {
            return refused.Message;
        }
    }

    private static bool Remove(Dir root, string path, Func<FileStat, bool> isIt)
    {
        using Dir? parent = root.TryOpenParent(path, out string name);
        if (parent?.TryStat(name) is not { } now || !isIt(now))
            return false;
        if (!now.IsDirectory)
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
