namespace Sbox.Boot;

/// <summary>One argument of a kernel command line, as written there: <c>quiet</c>, <c>root=LABEL=x</c>, <c>opt="a b"</c>.</summary>
/// <param name="Text">The whole argument with its quotes; never empty, without blanks outside of quotes.</param>
/// <remarks>docs/formats/kernel-command-line.md, after next_arg() of the kernel's lib/cmdline.c.</remarks>
public readonly record struct KernelArgument(string Text)
{
    private const string Blanks = " \t\n\v\f\r";

    /// <summary>What stands before the first <c>=</c>, quotes removed.</summary>
    public string Key => Split().Key;

    /// <summary>What stands after the first <c>=</c>, with the quotes that surround it removed; null where there is no <c>=</c>.</summary>
    public string? Value => Split().Value;

    /// <summary>The value as written, quotes kept; null where there is no <c>=</c>. libostree compares these.</summary>
    public string? RawValue => EqualsAt < 0 ? null : Text[(EqualsAt + 1)..];

    /// <summary>An argument for a key and a value; quotes are put around a value that holds a blank.</summary>
    /// <exception cref="ArgumentException">The key is empty or holds a blank, <c>=</c> or a quote, or the value holds a quote: no command line can say that.</exception>
    public static KernelArgument Of(string key, string? value = null)
    {
        if (key.Length == 0 || key.AsSpan().IndexOfAny(Blanks + "=\"") >= 0)
            throw new ArgumentException($"'{key}' cannot be the name of a kernel argument", nameof(key));
        if (value is null)
            return new KernelArgument(key);
        if (value.Contains('"', StringComparison.Ordinal))
            throw new ArgumentException($"{key}: a kernel argument's value cannot hold a double quote", nameof(value));
        return new KernelArgument(value.AsSpan().IndexOfAny(Blanks) >= 0 ? $"{key}=\"{value}\"" : $"{key}={value}");
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    internal static bool IsBlank(char c) => Blanks.Contains(c, StringComparison.Ordinal);

    private int EqualsAt => Text.IndexOf('=', StringComparison.Ordinal);

    // The kernel takes a quote off the front of the argument or of its value, and one off the end when it took one there.
    private (string Key, string? Value) Split()
    {
        string text = Text;
        bool quoted = text.StartsWith('"');
        if (quoted)
            text = text[1..];
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals < 0)
            return (quoted ? WithoutLastQuote(text) : text, null);
        string value = text[(equals + 1)..];
        if (value.StartsWith('"'))
            value = WithoutLastQuote(value[1..]);
        else if (quoted)
            value = WithoutLastQuote(value);
        return (text[..equals], value);
    }

    private static string WithoutLastQuote(string text) => text.EndsWith('"') ? text[..^1] : text;
}
