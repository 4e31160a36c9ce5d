using System.Text;

namespace Sbox.Sysroot;

/// <summary>Three versions of a text become one, line by line; pure.</summary>
public static class TextMerge
{
    private const int Largest = 1 << 20;

    /// <summary>Whether bytes are text as far as a merge by lines means anything: no zero byte, at most a mebibyte.</summary>
    public static bool IsText(ReadOnlySpan<byte> bytes) => bytes.Length <= Largest && !bytes.Contains((byte)0);

    /// <summary>
    /// Merges. What only one side changed is as that side has it; what both changed alike is taken once. Where their changes overlap, or stand next to each
    /// other, there is no answer that a program may give.
    /// </summary>
    /// <param name="before">What both began with.</param>
    /// <param name="mine">The owner's.</param>
    /// <param name="next">The new default.</param>
    /// <returns>The merged text; null where the changes are in each other's way, or one of the three is no text.</returns>
    public static byte[]? Merge(ReadOnlySpan<byte> before, ReadOnlySpan<byte> mine, ReadOnlySpan<byte> next)
    {
        if (!IsText(before) || !IsText(mine) || !IsText(next))
            return null;
        IReadOnlyList<string> old = Lines(before), ours = Lines(mine), theirs = Lines(next);
        IReadOnlyList<LineChange> left = LineDiff.Between(old, ours), right = LineDiff.Between(old, theirs);
        var merged = new StringBuilder();
        (int at, int i, int j) = (0, 0, 0);
        while (i < left.Count || j < right.Count)
        {
            LineChange? mineNext = i < left.Count ? left[i] : null, theirsNext = j < right.Count ? right[j] : null;
            if (mineNext is { } a && theirsNext is { } b && Touch(a, b))
            {
                if (!SameChange(a, ours, b, theirs))
                    return null;
                (i, j) = (i + 1, j + 1);
                at = Take(a, ours);
            }
            else if (theirsNext is null || (mineNext is { } first && first.From < theirsNext.Value.From))
            {
                at = Take(mineNext!.Value, ours);
                i++;
            }
            else
            {
                at = Take(theirsNext.Value, theirs);
                j++;
            }
        }

        Append(old, at, old.Count);
        return Encoding.Latin1.GetBytes(merged.ToString());

        int Take(LineChange change, IReadOnlyList<string> lines)
        {
            Append(old, at, change.From);
            Append(lines, change.To, change.ToEnd);
            return change.FromEnd;
        }

        void Append(IReadOnlyList<string> lines, int begin, int end)
        {
            for (int line = begin; line < end; line++)
            {
                // A last line without its line feed is one only while it is last.
                if (merged.Length > 0 && merged[^1] != '\n')
                    merged.Append('\n');
                merged.Append(lines[line]);
            }
        }
    }

    private static IReadOnlyList<string> Lines(ReadOnlySpan<byte> bytes) => LineDiff.Lines(Encoding.Latin1.GetString(bytes));

    // Next to each other counts: two lines that were added at one place have no order that is known.
    private static bool Touch(LineChange a, LineChange b) => a.From <= b.FromEnd && b.From <= a.FromEnd;

    private static bool SameChange(LineChange a, IReadOnlyList<string> ours, LineChange b, IReadOnlyList<string> theirs) =>
        a.From == b.From && a.FromEnd == b.FromEnd
        && ours.Skip(a.To).Take(a.ToEnd - a.To).SequenceEqual(theirs.Skip(b.To).Take(b.ToEnd - b.To));
}
