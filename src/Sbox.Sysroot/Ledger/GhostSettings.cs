using Tomlyn.Syntax;

namespace Sbox.Sysroot;

/// <summary>A setting of ghosts, or a list of what they keep, that cannot be heeded.</summary>
/// <param name="path">The file.</param>
/// <param name="line">The line, from 1.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class GhostSettingsException(string path, int line, string finding) : SysrootException($"{path}:{line}: {finding}")
{
    /// <summary>The file.</summary>
    public string Path { get; } = path;
}

/// <summary>How a ghost tells what it will forget: <c>/etc/sbox/ghost.toml</c> over <c>/usr/lib/sbox/ghost.toml</c>, key by key.</summary>
public sealed record GhostSettings
{
    private const int LongestFarewell = 600;

    /// <summary>The files, a later one over an earlier one.</summary>
    public static IReadOnlyList<string> Files { get; } = ["/usr/lib/sbox/ghost.toml", "/etc/sbox/ghost.toml"];

    /// <summary>How long a shutdown waits for people who are logged in, when something would be lost; zero for not at all.</summary>
    public TimeSpan Farewell { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How full, in percent, the memory of a ghost is when people are warned the first time.</summary>
    public int MemoryWarning { get; init; } = 80;

    /// <summary>Reads files that are there.</summary>
    /// <exception cref="GhostSettingsException">A line cannot be heeded.</exception>
    public static GhostSettings Read(params IReadOnlyList<string> files)
    {
        var settings = new GhostSettings();
        foreach (string file in files.Where(File.Exists))
        {
            foreach (KeyValueSyntax pair in FlatToml.Parse(file, File.ReadAllText(file), (line, finding) => new GhostSettingsException(file, line, finding)).KeyValues)
                settings = settings.With(file, pair);
        }

        return settings;
    }

    private GhostSettings With(string file, KeyValueSyntax pair) => FlatToml.KeyOf(pair) switch
    {
        "farewell-seconds" => this with { Farewell = TimeSpan.FromSeconds(Number(file, pair, 0, LongestFarewell)) },
        "memory-warning" => this with { MemoryWarning = Number(file, pair, 1, 99) },
        var other => throw new GhostSettingsException(file, FlatToml.LineOf(pair), $"'{other}' is not known here; expected farewell-seconds or memory-warning"),
    };

    private static int Number(string file, KeyValueSyntax pair, int least, int most) => pair.Value is IntegerValueSyntax { Value: var number } && number >= least && number <= most
        ? (int)number : throw new GhostSettingsException(file, FlatToml.LineOf(pair), $"{FlatToml.KeyOf(pair)} is a number from {least} to {most}");
}
