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
    private readonly byte[] oldBytes = new byte[32 * 1024]; // of the old version, read a stretch at once: most steps are a few bytes
    private long oldBytesAt, oldBytesEnd;
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
        count = patch.Read(buffer[..Math.Min(count, oldBytes.Length)]);
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
            if (at < oldBytesAt || at >= oldBytesEnd)
                ReadOld(at);
            int count = (int)(Math.Min(end, oldBytesEnd) - at);
            Span<byte> part = oldBytes.AsSpan((int)(at - oldBytesAt), count), target = bytes.Slice((int)(at - oldAt), count);
            int added = 0;
            for (; added + Vector<byte>.Count <= count; added += Vector<byte>.Count)
                (new Vector<byte>(target[added..]) + new Vector<byte>(part[added..])).CopyTo(target[added..]);
            for (; added < count; added++)
                target[added] += part[added];
            at += count;
        }
    }

    private void ReadOld(long at)
    {
        long from = at & -4096; // steps go back a little, too
        int read = old(oldBytes.AsSpan(0, (int)Math.Min(oldBytes.Length, oldSize - from)), from);
        if (from + read <= at)
            throw new MalformedException(Format, "old version", $"{oldSize} bytes", $"{from + read}");
        (oldBytesAt, oldBytesEnd) = (from, from + read);
    }

    private const int MaximumEmptySteps = 1_000_000;
    private int emptySteps;
}
