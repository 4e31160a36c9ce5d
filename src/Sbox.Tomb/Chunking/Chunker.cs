using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Sbox.Tomb.Chunking;

/// <summary>
/// Cuts files where restic cuts them: behind a byte whose last 64 have a Rabin fingerprint that ends in 20 zero bits, but never below
/// 512 KiB nor above 8 MiB. Where a cut is depends on the 64 bytes before it and on the last cut only.
/// </summary>
/// <remarks>docs/formats/restic-repository.md. Safe on several threads.</remarks>
public sealed class Chunker
{
    /// <summary>No chunk but a file's last is smaller.</summary>
    public const int MinimumSize = 512 * 1024;

    /// <summary>No chunk is larger.</summary>
    public const int MaximumSize = 8 * 1024 * 1024;

    private const int Window = 64;
    private const int Lanes = 4, LaneSize = 4096;
    private const ulong Mask = (1UL << 20) - 1;
    private const int TopShift = Polynomial.Degree - 8;

    // leaving[b]: what a byte contributes when 63 more have come behind it; entering[t]: clears the 8 bits above the degree and adds what they are modulo.
    private readonly ulong[] leaving = new ulong[256];
    private readonly ulong[] entering = new ulong[256];

    /// <param name="polynomial">The repository's.</param>
    public Chunker(ulong polynomial)
    {
        if (!Polynomial.IsUsable(polynomial))
            throw new ArgumentOutOfRangeException(nameof(polynomial), polynomial, "an irreducible polynomial of degree 53 is needed");
        for (uint value = 0; value < 256; value++)
        {
            ulong hash = Polynomial.Modulo(value, polynomial);
            for (int i = 1; i < Window; i++)
                hash = Polynomial.Modulo(hash << 8, polynomial);
            leaving[value] = hash;
            ulong top = (ulong)value << Polynomial.Degree;
            entering[value] = Polynomial.Modulo(top, polynomial) | top;
        }
    }

    /// <summary>Where the chunk ends that begins with these bytes.</summary>
    /// <param name="bytes">All bytes to the file's end, or <see cref="MaximumSize"/> of them.</param>
    /// <returns>Its length: all of them when there is no cut.</returns>
    public int Length(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length <= MinimumSize)
            return bytes.Length;
        if ((Fill(bytes.Slice(MinimumSize - Window, Window)) & Mask) == 0)
            return MinimumSize;
        bytes = bytes[..Math.Min(bytes.Length, MaximumSize)];
        int done = MinimumSize;
        while (bytes.Length - done >= Lanes * LaneSize)
        {
            if (HasCut(bytes.Slice(done - Window, Window + (Lanes * LaneSize))))
                return Scan(bytes, done);
            done += Lanes * LaneSize;
        }

        return Scan(bytes, done);
    }

    // Byte by byte from where there was no cut so far.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int Scan(ReadOnlySpan<byte> bytes, int done)
    {
        ulong[] exits = leaving, entries = entering;
        ulong hash = Fill(bytes.Slice(done - Window, Window));
        ReadOnlySpan<byte> coming = bytes[done..], going = bytes[(done - Window)..];
        for (int at = 0; at < coming.Length && at < going.Length; at++)
        {
            hash ^= exits[going[at]];
            hash = ((hash << 8) | coming[at]) ^ entries[(int)(byte)(hash >> TopShift)];
            if ((hash & Mask) == 0)
                return done + at + 1;
        }

        return bytes.Length;
    }

    private ulong Fill(ReadOnlySpan<byte> window)
    {
        ulong hash = 0;
        foreach (byte value in window)
            hash = ((hash << 8) | value) ^ entering[(int)(byte)(hash >> TopShift)];
        return hash;
    }

    // Each step waits for the one before. Four places of the same stretch at once keep the processor busy meanwhile: what a place's fingerprint is depends on 64 bytes only.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool HasCut(ReadOnlySpan<byte> bytes)
    {
        ref ulong exits = ref MemoryMarshal.GetArrayDataReference(leaving), entries = ref MemoryMarshal.GetArrayDataReference(entering);
        ulong a = Fill(bytes[..Window]), b = Fill(bytes.Slice(LaneSize, Window)), c = Fill(bytes.Slice(2 * LaneSize, Window)), d = Fill(bytes.Slice(3 * LaneSize, Window));
        ref byte first = ref MemoryMarshal.GetReference(bytes[..(Window + (Lanes * LaneSize))]);
        bool found = false;
        for (nuint at = 0; at < LaneSize; at++)
        {
            a = Step(a, ref first, at, ref exits, ref entries);
            b = Step(b, ref first, at + LaneSize, ref exits, ref entries);
            c = Step(c, ref first, at + (2 * LaneSize), ref exits, ref entries);
            d = Step(d, ref first, at + (3 * LaneSize), ref exits, ref entries);
            found |= ((a & Mask) == 0) | ((b & Mask) == 0) | ((c & Mask) == 0) | ((d & Mask) == 0);
        }

        return found;
    }

    // The caller vouches for Window bytes and one more from `at` on; both tables have an entry for every byte.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Step(ulong hash, ref byte first, nuint at, ref ulong exits, ref ulong entries)
    {
        hash ^= Unsafe.Add(ref exits, (nuint)Unsafe.Add(ref first, at));
        return ((hash << 8) | Unsafe.Add(ref first, at + Window)) ^ Unsafe.Add(ref entries, (nuint)(byte)(hash >> TopShift));
    }
}
