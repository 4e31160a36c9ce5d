using System.Buffers.Binary;
using System.IO.Compression;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// Compresses an archive object's content into one raw deflate stream. What will not get smaller goes in as it is, in the format's own
/// stored blocks: modules, pictures and archives are a third of a Debian tree, and looking for repetitions in them takes as long as anywhere.
/// Judged by samples of each 64 KiB: whether all bytes are about as frequent, and none of a few strings comes again.
/// </summary>
/// <param name="output">Gets the stream; stays open.</param>
/// <param name="options">How hard the rest is compressed.</param>
internal sealed class ArchiveDeflater(Stream output, ZLibCompressionOptions options) : OutputStream
{
    private const int LargestBlock = ushort.MaxValue;
    private const int Piece = 64 * 1024;
    private const int Least = 4096;
    private const int Sample = 1024;
    private const int Samples = 16;
    private const int Probes = 4;
    private const int ProbeLength = 8; // of random bytes, so many come again once in 10^14 pieces
    private const int Window = 32 * 1024; // as far as deflate looks back

    // RFC 1951: a final block of the fixed kind that holds nothing. The class library writes nothing for nothing; libostree wants it.
    private static readonly byte[] End = [0x03, 0x00];
    private readonly Switch sink = new(output);
    private DeflateStream? deflate;

    /// <summary>Adds bytes; each 64 KiB of them are judged by themselves.</summary>
    public override void Write(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            // As many as are alike: each change costs a block's header, and what deflate could look back on.
            bool noise = IsNoiseAt(bytes, 0);
            int count = Math.Min(Piece, bytes.Length);
            while (count < bytes.Length && IsNoiseAt(bytes, count) == noise)
                count = Math.Min(count + Piece, bytes.Length);
            Write(bytes[..count], noise);
            bytes = bytes[count..];
        }
    }

    private void Write(ReadOnlySpan<byte> bytes, bool noise)
    {
        if (noise)
        {
            EndCompressed();
            Store(bytes);
        }
        else
        {
            (deflate ??= new DeflateStream(sink, options, leaveOpen: true)).Write(bytes);
        }
    }

    private static bool IsNoiseAt(ReadOnlySpan<byte> bytes, int at)
    {
        ReadOnlySpan<byte> piece = bytes.Slice(at, Math.Min(Piece, bytes.Length - at));
        return piece.Length > Least && IsNoise(piece);
    }

    /// <summary>Writes the end of the stream.</summary>
    public void Finish()
    {
        if (deflate is null)
        {
            output.Write(End);
            return;
        }

        deflate.Dispose();
        deflate = null;
    }

    /// <summary>Whether all bytes are about as frequent, as in what is compressed or encrypted already, and no string that was looked for comes again.</summary>
    internal static bool IsNoise(ReadOnlySpan<byte> bytes) => IsEven(bytes) && !Repeats(bytes);

    // Of tables and of copies of something random all bytes are as frequent, and deflate makes a hundredth of them.
    private static bool Repeats(ReadOnlySpan<byte> bytes)
    {
        for (int probe = 0; probe < Probes; probe++)
        {
            int at = (int)((long)bytes.Length * probe / Probes);
            if (at + ProbeLength > bytes.Length)
                break;
            ReadOnlySpan<byte> after = bytes[(at + ProbeLength)..];
            if (after[..Math.Min(after.Length, Window)].IndexOf(bytes.Slice(at, ProbeLength)) >= 0)
                return true;
        }

        return false;
    }

    private static bool IsEven(ReadOnlySpan<byte> bytes)
    {
        Span<int> counts = stackalloc int[256];
        counts.Clear();
        int size = Math.Min(Sample, bytes.Length / Samples), seen = size * Samples;
        for (int part = 0; part < Samples; part++)
        {
            foreach (byte each in bytes.Slice((int)((long)(bytes.Length - size) * part / (Samples - 1)), size))
                counts[each]++;
        }

        long squares = 0;
        foreach (int count in counts)
            squares += (long)count * count;
        // Of random bytes it is seen * seen / 256 + seen; text and code have four times as much and more.
        return squares - seen < (long)seen * seen / 256 * 9 / 8;
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing || deflate is null)
            return;
        sink.IsOff = true; // it was not finished: nobody wants the end that disposing writes
        deflate.Dispose();
        deflate = null;
    }

    // Ended at a whole byte, without the mark of the last block. The next one begins anew: what it may look back on is not what was stored.
    private void EndCompressed()
    {
        if (deflate is null)
            return;
        deflate.Flush();
        sink.IsOff = true;
        deflate.Dispose();
        sink.IsOff = false;
        deflate = null;
    }

    private void Store(ReadOnlySpan<byte> bytes)
    {
        Span<byte> header = stackalloc byte[5];
        while (!bytes.IsEmpty)
        {
            var count = (ushort)Math.Min(LargestBlock, bytes.Length);
            header[0] = 0; // not the last one; stored
            BinaryPrimitives.WriteUInt16LittleEndian(header[1..], count);
            BinaryPrimitives.WriteUInt16LittleEndian(header[3..], (ushort)~count);
            output.Write(header);
            output.Write(bytes[..count]);
            bytes = bytes[count..];
        }
    }

    private sealed class Switch(Stream inner) : OutputStream
    {
        public bool IsOff { get; set; }

        public override void Write(ReadOnlySpan<byte> bytes)
        {
            if (!IsOff)
                inner.Write(bytes);
        }
    }
}
