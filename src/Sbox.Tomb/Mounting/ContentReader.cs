using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Chunking;

namespace Sbox.Tomb.Mounting;

/// <summary>Cuts files into blobs and hands them to the packs. One thread at a time.</summary>
internal sealed class ContentReader(TombRepository tomb, PackWriter packs, CancellationToken cancel)
{
    private const int WindowSize = Chunker.MaximumSize + (4 * 1024 * 1024);
    private NativeBlock? window;

    /// <summary>Bytes read so far.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Reads a file to its end.</summary>
    /// <param name="file">Open for reading.</param>
    /// <param name="path">What it is, for errors.</param>
    /// <param name="from">Where it begins.</param>
    /// <param name="most">Bytes that are read at most.</param>
    /// <returns>Its blobs and its size as it was read.</returns>
    /// <exception cref="LinuxException">It cannot be read.</exception>
    public (IReadOnlyList<Checksum> Content, long Size) Read(SafeFileHandle file, string path, long from = 0, long most = long.MaxValue)
    {
        window ??= new NativeBlock(WindowSize);
        Span<byte> bytes = window.GetSpan();
        var content = new List<Checksum>();
        long offset = 0;
        int start = 0, filled = 0;
        bool ended = false;
        while (true)
        {
            if (filled - start < Chunker.MaximumSize && !ended)
            {
                bytes[start..filled].CopyTo(bytes);
                (start, filled) = (0, filled - start);
                for (int read; filled < bytes.Length && !ended; filled += read, offset += read)
                {
                    read = Files.ReadAt(file, bytes[filled..(int)Math.Min(bytes.Length, filled + most - offset)], from + offset, path);
                    ended = read == 0;
                }
            }

            if (start == filled)
                break;
            cancel.ThrowIfCancellationRequested();
            int length = tomb.Chunker.Length(bytes.Slice(start, Math.Min(filled - start, Chunker.MaximumSize)));
            Checksum id = Checksum.Of(bytes.Slice(start, length));
            content.Add(id);
            packs.Add(BlobType.Data, id, bytes.Slice(start, length));
            start += length;
        }

        BytesRead += offset;
        return (content, offset);
    }

    /// <summary>Gives its buffer back to the kernel, which wipes it before anybody has it.</summary>
    public void Free()
    {
        window?.Free();
        window = null;
    }
}
