using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Which of this session's changes a tomb has, as they were when it was saved: a record in memory, gone with the session as they are. Nobody has to read a tomb for it, whose
/// remote may be away just when a ghost says what it will forget.
/// </summary>
public sealed class KeptInTombs
{
    /// <summary>Where the record is.</summary>
    public const string Place = "/run/sbox/kept-in-tombs";

    private const uint OwnerOnly = 0x1C0; // 0700
    private readonly Dictionary<string, KeptPath> kept;

    private KeptInTombs(IReadOnlyList<KeptPath> record) => kept = record.ToDictionary(static each => each.Path, StringComparer.Ordinal);

    /// <summary>Whether nothing of this session was put into a tomb.</summary>
    public bool IsEmpty => kept.Count == 0;

    /// <summary>Reads it.</summary>
    public static KeptInTombs Read(string place = Place)
    {
        if (!Directory.Exists(place))
            return new KeptInTombs([]);
        using Dir directory = Dir.Open(place);
        return new KeptInTombs(KeptRecord.Read(directory));
    }

    /// <summary>Adds paths that a tomb has, saved.</summary>
    /// <param name="paths">From the root, each as it was before it was compared with what the tomb has, or copied: saving takes long, and what was written meanwhile is not in the tomb.</param>
    /// <param name="tomb">The tomb's name.</param>
    /// <param name="place">Where the record is; made where it is missing.</param>
    public static void Add(IEnumerable<(string Path, FileStat Was)> paths, string tomb, string place = Place)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(place)!);
        using Dir parent = Dir.Open(Path.GetDirectoryName(place)!), directory = parent.MakeAndOpenDir(Path.GetFileName(place), OwnerOnly);
        DateTimeOffset now = DateTimeOffset.UtcNow;
        IEnumerable<KeptPath> added = paths.Select(each => KeptPath.Of(each.Path, new KeepRule(tomb, each.Path), isNew: true, each.Was, inode: 0, now));
        KeptRecord.Write(directory, [.. KeptRecord.Read(directory).Concat(added).GroupBy(static each => each.Path, StringComparer.Ordinal).Select(static same => same.Last())]);
    }

    /// <summary>The tomb that has an entry just as it is; null where none has.</summary>
    /// <param name="root">The root directory, as the session sees it.</param>
    /// <param name="entry">An entry of the ledger.</param>
    public string? TombOf(Dir root, LedgerEntry entry) =>
        kept.Count > 0 && entry.Change != LedgerChange.Deleted && kept.TryGetValue(entry.Path, out KeptPath? known) && Stat(root, entry.Path) is { } now && known.Looks(now) ? known.By.File : null;

    private static FileStat? Stat(Dir root, string path)
    {
        using Dir? parent = root.TryOpenParent(path.TrimStart('/'), out string name);
        return parent?.TryStat(name);
    }
}
