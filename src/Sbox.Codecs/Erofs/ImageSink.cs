using Sbox.Codecs.Verity;

namespace Sbox.Codecs.Erofs;

/// <summary>Gathers an image's small pieces into large writes, and computes the fs-verity digest of what passes.</summary>
internal sealed class ImageSink(Stream output)
{
    private readonly byte[] buffer = new byte[16 * VerityHasher.BlockSize];
    private readonly VerityHasher verity = new();
    private int filled;

    public long Position { get; private set; }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        Position += bytes.Length;
        while (bytes.Length > 0)
        {
            int taken = Math.Min(buffer.Length - filled, bytes.Length);
            bytes[..taken].CopyTo(buffer.AsSpan(filled));
            bytes = bytes[taken..];
            Advance(taken);
        }
    }

    public void Zeros(long count)
    {
        Position += count;
        while (count > 0)
        {
            int taken = (int)Math.Min(buffer.Length - filled, count);
            buffer.AsSpan(filled, taken).Clear();
            count -= taken;
            Advance(taken);
        }
    }

    public void AlignTo(int size) => Zeros(ErofsFormat.AlignUp(Position, size) - Position);

    /// <summary>Writes what is left; returns the image's fs-verity digest.</summary>
    public Checksum Finish()
    {
        Flush();
        return verity.Finish();
    }

    private void Advance(int bytes)
    {
        filled += bytes;
        if (filled == buffer.Length)
            Flush();
    }

    private void Flush()
    {
        ReadOnlySpan<byte> whole = buffer.AsSpan(0, filled);
        verity.Append(whole);
        output.Write(whole);
        filled = 0;
    }
}
