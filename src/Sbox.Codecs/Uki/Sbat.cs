using System.Text;

namespace Sbox.Codecs.Uki;

/// <summary>SBAT: lines of "component,generation,vendor..." by which shim revokes old programs. A UKI answers for all its parts.</summary>
internal static class Sbat
{
    private const string Header = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md";
    private const string Uki = "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/";

    /// <summary>One table of the stub's, the kernel's and the UKI's own lines.</summary>
    public static byte[] Merge(params IEnumerable<ReadOnlyMemory<byte>> tables)
    {
        var merged = new StringBuilder(Header).Append('\n');
        foreach (ReadOnlyMemory<byte> table in tables)
            foreach (string line in LinesOf(table.Span))
                merged.Append(line).Append('\n');
        return Encoding.UTF8.GetBytes(merged.Append(Uki).Append('\n').ToString());
    }

    private static IEnumerable<string> LinesOf(ReadOnlySpan<byte> table)
    {
        string text = Encoding.UTF8.GetString(table.TrimEnd((byte)0));
        string[] lines = text.TrimEnd('\n').Split('\n');
        return lines[0].StartsWith("sbat,", StringComparison.Ordinal) ? lines.Skip(1) : [];
    }
}
