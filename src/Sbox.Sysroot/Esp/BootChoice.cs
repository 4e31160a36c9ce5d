namespace Sbox.Sysroot;

/// <summary>Which menu entry systemd-boot starts, as far as that can be told without being it.</summary>
/// <param name="Entry">The entry that boots when nobody chooses; null where it is not known.</param>
/// <param name="Once">The entry that the next boot alone starts; null where none is set, or it is not known which it means.</param>
/// <param name="Variable">The firmware's LoaderEntryDefault where it decides, over loader.conf; else null.</param>
/// <param name="OneShot">The firmware's LoaderEntryOneShot where it decides the next boot; else null.</param>
public sealed record BootChoice(string? Entry, string? Once, string? Variable, string? OneShot)
{
    /// <summary>Chooses as systemd-boot does: the one-shot variable, the default variable, loader.conf's default, the first of the menu.</summary>
    /// <param name="entries">All entries, lower case: a file's name, and <c>NAME@PROFILE</c> for each further profile of a unified kernel image.</param>
    /// <param name="configured">loader.conf's default; null for none.</param>
    /// <param name="variable">LoaderEntryDefault.</param>
    /// <param name="oneShot">LoaderEntryOneShot.</param>
    /// <param name="lastBooted">LoaderEntryLastBooted, what <c>@saved</c> means.</param>
    /// <remarks>The order of the menu is not made again here: where several entries fit, or none is named, only a lone file is known. Of a file's own
    /// entries, the one without a profile's name comes first in the menu.</remarks>
    public static BootChoice Of(IReadOnlyList<string> entries, string? configured, string? variable, string? oneShot, string? lastBooted)
    {
        string[] Fitting(string? pattern) => pattern == "@saved" ? Matching(entries, lastBooted) : Matching(entries, pattern);
        string[] once = Matching(entries, oneShot), set = Fitting(variable), conf = Fitting(configured);
        string[] decided = set.Length > 0 ? set : conf.Length > 0 ? conf : [.. entries];
        return new BootChoice(Lone(decided), Lone(once), set.Length > 0 ? variable : null, once.Length > 0 ? oneShot : null);
    }

    /// <summary>Whether systemd-boot's pattern fits a name: <c>?</c>, <c>*</c>, and sets of characters (<c>[a-c]</c>).</summary>
    internal static bool Fits(string pattern, string name) => Fits(pattern.ToLowerInvariant().AsSpan(), name.ToLowerInvariant());

    private static bool Fits(ReadOnlySpan<char> pattern, ReadOnlySpan<char> name)
    {
        if (pattern.IsEmpty)
            return name.IsEmpty;
        switch (pattern[0])
        {
            case '*':
                for (int skip = 0; skip <= name.Length; skip++)
                {
                    if (Fits(pattern[1..], name[skip..]))
                        return true;
                }

                return false;
            case '?':
                return !name.IsEmpty && Fits(pattern[1..], name[1..]);
            case '[' when pattern[1..].IndexOf(']') is var end and > 0:
                return !name.IsEmpty && InSet(pattern[1..(end + 1)], name[0]) && Fits(pattern[(end + 2)..], name[1..]);
            default:
                return !name.IsEmpty && name[0] == pattern[0] && Fits(pattern[1..], name[1..]);
        }
    }

    private static bool InSet(ReadOnlySpan<char> set, char c)
    {
        for (int at = 0; at < set.Length; at++)
        {
            bool range = at + 2 < set.Length && set[at + 1] == '-';
            if (range ? c >= set[at] && c <= set[at + 2] : c == set[at])
                return true;
            at += range ? 2 : 0;
        }

        return false;
    }

    /// <summary>The file of an entry: what stands before the name of a profile.</summary>
    internal static string FileOf(string entry) => entry.Split('@')[0];

    private static string? Lone(string[] fitting) => fitting.DistinctBy(FileOf).Count() == 1 ? fitting.Order(StringComparer.Ordinal).First() : null;

    // What begins with auto- are entries that systemd-boot makes up (another system, a shell); whether it does is not seen from here.
    private static string[] Matching(IReadOnlyList<string> entries, string? pattern)
    {
        if (pattern?.ToLowerInvariant() is not { Length: > 0 } folded)
            return [];
        string[] found = [.. entries.Where(entry => Fits(folded, entry))];
        return found.Length == 0 && folded.StartsWith("auto-", StringComparison.Ordinal) && folded.IndexOfAny(['*', '?']) < 0 ? [folded, .. entries] : found;
    }
}
