using System.Runtime.CompilerServices;

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
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Length(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length <= MinimumSize)
            return bytes.Length;
        ulong[] exits = leaving, entries = entering;
        ulong hash = 0;
        for (int at = MinimumSize - Window; at < MinimumSize; at++)
            hash = ((hash << 8) | bytes[at]) ^ entries[(int)(byte)(hash >> TopShift)];
        if ((hash & Mask) == 0)
            return MinimumSize;
        int end = Math.Min(bytes.Length, MaximumSize);
        ReadOnlySpan<byte> coming = bytes[MinimumSize..end], going = bytes[(MinimumSize - Window)..];
        for (int at = 0; at < coming.Length && at < going.Length; at++)
        {
            hash ^= exits[going[at]];
            hash = ((hash << 8) | coming[at]) ^ entries[(int)(byte)(hash >> TopShift)];
            if ((hash & Mask) == 0)
                return MinimumSize + at + 1;
        }

        return end;
    }
}
