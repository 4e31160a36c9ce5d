using System.Buffers.Binary;
using System.Numerics;

namespace Sbox.Codecs.Erofs;

/// <summary>xxHash, 32 bits, after its specification (doc/xxhash_spec.md); EROFS hashes xattr names with it.</summary>
internal static class XxHash32
{
    private const uint Prime1 = 2654435761;
    private const uint Prime2 = 2246822519;
    private const uint Prime3 = 3266489917;
    private const uint Prime4 = 668265263;
    private const uint Prime5 = 374761393;

    public static uint Of(ReadOnlySpan<byte> data, uint seed)
    {
        uint length = (uint)data.Length;
        uint hash = data.Length < 16 ? unchecked(seed + Prime5) : Stripes(ref data, seed);
        unchecked
        {
            hash += length;
            for (; data.Length >= 4; data = data[4..])
                hash = BitOperations.RotateLeft(hash + (BinaryPrimitives.ReadUInt32LittleEndian(data) * Prime3), 17) * Prime4;
            foreach (byte last in data)
                hash = BitOperations.RotateLeft(hash + (last * Prime5), 11) * Prime1;

            hash = (hash ^ (hash >> 15)) * Prime2;
            hash = (hash ^ (hash >> 13)) * Prime3;
            return hash ^ (hash >> 16);
        }
    }

    private static uint Stripes(ref ReadOnlySpan<byte> data, uint seed)
    {
        unchecked
        {
            Span<uint> lanes = [seed + Prime1 + Prime2, seed + Prime2, seed, seed - Prime1];
            for (; data.Length >= 16; data = data[16..])
                for (int i = 0; i < 4; i++)
                    lanes[i] = BitOperations.RotateLeft(lanes[i] + (BinaryPrimitives.ReadUInt32LittleEndian(data[(4 * i)..]) * Prime2), 13) * Prime1;

            return BitOperations.RotateLeft(lanes[0], 1) + BitOperations.RotateLeft(lanes[1], 7)
                + BitOperations.RotateLeft(lanes[2], 12) + BitOperations.RotateLeft(lanes[3], 18);
        }
    }
}
