using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;
using ZstdSharp;

namespace Sbox.Tomb;

/// <summary>
/// Zstandard, by the system's library and where there is none by our own copy, with contexts kept for reuse: each is some hundred kilobytes. Safe on several threads.
/// </summary>
internal static class Zstandard
{
    /// <summary>No document or blob is larger: what says it is was made to fill memory.</summary>
    public const int MaximumSize = 1 << 30;

    // As small as what restic's encoder makes of it, within a few hundredths of text, and a third quicker than level 3.
    private const int Level = 2;
    private static readonly ConcurrentBag<Zstd> Contexts = [];
    private static readonly ConcurrentBag<Compressor> Compressors = [];
    private static readonly ConcurrentBag<Decompressor> Decompressors = [];

    /// <summary>Room that compressing may need.</summary>
    public static int Bound(int length) => Zstd.IsThere ? Zstd.Bound(length) : Compressor.GetCompressBound(length);

    /// <summary>Compresses; returns the bytes written.</summary>
    public static int Compress(ReadOnlySpan<byte> plain, Span<byte> into)
    {
        if (Zstd.IsThere)
        {
            if (!Contexts.TryTake(out Zstd? context))
                context = new Zstd();
            int length = context.Compress(plain, into, Level);
            Contexts.Add(context);
            return length;
        }

        if (!Compressors.TryTake(out Compressor? compressor))
            compressor = new Compressor(Level);
        int written = compressor.Wrap(plain, into);
        Compressors.Add(compressor);
        return written;
    }

    /// <summary>Fills <paramref name="into"/> exactly; false when the bytes are no such frame.</summary>
    public static bool TryDecompress(ReadOnlySpan<byte> compressed, Span<byte> into)
    {
        if (Zstd.IsThere)
        {
            if (!Contexts.TryTake(out Zstd? context))
                context = new Zstd();
            bool filled = context.TryDecompress(compressed, into);
            Contexts.Add(context);
            return filled;
        }

        if (!Decompressors.TryTake(out Decompressor? decompressor))
            decompressor = new Decompressor();
        try
        {
            bool whole = decompressor.Unwrap(compressed, into) == into.Length;
            Decompressors.Add(decompressor);
            return whole;
        }
        catch (ZstdException)
        {
            decompressor.Dispose();
            return false;
        }
    }

    /// <summary>How large a frame becomes, where it says so and that can be believed.</summary>
    public static int? SizeOf(ReadOnlySpan<byte> compressed) => Zstd.IsThere && Zstd.SizeOf(compressed) is { } size and <= MaximumSize ? (int)size : null;

    /// <summary>Decompresses a document whose size is not known beforehand.</summary>
    /// <exception cref="MalformedException">The bytes are no frame, or of more than a gigabyte.</exception>
    public static byte[] Decompress(byte[] compressed, int start, string format)
    {
        try
        {
            using var source = new MemoryStream(compressed, start, compressed.Length - start, writable: false);
            using var stream = new DecompressionStream(source);
            using var plain = new MemoryStream();
            var buffer = new byte[128 * 1024];
            for (int read; (read = stream.Read(buffer)) > 0;)
            {
                plain.Write(buffer, 0, read);
                if (plain.Length > MaximumSize)
                    throw new MalformedException(format, "zstd", $"at most {MaximumSize} bytes", "more");
            }

            return plain.ToArray();
        }
        catch (Exception wrong) when (wrong is ZstdException or EndOfStreamException)
        {
            throw new MalformedException(format, "zstd", "a frame", wrong.Message);
        }
    }
}
