using System.Globalization;
using System.Text;

namespace Sbox.Tour.Tests;

/// <summary>How often the power was cut so far, in how many runs: a page with a row for each, which every cut writes anew.</summary>
/// <param name="page">The page; null for none.</param>
internal sealed class CutCount(string? page)
{
    private const string Head = """
        # Power cuts

        Made by `./bench power-cuts`: a machine is killed at a random moment of an upgrade, of the reboot that finalizes it and starts it the first time, of a rollback, or of a cleanup. Its disk is
        looked at as it lies there (fsck.vfat, e2fsck, fsck of real ostree), and it has to boot a version that it had; after each tenth cut it has to upgrade, too. Each run adds a row.

        | day | cuts | of which | failures |
        |---|---|---|---|

        """;

    private readonly SortedDictionary<string, int> cuts = [];
    private readonly string[] before = page is not null && File.Exists(page) ? [.. File.ReadLines(page).Where(static line => line.StartsWith("| 2", StringComparison.Ordinal))] : [];
    private int failures;

    /// <summary>One more.</summary>
    /// <param name="deed">What it cut.</param>
    /// <param name="failed">Whether something was wrong after it.</param>
    public void Add(string deed, bool failed)
    {
        cuts[deed] = cuts.GetValueOrDefault(deed) + 1;
        failures += failed ? 1 : 0;
        if (page is null)
            return;
        string[] rows = [.. before, string.Create(CultureInfo.InvariantCulture, $"| {DateTime.UtcNow:yyyy-MM-dd} | {cuts.Values.Sum()} | {string.Join(", ", cuts.Select(static each => $"{each.Key} {each.Value}"))} | {failures} |")];
        var text = new StringBuilder(Head);
        foreach (string row in rows)
            text.Append(row).Append('\n');
        text.Append(CultureInfo.InvariantCulture, $"\nIn all: {Sum(rows, 2)} cuts, {Sum(rows, 4)} failures.\n");
        File.WriteAllText(page, text.ToString());
    }

    private static int Sum(string[] rows, int column) => rows.Sum(row => int.Parse(row.Split('|')[column], CultureInfo.InvariantCulture));
}
