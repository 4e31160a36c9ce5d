using System.Runtime.CompilerServices;

namespace Sbox.Architecture.Tests;

/// <summary>The source tree these tests were compiled from.</summary>
internal static class Source
{
    /// <summary>The top of the tree: the nearest directory above the tests' binaries that holds Sbox.slnx.</summary>
    public static string Root { get; } = FindRoot(AppContext.BaseDirectory);

    /// <summary>The rooms: directories in src/ that hold a project.</summary>
    public static IReadOnlyList<string> Rooms { get; } =
        [.. Directory.GetDirectories(Path.Combine(Root, "src")).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    /// <summary>A room's project file.</summary>
    public static string Project(string room) => File.ReadAllText(Path.Combine(Root, "src", room, $"{room}.csproj"));

    /// <summary>A room's sources, with their paths below the top.</summary>
    public static IEnumerable<(string Path, string Text)> Files(string room) =>
        Directory.EnumerateFiles(Path.Combine(Root, "src", room), "*.cs", SearchOption.AllDirectories)
            .Select(static path => (Path.GetRelativePath(Root, path), File.ReadAllText(path)));

    private static string FindRoot(string start)
    {
        for (DirectoryInfo? at = new(start); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Sbox.slnx")))
                return at.FullName;
        }

        throw new InvalidOperationException($"no Sbox.slnx above {start}");
    }
}
