namespace Sbox.Architecture.Tests;

/// <summary>The source tree these tests were compiled from.</summary>
internal static class Source
{
    /// <summary>The top of the tree.</summary>
    public static string Root => Judges.SourceTree.Root;

    /// <summary>The rooms: directories in src/ that hold a project.</summary>
    public static IReadOnlyList<string> Rooms { get; } =
        [.. Directory.GetDirectories(Path.Combine(Root, "src")).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    /// <summary>A room's project file.</summary>
    public static string Project(string room) => File.ReadAllText(Path.Combine(Root, "src", room, $"{room}.csproj"));

    /// <summary>A room's sources, with their paths below the top.</summary>
    public static IEnumerable<(string Path, string Text)> Files(string room) =>
        Directory.EnumerateFiles(Path.Combine(Root, "src", room), "*.cs", SearchOption.AllDirectories)
            .Select(static path => (Path.GetRelativePath(Root, path), File.ReadAllText(path)));
}
