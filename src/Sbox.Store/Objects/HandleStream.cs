using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Writes to an open file from its beginning, in large pieces; the file stays open. Asks before every piece whether there is room.</summary>
internal sealed class HandleStream(SafeFileHandle file, Action<long> reserve) : OutputStream
{
    private readonly byte[] pending = System.Buffers.ArrayPool<byte>.Shared.Rent(256 * 1024);
    private int filled;
    private long written;

    public override long Length => written + filled;

    public override void Write(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > pending.Length - filled)
            Flush();
        if (bytes.Length > pending.Length)
        {
            Put(bytes);
            return;
        }

        bytes.CopyTo(pending.AsSpan(filled));
        filled += bytes.Length;
    }

    public override void Flush()
    {
        Put(pending.AsSpan(0, filled));
        filled = 0;
    }

    // Not flushed here: whoever writes says so when all went well.
    protected override void Dispose(bool disposing) => System.Buffers.ArrayPool<byte>.Shared.Return(pending);

    private void Put(ReadOnlySpan<byte> bytes)
    {
        reserve(bytes.Length);
        RandomAccess.Write(file, bytes, written);
        written += bytes.Length;
    }
}
