using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Runtime.CompilerServices;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// Which names of objects were met, at 16 bytes each instead of 33: of a name only its image under a function drawn anew for each set is kept.
/// Two names have the same image by chance once in 2^128, whoever chose them, since nobody knows the function when he chooses. One
/// thread at a time.
/// </summary>
/// <remarks>
/// The function: the upper halves of two sums <c>a0 + a1*x1 + ... + a5*x5</c> modulo 2^128, with the name's four words and its type as x and
/// random 128-bit a (multilinear hashing, which is strongly universal).
/// </remarks>
internal sealed class SeenNames
{
    private const int Words = 6;
    private readonly UInt128[] factors = new UInt128[2 * Words];
    private readonly UInt128[]?[] parts = new UInt128[256][];
    private readonly int[] counts = new int[256];

    public SeenNames()
    {
        Span<byte> random = stackalloc byte[16];
        for (int i = 0; i < factors.Length; i++)
        {
            RandomNumberGenerator.Fill(random);
            factors[i] = BinaryPrimitives.ReadUInt128LittleEndian(random);
        }
    }

    /// <summary>What the names cost, in bytes.</summary>
    internal long Bytes => parts.Sum(static part => (part?.LongLength ?? 0) * Unsafe.SizeOf<UInt128>());

    /// <summary>Notes one; false where it was met already.</summary>
    public bool Add(ObjectName name)
    {
        UInt128 image = ImageOf(name);
        int part = (int)(byte)image;
        if (parts[part] is not { } places || (counts[part] + 1) * 5 > places.Length * 4)
            parts[part] = places = Grown(parts[part]);
        ref UInt128 place = ref Place(places, image);
        if (place == image)
            return false;
        place = image;
        counts[part]++;
        return true;
    }

    /// <summary>Whether it was met.</summary>
    public bool Contains(ObjectName name)
    {
        UInt128 image = ImageOf(name);
        return parts[(int)(byte)image] is { } places && Place(places, image) == image;
    }

    private static UInt128[] Grown(UInt128[]? old)
    {
        var places = new UInt128[old is null ? 4 : (old.Length / 2 * 3) + 1];
        foreach (UInt128 image in old ?? [])
        {
            if (image != 0)
                Place(places, image) = image;
        }

        return places;
    }

    // Where it is, or the free place where it would be.
    private static ref UInt128 Place(UInt128[] places, UInt128 image)
    {
        int at = (int)((uint)(image >> 8) % (uint)places.Length);
        while (places[at] != 0 && places[at] != image)
            at = at + 1 == places.Length ? 0 : at + 1;
        return ref places[at];
    }

    private UInt128 ImageOf(ObjectName name)
    {
        ReadOnlySpan<byte> checksum = name.Checksum.Span;
        UInt128 upper = factors[0] + (factors[1] * (uint)name.Type), lower = factors[Words] + (factors[Words + 1] * (uint)name.Type);
        for (int i = 0; i < 4; i++)
        {
            ulong word = BinaryPrimitives.ReadUInt64LittleEndian(checksum[(i * 8)..]);
            upper += factors[i + 2] * word;
            lower += factors[Words + i + 2] * word;
        }

        var image = new UInt128((ulong)(upper >> 64), (ulong)(lower >> 64));
        return image == 0 ? 1 : image; // 0 marks a free place
    }
}
