using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>
/// How zstd compresses a frame: all that a level stands for, since each version of zstd has other numbers behind its levels. Two compressors of one version that are told the same make the same bytes.
/// </summary>
/// <param name="WindowLog">It looks back on so many bytes, as a power of two.</param>
/// <param name="ChainLog">Room for what it knows of them, as a power of two; four bytes each.</param>
/// <param name="HashLog">Room for where to begin with that, likewise.</param>
/// <param name="SearchLog">How many places it looks at, as a power of two.</param>
/// <param name="MinMatch">The shortest match.</param>
/// <param name="TargetLength">A match of so many bytes is taken without looking for a longer one.</param>
/// <param name="Strategy">How it searches, as ZSTD_strategy numbers it: 1 is fast, 9 small.</param>
public sealed record ZstdSettings(int WindowLog, int ChainLog, int HashLog, int SearchLog, int MinMatch, int TargetLength, int Strategy)
{
    /// <summary>
    /// What level 19 does, in a third of its memory (33 MiB instead of 93) and two thirds of its time: for what is to be compressed again where there is little. A box's initrd is 0.7 % larger by it.
    /// </summary>
    public static ZstdSettings Modest { get; } = new(WindowLog: 23, ChainLog: 22, HashLog: 20, SearchLog: 7, MinMatch: 3, TargetLength: 256, Strategy: 9);

    /// <summary>Whether the frame ends with a checksum of its content.</summary>
    public bool HasChecksum { get; init; }

    /// <summary>Whether its head says how long its content is.</summary>
    public bool SaysSize { get; init; }

    /// <summary>What the program zstd is told for the same; besides a level of 19 at most, <c>--single-thread</c> and a file.</summary>
    public string Argument => $"--zstd=wlog={WindowLog},clog={ChainLog},hlog={HashLog},slog={SearchLog},mml={MinMatch},tlen={TargetLength},strat={Strategy}";

    /// <summary>The parameters by their numbers in zstd.h (ZSTD_cParameter).</summary>
    public IEnumerable<(int Parameter, int Value)> Parameters =>
    [
        (101, WindowLog), (102, HashLog), (103, ChainLog), (104, SearchLog), (105, MinMatch), (106, TargetLength), (107, Strategy), (200, SaysSize ? 1 : 0), (201, HasChecksum ? 1 : 0),
    ];
}

/// <summary>Compresses what is written to it into one frame, by the system's libzstd and on one thread. What is disposed before the last bytes were written leaves a frame cut short.</summary>
public sealed unsafe partial class ZstdEncoder : IDisposable
{
    private const string Library = "libzstd.so.1";
    private const int Continue = 0, End = 2; // ZSTD_EndDirective

    /// <summary>Room for what comes out at once, as the program zstd has it: for any 128 KiB.</summary>
    public const int BufferSize = 132 * 1024;

    private readonly Stream output;
    private readonly byte[] buffer = new byte[BufferSize];
    private nint context;

    /// <summary>Begins a frame.</summary>
    /// <param name="output">Gets it.</param>
    /// <param name="settings">How.</param>
    /// <param name="size">Bytes that will be written; only told to zstd where the frame says them.</param>
    /// <exception cref="ArgumentOutOfRangeException">libzstd does not know one of the settings.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for it.</exception>
    public ZstdEncoder(Stream output, ZstdSettings settings, long size)
    {
        this.output = output;
        context = ZSTD_createCCtx();
        if (context == 0)
            throw new InsufficientMemoryException("libzstd found too little memory");
        bool taken = settings.Parameters.All(each => ZSTD_isError(ZSTD_CCtx_setParameter(context, each.Parameter, each.Value)) == 0);
        if (taken && (!settings.SaysSize || ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, (ulong)size)) == 0))
            return;
        Dispose();
        throw new ArgumentOutOfRangeException(nameof(settings), settings, "libzstd has no such settings");
    }

    /// <summary>The system's zstd, its version as a number (10507 for 1.5.7); 0 where there is none.</summary>
    public static long SystemVersion { get; } = Zstd.IsThere ? ZSTD_versionNumber() : 0;

    /// <summary>Compresses some bytes. Which bytes come out depends on how they are divided: the program zstd takes 128 KiB at a time.</summary>
    /// <param name="bytes">What.</param>
    /// <param name="isLast">Whether nothing follows: the frame's end is written.</param>
    public void Write(ReadOnlySpan<byte> bytes, bool isLast)
    {
        fixed (byte* from = bytes)
        {
            var input = new Buffer { Bytes = from, Size = (nuint)bytes.Length };
            nuint left;
            do
            {
                left = Step(&input, isLast ? End : Continue);
            }
            while (input.At < input.Size || (isLast && left > 0));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (context == 0)
            return;
        _ = ZSTD_freeCCtx(context);
        context = 0;
        _ = LibC.malloc_trim(0); // tens of megabytes that the C library would keep
    }

    private nuint Step(Buffer* input, int directive)
    {
        ObjectDisposedException.ThrowIf(context == 0, this);
        nuint left, written;
        fixed (byte* into = buffer)
        {
            var room = new Buffer { Bytes = into, Size = BufferSize };
            left = ZSTD_compressStream2(context, &room, input, directive);
            written = room.At;
        }

        if (ZSTD_isError(left) != 0)
            throw new InvalidOperationException("libzstd does not compress");
        output.Write(buffer, 0, (int)written);
        return left;
    }

    // ZSTD_inBuffer and ZSTD_outBuffer, which differ in nothing but const.
    [StructLayout(LayoutKind.Sequential)]
    private struct Buffer
    {
        public byte* Bytes;
        public nuint Size, At;
    }

    [LibraryImport(Library)]
    private static partial uint ZSTD_versionNumber();

    [LibraryImport(Library)]
    private static partial uint ZSTD_isError(nuint code);

    [LibraryImport(Library)]
    private static partial nint ZSTD_createCCtx();

    [LibraryImport(Library)]
    private static partial nuint ZSTD_freeCCtx(nint context);

    [LibraryImport(Library)]
    private static partial nuint ZSTD_CCtx_setParameter(nint context, int parameter, int value);

    [LibraryImport(Library)]
    private static partial nuint ZSTD_CCtx_setPledgedSrcSize(nint context, ulong size);

    [LibraryImport(Library)]
    private static partial nuint ZSTD_compressStream2(nint context, Buffer* output, Buffer* input, int directive);
}
