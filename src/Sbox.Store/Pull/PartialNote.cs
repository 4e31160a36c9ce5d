using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// What is known of a file that has come in part, kept with it (in an extended attribute) so that a later process may go on. It lies where objects wait, which is one process's at a time and of this
/// boot: bytes that were written are there.
/// </summary>
/// <param name="Length">Bytes that are there from the beginning on, without a hole.</param>
/// <param name="Total">How long the whole is, by the server's word.</param>
/// <param name="Most">How long it may be, by its own first bytes.</param>
/// <param name="Said">What the server said of it.</param>
/// <param name="Ahead">Pieces farther on: where each begins, and how far it came.</param>
internal sealed record PartialNote(long Length, long? Total, long? Most, Validators Said, IReadOnlyList<(long Begin, long End)> Ahead)
{
    private const string Attribute = "user.sbox.partial";
    private const string Prefix = "partial-";

    /// <summary>What the file is called that comes from an address.</summary>
    public static string NameOf(string url) => $"{Prefix}{Checksum.Of(Encoding.UTF8.GetBytes(url))}";

    /// <summary>Opens one that is there, with its note; null where there is none that says enough.</summary>
    public static (SafeFileHandle File, PartialNote Note)? TryOpen(Dir dir, string name)
    {
        if (!dir.Exists(name))
            return null;
        SafeFileHandle? file = null;
        try
        {
            file = dir.OpenToWrite(name);
            if (Xattrs.TryRead(file, Attribute, dir.Of(name)) is { } bytes && Parse(Encoding.UTF8.GetString(bytes)) is { } note && Linux.Files.Stat(file, dir.Of(name)).Size is var size
                && note.Length <= size && note.Ahead.All(piece => piece.End <= size))
                return (file, note);
        }
        catch (LinuxException)
        {
            // Whose it may be: it is fetched anew.
        }

        file?.Dispose();
        dir.TryUnlink(name);
        return null;
    }

    /// <summary>Writes it.</summary>
    /// <returns>Whether the file system has such attributes; where not, nobody goes on.</returns>
    public bool TryWriteTo(SafeFileHandle file, string path)
    {
        try
        {
            Xattrs.Set(file, new Xattr(Attribute, Encoding.UTF8.GetBytes(ToString())), path);
            return true;
        }
        catch (LinuxException)
        {
            return false;
        }
    }

    /// <summary>Six lines; what is not known is an empty one.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Length}\n{Total}\n{Most}\n{Said.ETag}\n{Said.LastModified:O}\n{string.Join(' ', Ahead.Select(static piece => string.Create(CultureInfo.InvariantCulture, $"{piece.Begin}-{piece.End}")))}");

    private static PartialNote? Parse(string text)
    {
        string[] lines = text.Split('\n');
        if (lines.Length != 6 || !TryNumber(lines[0], out long? length) || length is null || !TryNumber(lines[1], out long? total) || !TryNumber(lines[2], out long? most))
            return null;
        DateTimeOffset? modified = null;
        if (lines[4].Length > 0)
        {
            if (!DateTimeOffset.TryParseExact(lines[4], "O", CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind, out DateTimeOffset when))
                return null;
            modified = when;
        }

        var ahead = new List<(long, long)>();
        foreach (string piece in lines[5].Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (piece.Split('-') is not [var begin, var end] || !TryNumber(begin, out long? from) || !TryNumber(end, out long? to) || from is null || to is null || to < from)
                return null;
            ahead.Add((from.Value, to.Value));
        }

        return new PartialNote(length.Value, total, most, new Validators(lines[3].Length > 0 ? lines[3] : null, modified), ahead);
    }

    private static bool TryNumber(string text, out long? number)
    {
        bool known = long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long parsed);
        number = known ? parsed : null;
        return known || text.Length == 0;
    }
}
