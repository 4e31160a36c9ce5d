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

    public static FileObject Load(Dir objects, Checksum checksum, string path)
    {
        using SafeFileHandle file = objects.OpenFile(path);
        (FileHeader header, long size, long contentAt) = ReadHeader(file);
        return new FileObject(checksum, header, size, path, () => Open(objects, path, contentAt));
    }

    /// <summary>Reads the header at the beginning of an archive object.</summary>
    /// <exception cref="MalformedException">It is none.</exception>
    public static (FileHeader Header, long Size, long ContentAt) ReadHeader(SafeFileHandle file)
    {
        Span<byte> frame = stackalloc byte[FrameSize];
        if (RandomAccess.Read(file, frame, 0) < FrameSize)
            throw new MalformedException(Format, "frame", $"{FrameSize} bytes", $"{RandomAccess.GetLength(file)}");
        uint length = BinaryPrimitives.ReadUInt32BigEndian(frame);
        if (length > FileHeader.MaximumSize)
            throw new MalformedException(Format, "header size", $"at most {FileHeader.MaximumSize}", $"{length}");
        var bytes = new byte[length];
        int read = RandomAccess.Read(file, bytes, FrameSize);
        if (read < bytes.Length)
            throw new MalformedException(Format, "header", $"{length} bytes", $"{read}");
        (FileHeader header, ulong size) = FileHeader.ParseArchive(bytes);
        return size <= long.MaxValue
            ? (header, (long)size, FrameSize + length)
            : throw new MalformedException(Format, "size", $"at most {long.MaxValue}", $"{size}");
    }

    private static DeflateStream Open(Dir objects, string path, long contentAt)
    {
        SafeFileHandle file = objects.OpenFile(path);
        var stream = new FileStream(file, FileAccess.Read, bufferSize: 0) { Position = contentAt };
        return new DeflateStream(stream, CompressionMode.Decompress);
    }
}
