using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A GVariant that is put together from bytes and from whole files, which are read only as it is written.</summary>
/// <remarks>docs/formats/gvariant.md: members begin at multiples of their alignment, and where those of no fixed size end stands behind them all.</remarks>
internal sealed class VariantPieces
{
    private const int CopySize = 64 * 1024;
    private readonly List<(byte[] Bytes, SafeFileHandle? File, long Size)> pieces = [];

    public long Length { get; private set; }

    public void Add(ReadOnlySpan<byte> bytes)
    {
        pieces.Add((bytes.ToArray(), null, bytes.Length));
        Length += bytes.Length;
    }

    /// <summary>Adds all of a file, which stays the caller's.</summary>
    public void Add(SafeFileHandle file)
    {
        long size = RandomAccess.GetLength(file);
        pieces.Add(([], file, size));
        Length += size;
    }

    public void Align(int alignment) => Add(new byte[GVariantFraming.Align(Length, alignment) - Length]);

    /// <summary>Ends a container that began at <paramref name="start"/>.</summary>
    /// <param name="start">Where it began.</param>
    /// <param name="ends">Where its members of no fixed size end, seen from there, in the order in which they are written.</param>
    public void AddOffsets(long start, params ReadOnlySpan<long> ends)
    {
        int size = GVariantFraming.OffsetSizeFor(Length - start, ends.Length);
        var offset = new byte[sizeof(long)];
        foreach (long end in ends)
        {
            System.Buffers.Binary.BinaryPrimitives.WriteInt64LittleEndian(offset, end);
            Add(offset.AsSpan(0, size));
        }
    }

    /// <param name="output">Gets all of it.</param>
    /// <param name="path">Where the files are, for errors.</param>
    public void WriteTo(Stream output, string path)
    {
        var buffer = new byte[CopySize];
        foreach ((byte[] bytes, SafeFileHandle? file, long size) in pieces)
        {
            output.Write(bytes);
            for (long at = 0; file is not null && at < size;)
            {
                int read = Linux.Files.ReadAt(file, buffer, at, path);
                output.Write(buffer, 0, read > 0 ? read : throw new EndOfStreamException($"{path}: a part ends at {at} of {size} bytes"));
                at += read;
            }
        }
    }
}
