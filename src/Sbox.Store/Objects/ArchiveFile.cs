using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// File objects as <c>archive-z2</c> keeps them (<c>.filez</c>): the header's size, 4 zeros, the header, and for a regular file the
/// content as a raw deflate stream.
/// </summary>
/// <remarks>docs/formats/file-object.md.</remarks>
internal static class ArchiveFile
{
    private const string Format = "filez";
    private const int FrameSize = 8;
    private const int FirstRead = 16 * 1024;

    /// <summary>Reads an object's header, and keeps its content too where that came along: most objects are smaller than one read.</summary>
    /// <exception cref="MalformedException">It is none.</exception>
    public static FileObject Load(Dir objects, Checksum checksum, SafeFileHandle file, string path)
    {
        string onDisk = objects.Of(path);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(FirstRead);
        try
        {
            int read = Linux.Files.ReadAt(file, buffer.AsSpan(0, FirstRead), 0, onDisk);
            if (read < FrameSize)
                throw new MalformedException(Format, "frame", $"{FrameSize} bytes", $"{read}");
            int contentAt = FrameSize + HeaderLength(buffer.AsSpan(0, FrameSize));
            (FileHeader header, long size) = ParseHeader(contentAt <= read ? buffer.AsSpan(FrameSize..contentAt) : ReadHeader(file, contentAt, onDisk));
            if (read == FirstRead)
                return new FileObject(checksum, header, size, path, () => Open(objects, path, contentAt));
            byte[] content = buffer.AsSpan(contentAt..read).ToArray();
            return new FileObject(checksum, header, size, path, () => Inflate(new MemoryStream(content, writable: false)));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static byte[] ReadHeader(SafeFileHandle file, int contentAt, string path)
    {
        var bytes = new byte[contentAt - FrameSize];
        int read = Linux.Files.ReadAt(file, bytes, FrameSize, path);
        return read == bytes.Length ? bytes : throw new MalformedException(Format, "header", $"{bytes.Length} bytes", $"{read}");
    }

    /// <summary>What the 8 bytes before a header say of its length.</summary>
    /// <exception cref="MalformedException">They are no such frame.</exception>
    public static int HeaderLength(ReadOnlySpan<byte> frame)
    {
        uint length = BinaryPrimitives.ReadUInt32BigEndian(frame);
        if (frame[4..].ContainsAnyExcept((byte)0))
            throw new MalformedException(Format, "frame", "4 zeros", Convert.ToHexStringLower(frame[4..]));
        return length <= FileHeader.MaximumSize
            ? (int)length
            : throw new MalformedException(Format, "header size", $"at most {FileHeader.MaximumSize}", $"{length}");
    }

    /// <summary>Reads a header without the frame before it.</summary>
    /// <exception cref="MalformedException">It is none.</exception>
    public static (FileHeader Header, long Size) ParseHeader(ReadOnlySpan<byte> bytes)
    {
        (FileHeader header, ulong size) = FileHeader.ParseArchive(bytes);
        return size <= long.MaxValue
            ? (header, (long)size)
            : throw new MalformedException(Format, "size", $"at most {long.MaxValue}", $"{size}");
    }

    /// <summary>The content behind a raw deflate stream; reading throws <see cref="InvalidDataException"/> where that is broken or cut short.</summary>
    public static Stream Inflate(Stream compressed) =>
        new InflatedContent(new DeflateStream(new CompleteInput(compressed), CompressionMode.Decompress));

    private static Stream Open(Dir objects, string path, long contentAt)
    {
        SafeFileHandle file = objects.OpenFile(path);
        return Inflate(new FileInput(file, contentAt, objects.Of(path)));
    }
}

/// <summary>An open file from some place on, read in large pieces: a decompressor asks for 8 KiB at a time.</summary>
/// <param name="file">Disposed with this.</param>
/// <param name="at">Where it begins.</param>
/// <param name="path">What it is, for errors.</param>
internal sealed class FileInput(SafeFileHandle file, long at, string path) : InputStream
{
    private const int Piece = 128 * 1024;
    private byte[] piece = ArrayPool<byte>.Shared.Rent(Piece);
    private int used, filled;

    public override int Read(Span<byte> buffer)
    {
        if (used == filled)
        {
            filled = Linux.Files.ReadAt(file, piece, at, path);
            at += filled;
            used = 0;
        }

        int count = Math.Min(buffer.Length, filled - used);
        piece.AsSpan(used, count).CopyTo(buffer);
        used += count;
        return count;
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing || piece.Length == 0)
            return;
        ArrayPool<byte>.Shared.Return(piece);
        (piece, used, filled) = ([], 0, 0);
        file.Dispose();
    }
}

/// <summary>
/// What a decompressor gives. The class library's own CopyTo pulls at the input past the end mark, which <see cref="CompleteInput"/> takes
/// for the finding it is there for; here it reads like everyone else.
/// </summary>
internal sealed class InflatedContent(DeflateStream inner) : InputStream
{
    public override int Read(Span<byte> buffer) => inner.Read(buffer);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            inner.Dispose();
    }
}

/// <summary>Input of a decompressor that takes an early end for the end; here it is an error.</summary>
/// <remarks>The decompressor asks for more only as long as the stream's own end mark has not come, so asking at the end is the finding.</remarks>
internal sealed class CompleteInput(Stream inner) : InputStream
{
    public override int Read(Span<byte> buffer) => inner.Read(buffer) is > 0 and int read
        ? read
        : throw new InvalidDataException("the compressed content is cut short");

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            inner.Dispose();
    }
}
