using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>What to do with one record of a ring; the bytes are lent for the call.</summary>
public delegate void RingRecord(ReadOnlySpan<byte> record);

/// <summary>The reading end of a ring made by <see cref="Bpf.NewRing"/>. Its descriptor is readable when there is something in it.</summary>
public sealed unsafe class RingReader : IDisposable
{
    private const int Header = 8;
    private const uint Busy = 1u << 31;
    private const uint Discarded = 1u << 30;

    private readonly int size;
    private readonly int page = Environment.SystemPageSize;
    private readonly nint consumer;
    private readonly nint producer;

    /// <summary>Maps a ring into memory.</summary>
    /// <param name="ring">The ring; stays the caller's.</param>
    /// <param name="bytes">Its size, as it was made with.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public RingReader(SafeFileHandle ring, int bytes)
    {
        size = bytes;
        using var fd = new Borrowed(ring);
        consumer = LibC.mmap(0, page, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_SHARED, fd.Number, 0);
        Answer.Check(consumer, "mmap", "BPF ring");
        // The data follow twice, so that a record that wraps is still in one piece.
        producer = LibC.mmap(0, page + (2 * size), LibC.PROT_READ, LibC.MAP_SHARED, fd.Number, page);
        Answer.Check(producer, "mmap", "BPF ring");
    }

    /// <summary>Hands over what is there, oldest first.</summary>
    /// <returns>How many records.</returns>
    public int Drain(RingRecord take)
    {
        int taken = 0;
        ref long consumed = ref *(long*)consumer;
        for (long at = Volatile.Read(ref consumed); at < Volatile.Read(ref *(long*)producer);)
        {
            byte* record = (byte*)producer + page + (at & (size - 1));
            uint length = Volatile.Read(ref *(uint*)record);
            if ((length & Busy) != 0)
                break; // still being written; its end makes the descriptor readable again
            if ((length & Discarded) == 0)
            {
                take(new ReadOnlySpan<byte>(record + Header, (int)(length & ~Discarded)));
                taken++;
            }

            at += ((length & ~Discarded) + Header + 7) & ~7;
            Volatile.Write(ref consumed, at);
        }

        return taken;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ = LibC.munmap(consumer, page);
        _ = LibC.munmap(producer, page + (2 * size));
    }
}
