using System.Globalization;
using System.Text;

namespace Sbox.Linux;

/// <summary>One line of /proc/self/mountinfo; proc_pid_mountinfo(5) has the fields.</summary>
/// <param name="Id">The mount's number.</param>
/// <param name="ParentId">The number of the mount it is on.</param>
/// <param name="Device">Major and minor: <c>254:2</c>.</param>
/// <param name="Root">The path inside the file system that is seen here.</param>
/// <param name="MountPoint">Where it is.</param>
/// <param name="Options">The mount's own options, comma-separated.</param>
/// <param name="Type">The file system's type.</param>
/// <param name="Source">Where it comes from, as the file system has it.</param>
/// <param name="SuperOptions">The file system's options.</param>
public sealed record MountEntry(
    int Id, int ParentId, string Device, string Root, string MountPoint, string Options, string Type, string Source, string SuperOptions)
{
    /// <summary>Whether nothing is written here: by this mount's attribute or by the file system itself.</summary>
    public bool IsReadOnly => Has(Options, "ro") || Has(SuperOptions, "ro");

    /// <summary>Whether the mount's own attribute keeps writers out, whatever its file system would allow.</summary>
    public bool IsMarkedReadOnly => Has(Options, "ro");

    /// <summary>Whether files here seem to belong to others than they do.</summary>
    public bool IsIdMapped => Has(Options, "idmapped");

    /// <summary>Reads one line.</summary>
    /// <exception cref="FormatException">It lacks a field.</exception>
    public static MountEntry Parse(string line)
    {
        // Fields 7 and up are optional and end with a lone hyphen.
        string[] fields = line.Split(' ');
        int hyphen = fields.Length > 6 ? Array.IndexOf(fields, "-", 6) : -1;
        if (hyphen < 0 || fields.Length < hyphen + 4)
            throw new FormatException($"mountinfo: '{line}' lacks a field");
        return new MountEntry(
            Number(fields[0], line), Number(fields[1], line), fields[2],
            Unescape(fields[3]), Unescape(fields[4]), fields[5], fields[hyphen + 1], Unescape(fields[hyphen + 2]), fields[hyphen + 3]);
    }

    private static int Number(string field, string line) => int.TryParse(field, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
        ? number : throw new FormatException($"mountinfo: '{line}' has no number where one belongs");

    private static bool Has(string options, string option) =>
        $",{options},".Contains($",{option},", StringComparison.Ordinal);

    // The kernel writes space, tab, newline and backslash as three octal digits.
    private static string Unescape(string field)
    {
        if (!field.Contains('\\', StringComparison.Ordinal))
            return field;
        var text = new StringBuilder(field.Length);
        for (int at = 0; at < field.Length; at++)
        {
            if (field[at] == '\\' && at + 3 < field.Length && field.AsSpan(at + 1, 3).IndexOfAnyExceptInRange('0', '7') < 0)
            {
                text.Append((char)(((field[at + 1] - '0') << 6) | ((field[at + 2] - '0') << 3) | (field[at + 3] - '0')));
                at += 3;
            }
            else
            {
                text.Append(field[at]);
            }
        }

        return text.ToString();
    }
}

/// <summary>What is mounted in this process's mount namespace.</summary>
public static class MountTable
{
    /// <summary>All mounts, in the kernel's order: a mount comes after the one it covers.</summary>
    public static IReadOnlyList<MountEntry> Read()
    {
        using Dir proc = Dir.Open("/proc/self");
        return Parse(FileName.FromBytes(proc.ReadAll("mountinfo")));
    }

    /// <summary>Reads the text of a mountinfo file.</summary>
    /// <exception cref="FormatException">A line lacks a field.</exception>
    public static IReadOnlyList<MountEntry> Parse(string text) =>
        [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(MountEntry.Parse)];

    /// <summary>The topmost mount at exactly this mount point; null where there is none.</summary>
    public static MountEntry? At(string mountPoint) => Read().LastOrDefault(entry => entry.MountPoint == mountPoint);
}
