using Tomlyn.Syntax;

namespace Sbox.Sysroot;

/// <summary>Something that a ghost keeps without being asked.</summary>
/// <param name="File">The file that says so.</param>
/// <param name="What">A path, or a group of the ledger.</param>
public readonly record struct KeepRule(string File, string What)
{
    /// <summary>Whether it is a path; else it is a group.</summary>
    public bool IsPath => What.StartsWith('/');

    /// <summary>Whether it means a path of the ledger. As with <c>sbox keep</c>, a directory does not mean the noise in it, unless it is noise itself.</summary>
    /// <param name="path">From the root, in the ledger's words: <c>/var/home</c>.</param>
    public bool Means(string path) => Means(path, LedgerGroup.Of(path).Group);

    internal bool Means(string path, LedgerGroup group) =>
        IsPath ? GhostLayer.IsAtOrBelow(path, What) && (!group.IsNoise || LedgerGroup.Of(What).Group.IsNoise) : group.Id == What;
}

/// <summary>What a ghost keeps without being asked, as files in <c>/etc/sbox/keep.d</c> say; all else is as new at each boot.</summary>
public static class KeepList
{
    /// <summary>Where the files are.</summary>
    public const string Directory = "/etc/sbox/keep.d";

    /// <summary>Reads them, in the order of their names.</summary>
    /// <param name="absolute">What a path that a person wrote is in the ledger's words.</param>
    /// <param name="directory">Where they are; need not be there.</param>
    /// <exception cref="GhostSettingsException">A line cannot be heeded; nothing is kept then.</exception>
    /// <exception cref="IOException">Refused: what they name is not known.</exception>
    public static IReadOnlyList<KeepRule> Read(Func<string, string> absolute, string directory = Directory)
    {
        string[] files;
        try
        {
            files = System.IO.Directory.GetFiles(directory, "*.toml"); // asked whether it exists, .NET says no also where it cannot be read
        }
        catch (DirectoryNotFoundException)
        {
            return [];
        }

        return [.. files.Order(StringComparer.Ordinal).SelectMany(file => Parse(file, File.ReadAllText(file), absolute))];
    }

    /// <summary>Reads the text of one.</summary>
    /// <param name="file">Its name, for the rules and for messages.</param>
    /// <param name="text">What it says.</param>
    /// <param name="absolute">What a path that a person wrote is in the ledger's words.</param>
    /// <exception cref="GhostSettingsException">A line cannot be heeded.</exception>
    public static IReadOnlyList<KeepRule> Parse(string file, string text, Func<string, string> absolute) =>
        [.. FlatToml.Parse(file, text, (line, finding) => new GhostSettingsException(file, line, finding)).KeyValues.SelectMany(pair => Rules(file, pair, absolute))];

    /// <summary>Whether a list may name it: a path, or a group that is no noise.</summary>
    public static bool IsName(string what) => what.StartsWith('/') || LedgerGroup.All.Any(group => group.Id == what && !group.IsNoise);

    /// <summary>The rule by which a path is kept; null where none means it.</summary>
    public static KeepRule? For(this IReadOnlyList<KeepRule> rules, string path)
    {
        if (rules.Count == 0)
            return null;
        LedgerGroup group = LedgerGroup.Of(path).Group;
        foreach (KeepRule rule in rules)
        {
            if (rule.Means(path, group))
                return rule;
        }

        return null;
    }

    private static IEnumerable<KeepRule> Rules(string file, KeyValueSyntax pair, Func<string, string> absolute) => FlatToml.KeyOf(pair) switch
    {
        "paths" => Texts(file, pair).Select(text => text.StartsWith('/') ? new KeepRule(file, absolute(text)) : throw Wrong(file, pair, $"'{text}' is no path: it begins with a slash")),
        "presets" => Texts(file, pair).Select(text => !text.StartsWith('/') && IsName(text) ? new KeepRule(file, text)
            : throw Wrong(file, pair, $"'{text}' is no preset; expected one of {string.Join(", ", LedgerGroup.All.Where(static group => !group.IsNoise).Select(static group => group.Id))}")),
        var other => throw Wrong(file, pair, $"'{other}' is not known here; expected paths or presets"),
    };

    private static IEnumerable<string> Texts(string file, KeyValueSyntax pair) => pair.Value is ArraySyntax array && array.Items.All(static item => item.Value is StringValueSyntax)
        ? array.Items.Select(static item => ((StringValueSyntax)item.Value!).Value ?? "") : throw Wrong(file, pair, $"{FlatToml.KeyOf(pair)} is a list of texts in quotes");

    private static GhostSettingsException Wrong(string file, KeyValueSyntax pair, string finding) => new(file, FlatToml.LineOf(pair), finding);
}
