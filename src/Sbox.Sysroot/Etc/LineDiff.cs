using System.Globalization;
using System.Text;

namespace Sbox.Sysroot;

/// <summary>One place where two texts differ: these lines of the one are in the place of those of the other. Counted from 0, ends excluded.</summary>
/// <param name="From">First line of the old text.</param>
/// <param name="FromEnd">Where it ends there.</param>
/// <param name="To">First line of the new text.</param>
/// <param name="ToEnd">Where it ends there.</param>
public readonly record struct LineChange(int From, int FromEnd, int To, int ToEnd);

/// <summary>How two texts differ, line by line. Texts are bytes: one char is one byte (Latin-1), so that whatever the encoding is, nothing is lost.</summary>
public static class LineDiff
{
    // More differences than that are no edit of a text but another text; the search would take as long as their square.
    private const int MostDifferences = 1500;

    /// <summary>Splits into lines, each with its line feed; the last may lack one.</summary>
    public static IReadOnlyList<string> Lines(string text)
    {
        var lines = new List<string>();
        for (int at = 0; at < text.Length;)
        {
            int feed = text.IndexOf('\n', at);
            int end = feed < 0 ? text.Length : feed + 1;
            lines.Add(text[at..end]);
            at = end;
        }

        return lines;
    }

    /// <summary>The changes, in order, none touching another; the fewest lines that make the one the other.</summary>
    /// <remarks>After E. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986).</remarks>
    public static IReadOnlyList<LineChange> Between(IReadOnlyList<string> before, IReadOnlyList<string> after)
    {
        int start = 0, oldEnd = before.Count, newEnd = after.Count;
        while (start < oldEnd && start < newEnd && before[start] == after[start])
            start++;
        while (oldEnd > start && newEnd > start && before[oldEnd - 1] == after[newEnd - 1])
            (oldEnd, newEnd) = (oldEnd - 1, newEnd - 1);
        if (start == oldEnd && start == newEnd)
            return [];
        if (start == oldEnd || start == newEnd || Search(before, after, start, oldEnd, newEnd) is not { } pairs)
            return [new LineChange(start, oldEnd, start, newEnd)];
        return Gaps(pairs, start, oldEnd, newEnd);
    }

    /// <summary>The differences as <c>diff -u</c> prints them, three lines around each; empty where there are none.</summary>
    /// <param name="before">The old text, one char a byte.</param>
    /// <param name="after">The new one.</param>
    /// <param name="oldName">What the old one is called.</param>
    /// <param name="newName">What the new one is called.</param>
    public static string Unified(string before, string after, string oldName, string newName)
    {
        IReadOnlyList<string> from = Lines(before), to = Lines(after);
        IReadOnlyList<LineChange> changes = Between(from, to);
        if (changes.Count == 0)
            return "";
        const int around = 3;
        var text = new StringBuilder($"--- {oldName}\n+++ {newName}\n");
        for (int first = 0; first < changes.Count;)
        {
            int last = first;
            while (last + 1 < changes.Count && changes[last + 1].From - changes[last].FromEnd <= 2 * around)
                last++;
            int begin = Math.Max(0, changes[first].From - around), end = Math.Min(from.Count, changes[last].FromEnd + around);
            int shift = changes[first].To - changes[first].From, grown = changes[last].ToEnd - changes[last].FromEnd;
            text.Append(CultureInfo.InvariantCulture, $"@@ -{Range(begin, end - begin)} +{Range(begin + shift, end + grown - begin - shift)} @@\n");
            int at = begin;
            foreach (LineChange change in changes.Skip(first).Take(last - first + 1))
            {
                Append(' ', from, at, change.From);
                Append('-', from, change.From, change.FromEnd);
                Append('+', to, change.To, change.ToEnd);
                at = change.FromEnd;
            }

            Append(' ', from, at, end);
            first = last + 1;
        }

        return text.ToString();

        void Append(char mark, IReadOnlyList<string> lines, int begin, int end)
        {
            for (int at = begin; at < end; at++)
                text.Append(mark).Append(lines[at]).Append(lines[at].EndsWith('\n') ? "" : "\n\\ No newline at end of file\n");
        }

        static string Range(int begin, int count)
        {
            string line = (count == 0 ? begin : begin + 1).ToString(CultureInfo.InvariantCulture);
            return count == 1 ? line : $"{line},{count.ToString(CultureInfo.InvariantCulture)}";
        }
    }

    // Pairs of equal lines, in order; null where the texts have too little in common.
    private static List<(int Old, int New)>? Search(IReadOnlyList<string> before, IReadOnlyList<string> after, int start, int oldEnd, int newEnd)
    {
        int n = oldEnd - start, m = newEnd - start, most = Math.Min(n + m, MostDifferences);
        var furthest = new int[(2 * most) + 3];
        var trace = new List<int[]>();
        for (int d = 0; d <= most; d++)
        {
            // Only what round d reads: diagonals -d-1 to d+1.
            trace.Add(furthest[(most + 1 - d - 1)..(most + 1 + d + 2)]);
            for (int k = -d; k <= d; k += 2)
            {
                int x = k == -d || (k != d && furthest[most + k] < furthest[most + 2 + k]) ? furthest[most + 2 + k] : furthest[most + k] + 1;
                int y = x - k;
                while (x < n && y < m && before[start + x] == after[start + y])
                    (x, y) = (x + 1, y + 1);
                furthest[most + 1 + k] = x;
                if (x >= n && y >= m)
                    return Walk(trace, n, m, start);
            }
        }

        return null;
    }

    // Back from the end, one round at a time.
    private static List<(int Old, int New)> Walk(List<int[]> trace, int n, int m, int start)
    {
        var pairs = new List<(int, int)>();
        (int x, int y) = (n, m);
        for (int d = trace.Count - 1; d >= 0; d--)
        {
            int[] furthest = trace[d];
            int At(int diagonal) => furthest[diagonal + d + 1];
            int k = x - y;
            int from = k == -d || (k != d && At(k - 1) < At(k + 1)) ? k + 1 : k - 1;
            (int oldX, int oldY) = d == 0 ? (0, 0) : (At(from), At(from) - from);
            while (x > oldX && y > oldY)
            {
                (x, y) = (x - 1, y - 1);
                pairs.Add((start + x, start + y));
            }

            (x, y) = (oldX, oldY);
        }

        pairs.Reverse();
        return pairs;
    }

    private static List<LineChange> Gaps(List<(int Old, int New)> pairs, int start, int oldEnd, int newEnd)
    {
        var changes = new List<LineChange>();
        (int from, int to) = (start, start);
        foreach ((int old, int @new) in pairs.Append((oldEnd, newEnd)))
        {
            if (old > from || @new > to)
                changes.Add(new LineChange(from, old, to, @new));
            (from, to) = (old + 1, @new + 1);
        }

        return changes;
    }
}
