using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Sbox.Codecs;

/// <summary>A stretch of a new version.</summary>
/// <param name="At">Where it begins.</param>
/// <param name="Size">Bytes.</param>
/// <param name="OldAt">Where the old version has the same bytes; null where they are new.</param>
public readonly record struct BlockStretch(long At, long Size, long? OldAt);

/// <summary>
/// Finds what two versions of a large file have in common, block by block. Blocks end where their own bytes say, so what was put in or
/// taken out shifts nothing but its neighbours. Both are read from end to end once; memory is about 40 bytes for each block of the old one.
/// </summary>
public sealed class BlockMatch
{
    private const int BufferSize = 1024 * 1024;
    private const int SmallestAverage = 8 * 1024;
    private const int LargestAverage = 64 * 1024;
    private const int ManyBlocks = 256 * 1024;
    private const int MostOfAverage = 8; // a block has at most so many times the average
    private static readonly ulong[] Gear = MakeGear();
    private readonly Dictionary<ulong, long> places = [];
    private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferSize), other = GC.AllocateUninitializedArray<byte>(LargestAverage * MostOfAverage);
    private readonly int average;
    private readonly ReadAt old;

    /// <summary>Reads the old version.</summary>
    /// <param name="old">Reads it; borrowed as long as this is used.</param>
    /// <param name="oldSize">Its bytes.</param>
    /// <param name="cancel">Looked at between blocks.</param>
    /// <exception cref="EndOfStreamException">It is shorter than said.</exception>
    public BlockMatch(ReadAt old, long oldSize, CancellationToken cancel = default)
    {
        this.old = old;
        average = (int)Math.Clamp((long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)(oldSize / ManyBlocks)), SmallestAverage, LargestAverage);
        foreach ((long at, ReadOnlyMemory<byte> block) in Blocks(old, oldSize))
        {
            cancel.ThrowIfCancellationRequested();
            places.TryAdd(NameOf(block.Span), at);
        }
    }

    /// <summary>Divides the new version into what is new and what the old one has; neighbours that go on in the old one are one stretch.</summary>
    /// <param name="fresh">Reads it.</param>
    /// <param name="freshSize">Its bytes.</param>
    /// <param name="cancel">Looked at between blocks.</param>
    /// <returns>Stretches that follow each other from its beginning to its end.</returns>
    /// <exception cref="EndOfStreamException">It is shorter than said.</exception>
    public IReadOnlyList<BlockStretch> Divide(ReadAt fresh, long freshSize, CancellationToken cancel = default)
    {
        var stretches = new List<BlockStretch>();
        foreach ((long at, ReadOnlyMemory<byte> block) in Blocks(fresh, freshSize))
        {
            cancel.ThrowIfCancellationRequested();
            long? oldAt = places.TryGetValue(NameOf(block.Span), out long place) && IsThere(place, block.Span) ? place : null;
            if (stretches.Count > 0 && stretches[^1] is var last && (oldAt is null ? last.OldAt is null : last.OldAt + last.Size == oldAt))
                stretches[^1] = last with { Size = last.Size + block.Length };
            else
                stretches.Add(new BlockStretch(at, block.Length, oldAt));
        }

        return stretches;
    }

    // Half of a name would do to find it, and a name is no proof: the bytes are compared.
    private bool IsThere(long place, ReadOnlySpan<byte> block)
    {
        Span<byte> there = other.AsSpan(0, block.Length);
        for (int filled = 0; filled < there.Length;)
        {
            int read = old(there[filled..], place + filled);
            if (read == 0)
                return false;
            filled += read;
        }

        return there.SequenceEqual(block);
    }

    private IEnumerable<(long At, ReadOnlyMemory<byte> Block)> Blocks(ReadAt source, long size)
    {
        int filled = 0, used = 0;
        for (long at = 0; at < size;)
        {
            if (filled - used < average * MostOfAverage && at + (filled - used) < size)
            {
                buffer.AsSpan(used, filled - used).CopyTo(buffer);
                (filled, used) = (filled - used, 0);
                for (int read; filled < BufferSize && at + filled < size; filled += read)
                {
                    read = source(buffer.AsSpan(filled, (int)Math.Min(BufferSize - filled, size - at - filled)), at + filled);
                    if (read == 0)
                        throw new EndOfStreamException($"ends at {at + filled}");
                }
            }

            int length = EndOf(buffer.AsSpan(used, filled - used));
            yield return (at, buffer.AsMemory(used, length));
            used += length;
            at += length;
        }
    }

    // Where a sum over the last 64 bytes has zeros at its top.
    private int EndOf(ReadOnlySpan<byte> bytes)
    {
        int most = Math.Min(bytes.Length, average * MostOfAverage);
        ulong mask = ~(ulong.MaxValue >> System.Numerics.BitOperations.Log2((uint)average)), sum = 0;
        for (int i = Math.Max(0, (average / 4) - 64); i < most; i++)
        {
            sum = (sum << 1) + Gear[bytes[i]];
            if ((sum & mask) == 0 && i >= average / 4)
                return i + 1;
        }

        return most;
    }

    private static ulong NameOf(ReadOnlySpan<byte> block)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(block, hash);
        return BinaryPrimitives.ReadUInt64LittleEndian(hash);
    }

    // Any fixed numbers without a pattern do: both versions are divided by the same program.
    private static ulong[] MakeGear()
    {
        var gear = new ulong[256];
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        for (int i = 0; i < gear.Length; i++)
        {
            SHA256.HashData([(byte)i], hash);
            gear[i] = BinaryPrimitives.ReadUInt64LittleEndian(hash);
        }

        return gear;
    }
}
