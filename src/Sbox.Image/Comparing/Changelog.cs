using System.Text.RegularExpressions;

namespace Sbox.Image;

/// <summary>What a Debian changelog tells of the versions after one.</summary>
/// <param name="Headlines">The first line of each item, newest version first.</param>
/// <param name="Vulnerabilities">The CVE ids that are named in it, each once, in order.</param>
public sealed partial record Changelog(IReadOnlyList<string> Headlines, IReadOnlyList<string> Vulnerabilities)
{
    /// <summary>Nothing that is told.</summary>
    public static Changelog Empty { get; } = new([], []);

    /// <summary>Reads a <c>changelog.Debian</c>: deb-changelog(5). Anything that is none has nothing to tell.</summary>
    /// <param name="text">All of it; from whoever made the package.</param>
    /// <param name="after">The version whose successors are asked for; at it, or where the text ends, reading ends.</param>
    public static Changelog Since(string text, DebianVersion after)
    {
        var headlines = new List<string>();
        var found = new SortedSet<string>(StringComparer.Ordinal);
        bool within = false;
        foreach (string line in text.Split('\n'))
        {
            if (Entry().Match(line) is { Success: true } entry)
            {
                within = new DebianVersion(entry.Groups[1].Value).CompareTo(after) > 0;
                if (!within)
                    break;
            }

            if (!within)
                continue;
            if (line.StartsWith("  * ", StringComparison.Ordinal))
                headlines.Add(line[4..].TrimEnd());
            found.UnionWith(Vulnerability().Matches(line).Select(static match => match.Value));
        }

        return new Changelog(headlines, [.. found]);
    }

    [GeneratedRegex(@"^[a-z0-9][a-z0-9+.-]* \(([^ )]+)\)", RegexOptions.CultureInvariant)]
    private static partial Regex Entry();

    [GeneratedRegex(@"CVE-[0-9]{4}-[0-9]{4,7}", RegexOptions.CultureInvariant)]
    private static partial Regex Vulnerability();
}
