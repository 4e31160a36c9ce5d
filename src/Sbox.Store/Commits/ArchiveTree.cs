using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>One entry of an archive that is committed.</summary>
/// <param name="Path">From the tree's root, with a slash in front.</param>
/// <param name="Mode">Type and permissions; no type for a hardlink.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Target">Where a symbolic link points, or which path a hardlink is another name of.</param>
/// <param name="Size">Bytes of content.</param>
/// <param name="Content">Its content; to be read before the next entry is asked for.</param>
/// <param name="Xattrs">Extended attributes.</param>
/// <param name="IsHardlink">Whether it is another name of what came before.</param>
internal sealed record ArchiveEntry(
    string Path, Mode Mode, uint Uid, uint Gid, string? Target, long Size, Stream Content, IReadOnlyList<Xattr> Xattrs, bool IsHardlink = false);

/// <summary>Reads tar and cpio (newc) archives, as they are or compressed with gzip, xz or zstd, front to back.</summary>
internal static class ArchiveTree
{
    private const string XattrRecord = "SCHILY.xattr.";

    /// <summary>The entries of an archive.</summary>
    /// <param name="archive">Its bytes, from the beginning.</param>
    /// <param name="source">What it is called, for errors.</param>
    /// <exception cref="CannotCommitException">It is no archive that is handled, is cut short, or leads out of the tree.</exception>
    public static IEnumerable<ArchiveEntry> Read(Stream archive, string source) => Guarded(Begun(archive, source), source);

    // Only when the first entry is asked for: the first bytes behind a compressor may be broken too.
    private static IEnumerable<ArchiveEntry> Begun(Stream archive, string source)
    {
        foreach (ArchiveEntry entry in Read(archive, source, isUnpacked: false))
            yield return entry;
    }

    private static IEnumerable<ArchiveEntry> Read(Stream archive, string source, bool isUnpacked)
    {
        var start = new byte[8];
        int filled = archive.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        var whole = new PrefixedStream(start.AsMemory(0, filled), archive);
        switch (start)
        {
            case [0x1F, 0x8B, ..] or [0xFD, (byte)'7', (byte)'z', ..] or [0x28, 0xB5, 0x2F, 0xFD, ..] when isUnpacked:
                throw new CannotCommitException(source, "an archive is compressed once, this one is twice");
            case [0x1F, 0x8B, ..]:
                return Guarded(Read(new GZipStream(whole, CompressionMode.Decompress), source, isUnpacked: true), source);
            case [0xFD, (byte)'7', (byte)'z', ..]:
                return Guarded(Read(new XzDecoder(whole), source, isUnpacked: true), source);
            case [0x28, 0xB5, 0x2F, 0xFD, ..]:
                return Guarded(Read(new ZstdSharp.DecompressionStream(whole, leaveOpen: false), source, isUnpacked: true), source);
            case [(byte)'B', (byte)'Z', (byte)'h', ..]:
                throw new CannotCommitException(source, "archives compressed with bzip2 are not handled; uncompress it into --tree=tar=-");
            case [(byte)'0', (byte)'7', (byte)'0', (byte)'7', (byte)'0', (byte)'1' or (byte)'2', ..]:
                return Guarded(Cpio(whole, source), source);
            default:
                return Guarded(Tar(whole, source), source);
        }
    }

    // What a reader throws of bytes that are no archive is a finding about the file.
    private static IEnumerable<ArchiveEntry> Guarded(IEnumerable<ArchiveEntry> entries, string source)
    {
        using IEnumerator<ArchiveEntry> each = entries.GetEnumerator();
        while (true)
        {
            try
            {
                if (!each.MoveNext())
                    yield break;
            }
            catch (Exception broken) when (broken is InvalidDataException or EndOfStreamException or FormatException or ArgumentException or NotSupportedException or OverflowException or InvalidOperationException or ZstdSharp.ZstdException)
            {
                throw new CannotCommitException(source, $"no archive, or a broken one: {broken.Message}");
            }

            yield return each.Current;
        }
    }

    private static IEnumerable<ArchiveEntry> Tar(Stream stream, string source)
    {
        using var headers = new TarHeaders(stream);
        using var reader = new TarReader(headers, leaveOpen: true);
        Stream content = Stream.Null; // of the last entry, of whatever type
        while (Next() is { } entry)
        {
            string path = Clean(entry.Name, source);
            uint permissions = (uint)entry.Mode;
            switch (entry.EntryType)
            {
                case TarEntryType.RegularFile or TarEntryType.V7RegularFile or TarEntryType.ContiguousFile:
                    yield return Entry(0x8000, null, entry.Length, entry.DataStream ?? Stream.Null);
                    break;
                case TarEntryType.Directory:
                    yield return Entry(0x4000, null, 0, Stream.Null);
                    break;
                case TarEntryType.SymbolicLink:
                    yield return Entry(0xA000, entry.LinkName, 0, Stream.Null);
                    break;
                case TarEntryType.HardLink:
                    yield return Entry(0, Clean(entry.LinkName, source), 0, Stream.Null) with { IsHardlink = true };
                    break;
                case TarEntryType.GlobalExtendedAttributes:
                    break;
                default:
                    throw new CannotCommitException($"{source}:{path}", $"a {entry.EntryType} has no form in a repository");
            }

            ArchiveEntry Entry(uint kind, string? target, long size, Stream content) =>
                new(path, new Mode(kind | (kind == 0xA000 ? 0x1FF : permissions)), (uint)entry.Uid, (uint)entry.Gid, target, size, content, XattrsOf(entry, source));
        }

        System.Formats.Tar.TarEntry? Next()
        {
            Drain(content);
            headers.IsAtHeader = true;
            System.Formats.Tar.TarEntry? next = reader.GetNextEntry();
            headers.IsAtHeader = false;
            content = next?.DataStream ?? Stream.Null;
            return next;
        }
    }

    private static List<Xattr> XattrsOf(System.Formats.Tar.TarEntry entry, string source)
    {
        var xattrs = new List<Xattr>();
        if (entry is not PaxTarEntry pax)
            return xattrs;
        foreach ((string key, string value) in pax.ExtendedAttributes.Where(static record => record.Key.StartsWith(XattrRecord, StringComparison.Ordinal)))
        {
            if (value.Contains('\uFFFD', StringComparison.Ordinal))
                throw new CannotCommitException($"{source}:{entry.Name}", $"its extended attribute {key[XattrRecord.Length..]} is no text, and such attributes are not read from archives; unpack it, and give --tree=dir=PATH");
            xattrs.Add(new Xattr(key[XattrRecord.Length..], Encoding.UTF8.GetBytes(value)));
        }

        return xattrs;
    }

    // newc: thirteen numbers of eight hexadecimal digits. Of a file's names the last has its content.
    private static IEnumerable<ArchiveEntry> Cpio(Stream stream, string source)
    {
        var header = new byte[110];
        var waiting = new Dictionary<(uint, uint, uint), List<string>>();
        while (true)
        {
            stream.ReadExactly(header);
            if (!header.AsSpan(0, 6).SequenceEqual("070701"u8) && !header.AsSpan(0, 6).SequenceEqual("070702"u8))
                throw new InvalidDataException("a cpio header begins with 070701");
            uint Field(int index) => uint.Parse(Encoding.ASCII.GetString(header, 6 + (index * 8), 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            uint mode = Field(1), links = Field(4), size = Field(6), nameSize = Field(11);
            (uint, uint, uint) inode = (Field(7), Field(8), Field(0));
            if (nameSize is 0 or > 4096)
                throw new InvalidDataException($"a name of {nameSize} bytes");
            string name = Encoding.UTF8.GetString(ReadPadded(stream, (int)nameSize, 110).AsSpan()[..^1]);
            if (name == "TRAILER!!!")
                yield break;
            string path = Clean(name, source);
            var kind = (FileKind)(mode & 0xF000);
            string? target = kind == FileKind.Symlink ? Encoding.UTF8.GetString(ReadPadded(stream, checked((int)Math.Min(size, 65536u)), 0)) : null;
            if (kind is not (FileKind.Regular or FileKind.Directory or FileKind.Symlink))
                throw new CannotCommitException($"{source}:{path}", $"a {kind} has no form in a repository");
            var entry = new ArchiveEntry(path, new Mode(mode), Field(2), Field(3), target, kind == FileKind.Regular ? size : 0, Stream.Null, []);
            if (kind == FileKind.Regular && links > 1 && size == 0)
            {
                (waiting.TryGetValue(inode, out List<string>? names) ? names : waiting[inode] = []).Add(path);
                continue;
            }

            if (kind == FileKind.Regular)
            {
                using var content = new LimitedStream(stream, size);
                yield return entry with { Content = content };
                Drain(content);
                _ = ReadPadding(stream, size);
            }
            else
            {
                yield return entry;
            }

            foreach (string other in waiting.Remove(inode, out List<string>? others) ? others : [])
                yield return entry with { Path = other, Mode = default, Target = path, Size = 0, IsHardlink = true };
        }
    }

    private static byte[] ReadPadded(Stream stream, int size, int before)
    {
        var bytes = new byte[size];
        stream.ReadExactly(bytes);
        _ = ReadPadding(stream, before + (uint)size);
        return bytes;
    }

    private static int ReadPadding(Stream stream, long size)
    {
        int padding = (int)((4 - (size % 4)) % 4);
        stream.ReadExactly(new byte[padding]);
        return padding;
    }

    private static void Drain(Stream content)
    {
        Span<byte> buffer = stackalloc byte[4096];
        while (content.Read(buffer) > 0)
            continue;
    }

    private static string Clean(string name, string source)
    {
        string[] parts = [.. name.Split('/').Where(static part => part is not ("" or "."))];
        if (parts.Contains(".."))
            throw new CannotCommitException(source, $"the path '{name}' leads out of the tree");
        if (name.Contains('\uFFFD', StringComparison.Ordinal))
            throw new CannotCommitException(source, $"Invalid UTF-8 in filename '{name}'");
        return "/" + string.Join('/', parts);
    }

    /// <summary>Some bytes that were read already, then the rest.</summary>
    private sealed class PrefixedStream(ReadOnlyMemory<byte> first, Stream rest) : InputStream
    {
        private int at;

        public override int Read(Span<byte> buffer)
        {
            if (at >= first.Length)
                return rest.Read(buffer);
            int count = Math.Min(buffer.Length, first.Length - at);
            first.Span.Slice(at, count).CopyTo(buffer);
            at += count;
            return count;
        }
    }

    /// <summary>The next bytes of a stream, no more of it.</summary>
    private sealed class LimitedStream(Stream inner, long size) : InputStream
    {
        private long left = size;

        public override int Read(Span<byte> buffer)
        {
            if (left == 0)
                return 0;
            int read = inner.Read(buffer[..(int)Math.Min(buffer.Length, left)]);
            left -= read;
            return read > 0 || buffer.IsEmpty ? read : throw new EndOfStreamException("the archive is cut short");
        }
    }
}
