using System.Buffers;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Reads what a session changed from overlayfs' upper layer, so it costs what was changed and never what the disk holds.
/// Nothing is written. What changes while it is read is seen before or after.
/// </summary>
/// <remarks>The marks of the upper layer (whiteouts, opaque and redirected directories) are those of Linux' Documentation/filesystems/overlayfs.rst.</remarks>
public sealed class LedgerScan
{
    private const string OfOverlay = "trusted.overlay."; // what overlayfs writes for itself is no attribute of the file's
    private const string Opaque = OfOverlay + "opaque", Redirect = OfOverlay + "redirect";
    private const long ComparedBytes = 64 << 20;
    private const int BufferBytes = 64 * 1024;
    private const int Deepest = 200; // two descriptors each

    private static readonly IEqualityComparer<Xattr> AttributeComparer =
        EqualityComparer<Xattr>.Create(static (a, b) => a.Name == b.Name && a.Value.AsSpan().SequenceEqual(b.Value), static attribute => attribute.Name.GetHashCode(StringComparison.Ordinal));

    private readonly GhostLayer layer;
    private readonly Dir lowerRoot;
    private readonly CancellationToken cancel;
    private readonly List<LedgerEntry> found = [];

    private LedgerScan(GhostLayer layer, Dir lowerRoot, CancellationToken cancel) => (this.layer, this.lowerRoot, this.cancel) = (layer, lowerRoot, cancel);

    /// <summary>All that would be lost, in the order of the paths' names, each directory before what is in it.</summary>
    /// <param name="layer">The directory to look at; trusted attributes are seen by root alone.</param>
    /// <param name="cancel">Looked at between two names.</param>
    /// <exception cref="LinuxException">A layer is not there, or may not be read.</exception>
    public static IReadOnlyList<LedgerEntry> Of(GhostLayer layer, CancellationToken cancel = default)
    {
        using Dir upper = Dir.Open(layer.Upper);
        using Dir lower = Dir.Open(layer.Lower);
        var scan = new LedgerScan(layer, lower, cancel);
        scan.Walk(upper, lower, layer.At, layer.At, depth: 0);
        scan.MarkMade(upper);
        return scan.WithUse();
    }

    private bool IsOnDisk(string path)
    {
        if (!layer.Holds(path) || path == layer.At)
            return true;
        using Dir? parent = lowerRoot.TryOpenParent(layer.Relative(path), out string name);
        return parent?.Exists(name) ?? false;
    }

    private void MarkMade(Dir upper)
    {
        if (layer.Tree is not { } path || !found.Any(static entry => entry.Change == LedgerChange.New))
            return;
        using Dir tree = Dir.Open(path);
        var made = MadeAtBoot.Of(tree, IsOnDisk);
        for (int at = 0; at < found.Count; at++)
        {
            cancel.ThrowIfCancellationRequested();
            if (made.MayBe(found[at]) && made.Is(found[at], upper, layer.Relative(found[at].Path)))
                found[at] = found[at] with { IsMadeAtBoot = true };
        }
    }

    private IReadOnlyList<LedgerEntry> WithUse()
    {
        string[] sources = [.. found.Where(static entry => entry.From is not null).Select(static entry => entry.From!)];
        return sources.Length == 0 ? found
            : [.. found.Select(entry => sources.Any(from => GhostLayer.IsAtOrBelow(entry.Path, from) || GhostLayer.IsAtOrBelow(from, entry.Path)) ? entry with { IsInUse = true } : entry)];
    }

    // The lower path is another one below a directory that was renamed.
    private void Walk(Dir upper, Dir? lower, string path, string lowerPath, int depth)
    {
        foreach (DirEntry entry in upper.EntriesOnce())
        {
            cancel.ThrowIfCancellationRequested();
            if (upper.TryStat(entry.Name) is not { } now)
                continue; // gone since the directory was read
            FileStat? before = lower?.TryStat(entry.Name);
            if (now is { Kind: FileKind.CharacterDevice, RawDevice: 0 })
            {
                if (before is { } deleted)
                    found.Add(new LedgerEntry(Below(path, entry.Name), LedgerChange.Deleted, deleted.Kind, 0));
            }
            else if (now.IsDirectory)
                VisitDirectory(upper, lower, entry.Name, path, lowerPath, depth, now, before);
            else if (before is not { } old)
                found.Add(new LedgerEntry(Below(path, entry.Name), LedgerChange.New, now.Kind, SizeOf(now)));
            else if (!Same(upper, lower!, entry.Name, now, old))
                found.Add(new LedgerEntry(Below(path, entry.Name), LedgerChange.Changed, now.Kind, SizeOf(now)));
        }
    }

    private void VisitDirectory(Dir upper, Dir? lower, string name, string parent, string lowerParent, int depth, FileStat now, FileStat? before)
    {
        string path = $"{parent}/{name}";
        using Dir? inner = upper.TryOpenDir(name);
        if (inner is null)
            return;
        if (depth == Deepest)
        {
            found.Add(new LedgerEntry(path, before is null ? LedgerChange.New : LedgerChange.Changed, FileKind.Directory, 0) { IsTooDeep = true });
            return;
        }

        if (TextOf(inner, Redirect) is { } redirect)
        {
            // From the layer's root, or a name beside the one that the disk has for the parent.
            string from = redirect.StartsWith('/') ? layer.At + redirect : $"{lowerParent}/{redirect}";
            found.Add(new LedgerEntry(path, LedgerChange.New, FileKind.Directory, 0, from));
            using Dir? beside = lowerRoot.TryOpenParent(layer.Relative(from), out string last);
            using Dir? source = beside?.TryOpenDir(last);
            Walk(inner, source, path, from, depth + 1);
            return;
        }

        int known = found.Count;
        if (before is { } old && (!old.IsDirectory || !SameOwnerAndMode(now, old) || !SameAttributes(upper, lower!, name)))
            found.Add(new LedgerEntry(path, LedgerChange.Changed, FileKind.Directory, 0));
        using (Dir? below = before is { IsDirectory: true } ? lower!.TryOpenDir(name) : null)
        {
            if (below is not null && TextOf(inner, Opaque) == "y")
                AddHidden(below, inner, path);
            Walk(inner, below, path, $"{lowerParent}/{name}", depth + 1);
        }

        // A new directory is told by what is in it; an empty one by itself.
        if (before is null && found.Count == known)
            found.Add(new LedgerEntry(path, LedgerChange.New, FileKind.Directory, 0));
    }

    // A directory that was deleted and made again: what the old one held and the new one does not is deleted, without whiteouts.
    private void AddHidden(Dir before, Dir now, string path)
    {
        foreach (DirEntry entry in before.Entries())
        {
            if (!now.Exists(entry.Name))
                found.Add(new LedgerEntry($"{path}/{entry.Name}", LedgerChange.Deleted, entry.Kind, 0));
        }
    }

    // A file that was only opened for writing has been copied up, and is as it was.
    internal static bool Same(Dir upper, Dir lower, string name, FileStat now, FileStat before)
    {
        if (now.Kind != before.Kind || !SameOwnerAndMode(now, before))
            return false;
        if (now.IsSymlink)
            return upper.ReadLink(name) == lower.ReadLink(name);
        if (!now.IsRegular)
            return now.RawDevice == before.RawDevice;
        return now.Size == before.Size && now.Size <= ComparedBytes && SameFile(upper, lower, name, now.Size); // times say nothing: whoever writes can set them
    }

    // Through descriptors, which the bytes want anyway: an attribute that is asked for by a path below /proc costs as much as all the rest.
    private static bool SameFile(Dir upper, Dir lower, string name, long size)
    {
        using SafeFileHandle? now = upper.TryOpenFile(name), before = lower.TryOpenFile(name);
        return now is not null && before is not null && SameBytes(now, before, name, size)
            && Xattrs.Read(now, name, but: OfOverlay).SequenceEqual(Xattrs.Read(before, name, but: OfOverlay), AttributeComparer);
    }

    // Two regular files of one size, however large they are; one attribute may be the first one's alone.
    internal static bool SameContent(Dir first, Dir second, string name, string but)
    {
        Xattr[] mine = [.. Attributes(first, name)], theirs = [.. Attributes(second, name)];
        if (!mine.SequenceEqual(theirs, AttributeComparer) && !mine.Where(attribute => attribute.Name != but).SequenceEqual(theirs, AttributeComparer))
            return false;
        using SafeFileHandle? here = first.TryOpenFile(name), there = second.TryOpenFile(name);
        return here is not null && there is not null && SameBytes(here, there, name, size: long.MaxValue);
    }

    // As far as they are known to go: of a small file, one read each.
    private static bool SameBytes(SafeFileHandle now, SafeFileHandle before, string name, long size)
    {
        byte[] mine = ArrayPool<byte>.Shared.Rent(BufferBytes), theirs = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            for (long at = 0; at < size;)
            {
                int here = Files.ReadAt(now, mine.AsSpan(0, BufferBytes), at, name), there = Files.ReadAt(before, theirs.AsSpan(0, BufferBytes), at, name);
                if (!mine.AsSpan(0, here).SequenceEqual(theirs.AsSpan(0, there)))
                    return false;
                if (here == 0)
                    break;
                at += here;
            }

            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(mine);
            ArrayPool<byte>.Shared.Return(theirs);
        }
    }

    private static bool SameAttributes(Dir upper, Dir lower, string name) =>
        Attributes(upper, name).SequenceEqual(Attributes(lower, name), AttributeComparer);

    private static IEnumerable<Xattr> Attributes(Dir directory, string name) =>
        Xattrs.Read(directory, name).Where(static attribute => !attribute.Name.StartsWith(OfOverlay, StringComparison.Ordinal));

    private static bool SameOwnerAndMode(FileStat a, FileStat b) =>
        a.Uid == b.Uid && a.Gid == b.Gid && (a.IsSymlink || a.Permissions == b.Permissions);

    private static string Below(string path, string name) => string.Concat(path, "/", name);

    private static long SizeOf(FileStat stat) => stat.IsRegular ? stat.Size : 0;

    private static string? TextOf(Dir directory, string attribute) =>
        Xattrs.TryRead(directory.Handle, attribute, directory.Path) is { } value ? FileName.FromBytes(value) : null;
}
