using System.Globalization;

namespace Sbox.Delivery;

/// <summary>The stretch of a file that is asked for.</summary>
/// <param name="From">Its first byte.</param>
/// <param name="Length">How many.</param>
internal readonly record struct ByteRange(long From, long Length)
{
    private const string Unit = "bytes=";

    /// <summary>Reads a Range header of one stretch: <c>bytes=A-B</c>, <c>bytes=A-</c>, <c>bytes=-N</c>. RFC 9110, section 14.</summary>
    /// <param name="header">What the client sent; empty where it sent none.</param>
    /// <param name="size">Bytes of the file.</param>
    /// <returns>Null for the whole file: there is no such header, or one of several stretches or of another unit, which may be passed over.</returns>
    /// <exception cref="RefusedRequestException">The file has none of these bytes.</exception>
    public static ByteRange? Parse(string header, long size)
    {
        if (!header.StartsWith(Unit, StringComparison.Ordinal) || header.Contains(',', StringComparison.Ordinal))
            return null;
        string[] ends = header[Unit.Length..].Split('-');
        if (ends.Length != 2 || !TryNumber(ends[0], out long? first) || !TryNumber(ends[1], out long? last) || (first is null && last is null) || last < first)
            return null;
        long from = first ?? Math.Max(0, size - last!.Value);
        long to = first is null ? size - 1 : Math.Min(last ?? size - 1, size - 1);
        return from <= to ? new ByteRange(from, to - from + 1) : throw new RefusedRequestException(416, $"it has {size} bytes") { ContentRange = $"bytes */{size}" };
    }

    private static bool TryNumber(string text, out long? number)
    {
        number = long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long found) ? found : null;
        return number is not null || text.Length == 0;
    }
}
