using Tomlyn.Syntax;

namespace Sbox.Image;

/// <summary>
/// One TOML table of a recipe, read key by key. What nobody asked for by the time of <see cref="Finish"/> is a mistake: a key that is
/// silently ignored is a promise silently broken.
/// </summary>
internal sealed class RecipeTable
{
    private readonly string file;
    private readonly string name;
    private readonly int line;
    private readonly Dictionary<string, KeyValueSyntax> values = new(StringComparer.Ordinal);
    private readonly HashSet<string> known = new(StringComparer.Ordinal);

    public RecipeTable(string file, string name, int line, IEnumerable<KeyValueSyntax> items)
    {
        (this.file, this.name, this.line) = (file, name, line);
        foreach (KeyValueSyntax item in items)
        {
            string key = item.Key!.ToString().Trim();
            if (item.Key.DotKeys.ChildrenCount > 0)
                throw new RecipeException(file, LineOf(item), Full(key), "a plain key; tables are written [table]", "a dotted key");
            values[key] = item;
        }
    }

    public bool Has(string key) => Find(key) is not null;

    /// <summary>A string; null when the key is absent.</summary>
    public string? String(string key) => Find(key) switch
    {
        null => null,
        { Value: StringValueSyntax { Value: { } text } } => text,
        var other => throw Wrong(other, key, "a string"),
    };

    /// <summary>A string that a check accepts; null when the key is absent.</summary>
    public string? String(string key, Func<string, bool> accept, string expected) => Find(key) switch
    {
        null => null,
        { Value: StringValueSyntax { Value: { } text } } => accept(text) ? text : throw Invalid(key, expected, $"'{text}'"),
        var other => throw Wrong(other, key, expected),
    };

    public bool? Boolean(string key) => Find(key) switch
    {
        null => null,
        { Value: BooleanValueSyntax boolean } => boolean.Value,
        var other => throw Wrong(other, key, "true or false"),
    };

    public long? Integer(string key, long least, long most) => Find(key) switch
    {
        null => null,
        { Value: IntegerValueSyntax integer } when integer.Value >= least && integer.Value <= most => integer.Value,
        var other => throw Wrong(other, key, $"a number from {least} to {most}"),
    };

    /// <summary>A list of strings that a check accepts; null when the key is absent.</summary>
    public IReadOnlyList<string>? Strings(string key, Func<string, bool>? accept = null, string expected = "a list of strings")
    {
        if (Find(key) is not { } item)
            return null;
        if (item.Value is not ArraySyntax array)
            throw Wrong(item, key, "a list of strings");
        var texts = new List<string>();
        foreach (ArrayItemSyntax element in array.Items)
        {
            if (element.Value is not StringValueSyntax { Value: { } text })
                throw new RecipeException(file, LineOf(element), Full(key), "a list of strings", $"{element.Value?.ToString().Trim()}");
            if (accept is not null && !accept(text))
                throw new RecipeException(file, LineOf(element), Full(key), expected, $"'{text}'");
            texts.Add(text);
        }

        return texts;
    }

    /// <summary>The finding about one key, at its line.</summary>
    public RecipeException Invalid(string key, string expected, string found) =>
        new(file, values.TryGetValue(key, out KeyValueSyntax? item) ? LineOf(item) : line, Full(key), expected, found);

    /// <summary>Where a key is, for a finding that only the whole recipe gives; the table's line where it is absent.</summary>
    public (string Path, int Line) At(string key) => (file, values.TryGetValue(key, out KeyValueSyntax? item) ? LineOf(item) : line);

    /// <summary>The finding that a key is absent, at the table's line.</summary>
    public RecipeException Missing(string key, string expected) => new(file, line, Full(key), expected, "missing");

    /// <summary>Refuses keys that nobody asked for.</summary>
    public void Finish()
    {
        foreach ((string key, KeyValueSyntax item) in values)
        {
            if (known.Contains(key))
                continue;
            string expected = NearestName.Of(key, known) is { } near ? $"'{near}'?" : "one of " + string.Join(", ", known.Order(StringComparer.Ordinal));
            throw new RecipeException(file, LineOf(item), Full(key), expected, "unknown key");
        }
    }

    private KeyValueSyntax? Find(string key)
    {
        known.Add(key);
        return values.GetValueOrDefault(key);
    }

    private RecipeException Wrong(KeyValueSyntax item, string key, string expected) =>
        new(file, LineOf(item), Full(key), expected, Shorten(item.Value?.ToString().Trim() ?? "nothing"));

    private string Full(string key) => name.Length > 0 ? $"{name}.{key}" : key;

    private static int LineOf(SyntaxNode node) => node.Span.Start.Line + 1;

    private static string Shorten(string text) => text.Split('\n')[0] is var first && first.Length > 40 ? first[..40] + "…" : first;
}
