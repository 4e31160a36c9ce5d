using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A static delta's name: the commit that it makes, and the one that it needs. Printed <c>FROM-TO</c>, or <c>TO</c> from nothing.</summary>
/// <param name="From">The commit that must be there; null for a delta from nothing.</param>
/// <param name="To">The commit that it makes.</param>
/// <remarks>docs/formats/static-delta.md.</remarks>
public readonly record struct DeltaName(Checksum? From, Checksum To)
{
    /// <summary>Where all of them lie in a repository.</summary>
    internal const string Root = "deltas";

    /// <summary>Where the lists of them lie, one for each commit that a delta makes.</summary>
    internal const string IndexRoot = "delta-indexes";

    private const int TextSize = 43; // 32 bytes in base64, without the padding

    /// <summary>Its directory in the repository: <c>deltas/Ab/cd...-efg...</c>.</summary>
    public string Directory => From is { } from ? $"{Root}/{Base64(from)[..2]}/{Base64(from)[2..]}-{Base64(To)}" : $"{Root}/{Base64(To)[..2]}/{Base64(To)[2..]}";

    /// <summary>The file that says what it is.</summary>
    public string Superblock => $"{Directory}/superblock";

    /// <summary>A part of it; also the name of a part that lies in the superblock itself.</summary>
    public string Part(int index) => $"{Directory}/{index}";

    /// <summary>The superblock of the smaller delta that may lie beside it, whose outcome is compressed again.</summary>
    public string RecompressingSuperblock => $"{Directory}/recompressing";

    /// <summary>A part of that.</summary>
    internal string RecompressingPart(int index) => $"{Directory}/recompressing.{index}";

    /// <summary>The name in the superblock of what lies beside the commit.</summary>
    internal string DetachedMetadata => $"{Directory}/commitmeta";

    /// <summary>The list of the deltas that make a commit.</summary>
    public static string IndexOf(Checksum to) => $"{IndexRoot}/{Base64(to)[..2]}/{Base64(to)[2..]}.index";

    /// <summary>Reads <c>FROM-TO</c> or <c>TO</c>.</summary>
    /// <exception cref="DeltaException">It is neither.</exception>
    public static DeltaName Parse(string text)
    {
        string[] halves = text.Split('-', 2);
        foreach (string half in halves)
        {
            if (!Checksum.TryParse(half, out _))
                throw new DeltaException(text, $"Invalid rev {half}");
        }

        return halves is [var from, var to] ? new DeltaName(Checksum.Parse(from), Checksum.Parse(to)) : new DeltaName(null, Checksum.Parse(text));
    }

    /// <summary>Reads a name from the two directories that a delta lies in; false for anything else.</summary>
    internal static bool TryParseDirectory(string outer, string inner, out DeltaName name)
    {
        name = default;
        string[] halves = (outer + inner).Split('-', 2);
        if (!TryDecode(halves[0], out Checksum first))
            return false;
        name = new DeltaName(null, first);
        if (halves.Length == 1)
            return true;
        bool known = TryDecode(halves[1], out Checksum to);
        name = new DeltaName(first, to);
        return known;
    }

    /// <summary>Reads the commit from an index's directory and name; false for anything else.</summary>
    internal static bool TryParseIndex(string outer, string inner, out Checksum to)
    {
        to = default;
        return outer.Length == 2 && inner.EndsWith(".index", StringComparison.Ordinal) && TryDecode(outer + inner[..^".index".Length], out to);
    }

    /// <inheritdoc/>
    public override string ToString() => From is { } from ? $"{from}-{To}" : $"{To}";

    private static string Base64(Checksum checksum) => Convert.ToBase64String(checksum.Span).Replace('/', '_').TrimEnd('=');

    private static bool TryDecode(string text, out Checksum checksum)
    {
        checksum = default;
        var bytes = new byte[Checksum.Size + 1];
        if (text.Length != TextSize || !Convert.TryFromBase64String(text.Replace('_', '/') + "=", bytes, out int written) || written != Checksum.Size)
            return false;
        checksum = Checksum.FromBytes(bytes.AsSpan(0, Checksum.Size));
        return true;
    }
}
