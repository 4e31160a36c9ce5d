using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Sbox.Tomb.Crypto;

/// <summary>
/// Two lanes of scrypt at once, one in each half of the processor's 256-bit vectors: every step of Salsa20 waits for the one before, so that the second lane costs next to nothing.
/// For processors with AVX2.
/// </summary>
internal static class ScryptPair
{
    /// <summary>Mixes two lanes.</summary>
    /// <param name="lanes">Both, one behind the other.</param>
    /// <param name="cost">N.</param>
    /// <param name="blockSize">r.</param>
    /// <param name="memory">Room for N + 2 times as much as both.</param>
    public static void Mix(Span<byte> lanes, int cost, int blockSize, Span<byte> memory)
    {
        int vectors = 8 * blockSize, rows = cost * vectors;
        Span<Vector128<uint>> all = MemoryMarshal.Cast<byte, Vector128<uint>>(memory);
        Span<Vector128<uint>> first = all[..rows], second = all.Slice(rows, rows);
        Span<Vector256<uint>> working = MemoryMarshal.Cast<Vector128<uint>, Vector256<uint>>(all[(2 * rows)..]);
        Span<Vector256<uint>> x = working[..vectors], y = working.Slice(vectors, vectors);
        Load(lanes, y, x);
        for (int at = 0; at < cost; at++)
        {
            Store(x, first.Slice(at * vectors, vectors), second.Slice(at * vectors, vectors));
            BlockMix(x, y, blockSize);
            Span<Vector256<uint>> swap = x;
            x = y;
            y = swap;
        }

        for (int at = 0; at < cost; at++)
        {
            Vector256<uint> last = x[vectors - 4];
            Add(x, first.Slice((int)(last[0] & (uint)(cost - 1)) * vectors, vectors), second.Slice((int)(last[4] & (uint)(cost - 1)) * vectors, vectors));
            BlockMix(x, y, blockSize);
            Span<Vector256<uint>> swap = x;
            x = y;
            y = swap;
        }

        Unload(x, y, lanes);
    }

    // What is not in use of the working memory holds the words by their diagonals meanwhile.
    private static void Load(ReadOnlySpan<byte> lanes, Span<Vector256<uint>> spare, Span<Vector256<uint>> x)
    {
        Span<Vector128<uint>> halves = MemoryMarshal.Cast<Vector256<uint>, Vector128<uint>>(spare);
        Scrypt.Diagonals(MemoryMarshal.Cast<byte, uint>(lanes), MemoryMarshal.Cast<Vector128<uint>, uint>(halves), back: false);
        for (int at = 0; at < x.Length; at++)
            x[at] = Vector256.Create(halves[at], halves[x.Length + at]);
    }

    private static void Unload(ReadOnlySpan<Vector256<uint>> x, Span<Vector256<uint>> spare, Span<byte> lanes)
    {
        Span<Vector128<uint>> halves = MemoryMarshal.Cast<Vector256<uint>, Vector128<uint>>(spare);
        Store(x, halves[..x.Length], halves[x.Length..]);
        Scrypt.Diagonals(MemoryMarshal.Cast<Vector128<uint>, uint>(halves), MemoryMarshal.Cast<byte, uint>(lanes), back: true);
    }

    private static void Store(ReadOnlySpan<Vector256<uint>> x, Span<Vector128<uint>> first, Span<Vector128<uint>> second)
    {
        for (int at = 0; at < x.Length; at++)
        {
            first[at] = x[at].GetLower();
            second[at] = x[at].GetUpper();
        }
    }

    private static void Add(Span<Vector256<uint>> x, ReadOnlySpan<Vector128<uint>> first, ReadOnlySpan<Vector128<uint>> second)
    {
        for (int at = 0; at < x.Length; at++)
            x[at] = Avx2.Xor(x[at], Vector256.Create(first[at], second[at]));
    }

    // As Scrypt.BlockMix: the shuffles stay within each half.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BlockMix(ReadOnlySpan<Vector256<uint>> x, Span<Vector256<uint>> y, int blockSize)
    {
        const byte forward = 0x93, across = 0x4E, back = 0x39; // elements 3 0 1 2, 2 3 0 1, 1 2 3 0
        int last = x.Length - 4;
        Vector256<uint> a = x[last], b = x[last + 1], c = x[last + 2], d = x[last + 3];
        for (int block = 0; block < 2 * blockSize; block++)
        {
            int from = block * 4;
            Vector256<uint> a0 = a = Avx2.Xor(a, x[from]), b0 = b = Avx2.Xor(b, x[from + 1]), c0 = c = Avx2.Xor(c, x[from + 2]), d0 = d = Avx2.Xor(d, x[from + 3]);
            for (int round = 0; round < 4; round++)
            {
                b = Step(b, a, d, 7, 25);
                c = Step(c, b, a, 9, 23);
                d = Step(d, c, b, 13, 19);
                a = Step(a, d, c, 18, 14);
                b = Avx2.Shuffle(b, forward);
                c = Avx2.Shuffle(c, across);
                d = Avx2.Shuffle(d, back);
                d = Step(d, a, b, 7, 25);
                c = Step(c, d, a, 9, 23);
                b = Step(b, c, d, 13, 19);
                a = Step(a, b, c, 18, 14);
                b = Avx2.Shuffle(b, back);
                c = Avx2.Shuffle(c, across);
                d = Avx2.Shuffle(d, forward);
            }

            a = Avx2.Add(a, a0);
            b = Avx2.Add(b, b0);
            c = Avx2.Add(c, c0);
            d = Avx2.Add(d, d0);
            int to = ((block / 2) + (block % 2 * blockSize)) * 4;
            y[to] = a;
            y[to + 1] = b;
            y[to + 2] = c;
            y[to + 3] = d;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Step(Vector256<uint> into, Vector256<uint> one, Vector256<uint> other, [ConstantExpected] byte left, [ConstantExpected] byte right)
    {
        Vector256<uint> sum = Avx2.Add(one, other);
        return Avx2.Xor(into, Avx2.Or(Avx2.ShiftLeftLogical(sum, left), Avx2.ShiftRightLogical(sum, right)));
    }
}
