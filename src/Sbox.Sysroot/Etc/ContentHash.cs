using System.Buffers;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>The SHA-256 of a file's bytes, in memory that is lent: an /etc has hundreds of files, and each is read once and forgotten.</summary>
internal static class ContentHash
{
    private const int Piece = 32 * 1024; // nearly every file of an /etc in one

    /// <summary>Reads bytes from a position on; 0 at the end.</summary>
    private delegate int Reader(Span<byte> into, long at);

    /// <summary>Of an open file.</summary>
    /// <exception cref="LinuxException">It could not be read.</exception>
    public static Checksum Of(SafeFileHandle file, string path) => Of((into, at) => Files.ReadAt(file, into, at, path));

    /// <summary>Of what is left of a stream.</summary>
    /// <exception cref="IOException">It could not be read.</exception>
    public static Checksum Of(Stream content) => Of((into, _) => content.Read(into));

    private static Checksum Of(Reader read)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Piece);
        try
        {
            int filled = Fill(read, buffer, 0);
            if (filled < buffer.Length)
                return Checksum.Of(buffer.AsSpan(0, filled));
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (long at = 0; filled > 0; filled = Fill(read, buffer, at))
            {
                hash.AppendData(buffer, 0, filled);
                at += filled;
            }

            return Checksum.FromBytes(hash.GetHashAndReset());
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static int Fill(Reader read, Span<byte> buffer, long at)
    {
        int filled = 0;
        for (int more; filled < buffer.Length && (more = read(buffer[filled..], at + filled)) > 0;)
            filled += more;
        return filled;
    }
}
