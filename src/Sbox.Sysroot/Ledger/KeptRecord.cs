using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Something that a ghost put onto the disk without being asked, because a list of what stays named it.</summary>
/// <param name="Path">Where it is, in the ledger's words: <c>/var/home/ann/letter</c>.</param>
/// <param name="By">The list, and what of it named the path.</param>
/// <param name="IsNew">Whether the disk had nothing there before.</param>
/// <param name="IsDirectory">Whether it is a directory that was made for what is in it, or was empty.</param>
/// <param name="Bytes">A file's size.</param>
/// <param name="ModifiedSeconds">When a file's bytes were last written, as it was kept.</param>
/// <param name="ModifiedNanoseconds">0 to 999,999,999.</param>
/// <param name="Kept">When it was last kept.</param>
public sealed record KeptPath(string Path, KeepRule By, bool IsNew, bool IsDirectory, long Bytes, long ModifiedSeconds, uint ModifiedNanoseconds, DateTimeOffset Kept)
{
    /// <summary>Whether what is there now is what was kept, by its size and time; of a directory only that it is one.</summary>
    public bool IsStill(FileStat now) => IsDirectory == now.IsDirectory
        && (IsDirectory || (now.IsRegular ? now.Size : 0, now.ModifiedSeconds, now.ModifiedNanoseconds) == (Bytes, ModifiedSeconds, ModifiedNanoseconds));
}

/// <summary>
/// What lists of what stays have brought onto a disk: <c>ostree/deploy/OS/.sbox-kept</c>, for root alone. Without it nobody could tell, when a list
/// names something no more, what of the disk had come by it.
/// </summary>
/// <remarks>
/// UTF-8, a line each, fields with tabs between: <c>new</c> or <c>changed</c>, <c>file</c> or <c>dir</c>, seconds since 1970 when it was kept, bytes, the
/// file's time as <c>SECONDS.NANOSECONDS</c>, the list, what named it, the path. In the last three <c>\\</c>, <c>\t</c> and <c>\n</c> stand for these bytes. A line of
/// another form says nothing: then something is not shown that could be cleaned, and nothing is lost.
/// </remarks>
public static class KeptRecord
{
    private const uint OwnerOnly = 0x180; // 0600
    private const string Name = ".sbox-kept";

    /// <summary>Reads it.</summary>
    /// <param name="directory">The directory of the OS; null, or without a record, where nothing was ever kept.</param>
    /// <returns>In the order of the paths' bytes, each directory before what is in it.</returns>
    public static IReadOnlyList<KeptPath> Read(Dir? directory) => directory?.TryReadAll(Name) is { } bytes
        ? [.. FileName.FromBytes(bytes).Split('\n').Select(Parse).OfType<KeptPath>().OrderBy(static kept => kept.Path, StringComparer.Ordinal)] : [];

    /// <summary>Replaces it as a whole.</summary>
    public static void Write(Dir directory, IEnumerable<KeptPath> paths)
    {
        var text = new StringBuilder();
        foreach (KeptPath kept in paths.OrderBy(static kept => kept.Path, StringComparer.Ordinal))
        {
            text.Append(CultureInfo.InvariantCulture, $"{(kept.IsNew ? "new" : "changed")}\t{(kept.IsDirectory ? "dir" : "file")}\t{kept.Kept.ToUnixTimeSeconds()}\t{kept.Bytes}\t{kept.ModifiedSeconds}.{kept.ModifiedNanoseconds}");
            text.Append(CultureInfo.InvariantCulture, $"\t{Escape(kept.By.File)}\t{Escape(kept.By.What)}\t{Escape(kept.Path)}\n");
        }

        Durable.Replace(directory, Name, FileName.ToBytes(text.ToString()), OwnerOnly);
    }

    private static KeptPath? Parse(string line)
    {
        string[] fields = line.Split('\t');
        if (fields.Length != 8 || fields[0] is not ("new" or "changed") || fields[1] is not ("file" or "dir")
            || Number(fields[2]) is not { } kept || kept > DateTimeOffset.MaxValue.ToUnixTimeSeconds() || Number(fields[3]) is not { } bytes
            || fields[4].Split('.') is not [var seconds, var nanoseconds] || !long.TryParse(seconds, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long modified)
            || !uint.TryParse(nanoseconds, NumberStyles.None, CultureInfo.InvariantCulture, out uint part))
            return null;
        string path = Unescape(fields[7]);
        return path is ['/', not '/', ..] && path.Split('/')[1..].All(static name => name is not ("" or "." or ".."))
            ? new KeptPath(path, new KeepRule(Unescape(fields[5]), Unescape(fields[6])), fields[0] == "new", fields[1] == "dir", bytes, modified, part, DateTimeOffset.FromUnixTimeSeconds(kept)) : null;
    }

    private static long? Number(string field) => long.TryParse(field, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    private static string Escape(string text) => text.Replace("\\", @"\\", StringComparison.Ordinal).Replace("\t", @"\t", StringComparison.Ordinal).Replace("\n", @"\n", StringComparison.Ordinal);

    private static string Unescape(string text)
    {
        var plain = new StringBuilder(text.Length);
        for (int at = 0; at < text.Length; at++)
            plain.Append(text[at] != '\\' || at + 1 == text.Length ? text[at] : text[++at] switch { 't' => '\t', 'n' => '\n', var other => other });
        return plain.ToString();
    }
}
