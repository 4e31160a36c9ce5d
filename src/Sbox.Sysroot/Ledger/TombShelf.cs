using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A tomb has something at the place where sbox keeps what people put there, and sbox did not make it.</summary>
/// <param name="path">The place.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class TombShelfException(string path, string finding) : SysrootException($"{path}: {finding}")
{
    /// <summary>The place.</summary>
    public string Path { get; } = path;
}

/// <summary>How something in a tomb stands to what this machine has at its path.</summary>
public enum ShelfState
{
    /// <summary>This machine has nothing there.</summary>
    Missing,
    /// <summary>This machine has just that.</summary>
    Same,
    /// <summary>This machine has something else there.</summary>
    Other,
}

/// <summary>Something that a tomb keeps of /etc or /var.</summary>
/// <param name="Path">Where it was, from the root, in the ledger's words.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Bytes">A file's size; 0 for all else.</param>
/// <param name="State">How it stands to what is at that path now.</param>
/// <param name="Here">What is at that path, as it was before the two were compared; null where nothing is.</param>
public sealed record ShelfItem(string Path, FileKind Kind, long Bytes, ShelfState State, FileStat? Here);

/// <summary>An entry of a ledger that a tomb has a copy of.</summary>
/// <param name="Entry">What was asked for.</param>
/// <param name="Was">As it was before it was copied: what is written to it from then on may not be in the tomb.</param>
public sealed record ShelfCopy(LedgerEntry Entry, FileStat Was);

/// <summary>
/// What somebody kept of /etc and /var in an open tomb, so that it outlives the box: below <c>.sbox-kept</c> in the tomb's top directory, each thing at its own path,
/// with its owner, mode, attributes and times. The directory is root's alone: it holds what only root may read.
/// </summary>
public sealed class TombShelf : IDisposable
{
    /// <summary>Its name in a tomb.</summary>
    public const string Name = ".sbox-kept";

    private const string Staged = ".new"; // no directory below / has that name
    private const string Capability = "security.capability";
    private const int Deepest = 200; // as the ledger goes; two descriptors each
    private const uint OwnerOnly = 0x1C0, SetId = 0xC00, OthersWrite = 0x12, OthersAll = 0x3F; // 0700, 06000, 0022, 0077
    private static readonly string[] Tops = ["etc", "var"];

    private readonly Dir shelf;

    private TombShelf(Dir shelf) => this.shelf = shelf;

    /// <summary>Opens it, made where it is missing.</summary>
    /// <param name="tomb">The tomb's top directory.</param>
    /// <exception cref="TombShelfException">Something else is there.</exception>
    /// <exception cref="LinuxException">The tomb refused.</exception>
    public static TombShelf Open(string tomb)
    {
        using Dir top = Dir.Open(tomb);
        if (top.TryStat(Name) is null)
            top.MakeDir(Name, OwnerOnly);
        return TryOpen(top)!;
    }

    /// <summary>Opens it; null where nothing was ever kept in this tomb.</summary>
    /// <exception cref="TombShelfException">Something else is there.</exception>
    public static TombShelf? TryOpen(string tomb)
    {
        using Dir top = Dir.Open(tomb);
        return TryOpen(top);
    }

    // The directory above is a user's, who could put another in this one's place, and what is in it may be put into /etc.
    private static TombShelf? TryOpen(Dir top)
    {
        if (top.TryStat(Name) is not { } there)
            return null;
        if (!there.IsDirectory)
            throw new TombShelfException(top.Of(Name), "it is no directory");
        Dir shelf = top.OpenDir(Name);
        FileStat own = shelf.Stat();
        if (own.Uid == 0 && (own.Permissions & OthersWrite) == 0)
            return new TombShelf(shelf);
        shelf.Dispose();
        throw new TombShelfException(top.Of(Name), $"it belongs to user {own.Uid}, mode {Convert.ToString(own.Permissions, 8)}; sbox keep --tomb made it root's alone");
    }

    /// <summary>Copies entries of a ledger into it. Each file is there whole or as it was before; nothing is offsite until the tomb is saved.</summary>
    /// <param name="root">The root directory, as the session sees it.</param>
    /// <param name="entries">In the order of the ledger.</param>
    /// <param name="cancel">Looked at between two entries.</param>
    /// <returns>What it has now. Not in it is what was deleted, what is neither file, link nor directory, and what went since the ledger was made.</returns>
    /// <exception cref="LinuxException">The tomb refused (ENOSPC, EIO).</exception>
    public IReadOnlyList<ShelfCopy> Put(Dir root, IReadOnlyList<LedgerEntry> entries, CancellationToken cancel = default)
    {
        var kept = new List<ShelfCopy>();
        try
        {
            foreach (LedgerEntry entry in entries.Where(static entry => Obstacle(entry) is null))
            {
                cancel.ThrowIfCancellationRequested();
                string path = entry.Path.TrimStart('/');
                using Dir? from = root.TryOpenParent(path, out string name);
                using Dir? to = from is null ? null : Parents(root, path, shelf, replaces: true);
                if (to is not null && from!.TryStat(name) is { } was && Copy(from, name, to, entry))
                    kept.Add(new ShelfCopy(entry, was));
            }
        }
        finally
        {
            shelf.RemoveAll(Staged); // half of a file that found no room would be saved with the tomb
        }

        return kept;
    }

    /// <summary>Why a tomb cannot keep an entry; null where it can.</summary>
    public static string? Obstacle(LedgerEntry entry) =>
        entry.Change == LedgerChange.Deleted ? "it was deleted, which only the box's disk can keep"
        : entry.IsTooDeep ? "too deep to be looked into"
        : entry.Kind is FileKind.Regular or FileKind.Symlink or FileKind.Directory ? null : "neither file, link nor directory";

    private bool Copy(Dir from, string name, Dir to, LedgerEntry entry)
    {
        if (from.TryStat(name) is not { } now || now.IsDirectory != (entry.Kind == FileKind.Directory))
            return false;
        if (now.IsDirectory && entry.From is null)
        {
            if (to.TryStat(name) is { IsDirectory: false })
                to.Unlink(name);
            TreeCopy.Directory(from, name, to, name);
            return true;
        }

        shelf.RemoveAll(Staged);
        if (now.IsDirectory)
            TreeCopy.Recursive(from, name, shelf, Staged);
        else if (!TreeCopy.Leaf(from, name, shelf, Staged))
            return false;
        if (now.IsDirectory || to.TryStat(name) is { IsDirectory: true })
            to.RemoveAll(name);
        shelf.Rename(Staged, to, name);
        return true;
    }

    /// <summary>All that it has: files, links, and directories with nothing in them, in the order of their paths' names.</summary>
    /// <param name="root">The root directory, to compare with.</param>
    /// <param name="reads">Whether files of one size, owner and mode are compared byte by byte, which may fetch them from afar; else they are <see cref="ShelfState.Same"/>.</param>
    /// <exception cref="TombShelfException">It is deeper than a ledger goes.</exception>
    public IReadOnlyList<ShelfItem> Items(Dir root, bool reads = true)
    {
        var items = new List<ShelfItem>();
        foreach (string top in Tops)
        {
            using Dir? kept = shelf.TryStat(top) is { IsDirectory: true } ? shelf.OpenDir(top) : null;
            using Dir? here = root.TryStat(top) is { IsDirectory: true } ? root.OpenDir(top) : null;
            if (kept is not null)
                Collect(kept, here, $"/{top}", items, reads, depth: 0);
        }

        return items;
    }

    private static void Collect(Dir kept, Dir? here, string path, List<ShelfItem> items, bool reads, int depth)
    {
        if (depth > Deepest)
            throw new TombShelfException(kept.Path, $"it is more than {Deepest} directories deep");
        foreach (DirEntry each in kept.Entries())
        {
            if (kept.TryStat(each.Name) is not { } stat)
                continue;
            FileStat? now = here?.TryStat(each.Name);
            string own = $"{path}/{each.Name}";
            int known = items.Count;
            if (stat.IsDirectory)
            {
                using Dir inner = kept.OpenDir(each.Name);
                using Dir? beside = now is { IsDirectory: true } ? here!.TryOpenDir(each.Name) : null;
                Collect(inner, beside, own, items, reads, depth + 1);
                if (items.Count > known)
                    continue;
            }

            items.Add(new ShelfItem(own, stat.Kind, stat.IsRegular ? stat.Size : 0, now is null ? ShelfState.Missing
                : stat.IsDirectory ? now.Value.IsDirectory ? ShelfState.Same : ShelfState.Other
                : Looks(stat, now.Value) && (!reads || (stat.IsRegular ? LedgerScan.SameContent(kept, here!, each.Name, Capability) : LedgerScan.Same(kept, here!, each.Name, stat, now.Value))) ? ShelfState.Same
                : ShelfState.Other, now));
        }
    }

    // As it is put back is as it was kept: without what would make somebody root.
    private static bool Looks(FileStat kept, FileStat now) =>
        (kept.Uid, kept.Gid, kept.Size) == (now.Uid, now.Gid, now.Size) && (now.Mode == kept.Mode || (kept.IsRegular && now.Mode == (kept.Mode & ~SetId)));

    /// <summary>Gives a path of this machine what it has for it. Directories on the way are made where they are missing; those that are there stay as they are.</summary>
    /// <param name="root">The root directory.</param>
    /// <param name="item">What to put back.</param>
    /// <returns>What was put there; null where something else is in the way: a directory where a file was, or a link on the way.</returns>
    /// <remarks>Set-user-id and set-group-id are not put back: a tomb is written by whoever has its password, and they are not root for that.</remarks>
    /// <exception cref="LinuxException">The machine refused.</exception>
    public FileStat? PutBack(Dir root, ShelfItem item)
    {
        string path = item.Path.TrimStart('/');
        using Dir? from = shelf.TryOpenParent(path, out string name);
        using Dir? to = from is null ? null : Parents(shelf, path, root, replaces: false);
        if (to is null || from!.TryStat(name) is not { } kept || to.TryStat(name) is { } there && there.IsDirectory != kept.IsDirectory)
            return null;
        if (kept.IsDirectory && to.TryStat(name) is { IsDirectory: true } same)
            return same;
        return Staging(to, staging =>
        {
            if (kept.IsDirectory)
                TreeCopy.Directory(from, name, staging, Staged);
            else if (!TreeCopy.Leaf(from, name, staging, Staged))
                return (FileStat?)null;
            Tame(staging, Staged, kept);
            FileStat made = staging.Stat(Staged);
            if (made.IsRegular)
            {
                using SafeFileHandle file = staging.OpenFile(Staged);
                Durable.Sync(file, to.Of(name)); // bytes before the name: what it replaces may be the only good one
            }

            if (!kept.IsDirectory)
                staging.Rename(Staged, to, name);
            else if (!staging.TryRename(Staged, to, name))
                return null;
            Durable.Sync(to);
            return made;
        });
    }

    private static bool MakeLike(Dir seen, string name, Dir staging, Dir above)
    {
        TreeCopy.Directory(seen, name, staging, Staged);
        if (!staging.TryRename(Staged, above, name))
            return false;
        Durable.Sync(above);
        return true;
    }

    // A directory on the way may be a user's. What is made for it is made in one of root's alone, on the same file system: nobody can run it before its set-user-id is
    // taken off, or put something else in its place while it gets its owner and mode.
    private static T Staging<T>(Dir to, Func<Dir, T> make)
    {
        string beside = $"{Name}-{Guid.NewGuid():N}";
        to.MakeDir(beside, OwnerOnly);
        using Dir staging = to.OpenDir(beside);
        try
        {
            FileStat own = staging.Stat();
            return own.Uid == 0 && (own.Permissions & OthersAll) == 0 ? make(staging) : throw new TombShelfException(staging.Path, $"it was just made, and belongs to user {own.Uid} by now");
        }
        finally
        {
            staging.RemoveAll(Staged);
            try
            {
                to.RemoveDir(beside);
            }
            catch (LinuxException)
            {
                // The directory's owner has moved it: it is empty, and nothing of it is needed.
            }
        }
    }

    private static void Tame(Dir directory, string name, FileStat stat)
    {
        if (stat.IsSymlink)
            return;
        if ((stat.Permissions & SetId) != 0)
            directory.ChangeOwnMode(name, stat.Permissions & ~SetId);
        Xattrs.Remove(directory, name, Capability);
    }

    // Name by name, through no link. What is missing gets owner and mode of the same directory on the other side.
    private static Dir? Parents(Dir model, string path, Dir root, bool replaces)
    {
        string[] names = path.Split('/');
        Dir here = root.OpenDir("."), pattern = model.OpenDir(".");
        foreach (string each in names.AsSpan(0, names.Length - 1))
        {
            using Dir above = here, seen = pattern;
            FileStat? there = above.TryStat(each);
            if (there is { IsDirectory: false } && replaces)
                above.Unlink(each);
            if (seen.TryStat(each) is not { IsDirectory: true } || (there is { IsDirectory: false } && !replaces))
                return null;
            if (there is not { IsDirectory: true } && replaces)
                TreeCopy.Directory(seen, each, above, each);
            else if (there is not { IsDirectory: true } && !Staging(above, staging => MakeLike(seen, each, staging, above)))
                return null; // somebody made something there just now
            (here, pattern) = (above.OpenDir(each), seen.OpenDir(each));
        }

        pattern.Dispose();
        return here;
    }

    /// <inheritdoc/>
    public void Dispose() => shelf.Dispose();
}
