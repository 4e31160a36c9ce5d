using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>
/// The system's libzstd, which is written for each processor: Debian has it wherever dpkg is. A context each for compressing and decompressing, to be used again and
/// again by one thread at a time.
/// </summary>
public sealed unsafe partial class Zstd : IDisposable
{
    private const string Library = "libzstd.so.1";
    private nint compressing, decompressing;

    /// <summary>Whether this system has it.</summary>
    public static bool IsThere { get; } = Look();

    /// <summary>Room that compressing may need.</summary>
    public static int Bound(int length) => checked((int)ZSTD_compressBound((nuint)length));

    /// <summary>Compresses to one frame.</summary>
    /// <param name="plain">What.</param>
    /// <param name="into">Room for <see cref="Bound"/> bytes.</param>
    /// <param name="level">1 is quick, 22 small.</param>
    /// <returns>Bytes written.</returns>
    /// <exception cref="InvalidOperationException">libzstd refused, for want of memory or room.</exception>
    public int Compress(ReadOnlySpan<byte> plain, Span<byte> into, int level)
    {
        if (compressing == 0)
            compressing = ZSTD_createCCtx();
        fixed (byte* from = plain, to = into)
        {
            nuint written = compressing == 0 ? nuint.MaxValue : ZSTD_compressCCtx(compressing, to, (nuint)into.Length, from, (nuint)plain.Length, level);
            return ZSTD_isError(written) == 0 ? (int)written : throw new InvalidOperationException("libzstd does not compress");
        }
    }

    /// <summary>Decompresses; false when the bytes are no frames that fill <paramref name="into"/> exactly.</summary>
    /// <exception cref="InvalidOperationException">There is no memory for it.</exception>
    public bool TryDecompress(ReadOnlySpan<byte> compressed, Span<byte> into)
    {
        if (decompressing == 0)
            decompressing = ZSTD_createDCtx();
        if (decompressing == 0)
            throw new InvalidOperationException("libzstd does not decompress");
        fixed (byte* from = compressed, to = into)
        {
            nuint written = ZSTD_decompressDCtx(decompressing, to, (nuint)into.Length, from, (nuint)compressed.Length);
            return ZSTD_isError(written) == 0 && written == (nuint)into.Length;
        }
    }

    /// <summary>How large a frame says that it becomes; null where it does not say, or is none.</summary>
    public static long? SizeOf(ReadOnlySpan<byte> compressed)
    {
        fixed (byte* from = compressed)
        {
            ulong size = ZSTD_getFrameContentSize(from, (nuint)compressed.Length);
            return size <= long.MaxValue ? (long)size : null; // its two errors are the largest numbers that there are
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ = ZSTD_freeCCtx(compressing); // a context that was never made is freed too
        _ = ZSTD_freeDCtx(decompressing);
        (compressing, decompressing) = (0, 0);
    }

    private static bool Look()
    {
        try
        {
            return ZSTD_compressBound(1) > 0;
        }
        catch (Exception none) when (none is DllNotFoundException or EntryPointNotFoundException)
        {
            return false; // the caller has another way
        }
    }

    [LibraryImport(Library)]
    private static partial nuint ZSTD_compressBound(nuint size);

    [LibraryImport(Library)]
    private static partial ulong ZSTD_getFrameContentSize(byte* from, nuint size);

    [LibraryImport(Library)]
    private static partial uint ZSTD_isError(nuint code);

    [LibraryImport(Library)]
    private static partial nint ZSTD_createCCtx();

    [LibraryImport(Library)]
    private static partial nuint ZSTD_freeCCtx(nint context);

    [LibraryImport(Library)]
    private static partial nuint ZSTD_compressCCtx(nint context, byte* into, nuint room, byte* from, nuint size, int level);

    [LibraryImport(Library)]
    private static partial nint ZSTD_createDCtx();

    [LibraryImport(Library)]
    private static partial nuint ZSTD_freeDCtx(nint context);

    [LibraryImport(Library)]
    private static partial nuint ZSTD_decompressDCtx(nint context, byte* into, nuint room, byte* from, nuint size);
}
