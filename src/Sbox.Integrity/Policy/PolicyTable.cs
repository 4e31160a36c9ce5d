using Tomlyn.Syntax;

namespace Sbox.Integrity;

/// <summary>A policy file says something that the sentinel cannot go by.</summary>
/// <param name="file">The file.</param>
/// <param name="line">The line, from 1.</param>
/// <param name="key">The key, with its table; empty for the whole line.</param>
/// <param name="expected">What belongs there.</param>
/// <param name="found">What is there.</param>
public sealed class PolicyException(string file, int line, string key, string expected, string found)
    : FormatException($"{file}:{line}: {(key.Length > 0 ? $"{key}: " : "")}expected {expected}, found {found}")
{
    /// <summary>The file.</summary>
    public string File { get; } = file;

    /// <summary>The line, from 1.</summary>
    public int Line { get; } = line;

    /// <summary>The key, with its table.</summary>
    public string Key { get; } = key;

    /// <summary>What belongs there.</summary>
    public string Expected { get; } = expected;

    /// <summary>What is there.</summary>
    public string Found { get; } = found;
}

/// <summary>One TOML table of a policy, read key by key. A key that nobody asked for is a mistake, not a comment.</summary>
internal sealed class PolicyTable
{
    private readonly string file;
    private readonly string name;
    private readonly Dictionary<string, KeyValueSyntax> values = new(StringComparer.Ordinal);
    private readonly HashSet<string> known = new(StringComparer.Ordinal);

    public PolicyTable(string file, string name, int line, IEnumerable<KeyValueSyntax> items)
    {
        (this.file, this.name, Line) = (file, name, line);
        foreach (KeyValueSyntax item in items)
        {
            string key = item.Key?.ToString().Trim() ?? "";
            if (item.Key is null || item.Key.DotKeys.ChildrenCount > 0)
                throw new PolicyException(file, LineOf(item), Full(key), "a plain key; tables are written [table]", "a dotted key");
            values[key] = item;
        }
    }

    /// <summary>Where the table begins.</summary>
    public int Line { get; }

    /// <summary>The keys that are there.</summary>
    public IEnumerable<string> Keys => values.Keys;

    public string? String(string key) => Find(key) switch
    {
        null => null,
        { Value: StringValueSyntax { Value: { } text } } => text,
        var other => throw Wrong(other, key, "a string"),
    };

    public bool? Boolean(string key) => Find(key) switch
    {
        null => null,
        { Value: BooleanValueSyntax boolean } => boolean.Value,
        var other => throw Wrong(other, key, "true or false"),
    };

    public IReadOnlyList<string> Strings(string key)
    {
        if (Find(key) is not { } item)
            return [];
        if (item.Value is not ArraySyntax array)
            throw Wrong(item, key, "a list of strings");
        return [.. array.Items.Select(element => element.Value is StringValueSyntax { Value: { } text }
            ? text
            : throw new PolicyException(file, LineOf(element), Full(key), "a list of strings", Shorten(element.Value?.ToString())))];
    }

    /// <summary>A string out of a list of names.</summary>
    public T? OneOf<T>(string key, IReadOnlyDictionary<string, T> names)
        where T : struct =>
        String(key) is not { } text ? null : names.TryGetValue(text, out T value) ? value : throw Invalid(key, "one of " + string.Join(", ", names.Keys), $"'{text}'");

    /// <summary>A pattern of paths.</summary>
    public PathPattern? Pattern(string key) => String(key) is { } text ? ToPattern(key, text) : null;

    /// <summary>A list of patterns.</summary>
    public IReadOnlyList<PathPattern> Patterns(string key) => [.. Strings(key).Select(text => ToPattern(key, text))];

    /// <summary>A path without patterns.</summary>
    public string? Path(string key) => Pattern(key) switch
    {
        null => null,
        { Text: var text } when text.Contains('*', StringComparison.Ordinal) => throw Invalid(key, "one path, without '*'", $"'{text}'"),
        { Text: var text } => text,
    };

    public PolicyException Invalid(string key, string expected, string found) =>
        new(file, values.TryGetValue(key, out KeyValueSyntax? item) ? LineOf(item) : Line, Full(key), expected, found);

    /// <summary>Refuses keys that nobody asked for.</summary>
    public void Finish()
    {
        foreach ((string key, KeyValueSyntax item) in values)
        {
            if (!known.Contains(key))
                throw new PolicyException(file, LineOf(item), Full(key), "one of " + string.Join(", ", known.Order(StringComparer.Ordinal)), "an unknown key");
        }
    }

    private PathPattern ToPattern(string key, string text) =>
        PathPattern.TryParse(text) ?? throw Invalid(key, "an absolute path without '.', '..' or '//'", $"'{text}'");

    private KeyValueSyntax? Find(string key)
    {
        known.Add(key);
        return values.GetValueOrDefault(key);
    }

    private PolicyException Wrong(KeyValueSyntax item, string key, string expected) =>
        new(file, LineOf(item), Full(key), expected, Shorten(item.Value?.ToString()));

    private string Full(string key) => name.Length > 0 ? $"{name}.{key}" : key;

    private static int LineOf(SyntaxNode node) => node.Span.Start.Line + 1;

    private static string Shorten(string? text) =>
        text?.Trim().Split('\n')[0] is not { Length: > 0 } first ? "nothing" : first.Length > 40 ? $"{first[..40]}…" : first;
}
