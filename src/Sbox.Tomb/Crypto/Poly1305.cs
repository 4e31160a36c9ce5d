using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Sbox.Linux;

namespace Sbox.Tomb.Crypto;

/// <summary>Poly1305, a one-time authenticator: https://cr.yp.to/mac/poly1305-20050329.pdf, RFC 8439 section 2.5. Constant time.</summary>
internal static class Poly1305
{
    /// <summary>Bytes in a tag.</summary>
    public const int TagSize = 16;

    /// <summary>Computes a tag.</summary>
    /// <param name="message">What is authenticated.</param>
    /// <param name="r">16 bytes, masked here as the paper has it.</param>
    /// <param name="s">16 bytes, for one message only.</param>
    /// <param name="tag">16 bytes, written.</param>
    public static void Compute(ReadOnlySpan<byte> message, ReadOnlySpan<byte> r, ReadOnlySpan<byte> s, Span<byte> tag)
    {
        if (!LibCrypto.HasPoly1305)
        {
            ComputeHere(message, r, s, tag);
            return;
        }

        Span<byte> key = stackalloc byte[32];
        r[..16].CopyTo(key);
        s[..16].CopyTo(key[16..]);
        LibCrypto.ComputePoly1305(key, message, tag);
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(key);
    }

    /// <summary>The same without libcrypto.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void ComputeHere(ReadOnlySpan<byte> message, ReadOnlySpan<byte> r, ReadOnlySpan<byte> s, Span<byte> tag)
    {
        ulong r0 = BinaryPrimitives.ReadUInt64LittleEndian(r) & 0x0ffffffc0fffffff;
        ulong r1 = BinaryPrimitives.ReadUInt64LittleEndian(r[8..]) & 0x0ffffffc0ffffffc;
        ulong fifth = r1 + (r1 >> 2); // r1's two lowest bits are 0, so this is 5 * r1 / 4: what 2^128 * r1 is modulo 2^130 - 5
        ulong h0 = 0, h1 = 0, h2 = 0;
        while (message.Length >= 16)
        {
            Absorb(ref h0, ref h1, ref h2, BinaryPrimitives.ReadUInt64LittleEndian(message), BinaryPrimitives.ReadUInt64LittleEndian(message[8..]), 1, r0, r1, fifth);
            message = message[16..];
        }

        if (!message.IsEmpty)
        {
            Span<byte> last = stackalloc byte[16];
            last.Clear();
            message.CopyTo(last);
            last[message.Length] = 1;
            Absorb(ref h0, ref h1, ref h2, BinaryPrimitives.ReadUInt64LittleEndian(last), BinaryPrimitives.ReadUInt64LittleEndian(last[8..]), 0, r0, r1, fifth);
        }

        Finish(h0, h1, h2, s, tag);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Absorb(ref ulong h0, ref ulong h1, ref ulong h2, ulong m0, ulong m1, ulong top, ulong r0, ulong r1, ulong fifth)
    {
        ulong sum = h0 + m0;
        ulong carry = sum < m0 ? 1UL : 0;
        h0 = sum;
        sum = h1 + m1;
        ulong over = sum < m1 ? 1UL : 0;
        h1 = sum + carry;
        over += h1 < carry ? 1UL : 0;
        h2 += top + over;

        // (h0 + h1 2^64 + h2 2^128) (r0 + r1 2^64), with 2^128 r1 = fifth; h2 is a few bits only.
        ulong high0 = Math.BigMul(h0, r0, out ulong low0);
        ulong high = Math.BigMul(h1, fifth, out ulong low);
        low0 += low;
        high0 += high + (low0 < low ? 1UL : 0);

        ulong high1 = Math.BigMul(h0, r1, out ulong low1);
        high = Math.BigMul(h1, r0, out low);
        low1 += low;
        high1 += high + (low1 < low ? 1UL : 0);
        low = h2 * fifth;
        low1 += low;
        high1 += low1 < low ? 1UL : 0;

        low1 += high0;
        high1 += low1 < high0 ? 1UL : 0;
        h2 = (h2 * r0) + high1;
        h0 = low0;
        h1 = low1;

        // What lies above 2^130 comes back five times.
        ulong back = (h2 >> 2) + (h2 & ~3UL);
        h2 &= 3;
        h0 += back;
        carry = h0 < back ? 1UL : 0;
        h1 += carry;
        h2 += h1 < carry ? 1UL : 0;
    }

    private static void Finish(ulong h0, ulong h1, ulong h2, ReadOnlySpan<byte> s, Span<byte> tag)
    {
        // h + 5 reaches 2^130 when h is 2^130 - 5 or more: then h - (2^130 - 5) is what counts.
        ulong g0 = h0 + 5;
        ulong g1 = h1 + (g0 < 5 ? 1UL : 0);
        ulong g2 = h2 + (g1 < h1 ? 1UL : 0);
        ulong take = 0 - ((g2 >> 2) & 1);
        h0 = (h0 & ~take) | (g0 & take);
        h1 = (h1 & ~take) | (g1 & take);

        ulong s0 = BinaryPrimitives.ReadUInt64LittleEndian(s);
        h0 += s0;
        h1 += BinaryPrimitives.ReadUInt64LittleEndian(s[8..]) + (h0 < s0 ? 1UL : 0);
        BinaryPrimitives.WriteUInt64LittleEndian(tag, h0);
        BinaryPrimitives.WriteUInt64LittleEndian(tag[8..], h1);
    }
}
