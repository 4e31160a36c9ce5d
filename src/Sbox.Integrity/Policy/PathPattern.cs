namespace Sbox.Integrity;

/// <summary>
/// An absolute path in which <c>*</c> stands for any letters of one name; it also stands for everything below. <c>/var/lib/*</c>
/// matches <c>/var/lib/x</c> and <c>/var/lib/x/y</c>, not <c>/var/lib</c>.
/// </summary>
public sealed class PathPattern
{
    private readonly string[] parts;

    private PathPattern(string text, string[] parts) => (Text, this.parts) = (text, parts);

    /// <summary>As it was written.</summary>
    public string Text { get; }

    /// <summary>Reads one; null when it is not absolute, or has an empty, <c>.</c> or <c>..</c> part.</summary>
    public static PathPattern? TryParse(string text)
    {
        if (text == "/")
            return new PathPattern(text, []);
        if (!text.StartsWith('/') || text.Contains('\0', StringComparison.Ordinal))
            return null;
        string[] parts = text[1..].Split('/');
        return parts.Any(static part => part is "" or "." or "..") ? null : new PathPattern(text, parts);
    }

    /// <summary>Whether a path is matched, or lies below one that is.</summary>
    public bool Covers(string path)
    {
        if (!path.StartsWith('/'))
            return false;
        if (parts.Length == 0)
            return true;
        string[] names = path[1..].Split('/');
        if (names.Length < parts.Length)
            return false;
        for (int at = 0; at < parts.Length; at++)
        {
            if (!Matches(names[at], parts[at]))
                return false;
        }

        return true;
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    // Greedy with one step back to the last star: linear for names of a few stars, and never exponential.
    private static bool Matches(ReadOnlySpan<char> name, ReadOnlySpan<char> pattern)
    {
        int at = 0, letter = 0, star = -1, resume = 0;
        while (letter < name.Length)
        {
            if (at < pattern.Length && pattern[at] == '*')
            {
                star = at++;
                resume = letter;
            }
            else if (at < pattern.Length && pattern[at] == name[letter])
            {
                at++;
                letter++;
            }
            else if (star >= 0)
            {
                at = star + 1;
                letter = ++resume;
            }
            else
            {
                return false;
            }
        }

        return pattern[at..].IndexOfAnyExcept('*') < 0;
    }
}
