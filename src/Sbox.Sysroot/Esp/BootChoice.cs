using System.IO.Enumeration;

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

    /// <summary>The file of an entry: what stands before the name of a profile.</summary>
    internal static string FileOf(string entry) => entry.Split('@')[0];

    private static string? Lone(string[] fitting) => fitting.DistinctBy(FileOf).Count() == 1 ? fitting.Order(StringComparer.Ordinal).First() : null;

    // What begins with auto- are entries that systemd-boot makes up (another system, a shell); whether it does is not seen from here.
    private static string[] Matching(IReadOnlyList<string> entries, string? pattern)
    {
        if (pattern?.ToLowerInvariant() is not { Length: > 0 } folded)
            return [];
        if (folded.Contains('['))
            return [.. entries]; // a set of characters: rare, and anything may fit
        string[] found = [.. entries.Where(entry => FileSystemName.MatchesSimpleExpression(folded, entry, ignoreCase: false))];
        return found.Length == 0 && folded.StartsWith("auto-", StringComparison.Ordinal) && folded.IndexOfAny(['*', '?']) < 0 ? [folded, .. entries] : found;
    }
}
