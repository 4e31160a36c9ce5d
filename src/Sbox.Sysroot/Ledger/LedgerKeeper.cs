using System.Globalization;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Puts entries of a ledger onto the disk, or takes them back. The disk must be writable to the caller, who also makes it read-only again.
/// Killed at any moment, the disk has each entry whole or as it was before.
/// </summary>
public sealed class LedgerKeeper : IDisposable
{
    private const uint OwnerOnly = 0x1C0; // 0700
    private const string ParentName = "parent";

    private readonly Dir merged, lower;
    private readonly GhostLayer layer;

    private LedgerKeeper(GhostLayer layer, Dir merged, Dir lower) => (this.layer, this.merged, this.lower) = (layer, merged, lower);

    /// <summary>Opens both sides of a directory.</summary>
    /// <exception cref="LinuxException">One is not there.</exception>
    public static LedgerKeeper Open(GhostLayer layer)
    {
        Dir merged = Dir.Open(layer.At);
        try
        {
            return new LedgerKeeper(layer, merged, Dir.Open(layer.Lower));
        }
        catch
        {
            merged.Dispose();
            throw;
        }
    }

    /// <summary>Why what <see cref="Keep"/> has put onto the disk is not remembered as a list's; null where it is. Then no list's end will ever have it deleted.</summary>
    public string? RecordTrouble { get; private set; }

    /// <summary>Makes the disk have what the session has: all bytes are written and durable before the first name changes.</summary>
    /// <param name="entries">Of this directory, in the order of the ledger.</param>
    /// <param name="cancel">Looked at between two entries, until names begin to change.</param>
    /// <param name="rules">The lists that ask for it, which are remembered beside the disk's files (<see cref="KeptRecord"/>) before the first name changes; null where
    /// somebody asked for it by name: then it is theirs, and no list's any more.</param>
    /// <returns>What the disk has now; not in it is what has an <see cref="LedgerEntry.Obstacle"/>, and what went or came back since the ledger was made.</returns>
    /// <exception cref="LinuxException">The disk refused (ENOSPC, EROFS).</exception>
    public IReadOnlyList<LedgerEntry> Keep(IReadOnlyList<LedgerEntry> entries, CancellationToken cancel = default, IReadOnlyList<KeepRule>? rules = null)
    {
        string staging = Path.GetFileName(layer.Staging);
        using Dir beside = Dir.Open(Path.GetDirectoryName(layer.Staging)!);
        beside.RemoveAll(staging);
        beside.MakeDir(staging, OwnerOnly);
        try
        {
            using Dir ready = beside.OpenDir(staging);
            List<(LedgerEntry Entry, string? Staged)> written = Write(entries, ready, cancel);
            Durable.SyncFileSystem(lower);
            TryRemember(written, ready, beside, rules);
            LedgerEntry[] kept = [.. written.Where(each => Name(each.Entry, each.Staged, ready)).Select(static each => each.Entry)];
            Durable.SyncFileSystem(lower);
            return kept;
        }
        finally
        {
            beside.RemoveAll(staging);
        }
    }

    // A record is for tidying up; no trouble with it may cost the files.
    private void TryRemember(List<(LedgerEntry Entry, string? Staged)> written, Dir ready, Dir beside, IReadOnlyList<KeepRule>? rules)
    {
        try
        {
            Remember(written, ready, beside, rules);
        }
        catch (IOException refused)
        {
            RecordTrouble = refused.Message;
        }
    }

    // Before the names: a name without its line could never be told from what the disk had by itself.
    private void Remember(List<(LedgerEntry Entry, string? Staged)> written, Dir ready, Dir beside, IReadOnlyList<KeepRule>? rules)
    {
        Dictionary<string, KeptPath> record = KeptRecord.Read(beside).ToDictionary(static kept => kept.Path, StringComparer.Ordinal);
        if (rules is null && record.Count == 0)
            return;
        // Who makes anew what is gone makes something of their own.
        foreach (string gone in record.Keys.Where(path => layer.Holds(path) && OnDisk(path) is null).ToArray())
            record.Remove(gone);
        DateTimeOffset now = DateTimeOffset.UtcNow;
        foreach ((LedgerEntry entry, string? staged) in written)
        {
            if (staged is null || rules?.For(entry.Path) is not { } by)
            {
                foreach (string gone in entry.Kind == FileKind.Directory ? [.. record.Keys.Where(path => GhostLayer.IsAtOrBelow(path, entry.Path))] : new[] { entry.Path })
                    record.Remove(gone);
                continue;
            }

            for (int slash = entry.Path.IndexOf('/', layer.At.Length + 1); slash > 0; slash = entry.Path.IndexOf('/', slash + 1))
            {
                string above = entry.Path[..slash];
                if (!record.ContainsKey(above) && OnDisk(above) is null && Seen(above) is { IsDirectory: true } made)
                    record[above] = KeptPath.Of(above, by, isNew: true, made, inode: 0, now) with { IsParent = true };
            }

            // A directory that is there already stays, and gets the other's owner and mode; all else is renamed from where it was written.
            FileStat? stays = entry is { Kind: FileKind.Directory, From: null } && OnDisk(entry.Path) is { IsDirectory: true } there ? there : null;
            Note(record, entry.Path, by, ready, staged, now, stays?.Inode);
        }

        KeptRecord.Write(beside, record.Values);
    }

    private void Note(Dictionary<string, KeptPath> record, string path, KeepRule by, Dir ready, string staged, DateTimeOffset now, ulong? inode = null)
    {
        FileStat stat = ready.Stat(staged);
        // What a list has kept before, and is still so, came by the list then as now.
        bool isNew = OnDisk(path) is not { } before || (record.TryGetValue(path, out KeptPath? known) && known.IsNew && known.IsStill(before));
        record[path] = KeptPath.Of(path, by, isNew, stat, layer.IsShared ? inode ?? stat.Inode : 0, now);
        if (!stat.IsDirectory)
            return;
        using Dir inner = ready.OpenDir(staged);
        foreach (DirEntry each in inner.Entries())
            Note(record, $"{path}/{each.Name}", by, inner, each.Name, now);
    }

    private FileStat? OnDisk(string path) => At(lower, path);

    private FileStat? Seen(string path) => At(merged, path);

    private FileStat? At(Dir root, string path)
    {
        using Dir? parent = root.TryOpenParent(layer.Relative(path), out string name);
        return parent?.TryStat(name);
    }

    private List<(LedgerEntry Entry, string? Staged)> Write(IReadOnlyList<LedgerEntry> entries, Dir ready, CancellationToken cancel)
    {
        var written = new List<(LedgerEntry Entry, string? Staged)>();
        foreach (LedgerEntry entry in entries.Where(static entry => entry.Obstacle is null))
        {
            cancel.ThrowIfCancellationRequested();
            using Dir? parent = merged.TryOpenParent(layer.Relative(entry.Path), out string name);
            bool isThere = parent is not null && parent.Exists(name);
            if (entry.Change == LedgerChange.Deleted)
            {
                if (!isThere) // else made again since: the ledger would list it anew
                    written.Add((entry, null));
                continue;
            }

            string staged = written.Count.ToString(CultureInfo.InvariantCulture);
            if (isThere && Stage(entry, parent!, name, ready, staged))
                written.Add((entry, staged));
        }

        return written;
    }

    private static bool Stage(LedgerEntry entry, Dir parent, string name, Dir ready, string staged)
    {
        if (entry.Kind != FileKind.Directory)
            return TreeCopy.Leaf(parent, name, ready, staged);
        if (parent.Stat(name) is { IsDirectory: false })
            return false;
        if (entry.From is not null)
            TreeCopy.Recursive(parent, name, ready, staged);
        else
            TreeCopy.Directory(parent, name, ready, staged);
        return true;
    }

    private bool Name(LedgerEntry entry, string? staged, Dir ready)
    {
        using Dir? parent = ParentOnDisk(layer.Relative(entry.Path), ready, make: entry.Change != LedgerChange.Deleted, out string name);
        if (parent is null)
            return false;
        if (staged is null)
            return parent.RemoveAll(name);
        FileStat? before = parent.TryStat(name);
        if (before is { IsDirectory: true } && entry is { Kind: FileKind.Directory, From: null })
            TreeCopy.Directory(ready, staged, parent, name); // the directory stays, with what is in it
        else if (before is null || (!before.Value.IsDirectory && entry.Kind != FileKind.Directory))
            ready.Rename(staged, parent, name);
        else
            ready.Exchange(staged, parent, name); // what was there goes with the staging directory
        return true;
    }

    // Name by name, as the session's, so that nobody's symbolic link leads root elsewhere. What is missing comes as a whole, with its owner and mode.
    private Dir? ParentOnDisk(string path, Dir ready, bool make, out string name)
    {
        string[] names = path.Split('/');
        name = names[^1];
        Dir here = lower.OpenDir("."), session = merged.OpenDir(".");
        foreach (string each in names.AsSpan(0, names.Length - 1))
        {
            using Dir above = here, seen = session;
            if (make && above.TryStat(each) is not { IsDirectory: true })
            {
                ready.RemoveAll(ParentName);
                TreeCopy.Directory(seen, each, ready, ParentName);
                if (above.Exists(each))
                    ready.Exchange(ParentName, above, each);
                else
                    ready.Rename(ParentName, above, each);
            }

            if (above.TryStat(each) is not { IsDirectory: true } || seen.TryStat(each) is not { IsDirectory: true })
                return null;
            (here, session) = (above.OpenDir(each), seen.OpenDir(each));
        }

        session.Dispose();
        return here;
    }

    /// <summary>Makes the session have what the disk has. Directories that only the session has go with the last that was in them.</summary>
    /// <exception cref="LinuxException">Refused; the entry may be gone from the session, and is on the disk as it was.</exception>
    public void Forget(LedgerEntry entry)
    {
        string path = layer.Relative(entry.Path);
        using Dir? disk = lower.TryOpenParent(path, out string name);
        using Dir? session = merged.TryOpenParent(path, out _);
        if (session is null)
            return; // a directory above it has gone
        FileStat? before = disk?.TryStat(name);
        if (before is null || session.TryStat(name) is { IsDirectory: true } != before.Value.IsDirectory)
            session.RemoveAll(name);
        if (before is null)
            RemoveEmptyParents(path);
        else if (!before.Value.IsDirectory)
            TreeCopy.Leaf(disk!, name, session, name);
        else if (session.Exists(name))
            TreeCopy.Directory(disk!, name, session, name);
        else
            TreeCopy.Recursive(disk!, name, session, name);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        merged.Dispose();
        lower.Dispose();
    }

    private void RemoveEmptyParents(string path)
    {
        for (int slash = path.LastIndexOf('/'); slash > 0; slash = path.LastIndexOf('/', slash - 1))
        {
            using Dir? session = merged.TryOpenParent(path[..slash], out string name);
            using Dir? disk = lower.TryOpenParent(path[..slash], out _);
            if (session is null || disk?.Exists(name) == true || !IsEmpty(session, name))
                return;
            session.RemoveDir(name);
        }
    }

    private static bool IsEmpty(Dir parent, string name)
    {
        using Dir? directory = parent.TryStat(name) is { IsDirectory: true } ? parent.TryOpenDir(name) : null;
        return directory is not null && directory.Entries().Count == 0;
    }
}
