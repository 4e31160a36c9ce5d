using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>A liblzma stream and the buffer on its compressed side.</summary>
internal sealed unsafe class XzCoder : IDisposable
{
    public const int BufferSize = 64 * 1024;
    private LibLzma.Stream* stream;
    private byte* buffer;

    private XzCoder()
    {
        stream = (LibLzma.Stream*)NativeMemory.AllocZeroed((nuint)sizeof(LibLzma.Stream));
        buffer = (byte*)NativeMemory.Alloc(BufferSize);
    }

    ~XzCoder() => Free();

    public Span<byte> Buffer => new(buffer, BufferSize);

    public LibLzma.Stream* Stream => stream is null ? throw new ObjectDisposedException(nameof(XzCoder)) : stream;

    public byte* BufferStart => buffer;

    public static XzCoder Encoder(XzSettings settings)
    {
        var coder = new XzCoder();
        coder.BeginEncoding(settings);
        return coder;
    }

    /// <summary>Begins a stream, in the memory of the one before where that is as large as it must be.</summary>
    public void BeginEncoding(XzSettings settings)
    {
        LibLzma.Options options = default;
        if (LibLzma.lzma_lzma_preset(&options, settings.Level) != 0)
            throw new ArgumentOutOfRangeException(nameof(settings), settings.Level, "liblzma has no such level");
        options.DictionarySize = settings.DictionarySize;
        if (settings.ByThreeBytes)
            options.MatchFinder = LibLzma.BinaryTreeOfThree;
        if (settings.NiceLength > 0)
            options.NiceLength = settings.NiceLength;
        LibLzma.Filter* filters = stackalloc LibLzma.Filter[3];
        int count = 0;
        if (settings.X86)
            filters[count++] = new LibLzma.Filter { Id = LibLzma.X86Filter };
        filters[count++] = new LibLzma.Filter { Id = LibLzma.Lzma2Filter, Options = &options };
        filters[count] = new LibLzma.Filter { Id = LibLzma.EndOfFilters };
        var threads = new LibLzma.Threads { Count = 1, Filters = filters, Check = settings.Check };
        Checked(settings.Blocks ? LibLzma.lzma_stream_encoder_mt(Stream, &threads) : LibLzma.lzma_stream_encoder(Stream, filters, settings.Check));
    }

    public static XzCoder Decoder(ulong memoryLimit)
    {
        var coder = new XzCoder();
        coder.BeginDecoding(memoryLimit);
        return coder;
    }

    /// <summary>Begins a stream, in the memory of the one before where that is as large as it must be.</summary>
    public void BeginDecoding(ulong memoryLimit) => Checked(LibLzma.lzma_stream_decoder(Stream, memoryLimit, 0));

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private XzCoder Checked(int answer)
    {
        if (answer == LibLzma.Ok)
            return this;
        Dispose();
        throw new InsufficientMemoryException($"liblzma refused to begin ({answer})");
    }

    private void Free()
    {
        if (stream is null)
            return;
        LibLzma.lzma_end(stream);
        NativeMemory.Free(stream);
        NativeMemory.Free(buffer);
        stream = null;
        buffer = null;
        // An encoder has tens of megabytes, and the C library would keep them for the thread that made it: as often as there are threads.
        _ = LibC.malloc_trim(0);
    }
}

/// <summary>How xz compresses.</summary>
/// <param name="Level">xz's own levels, 0 to 9: how hard it searches.</param>
/// <param name="DictionarySize">Bytes that it looks back on. The encoder needs about eleven times as many, the decoder as many.</param>
/// <param name="NiceLength">A match of so many bytes is taken without looking for a longer one; 0: as the level has it.</param>
/// <param name="X86">Turn relative addresses in x86 code into absolute ones first, which repeat.</param>
/// <param name="ByThreeBytes">Look for matches by their first three bytes instead of four: with a small dictionary as good, and a sixth faster.</param>
public sealed record XzSettings(uint Level, uint DictionarySize, uint NiceLength = 0, bool X86 = false, bool ByThreeBytes = false)
{
    /// <summary>Added to a level: xz's <c>--extreme</c>.</summary>
    public const uint Extreme = 1u << 31;

    /// <summary>What the content is checked by, as the format numbers it: 0 nothing, 1 CRC32, 4 CRC64, 10 SHA-256.</summary>
    public int Check { get; init; } = LibLzma.Crc64;

    /// <summary>Divide it into blocks of three dictionaries, or 1 MiB where that is more, whose sizes are in their heads, as <c>xz --threads</c> does, however many threads it has; here it is one.</summary>
    public bool Blocks { get; init; }
}

/// <summary>Compresses what is written to it into the .xz format. Disposing without <see cref="Finish"/> leaves a stream cut short.</summary>
public sealed unsafe class XzEncoder(Stream output, XzSettings settings) : Stream
{
    private readonly XzCoder coder = XzCoder.Encoder(settings);
    private Stream output = output;

    /// <summary>How it compresses.</summary>
    public XzSettings Settings => settings;

    /// <summary>Goes on with another stream, in the same memory: tens of megabytes that the kernel need not make anew.</summary>
    /// <param name="next">Takes what is compressed.</param>
    public void Begin(Stream next)
    {
        coder.BeginEncoding(settings);
        output = next;
    }

    /// <inheritdoc/>
    public override bool CanRead => false;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        fixed (byte* from = buffer)
        {
            coder.Stream->NextIn = from;
            coder.Stream->AvailableIn = (nuint)buffer.Length;
            while (coder.Stream->AvailableIn > 0)
                Step(LibLzma.Run);
        }
    }

    /// <summary>Writes the end of the stream.</summary>
    public void Finish()
    {
        coder.Stream->AvailableIn = 0;
        while (Step(LibLzma.Finish) != LibLzma.StreamEnd)
        {
        }
    }

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
            coder.Dispose();
    }

    private int Step(int action)
    {
        coder.Stream->NextOut = coder.BufferStart;
        coder.Stream->AvailableOut = XzCoder.BufferSize;
        int answer = LibLzma.lzma_code(coder.Stream, action);
        if (answer == LibLzma.NoMemory)
            throw new InsufficientMemoryException("liblzma found too little memory");
        if (answer is not (LibLzma.Ok or LibLzma.StreamEnd))
            throw new InvalidOperationException($"liblzma gave up ({answer})");
        output.Write(coder.Buffer[..(XzCoder.BufferSize - (int)coder.Stream->AvailableOut)]);
        return answer;
    }
}

/// <summary>What a stream in the .xz format holds; reading throws <see cref="InvalidDataException"/> where it is broken, cut short or asks for too much memory.</summary>
/// <param name="input">The compressed bytes; nothing may follow them.</param>
/// <param name="memoryLimit">Bytes that the decoder may use at most: its dictionary is as large as the stream says.</param>
public sealed unsafe class XzDecoder(Stream input, long memoryLimit = XzDecoder.DefaultMemoryLimit) : Stream
{
    /// <summary>Enough for the largest dictionary that any level of xz makes (64 MiB).</summary>
    public const long DefaultMemoryLimit = 80L * 1024 * 1024;

    private readonly XzCoder coder = XzCoder.Decoder((ulong)memoryLimit);
    private Stream input = input;
    private int filled, used;
    private bool ended, exhausted;

    /// <summary>Goes on with another stream. Its dictionary takes the place of the last one's: tens of megabytes that the kernel need not make anew.</summary>
    /// <param name="next">The compressed bytes; nothing may follow them.</param>
    public void Begin(Stream next)
    {
        coder.BeginDecoding((ulong)memoryLimit);
        (input, filled, used, ended, exhausted) = (next, 0, 0, false, false);
    }

    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => false;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override int Read(Span<byte> buffer)
    {
        if (buffer.IsEmpty)
            return 0;
        fixed (byte* into = buffer)
        {
            coder.Stream->NextOut = into;
            coder.Stream->AvailableOut = (nuint)buffer.Length;
            while (!ended && coder.Stream->AvailableOut == (nuint)buffer.Length)
                Step();
            return buffer.Length - (int)coder.Stream->AvailableOut;
        }
    }

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
            coder.Dispose();
    }

    private void Step()
    {
        if (used == filled && !exhausted)
        {
            filled = input.Read(coder.Buffer);
            used = 0;
            exhausted = filled == 0;
        }

        coder.Stream->NextIn = coder.BufferStart + used;
        coder.Stream->AvailableIn = (nuint)(filled - used);
        int answer = LibLzma.lzma_code(coder.Stream, exhausted ? LibLzma.Finish : LibLzma.Run);
        used = filled - (int)coder.Stream->AvailableIn;
        ended = answer == LibLzma.StreamEnd;
        // No progress once the input is at its end: the stream's own end has not come.
        if (answer == LibLzma.NoProgress && !exhausted)
            return;
        if (answer is not (LibLzma.Ok or LibLzma.StreamEnd))
            throw new InvalidDataException(answer switch
            {
                LibLzma.OverMemoryLimit => $"the xz stream asks for more than {memoryLimit} bytes of memory",
                LibLzma.NoProgress => "the xz stream is cut short",
                _ => $"the xz stream is broken (liblzma says {answer})",
            });
    }
}
