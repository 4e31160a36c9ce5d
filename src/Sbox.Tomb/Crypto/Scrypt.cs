using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Security.Cryptography;
using Sbox.Linux;

namespace Sbox.Tomb.Crypto;

/// <summary>scrypt, RFC 7914: a password becomes a key at a cost in memory and time. Lanes run side by side; their memory is zeroed.</summary>
internal static class Scrypt
{
    private const int TablesAtMost = 4, LargestForTwo = 64 << 20;

    /// <summary>Derives a key.</summary>
    /// <param name="password">The password; borrowed.</param>
    /// <param name="salt">Random bytes kept beside the key.</param>
    /// <param name="cost">N: a power of two; 128 * N * r bytes are needed for each lane that runs.</param>
    /// <param name="blockSize">r.</param>
    /// <param name="lanes">p.</param>
    /// <param name="length">Bytes of key wanted.</param>
    public static SecretMemory Derive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, int cost, int blockSize, int lanes, int length)
    {
        if (cost < 2 || !BitOperations.IsPow2(cost))
            throw new ArgumentOutOfRangeException(nameof(cost), cost, "N is a power of two");
        int lane = 128 * blockSize;
        using var mixed = new SecretMemory(lane * lanes);
        Rfc2898DeriveBytes.Pbkdf2(password, salt, mixed.Span, 1, HashAlgorithmName.SHA256);
        int abreast = Avx2.IsSupported && lanes > 1 && (long)cost * lane <= LargestForTwo ? 2 : 1;
        Parallel.For(
            0, (lanes + abreast - 1) / abreast, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, Math.Min(Environment.ProcessorCount, TablesAtMost) / abreast) },
            () => new SecretMemory(checked((cost + 2) * lane * abreast)),
            (group, _, memory) =>
            {
                Span<byte> mine = mixed.Span[(group * abreast * lane)..Math.Min(lanes * lane, (group + 1) * abreast * lane)];
                if (mine.Length > lane)
                    ScryptPair.Mix(mine, cost, blockSize, memory.Span);
                else
                    Mix(mine, cost, blockSize, memory.Span);
                return memory;
            },
            static memory => memory.Dispose());
        var key = new SecretMemory(length);
        Rfc2898DeriveBytes.Pbkdf2(password, mixed.Span, key.Span, 1, HashAlgorithmName.SHA256);
        return key;
    }

    // Words are kept in the order of the diagonals, in which the rounds of Salsa20 work on whole vectors.
    private static void Mix(Span<byte> lane, int cost, int blockSize, Span<byte> memory)
    {
        int vectors = 8 * blockSize;
        Span<Vector128<uint>> table = MemoryMarshal.Cast<byte, Vector128<uint>>(memory);
        Span<Vector128<uint>> x = table.Slice(cost * vectors, vectors), y = table.Slice((cost + 1) * vectors, vectors);
        Diagonals(MemoryMarshal.Cast<byte, uint>(lane), MemoryMarshal.Cast<Vector128<uint>, uint>(x), back: false);
        for (int at = 0; at < cost; at++)
        {
            x.CopyTo(table.Slice(at * vectors, vectors));
            BlockMix(x, y, blockSize);
            Span<Vector128<uint>> swap = x;
            x = y;
            y = swap;
        }

        for (int at = 0; at < cost; at++)
        {
            int from = (int)(x[vectors - 4][0] & (uint)(cost - 1));
            Span<Vector128<uint>> old = table.Slice(from * vectors, vectors);
            for (int i = 0; i < x.Length; i++)
                x[i] ^= old[i];
            BlockMix(x, y, blockSize);
            Span<Vector128<uint>> swap = x;
            x = y;
            y = swap;
        }

        Diagonals(MemoryMarshal.Cast<Vector128<uint>, uint>(x), MemoryMarshal.Cast<byte, uint>(lane), back: true);
    }

    /// <summary>From the order of words to that of the diagonals, or back.</summary>
    internal static void Diagonals(ReadOnlySpan<uint> from, Span<uint> to, bool back)
    {
        for (int block = 0; block < from.Length; block += 16)
        {
            for (int i = 0; i < 16; i++)
            {
                if (back)
                    to[block + (i * 5 % 16)] = from[block + i];
                else
                    to[block + i] = from[block + (i * 5 % 16)];
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BlockMix(ReadOnlySpan<Vector128<uint>> x, Span<Vector128<uint>> y, int blockSize)
    {
        int last = x.Length - 4;
        Vector128<uint> a = x[last], b = x[last + 1], c = x[last + 2], d = x[last + 3];
        for (int block = 0; block < 2 * blockSize; block++)
        {
            int from = block * 4;
            Vector128<uint> a0 = a ^= x[from], b0 = b ^= x[from + 1], c0 = c ^= x[from + 2], d0 = d ^= x[from + 3];
            for (int round = 0; round < 4; round++)
            {
                b ^= Rotate(a + d, 7);
                c ^= Rotate(b + a, 9);
                d ^= Rotate(c + b, 13);
                a ^= Rotate(d + c, 18);
                b = Vector128.Shuffle(b, Vector128.Create(3u, 0, 1, 2));
                c = Vector128.Shuffle(c, Vector128.Create(2u, 3, 0, 1));
                d = Vector128.Shuffle(d, Vector128.Create(1u, 2, 3, 0));
                d ^= Rotate(a + b, 7);
                c ^= Rotate(d + a, 9);
                b ^= Rotate(c + d, 13);
                a ^= Rotate(b + c, 18);
                b = Vector128.Shuffle(b, Vector128.Create(1u, 2, 3, 0));
                c = Vector128.Shuffle(c, Vector128.Create(2u, 3, 0, 1));
                d = Vector128.Shuffle(d, Vector128.Create(3u, 0, 1, 2));
            }

            a += a0;
            b += b0;
            c += c0;
            d += d0;
            int to = ((block / 2) + (block % 2 * blockSize)) * 4; // even blocks first, then the odd ones
            y[to] = a;
            y[to + 1] = b;
            y[to + 2] = c;
            y[to + 3] = d;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Rotate(Vector128<uint> value, int by) => (value << by) | (value >>> (32 - by));
}
