using System.Numerics;
using System.Security.Cryptography;

namespace Sbox.Tomb.Chunking;

/// <summary>Polynomials over GF(2), bit n for x^n: what Rabin fingerprints are taken modulo of.</summary>
internal static class Polynomial
{
    /// <summary>The degree of those that restic uses.</summary>
    public const int Degree = 53;

    /// <summary>A new random irreducible polynomial of degree 53.</summary>
    public static ulong Random()
    {
        Span<byte> bytes = stackalloc byte[8];
        while (true)
        {
            RandomNumberGenerator.Fill(bytes);
            ulong candidate = (BitConverter.ToUInt64(bytes) & ((1UL << Degree) - 1)) | (1UL << Degree) | 1;
            if (IsIrreducible(candidate))
                return candidate;
        }
    }

    /// <summary>Whether a repository can use it: any other would cut at places that an attacker may know.</summary>
    public static bool IsUsable(ulong polynomial) => DegreeOf(polynomial) == Degree && IsIrreducible(polynomial);

    /// <summary>Ben-Or's test: no x^(2^i) - x for i up to half the degree has a factor in common with it.</summary>
    public static bool IsIrreducible(ulong polynomial)
    {
        ulong power = 2;
        for (int i = 1; i <= DegreeOf(polynomial) / 2; i++)
        {
            power = MultiplyModulo(power, power, polynomial);
            if (GreatestCommonDivisor(polynomial, power ^ 2) != 1)
                return false;
        }

        return true;
    }

    /// <summary>The remainder of a division.</summary>
    public static ulong Modulo(ulong value, ulong polynomial)
    {
        int degree = DegreeOf(polynomial);
        for (int at = DegreeOf(value); at >= degree; at = DegreeOf(value))
            value ^= polynomial << (at - degree);
        return value;
    }

    private static int DegreeOf(ulong value) => value == 0 ? -1 : BitOperations.Log2(value);

    private static ulong MultiplyModulo(ulong a, ulong b, ulong polynomial)
    {
        ulong top = 1UL << DegreeOf(polynomial), product = 0;
        for (; b != 0; b >>= 1)
        {
            if ((b & 1) != 0)
                product ^= a;
            a <<= 1;
            if ((a & top) != 0)
                a ^= polynomial;
        }

        return product;
    }

    private static ulong GreatestCommonDivisor(ulong a, ulong b)
    {
        while (b != 0)
            (a, b) = (b, Modulo(a, b));
        return a;
    }
}
