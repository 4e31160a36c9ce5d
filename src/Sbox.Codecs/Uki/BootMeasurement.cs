using System.Security.Cryptography;
using System.Text;

namespace Sbox.Codecs.Uki;

/// <summary>
/// What a TPM's register 11 (SHA-256 bank) holds after systemd's stub started a unified kernel image, and as the boot goes on: known before any
/// machine has booted it, since only the image itself is measured.
/// </summary>
/// <remarks>docs/formats/pcr-policy.md, after systemd-stub(7), systemd-measure(1) and systemd-pcrphase(8). Judges: systemd-measure, a TPM in QEMU.</remarks>
public static class BootMeasurement
{
    /// <summary>The register.</summary>
    public const int Register = 11;

    // What the stub measures, in its order. Signatures of the outcome cannot be part of it.
    private static readonly string[] Measured =
    [
        ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile", ".dtbauto", ".hwids",
    ];

    /// <summary>The register's value for each menu entry of an image, the default one first; one where the image has no profiles.</summary>
    /// <param name="sections">All sections of the image, in the order of the file.</param>
    public static IReadOnlyList<Checksum> OfEntries(IReadOnlyList<UkiSection> sections)
    {
        int first = sections.Index().FirstOrDefault(static each => each.Item.Name == ".profile", (sections.Count, default!)).Index;
        Dictionary<string, UkiSection> shared = ByName(sections.Take(first));
        if (first == sections.Count)
            return [Of(shared)];
        var values = new List<Checksum>();
        for (int at = first, next; at < sections.Count; at = next)
        {
            next = at + 1;
            while (next < sections.Count && sections[next].Name != ".profile")
                next++;
            var own = new Dictionary<string, UkiSection>(shared);
            for (int section = at; section < next; section++)
                own[sections[section].Name] = sections[section];
            values.Add(Of(own));
        }

        return values;
    }

    /// <summary>The value after a phase of the boot was reached: <c>enter-initrd</c>, <c>leave-initrd</c>, <c>sysinit</c>, <c>ready</c>.</summary>
    public static Checksum After(Checksum value, string phase) => Extend(value, SHA256.HashData(Encoding.ASCII.GetBytes(phase)));

    private static Dictionary<string, UkiSection> ByName(IEnumerable<UkiSection> sections)
    {
        var named = new Dictionary<string, UkiSection>();
        foreach (UkiSection section in sections)
            named.TryAdd(section.Name, section);
        return named;
    }

    // For each section its name with a zero behind it, and then its content.
    private static Checksum Of(Dictionary<string, UkiSection> sections)
    {
        Checksum value = Checksum.FromBytes(new byte[Checksum.Size]);
        foreach (string name in Measured)
        {
            if (!sections.TryGetValue(name, out UkiSection? section))
                continue;
            value = Extend(value, SHA256.HashData(Encoding.ASCII.GetBytes(name + "\0")));
            value = Extend(value, SHA256.HashData(section.Content.Span));
        }

        return value;
    }

    private static Checksum Extend(Checksum value, ReadOnlySpan<byte> digest) => Checksum.FromBytes(SHA256.HashData([.. value.ToArray(), .. digest]));
}
