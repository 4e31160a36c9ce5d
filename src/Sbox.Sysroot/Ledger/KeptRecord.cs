using System.Globalization;
using System.Numerics;
using System.Text;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Something that a ghost put onto the disk without being asked, because a list of what stays named it.</summary>
/// <param name="Path">Where it is, in the ledger's words: <c>/var/home/ann/letter</c>.</param>
/// <param name="By">The list, and what of it named the path.</param>
/// <param name="IsNew">Whether the disk had nothing there before.</param>
/// <param name="Mode">Type and permission bits, as <c>st_mode</c>.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Bytes">A file's size; 0 for all else.</param>
/// <param name="ModifiedSeconds">When a file's bytes were last written, as it was kept; 0 for a directory.</param>
/// <param name="ModifiedNanoseconds">0 to 999,999,999.</param>
/// <param name="Inode">Its number on the disk; 0 where it may come to have another (/etc is copied for each version) or is not known.</param>
/// <param name="Kept">When it was last kept.</param>
public sealed record KeptPath(
    string Path, KeepRule By, bool IsNew, uint Mode, uint Uid, uint Gid, long Bytes, long ModifiedSeconds, uint ModifiedNanoseconds, ulong Inode, DateTimeOffset Kept)
{
    private const uint KindBits = 0xF000;

    /// <summary>Whether it is a directory that nobody asked for: it was made for what is in it.</summary>
    public bool IsParent { get; init; }

    /// <summary>Whether it is a directory.</summary>
    public bool IsDirectory => (FileKind)(Mode & KindBits) == FileKind.Directory;

    /// <summary>What is remembered of an inode.</summary>
    /// <param name="path">Where it will be.</param>
    /// <param name="by">What named it.</param>
    /// <param name="isNew">Whether the disk has nothing there.</param>
    /// <param name="stat">As it was written, before it has its name.</param>
    /// <param name="inode">Its number where that will stay; else 0.</param>
    /// <param name="kept">Now.</param>
    public static KeptPath Of(string path, KeepRule by, bool isNew, FileStat stat, ulong inode, DateTimeOffset kept) => new(
        path, by, isNew, stat.Mode, stat.Uid, stat.Gid, stat.IsRegular ? stat.Size : 0,
        stat.IsDirectory ? 0 : stat.ModifiedSeconds, stat.IsDirectory ? 0 : stat.ModifiedNanoseconds, inode, kept);

    /// <summary>Whether what is on the disk now is what was kept: <see cref="Looks"/>, and it is the same inode where that is known.</summary>
    public bool IsStill(FileStat now) => Looks(now) && (Inode == 0 || Inode == now.Inode);

    /// <summary>Whether kind, owner, mode, and of a file size and time, are those that were kept. A session over the disk has inodes of its own.</summary>
    public bool Looks(FileStat now) => this == Of(Path, By, IsNew, now, Inode, Kept) with { IsParent = IsParent };
}

/// <summary>
/// What lists of what stays have brought onto a disk: <c>ostree/deploy/OS/.sbox-kept</c>, for root alone. Without it nobody could tell, when a list
/// names something no more, what of the disk had come by it.
/// </summary>
/// <remarks>
/// UTF-8, a line each, fields with tabs between: <c>new</c> or <c>changed</c>, <c>kept</c> or <c>parent</c>, seconds since 1970 when it was kept, <c>st_mode</c> in octal, owner, group,
/// bytes, the file's time as <c>SECONDS.NANOSECONDS</c>, inode, the list, what named it, the path. In the last three <c>\\</c>, <c>\t</c> and <c>\n</c> stand for these bytes. A line of
/// another form says nothing: then something is not shown that could be cleaned, and nothing is lost. Of two for one path the last counts.
/// </remarks>
public static class KeptRecord
{
    private const uint OwnerOnly = 0x180; // 0600
    private const string Name = FactoryReset.KeptRecord;
    private const int Fields = 12;

    /// <summary>Reads it.</summary>
    /// <param name="directory">The directory of the OS; null, or without a record, where nothing was ever kept.</param>
    /// <returns>In the order of the paths' bytes, each directory before what is in it.</returns>
    public static IReadOnlyList<KeptPath> Read(Dir? directory) => directory?.TryReadAll(Name) is { } bytes
        ? [.. FileName.FromBytes(bytes).Split('\n').Select(Parse).OfType<KeptPath>()
            .GroupBy(static kept => kept.Path, StringComparer.Ordinal).Select(static same => same.Last()).OrderBy(static kept => kept.Path, StringComparer.Ordinal)] : [];

    /// <summary>Replaces it as a whole.</summary>
    public static void Write(Dir directory, IEnumerable<KeptPath> paths)
    {
        var text = new StringBuilder();
        foreach (KeptPath kept in paths.OrderBy(static kept => kept.Path, StringComparer.Ordinal))
        {
            text.Append(CultureInfo.InvariantCulture, $"{(kept.IsNew ? "new" : "changed")}\t{(kept.IsParent ? "parent" : "kept")}\t{kept.Kept.ToUnixTimeSeconds()}\t{Convert.ToString(kept.Mode, 8)}\t{kept.Uid}\t{kept.Gid}");
            text.Append(CultureInfo.InvariantCulture, $"\t{kept.Bytes}\t{kept.ModifiedSeconds}.{kept.ModifiedNanoseconds}\t{kept.Inode}\t{Escape(kept.By.File)}\t{Escape(kept.By.What)}\t{Escape(kept.Path)}\n");
        }

        Durable.Replace(directory, Name, FileName.ToBytes(text.ToString()), OwnerOnly);
    }

    private static KeptPath? Parse(string line)
    {
        string[] fields = line.Split('\t');
        if (fields.Length != Fields || fields[0] is not ("new" or "changed") || fields[1] is not ("kept" or "parent")
            || Number<long>(fields[2]) is not { } kept || kept > DateTimeOffset.MaxValue.ToUnixTimeSeconds() || Mode(fields[3]) is not { } mode
            || Number<uint>(fields[4]) is not { } uid || Number<uint>(fields[5]) is not { } gid || Number<long>(fields[6]) is not { } bytes
            || fields[7].Split('.') is not [var seconds, var nanoseconds] || !long.TryParse(seconds, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long modified)
            || Number<uint>(nanoseconds) is not { } part || Number<ulong>(fields[8]) is not { } inode)
            return null;
        string path = Unescape(fields[11]);
        return path is ['/', not '/', ..] && path.Split('/')[1..].All(static name => name is not ("" or "." or ".."))
            ? new KeptPath(path, new KeepRule(Unescape(fields[9]), Unescape(fields[10])), fields[0] == "new", mode, uid, gid, bytes, modified, part, inode, DateTimeOffset.FromUnixTimeSeconds(kept)) { IsParent = fields[1] == "parent" }
            : null;
    }

    private static T? Number<T>(string field) where T : struct, INumber<T> => T.TryParse(field, NumberStyles.None, CultureInfo.InvariantCulture, out T number) ? number : null;

    private static uint? Mode(string field) => field.Length is > 0 and <= 6 && field.All(static digit => digit is >= '0' and <= '7') ? Convert.ToUInt32(field, 8) : null;

    private static string Escape(string text) => text.Replace("\\", @"\\", StringComparison.Ordinal).Replace("\t", @"\t", StringComparison.Ordinal).Replace("\n", @"\n", StringComparison.Ordinal);

    private static string Unescape(string text)
    {
        var plain = new StringBuilder(text.Length);
        for (int at = 0; at < text.Length; at++)
            plain.Append(text[at] != '\\' || at + 1 == text.Length ? text[at] : text[++at] switch { 't' => '\t', 'n' => '\n', var other => other });
        return plain.ToString();
    }
}
