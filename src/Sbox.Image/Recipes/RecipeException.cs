namespace Sbox.Image;

/// <summary>A recipe says something that cannot be built; prints as <c>FILE:LINE: finding; expected ...</c>.</summary>
/// <param name="file">The recipe's path as it was given, or the one that it extends.</param>
/// <param name="line">The line, from 1.</param>
/// <param name="key">The key it is about, <c>file.mode</c>; empty when the line is no TOML.</param>
/// <param name="expected">What may stand there.</param>
/// <param name="found">What stands there.</param>
public sealed class RecipeException(string file, int line, string key, string expected, string found)
    : Exception($"{file}:{line}: {(key.Length > 0 ? key + ": " : "")}{found}; expected {expected}")
{
    /// <summary>The recipe's path.</summary>
    public string File { get; } = file;

    /// <summary>The line, from 1.</summary>
    public int Line { get; } = line;

    /// <summary>The key; empty when the line is no TOML.</summary>
    public string Key { get; } = key;

    /// <summary>What may stand there.</summary>
    public string Expected { get; } = expected;

    /// <summary>What stands there.</summary>
    public string Found { get; } = found;
}
