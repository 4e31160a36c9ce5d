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

    /// <summary>Makes the disk have what the session has: all bytes are written and durable before the first name changes.</summary>
    /// <param name="entries">Of this directory, in the order of the ledger.</param>
    /// <param name="cancel">Looked at between two entries, until names begin to change.</param>
    /// <returns>What the disk has now; not in it is what is neither file, link nor directory, and what went or came back since the ledger was made.</returns>
    /// <exception cref="LinuxException">The disk refused (ENOSPC, EROFS).</exception>
    public IReadOnlyList<LedgerEntry> Keep(IReadOnlyList<LedgerEntry> entries, CancellationToken cancel = default)
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
            LedgerEntry[] kept = [.. written.Where(each => Name(each.Entry, each.Staged, ready)).Select(static each => each.Entry)];
            Durable.SyncFileSystem(lower);
            return kept;
        }
        finally
        {
            beside.RemoveAll(staging);
        }
    }

    private List<(LedgerEntry Entry, string? Staged)> Write(IReadOnlyList<LedgerEntry> entries, Dir ready, CancellationToken cancel)
    {
        var written = new List<(LedgerEntry Entry, string? Staged)>();
        foreach (LedgerEntry entry in entries)
        {
            cancel.ThrowIfCancellationRequested();
            string name = layer.Relative(entry.Path), staged = written.Count.ToString(CultureInfo.InvariantCulture);
            bool isThere = merged.Exists(name);
            if (entry.Change == LedgerChange.Deleted ? isThere : !isThere || !entry.CanBeKept)
                continue;
            if (entry.Change == LedgerChange.Deleted || entry is { Kind: FileKind.Directory, From: null })
                written.Add((entry, null));
            else if (entry.Kind != FileKind.Directory && TreeCopy.Leaf(merged, name, ready, staged))
                written.Add((entry, staged));
            else if (entry.Kind == FileKind.Directory)
            {
                TreeCopy.Recursive(merged, name, ready, staged);
                written.Add((entry, staged));
            }
        }

        return written;
    }

    private bool Name(LedgerEntry entry, string? staged, Dir ready)
    {
        string name = layer.Relative(entry.Path);
        if (entry.Change == LedgerChange.Deleted)
            return lower.RemoveAll(name);
        MakeParents(name);
        FileStat? before = lower.TryStat(name);
        if (staged is null)
        {
            if (before is { IsDirectory: false })
                lower.Unlink(name);
            TreeCopy.Directory(merged, name, lower, name);
        }
        else if (before is null || (!before.Value.IsDirectory && entry.Kind != FileKind.Directory))
            ready.Rename(staged, lower, name);
        else
            ready.Exchange(staged, lower, name); // what was there goes with the staging directory
        return true;
    }

    /// <summary>Makes the session have what the disk has. Directories that only the session has go with the last that was in them.</summary>
    /// <exception cref="LinuxException">Refused; the entry may be gone from the session, and is on the disk as it was.</exception>
    public void Forget(LedgerEntry entry)
    {
        string name = layer.Relative(entry.Path);
        FileStat? before = lower.TryStat(name);
        if (before is null || merged.TryStat(name) is { IsDirectory: true } != before.Value.IsDirectory)
            merged.RemoveAll(name);
        if (before is null)
        {
            RemoveEmptyParents(name);
            return;
        }

        if (!before.Value.IsDirectory)
            TreeCopy.Leaf(lower, name, merged, name);
        else if (merged.Exists(name))
            TreeCopy.Directory(lower, name, merged, name);
        else
            TreeCopy.Recursive(lower, name, merged, name);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        merged.Dispose();
        lower.Dispose();
    }

    private void RemoveEmptyParents(string name)
    {
        for (int slash = name.LastIndexOf('/'); slash > 0; slash = name.LastIndexOf('/', slash - 1))
        {
            string parent = name[..slash];
            if (lower.Exists(parent) || !IsEmpty(parent))
                return;
            merged.RemoveDir(parent);
        }
    }

    private bool IsEmpty(string name)
    {
        using Dir? directory = merged.TryOpenDir(name);
        return directory is not null && directory.Entries().Count == 0;
    }

    private void MakeParents(string name)
    {
        for (int slash = name.IndexOf('/', StringComparison.Ordinal); slash >= 0; slash = name.IndexOf('/', slash + 1))
        {
            string parent = name[..slash];
            if (lower.TryStat(parent) is { IsDirectory: true })
                continue;
            lower.TryUnlink(parent);
            TreeCopy.Directory(merged, parent, lower, parent);
        }
    }
}
