using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;

namespace Sbox.Codecs;

/// <summary>Reads bytes of something that can be read anywhere: a file, or an array.</summary>
/// <param name="into">Filled from its beginning.</param>
/// <param name="offset">Where from.</param>
/// <returns>Bytes read: fewer than asked for only at the end.</returns>
public delegate int ReadAt(Span<byte> into, long offset);

/// <summary>
/// Makes the new version of a file out of the old one and the differences that <see cref="BinaryDiff"/> writes, as a stream: neither of
/// the three is ever in memory as a whole.
/// </summary>
/// <remarks>
/// docs/formats/binary-difference.md. Steps of three 8-byte numbers: bytes that differ, bytes that are new, bytes to skip in the old one.
/// Reading throws <see cref="MalformedException"/> where a step leads out of what there is.
/// </remarks>
public sealed class BinaryPatch(Stream patch, ReadAt old, long oldSize, long newSize) : InputStream
{
    private const string Format = "binary difference";
    private const int Block = 16 * 1024;
    private const int MostBlocks = 64;
    private const int MostAtOnce = 32 * 1024;

    // Of the old version, by the block: most steps are a few bytes, and in a program they lead hither and thither. The block with the number n
    // has its place at n modulo the number of places, and each place says which it has (that number and one).
    private readonly long[] blocks = new long[Math.Clamp((oldSize + Block - 1) / Block, 1, MostBlocks)];
    private byte[]? oldBytes;
    private long done, oldAt, differences, extra, skip;

    /// <inheritdoc/>
    public override long Length => newSize;

    /// <inheritdoc/>
    public override long Position { get => done; set => throw new NotSupportedException(); }

    /// <inheritdoc/>
    public override int Read(Span<byte> buffer)
    {
        if (buffer.IsEmpty || done == newSize)
            return 0;
        while (differences == 0 && extra == 0)
        {
            oldAt += skip;
            NextStep();
        }

        int count = (int)Math.Min(buffer.Length, differences > 0 ? differences : extra);
        count = patch.Read(buffer[..Math.Min(count, MostAtOnce)]);
        if (count == 0)
            throw new MalformedException(Format, "step", $"{Math.Max(differences, extra)} bytes more", "the end");
        if (differences > 0)
        {
            AddOld(buffer[..count]);
            differences -= count;
            oldAt += count;
        }
        else
        {
            extra -= count;
        }

        done += count;
        return count;
    }

    /// <summary>Writes a number as the format has it: least significant byte first, the sign in the topmost bit.</summary>
    internal static void WriteNumber(Span<byte> into, long number)
    {
        BinaryPrimitives.WriteInt64LittleEndian(into, Math.Abs(number));
        if (number < 0)
            into[7] |= 0x80;
    }

    internal static long ReadNumber(ReadOnlySpan<byte> bytes)
    {
        long number = BinaryPrimitives.ReadInt64LittleEndian(bytes);
        return number < 0 ? -(number & long.MaxValue) : number;
    }

    private void NextStep()
    {
        Span<byte> control = stackalloc byte[24];
        if (patch.ReadAtLeast(control, control.Length, throwOnEndOfStream: false) is var read && read < control.Length)
            throw new MalformedException(Format, "step", "three numbers", $"{read} bytes");
        (differences, extra, skip) = (ReadNumber(control), ReadNumber(control[8..]), ReadNumber(control[16..]));
        long left = newSize - done;
        if (differences < 0 || extra < 0 || differences > left || extra > left - differences)
            throw new MalformedException(Format, "step", $"0 to {left} bytes", $"{differences} and {extra}");
        if (Math.Abs(skip) > long.MaxValue / 4 || Math.Abs(oldAt) > long.MaxValue / 4)
            throw new MalformedException(Format, "step", "a place in a file", $"{skip} bytes from {oldAt}");
        if (differences == 0 && extra == 0 && ++emptySteps > MaximumEmptySteps)
            throw new MalformedException(Format, "step", "steps that make something", $"{emptySteps} that do not");
    }

    // Outside of the old version there are zeros, as the first program to read the format has it.
    private void AddOld(Span<byte> bytes)
    {
        long from = Math.Max(oldAt, 0), end = Math.Min(oldAt + bytes.Length, oldSize);
        for (long at = from; at < end;)
        {
            Span<byte> part = OldFrom(at);
            int count = (int)Math.Min(end - at, part.Length);
            Span<byte> target = bytes.Slice((int)(at - oldAt), count);
            int added = 0;
            for (; added + Vector<byte>.Count <= count; added += Vector<byte>.Count)
                (new Vector<byte>(target[added..]) + new Vector<byte>(part[added..])).CopyTo(target[added..]);
            for (; added < count; added++)
                target[added] += part[added];
            at += count;
        }
    }

    // The old version from a place to the end of its block.
    private Span<byte> OldFrom(long at)
    {
        long block = at / Block;
        int place = (int)(block % blocks.Length), size = (int)Math.Min(Block, oldSize - (block * Block));
        oldBytes ??= ArrayPool<byte>.Shared.Rent(blocks.Length * Block);
        Span<byte> bytes = oldBytes.AsSpan(place * Block, size);
        if (blocks[place] != block + 1)
        {
            blocks[place] = 0;
            for (int filled = 0, read; filled < size; filled += read)
            {
                read = old(bytes[filled..], (block * Block) + filled);
                if (read == 0)
                    throw new MalformedException(Format, "old version", $"{oldSize} bytes", $"{(block * Block) + filled}");
            }

            blocks[place] = block + 1;
        }

        return bytes[(int)(at - (block * Block))..];
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (oldBytes is not null)
            ArrayPool<byte>.Shared.Return(oldBytes);
        oldBytes = null;
        Array.Clear(blocks);
        base.Dispose(disposing);
    }

    private const int MaximumEmptySteps = 1_000_000;
    private int emptySteps;
}
