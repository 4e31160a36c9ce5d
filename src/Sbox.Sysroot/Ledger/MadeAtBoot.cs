using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// What a version makes in /var by itself wherever it is missing: the paths that its lines of tmpfiles.d(5) make, with the files below
/// /usr/share/factory. The next boot makes the same again, with the same owner and mode, so nobody loses it. Whoever closes such a directory to
/// others has changed it: the next boot would open it again.
/// </summary>
internal sealed class MadeAtBoot
{
    private const string Factory = "usr/share/factory";
    private const string Makes = "dDqQvfFLCp"; // other types look after what is there
    private const long ComparedBytes = 1 << 20;
    private const uint Directories = 0x1ED, Files = 0x1A4; // 0755 and 0644, where a line names no mode
    private const string Lines = "usr/lib/tmpfiles.d"; // not /etc's: the session may have written those
    private const string Owners = "etc/tmpfiles.d"; // a file here stands in the place of one of the same name

    private readonly Dir tree;
    private readonly Func<string, bool> isOnDisk;
    private readonly Dictionary<string, MadeLine> lines = new(StringComparer.Ordinal);
    private readonly Dictionary<string, MadeOwner> adjusted = new(StringComparer.Ordinal); // by lines of type z and Z, which come after those that make
    private readonly MadeOwners owners;
    private readonly HashSet<string> copied = new(StringComparer.Ordinal); // whole directories, from below the factory

    private MadeAtBoot(Dir tree, Func<string, bool> isOnDisk) => (this.tree, this.isOnDisk, owners) = (tree, isOnDisk, new MadeOwners(tree));

    /// <summary>Reads the lines of a version's tree, which is borrowed.</summary>
    /// <param name="tree">The tree's root.</param>
    /// <param name="isOnDisk">Whether the disk has a path, from the root: nothing is copied into a directory that is there.</param>
    public static MadeAtBoot Of(Dir tree, Func<string, bool> isOnDisk)
    {
        var made = new MadeAtBoot(tree, isOnDisk);
        using Dir? parent = tree.TryOpenParent(Lines, out string name), directory = parent?.TryOpenDir(name);
        foreach (DirEntry entry in directory?.Entries() ?? [])
        {
            if (entry.Name.EndsWith(".conf", StringComparison.Ordinal) && directory!.TryStat(entry.Name) is { IsRegular: true, Size: <= ComparedBytes } && !IsThere(tree, $"{Owners}/{entry.Name}"))
                made.Add(Encoding.UTF8.GetString(directory.ReadAll(entry.Name)));
        }

        return made;
    }

    /// <summary>Whether a line names it, or a directory above it that is copied. Of a hundred thousand new names hardly one is: nothing is looked at or allocated for the others.</summary>
    public bool MayBe(LedgerEntry entry) => entry.Change == LedgerChange.New && (lines.ContainsKey(entry.Path) || IsBelowCopied(entry.Path));

    private bool IsBelowCopied(ReadOnlySpan<char> path)
    {
        if (copied.Count == 0)
            return false;
        HashSet<string>.AlternateLookup<ReadOnlySpan<char>> paths = copied.GetAlternateLookup<ReadOnlySpan<char>>();
        for (int slash; (slash = path.LastIndexOf('/')) > 0;)
        {
            path = path[..slash];
            if (paths.Contains(path))
                return true;
        }

        return false;
    }

    /// <summary>Whether a new name is as the version makes it.</summary>
    /// <param name="entry">What is new.</param>
    /// <param name="upper">The layer that has it.</param>
    /// <param name="relative">Its path there.</param>
    public bool Is(LedgerEntry entry, Dir upper, string relative) => entry is { Change: LedgerChange.New, From: null, IsTooDeep: false } && entry.Kind switch
    {
        FileKind.Directory => (lines.TryGetValue(entry.Path, out MadeLine? line) && "dDqQvC".Contains(line.Type, StringComparison.Ordinal)) || (Copied(entry.Path) is not null && IsAlsoDirectory($"{Factory}{entry.Path}")), // empty: else what is in it stands for it
        FileKind.Symlink => lines.TryGetValue(entry.Path, out MadeLine? line) && line.Type == 'L' && Leads(upper, relative, line.Argument ?? $"/{Factory}{entry.Path}"),
        FileKind.Regular => (lines.ContainsKey(entry.Path) || Copied(entry.Path) is not null) && Equals(upper, relative, entry),
        _ => false,
    } && Stat(upper, relative) is { } stat && IsOwnedAsMade(entry.Path, stat);

    private void Add(string text)
    {
        foreach (string line in text.Split('\n'))
        {
            string[] fields = line.Split((char[]?)null, 7, StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length < 2)
                continue;
            string path = fields[1].TrimEnd('/');
            if (fields[0][0] is 'z' or 'Z')
                adjusted[path] = owners.Of(fields);
            if (!Makes.Contains(fields[0][0], StringComparison.Ordinal))
                continue;
            lines[path] = new MadeLine(fields[0][0], fields.Length > 6 && fields[6] != "-" ? fields[6].TrimEnd() : null, owners.Of(fields));
            if (fields[0][0] == 'C')
                copied.Add(path);
        }
    }

    // What a line does not say is root's, 0755 for a directory and 0644 for a file; of what is copied, as the factory has it.
    private bool IsOwnedAsMade(string path, FileStat now)
    {
        MadeOwner made;
        if (lines.TryGetValue(path, out MadeLine? line) && line.Type != 'C')
            made = line.Owner.Or(now.IsDirectory ? Directories : Files, 0, 0);
        else if (Stat(tree, line is null ? Factory + path : Pattern(path, line)) is { } factory)
            made = (line is not null ? line.Owner : lines[Copied(path)!].Owner with { Mode = null }).Or(factory.Permissions, factory.Uid, factory.Gid);
        else
            made = new MadeOwner(now.IsDirectory ? Directories : Files, 0, 0); // a line that copies what is not there makes an empty directory
        if (adjusted.TryGetValue(path, out MadeOwner? adjustment))
            made = adjustment.Or(made.Mode!.Value, made.Uid!.Value, made.Gid!.Value);
        return (now.Uid, now.Gid) == (made.Uid, made.Gid) && (now.IsSymlink || now.Permissions == made.Mode);
    }

    // The directory that a line copies, which has this path in it; null where none does, or where there is one on the disk already.
    private string? Copied(string path)
    {
        for (int slash; (slash = path.LastIndexOf('/')) > 0;)
        {
            path = path[..slash];
            if (copied.Contains(path))
                return isOnDisk(path) ? null : path;
        }

        return null;
    }

    private static bool IsThere(Dir root, string path) => root.TryOpenParent(path, out string name) is { } parent && Owned(parent, dir => dir.Exists(name));

    private bool IsAlsoDirectory(string path) => tree.TryOpenParent(path, out string name) is { } parent && Owned(parent, dir => dir.TryStat(name) is { IsDirectory: true });

    private static bool Leads(Dir upper, string relative, string target) =>
        upper.TryOpenParent(relative, out string name) is { } parent && Owned(parent, dir => dir.TryStat(name) is { IsSymlink: true } && dir.ReadLink(name) == target);

    // An empty file that a line makes, or one with the bytes of its pattern.
    private bool Equals(Dir upper, string relative, LedgerEntry entry)
    {
        bool isMade = lines.TryGetValue(entry.Path, out MadeLine? line);
        if (isMade && line!.Type is 'f' or 'F')
            return line.Argument is null && entry.Bytes == 0;
        if (isMade && line!.Type != 'C')
            return false;
        string pattern = isMade ? Pattern(entry.Path, line!) : Factory + entry.Path;
        return entry.Bytes <= ComparedBytes && Read(tree, pattern) is { } factory && factory.LongLength == entry.Bytes
            && Read(upper, relative) is { } here && here.AsSpan().SequenceEqual(factory);
    }

    private static string Pattern(string path, MadeLine line) => line.Argument is ['/', .. var named] ? named : Factory + path;

    private static FileStat? Stat(Dir root, string path)
    {
        FileStat? stat = null;
        if (root.TryOpenParent(path, out string name) is { } parent)
            Owned(parent, dir => (stat = dir.TryStat(name)) is not null);
        return stat;
    }

    private static byte[]? Read(Dir root, string path)
    {
        byte[]? bytes = null;
        if (root.TryOpenParent(path, out string name) is { } parent)
            Owned(parent, dir => dir.TryStat(name) is { IsRegular: true, Size: <= ComparedBytes } && (bytes = dir.ReadAll(name)) is not null);
        return bytes;
    }

    private static bool Owned(Dir parent, Func<Dir, bool> asks)
    {
        using (parent)
            return asks(parent);
    }
}
