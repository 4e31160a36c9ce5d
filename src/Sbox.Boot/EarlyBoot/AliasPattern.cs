namespace Sbox.Boot;

/// <summary>The patterns of modules.alias: fnmatch(3) with <c>*</c>, <c>?</c> and <c>[a-z]</c>, no escapes and no special <c>/</c>.</summary>
internal static class AliasPattern
{
    /// <summary>Whether a device's modalias matches; linear in both for patterns as depmod writes them.</summary>
    public static bool Matches(ReadOnlySpan<char> pattern, ReadOnlySpan<char> text)
    {
        int at = 0, star = -1, starText = 0, position = 0;
        while (position < text.Length)
        {
            if (at < pattern.Length && pattern[at] == '*')
            {
                (star, starText) = (at++, position);
                continue;
            }

            int length = at < pattern.Length ? One(pattern[at..], text[position]) : 0;
            if (length > 0)
            {
                at += length;
                position++;
                continue;
            }

            if (star < 0)
                return false;
            at = star + 1; // the last star takes one character more
            position = ++starText;
        }

        while (at < pattern.Length && pattern[at] == '*')
            at++;
        return at == pattern.Length;
    }

    // How long the pattern's first element is, when it matches the character; else 0.
    private static int One(ReadOnlySpan<char> pattern, char character)
    {
        if (pattern[0] == '?')
            return 1;
        if (pattern[0] != '[' || pattern.IndexOf(']') is not (> 1 and var end))
            return pattern[0] == character ? 1 : 0;
        for (int at = 1; at < end; at++)
        {
            bool range = at + 2 < end && pattern[at + 1] == '-';
            if (range ? character >= pattern[at] && character <= pattern[at + 2] : character == pattern[at])
                return end + 1;
            at += range ? 2 : 0;
        }

        return 0;
    }
}
