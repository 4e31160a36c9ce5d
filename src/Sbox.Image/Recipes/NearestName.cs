namespace Sbox.Image;

/// <summary>Which known name somebody probably meant.</summary>
internal static class NearestName
{
    /// <summary>The known name that takes the fewest typing errors to become <paramref name="written"/>; null when none is near.</summary>
    public static string? Of(string written, IEnumerable<string> known)
    {
        (string name, int distance) = known.Select(name => (name, Distance(written, name))).DefaultIfEmpty(("", int.MaxValue)).MinBy(pair => pair.Item2);

        // Two letters swapped are two errors; with more than a third of the letters wrong it is another word.
        return distance <= Math.Max(name.Length < 4 ? 1 : 2, name.Length / 3) ? name : null;
    }

    // Levenshtein's: letters added, lost or changed.
    internal static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(changed, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[b.Length];
    }
}
