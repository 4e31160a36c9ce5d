using System.Globalization;
using System.Text;

namespace Sbox.Delivery;

/// <summary>Why a request is not answered with a file.</summary>
/// <param name="status">The status that says so.</param>
/// <param name="finding">What is wrong with it.</param>
internal class RefusedRequestException(int status, string finding) : DeliveryException(finding)
{
    /// <summary>The status that says so.</summary>
    public int Status { get; } = status;
}

/// <summary>What a client asks for: the request line and those headers that matter for files.</summary>
/// <param name="IsHead">Only the headers of the answer are wanted.</param>
/// <param name="Path">The path, percent signs decoded, without the leading slash and the query.</param>
/// <param name="KeepsAlive">Whether the connection is to stay open.</param>
/// <param name="Headers">The headers, by their names in lower case; the last of each.</param>
internal sealed record RequestHead(bool IsHead, string Path, bool KeepsAlive, IReadOnlyDictionary<string, string> Headers)
{
    /// <summary>Reads a request's head: RFC 9112, sections 3 and 5; no folded lines.</summary>
    /// <param name="bytes">From the first byte of the request line to the empty line, without it; borrowed for the call.</param>
    /// <exception cref="RefusedRequestException">It is none that is answered here.</exception>
    public static RequestHead Parse(ReadOnlySpan<byte> bytes)
    {
        string[] lines = Encoding.Latin1.GetString(bytes).Split("\r\n");
        string[] words = lines[0].Split(' ');
        if (words.Length != 3 || !words[2].StartsWith("HTTP/1.", StringComparison.Ordinal))
            throw new RefusedRequestException(400, "no request line of HTTP/1");
        if (words[0] is not ("GET" or "HEAD"))
            throw new RefusedRequestException(405, $"{words[0]} is not answered: only GET and HEAD are");
        Dictionary<string, string> headers = Fields(lines.AsSpan(1));
        if (headers.ContainsKey("transfer-encoding") || headers.GetValueOrDefault("content-length", "0") != "0")
            throw new RefusedRequestException(413, "a request for a file carries no body");
        string connection = headers.GetValueOrDefault("connection", "").ToLowerInvariant();
        bool keeps = words[2] == "HTTP/1.0" ? connection.Contains("keep-alive", StringComparison.Ordinal) : !connection.Contains("close", StringComparison.Ordinal);
        return new RequestHead(words[0] == "HEAD", PathOf(words[1]), keeps, headers);
    }

    private static Dictionary<string, string> Fields(ReadOnlySpan<string> lines)
    {
        var headers = new Dictionary<string, string>();
        foreach (string line in lines)
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0 || char.IsWhiteSpace(line[0]) || char.IsWhiteSpace(line[colon - 1]))
                throw new RefusedRequestException(400, "a header line without a name");
            headers[line[..colon].ToLowerInvariant()] = line[(colon + 1)..].Trim();
        }

        return headers;
    }

    // Also the absolute form, which proxies are sent.
    private static string PathOf(string target)
    {
        if (target.StartsWith("http://", StringComparison.OrdinalIgnoreCase))
            target = target.IndexOf('/', "http://".Length) is > 0 and var slash ? target[slash..] : "/";
        if (!target.StartsWith('/'))
            throw new RefusedRequestException(400, "a target that is no path");
        int end = target.AsSpan().IndexOfAny('?', '#');
        return Uri.UnescapeDataString(end < 0 ? target[1..] : target[1..end]);
    }
}

/// <summary>The stretch of a file that is asked for.</summary>
/// <param name="From">Its first byte.</param>
/// <param name="Length">How many.</param>
internal readonly record struct ByteRange(long From, long Length)
{
    private const string Unit = "bytes=";

    /// <summary>Reads a Range header of one stretch: <c>bytes=A-B</c>, <c>bytes=A-</c>, <c>bytes=-N</c>. RFC 9110, section 14.</summary>
    /// <returns>Null for the whole file: there is no such header, or one of several stretches or of another unit, which may be passed over.</returns>
    /// <exception cref="RefusedRequestException">The file has none of these bytes.</exception>
    public static ByteRange? Parse(string? header, long size)
    {
        if (header is null || !header.StartsWith(Unit, StringComparison.Ordinal) || header.Contains(',', StringComparison.Ordinal))
            return null;
        string[] ends = header[Unit.Length..].Split('-');
        if (ends.Length != 2 || !TryNumber(ends[0], out long? first) || !TryNumber(ends[1], out long? last) || (first is null && last is null) || last < first)
            return null;
        long from = first ?? Math.Max(0, size - last!.Value);
        long to = first is null ? size - 1 : Math.Min(last ?? size - 1, size - 1);
        return from <= to ? new ByteRange(from, to - from + 1) : throw new RefusedRequestException(416, $"it has {size} bytes");
    }

    private static bool TryNumber(string text, out long? number)
    {
        number = long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long found) ? found : null;
        return number is not null || text.Length == 0;
    }
}
