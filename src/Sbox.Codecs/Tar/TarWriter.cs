using System.Globalization;
using System.Text;

namespace Sbox.Codecs;

/// <summary>What an entry of a tar archive is.</summary>
public enum TarKind
{
    /// <summary>A regular file.</summary>
    File,
    /// <summary>A directory.</summary>
    Directory,
    /// <summary>A symbolic link.</summary>
    Symlink,
    /// <summary>Another name of a file that came before.</summary>
    Hardlink,
}

/// <summary>One entry of a tar archive, without its content.</summary>
/// <param name="Path">Its path, without a slash in front.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Mode">Permission bits.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Size">Bytes of content; 0 for all but files.</param>
/// <param name="Modified">Seconds since 1970.</param>
/// <param name="Target">Where a link leads; null for others.</param>
/// <param name="Xattrs">Extended attributes; names and values.</param>
public sealed record TarEntry(
    byte[] Path, TarKind Kind, uint Mode, uint Uid, uint Gid, long Size, long Modified, byte[]? Target, IReadOnlyList<(byte[] Name, byte[] Value)> Xattrs);

/// <summary>Writes tar archives as POSIX.1-2001 has them (ustar, with pax headers where a field is too small), front to back.</summary>
/// <remarks>Extended attributes as GNU tar and libarchive write them: pax records <c>SCHILY.xattr.NAME</c>, values as they are.</remarks>
public sealed class TarWriter(Stream output)
{
    private const int Block = 512;
    private const long LargestOctal = (1L << 33) - 1; // eleven octal digits

    /// <summary>Writes an entry with its content.</summary>
    /// <param name="entry">The entry.</param>
    /// <param name="content">Exactly <see cref="TarEntry.Size"/> bytes; null for an entry without.</param>
    /// <exception cref="MalformedException">The content is shorter or longer than the entry says.</exception>
    public void Write(TarEntry entry, Stream? content)
    {
        byte[] path = entry.Kind == TarKind.Directory && entry.Path[^1] != '/' ? [.. entry.Path, (byte)'/'] : entry.Path;
        byte[] records = Records(entry, path);
        if (records.Length > 0)
        {
            output.Write(Header("pax-header"u8, 'x', 0x1A4, 0, 0, records.Length, entry.Modified, default));
            output.Write(records);
            Pad(records.Length);
        }

        char type = entry.Kind switch { TarKind.Directory => '5', TarKind.Symlink => '2', TarKind.Hardlink => '1', _ => '0' };
        output.Write(Header(path, type, entry.Mode, entry.Uid, entry.Gid, entry.Size, entry.Modified, entry.Target));
        if (entry.Kind == TarKind.File && entry.Size > 0)
            Copy(content ?? Stream.Null, entry.Size);
    }

    /// <summary>Writes the end.</summary>
    public void Finish()
    {
        output.Write(new byte[2 * Block]);
        output.Flush();
    }

    private void Copy(Stream content, long size)
    {
        var buffer = new byte[128 * 1024];
        long written = 0;
        for (int read; (read = content.Read(buffer)) > 0; written += read)
        {
            if (written + read > size)
                throw new MalformedException("tar", "content", $"{size} bytes", "more");
            output.Write(buffer, 0, read);
        }

        if (written != size)
            throw new MalformedException("tar", "content", $"{size} bytes", $"{written}");
        Pad(size);
    }

    private void Pad(long size)
    {
        if (size % Block != 0)
            output.Write(new byte[Block - (size % Block)]);
    }

    private static byte[] Records(TarEntry entry, byte[] path)
    {
        var records = new MemoryStream();
        if (path.Length > 100)
            Add("path"u8, path);
        if (entry.Target is { Length: > 100 } target)
            Add("linkpath"u8, target);
        if (entry.Size > LargestOctal)
            Add("size"u8, Number(entry.Size));
        if (entry.Uid > 0x1FFFFF)
            Add("uid"u8, Number(entry.Uid));
        if (entry.Gid > 0x1FFFFF)
            Add("gid"u8, Number(entry.Gid));
        if (entry.Modified is < 0 or > LargestOctal)
            Add("mtime"u8, Number(entry.Modified));
        foreach ((byte[] name, byte[] value) in entry.Xattrs)
            Add([.. "SCHILY.xattr."u8, .. name], value);
        return records.ToArray();

        static byte[] Number(long number) => Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));

        // "LENGTH KEY=VALUE\n", where the length counts its own digits too.
        void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
        {
            int rest = key.Length + value.Length + 3, length = rest + 1;
            while (length != rest + Number(length).Length)
                length = rest + Number(length).Length;
            records.Write(Number(length));
            records.Write(" "u8);
            records.Write(key);
            records.Write("="u8);
            records.Write(value);
            records.Write("\n"u8);
        }
    }

    private static byte[] Header(ReadOnlySpan<byte> path, char type, uint mode, uint uid, uint gid, long size, long modified, ReadOnlySpan<byte> target)
    {
        var header = new byte[Block];
        path[..Math.Min(100, path.Length)].CopyTo(header);
        Octal(100, 8, mode);
        Octal(108, 8, uid > 0x1FFFFF ? 0 : uid);
        Octal(116, 8, gid > 0x1FFFFF ? 0 : gid);
        Octal(124, 12, size > LargestOctal ? 0 : size);
        Octal(136, 12, modified is < 0 or > LargestOctal ? 0 : modified);
        header[156] = (byte)type;
        target[..Math.Min(100, target.Length)].CopyTo(header.AsSpan(157));
        "ustar\u000000"u8.CopyTo(header.AsSpan(257));
        header.AsSpan(148, 8).Fill((byte)' ');
        int sum = 0;
        foreach (byte each in header)
            sum += each;
        Octal(148, 7, sum);
        return header;

        void Octal(int at, int width, long number) => Encoding.ASCII.GetBytes(Convert.ToString(number, 8).PadLeft(width - 1, '0')).CopyTo(header, at);
    }
}
