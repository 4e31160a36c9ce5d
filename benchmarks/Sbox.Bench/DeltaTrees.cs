using Sbox.Judges;

namespace Sbox.Bench;

/// <summary>Two versions of a real tree: the judges' Debian, and what the host's Debian has of the same files.</summary>
internal static class DeltaTrees
{
    private static readonly string[] Parts = ["usr/bin", "usr/sbin", "usr/lib", "usr/share"];

    /// <summary>Only every so manyth file is taken: libostree needs minutes for all. 1 unless SBOX_DELTA_EVERY says otherwise.</summary>
    public static int Every { get; } = int.TryParse(Environment.GetEnvironmentVariable("SBOX_DELTA_EVERY"), out int every) ? Math.Max(1, every) : 1;

    /// <summary>Copies both.</summary>
    public static (string Old, string Fresh) Make(string work)
    {
        string root = new DirectoryInfo(Judge.Root).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Judge.Root;
        string old = Path.Combine(work, "old"), fresh = Path.Combine(work, "fresh");
        foreach (string file in Parts.SelectMany(part => Files(Path.Combine(root, part))).Order(StringComparer.Ordinal).Where(static (_, index) => index % Every == 0))
        {
            string name = Path.GetRelativePath(root, file);
            Copy(file, Path.Combine(fresh, name));
            if (Before(name) is { } before)
                Copy(before, Path.Combine(old, Path.GetRelativePath("/", before)));
        }

        return (old, fresh);
    }

    // The file at the same path, or the library of the same name with another version.
    private static string? Before(string name)
    {
        string same = Path.Combine("/", name);
        if (File.Exists(same) && new FileInfo(same).LinkTarget is null)
            return same;
        int version = name.IndexOf(".so.", StringComparison.Ordinal);
        string? directory = Path.GetDirectoryName(same);
        if (version < 0 || !Directory.Exists(directory))
            return null;
        string stem = Path.GetFileName(name[..version]);
        return Directory.EnumerateFiles(directory, $"{stem}.so.*").FirstOrDefault(static file => new FileInfo(file).LinkTarget is null);
    }

    private static IEnumerable<string> Files(string directory) => !Directory.Exists(directory) ? [] : new DirectoryInfo(directory)
        .EnumerateFiles("*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint })
        .Select(static file => file.FullName);

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(to)!);
        File.Copy(from, to, overwrite: true);
    }
}
