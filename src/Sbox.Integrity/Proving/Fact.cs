namespace Sbox.Integrity;

/// <summary>One thing that a proof says: what was looked at, what it came to, and by which evidence.</summary>
/// <param name="Name">What was looked at, in a word: <c>firmware</c>.</param>
/// <param name="Verdict">What it came to.</param>
/// <param name="Says">One sentence for a person.</param>
public sealed record Fact(string Name, Verdict Verdict, string Says)
{
    /// <summary>What the sentence rests on.</summary>
    public IReadOnlyDictionary<string, string> Evidence { get; init; } = new SortedDictionary<string, string>(StringComparer.Ordinal);

    /// <summary>What there are several of: findings, names of modules, changes.</summary>
    public IReadOnlyList<string> List { get; init; } = [];

    /// <summary>The same with evidence; what is null is left out.</summary>
    public Fact With(params ReadOnlySpan<(string Key, string? Value)> evidence)
    {
        var all = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string? value) in evidence)
        {
            if (value is not null)
                all[key] = value;
        }

        return this with { Evidence = all };
    }
}
