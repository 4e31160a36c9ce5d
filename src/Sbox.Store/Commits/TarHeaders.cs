using System.Globalization;
using System.Text;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// A tar archive on its way to <see cref="System.Formats.Tar.TarReader"/>, which takes as much memory for a long name or a set of extended headers as the archive claims that it has,
/// before it has seen a byte of it: what claims more than any path or set of attributes may have is refused here.
/// </summary>
/// <remarks>The reader asks for each header with one request for 512 bytes; <see cref="IsAtHeader"/> tells those from the ones for content.</remarks>
internal sealed class TarHeaders(Stream archive) : InputStream
{
    private const int HeaderSize = 512, MaximumSize = 1 << 20;

    // Bytes of the extended header that was begun, which are no header however they look.
    private int extended;

    /// <summary>Whether the reader looks for the next entry, with all content of the one before taken.</summary>
    public bool IsAtHeader { get; set; }

    public override int Read(Span<byte> buffer)
    {
        int read = IsAtHeader ? archive.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false) : archive.Read(buffer);
        if (!IsAtHeader)
            return read;
        if (extended > 0)
            extended -= Math.Min(extended, read);
        else if (read == HeaderSize)
            extended = SizeOfExtended(buffer[..read]);
        return read;
    }

    // POSIX.1-2001 has extended headers as types x and g, GNU long names as L and K. The size is twelve octal digits, or a binary number behind a byte of 0x80 or 0xFF.
    private static int SizeOfExtended(ReadOnlySpan<byte> header)
    {
        if ((char)header[156] is not ('x' or 'g' or 'L' or 'K'))
            return 0;
        ReadOnlySpan<byte> field = header.Slice(124, 12);
        long size = 0;
        if ((field[0] & 0x80) != 0)
        {
            size = field[1..].ContainsAnyExcept((byte)0) ? long.MaxValue : 0; // nobody writes a size as small as these have to be so
        }
        else
        {
            foreach (char digit in Encoding.ASCII.GetString(field).Trim(' ', '\0').TakeWhile(char.IsAsciiDigit))
                size = (size * 8) + (digit - '0');
        }

        return size <= MaximumSize
            ? (int)size
            : throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"a header of type {(char)header[156]} claims {size} bytes, and a name or a set of attributes has {MaximumSize} at most"));
    }
}
