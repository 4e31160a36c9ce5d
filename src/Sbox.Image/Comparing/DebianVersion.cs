using System.Globalization;

namespace Sbox.Image;

/// <summary>A version of a Debian package, in the order that dpkg has: <c>[EPOCH:]UPSTREAM[-REVISION]</c>.</summary>
/// <param name="text">The version; any text has a place in the order.</param>
/// <remarks>After deb-version(7). Judge: <c>dpkg --compare-versions</c>.</remarks>
public readonly struct DebianVersion(string text) : IComparable<DebianVersion>
{
    /// <inheritdoc/>
    public int CompareTo(DebianVersion other)
    {
        (long epoch, string upstream, string revision) = Parts();
        (long otherEpoch, string otherUpstream, string otherRevision) = other.Parts();
        if (epoch != otherEpoch)
            return epoch.CompareTo(otherEpoch);
        int order = Compare(upstream, otherUpstream);
        return order != 0 ? order : Compare(revision, otherRevision);
    }

    /// <inheritdoc/>
    public override string ToString() => text;

    private (long Epoch, string Upstream, string Revision) Parts()
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string rest = text[(colon + 1)..];
        int dash = rest.LastIndexOf('-');
        _ = long.TryParse(text.AsSpan(0, Math.Max(colon, 0)), NumberStyles.None, CultureInfo.InvariantCulture, out long epoch);
        return dash < 0 ? (epoch, rest, "") : (epoch, rest[..dash], rest[(dash + 1)..]);
    }

    // By turns what is no digit, character by character, and a number, by its value.
    private static int Compare(ReadOnlySpan<char> a, ReadOnlySpan<char> b)
    {
        while (a.Length > 0 || b.Length > 0)
        {
            for (; (a.Length > 0 && !char.IsAsciiDigit(a[0])) || (b.Length > 0 && !char.IsAsciiDigit(b[0])); a = Rest(a), b = Rest(b))
            {
                int order = Rank(a).CompareTo(Rank(b));
                if (order != 0)
                    return order;
            }

            int digits = CompareNumbers(TakeNumber(ref a), TakeNumber(ref b));
            if (digits != 0)
                return digits;
        }

        return 0;
    }

    // A tilde is before the end, the end and digits before letters, letters before everything else.
    private static int Rank(ReadOnlySpan<char> at) => at.IsEmpty || char.IsAsciiDigit(at[0]) ? 0
        : at[0] == '~' ? -1
        : char.IsAsciiLetter(at[0]) ? at[0]
        : at[0] + 256;

    private static ReadOnlySpan<char> Rest(ReadOnlySpan<char> text) => text.IsEmpty ? text : text[1..];

    private static ReadOnlySpan<char> TakeNumber(ref ReadOnlySpan<char> text)
    {
        int end = 0;
        while (end < text.Length && char.IsAsciiDigit(text[end]))
            end++;
        ReadOnlySpan<char> number = text[..end].TrimStart('0');
        text = text[end..];
        return number;
    }

    // Of any length: the longer one is the larger.
    private static int CompareNumbers(ReadOnlySpan<char> a, ReadOnlySpan<char> b) => a.Length != b.Length ? a.Length.CompareTo(b.Length) : a.SequenceCompareTo(b);
}
