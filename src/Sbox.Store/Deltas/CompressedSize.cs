using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>How small bytes become in a part, nearly: by the compressor that parts have, in more of a hurry. For where two ways to bring a file are to be compared; one at a time, in some 10 MiB.</summary>
internal sealed class CompressedSize
{
    /// <summary>How many of a file's first bytes <see cref="IsCode"/> wants.</summary>
    public const int HeadSize = 20;

    private const uint Dictionary = 1024 * 1024;
    private readonly Lock one = new();

    /// <summary>A program or library for x86-64 or i386, by its first bytes (ELF, e_machine).</summary>
    public static bool IsCode(ReadOnlySpan<byte> first) =>
        first.Length >= HeadSize && first.StartsWith("\u007fELF"u8) && first[19] == 0 && (first[18] is 3 or 62);

    /// <summary>Compresses bytes, and counts.</summary>
    /// <param name="bytes">Reads them.</param>
    /// <param name="size">How many there are.</param>
    /// <param name="enough">Ends when it becomes more than this.</param>
    /// <param name="cancel">Looked at every now and then.</param>
    /// <returns>Bytes that come out; where that is more than enough, some number above.</returns>
    public long Of(ReadAt bytes, long size, long enough, CancellationToken cancel)
    {
        Span<byte> first = stackalloc byte[HeadSize];
        bool isCode = IsCode(first[..bytes(first, 0)]);
        lock (one)
        {
            using var counted = new Counted();
            using var xz = new XzEncoder(counted, new XzSettings(Level: 1, Dictionary, X86: isCode));
            using var from = new StretchStream(bytes, 0, size);
            var buffer = new byte[64 * 1024];
            for (int read; counted.Length <= enough && (read = from.Read(buffer)) > 0; cancel.ThrowIfCancellationRequested())
                xz.Write(buffer.AsSpan(0, read));
            if (counted.Length <= enough)
                xz.Finish();
            return counted.Length;
        }
    }

    private sealed class Counted : OutputStream
    {
        private long written;

        public override long Length => written;

        public override void Write(ReadOnlySpan<byte> bytes) => written += bytes.Length;
    }
}
