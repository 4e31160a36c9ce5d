using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Names that stand for what is to be deleted, as layers of container images have them.</summary>
internal static class Whiteouts
{
    private const string Prefix = ".wh.";
    private const string Opaque = ".wh..wh..opq";

    /// <summary>Deletes what a directory's names ask for, and what stands where another kind of thing shall be.</summary>
    /// <param name="names">The names to be written into the directory.</param>
    /// <param name="dir">The directory, with what an earlier checkout left in it.</param>
    /// <returns>The names that are left to write.</returns>
    public static DirTree Apply(DirTree names, Dir dir)
    {
        if (names.Files.Any(static file => file.Name == Opaque))
        {
            foreach (DirEntry entry in dir.Entries())
                dir.RemoveAll(entry.Name);
        }

        foreach (DirTreeFile file in names.Files.Where(static file => IsWhiteout(file.Name)))
        {
            string gone = file.Name[Prefix.Length..];
            if (gone is not ("" or "." or ".."))
                dir.RemoveAll(gone);
        }

        DirTree left = names with { Files = [.. names.Files.Where(static file => !IsWhiteout(file.Name))] };
        foreach (DirTreeFile file in left.Files.Where(file => dir.TryStat(file.Name) is { IsDirectory: true }))
            dir.RemoveAll(file.Name);
        foreach (DirTreeDirectory inner in left.Directories.Where(inner => dir.TryStat(inner.Name) is { IsDirectory: false }))
            dir.RemoveAll(inner.Name);
        return left;
    }

    private static bool IsWhiteout(string name) => name.StartsWith(Prefix, StringComparison.Ordinal);
}
