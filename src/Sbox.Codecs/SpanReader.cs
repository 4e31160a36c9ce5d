using System.Buffers.Binary;

namespace Sbox.Codecs;

/// <summary>Reads fixed fields from borrowed bytes, one after the other; running out is an error that names the field.</summary>
/// <param name="bytes">What to read; borrowed for the reader's life.</param>
/// <param name="format">The format's name, for errors.</param>
public ref struct SpanReader(ReadOnlySpan<byte> bytes, string format)
{
    private readonly ReadOnlySpan<byte> bytes = bytes;
    private readonly string format = format;

    /// <summary>Bytes read so far.</summary>
    public int Position { get; private set; }

    /// <summary>Bytes not read yet.</summary>
    public readonly int Remaining => bytes.Length - Position;

    /// <summary>The next <paramref name="count"/> bytes.</summary>
    /// <exception cref="MalformedException">There are fewer.</exception>
    public ReadOnlySpan<byte> ReadBytes(int count, string part)
    {
        if (count < 0 || count > Remaining)
            throw Malformed(part, $"{count} bytes at offset {Position}", $"{Remaining}");
        ReadOnlySpan<byte> taken = bytes.Slice(Position, count);
        Position += count;
        return taken;
    }

    /// <summary>One byte.</summary>
    public byte ReadByte(string part) => ReadBytes(1, part)[0];

    /// <summary>Two bytes, least significant first.</summary>
    public ushort ReadUInt16LittleEndian(string part) => BinaryPrimitives.ReadUInt16LittleEndian(ReadBytes(2, part));

    /// <summary>Four bytes, most significant first.</summary>
    public uint ReadUInt32BigEndian(string part) => BinaryPrimitives.ReadUInt32BigEndian(ReadBytes(4, part));

    /// <summary>Four bytes, least significant first.</summary>
    public uint ReadUInt32LittleEndian(string part) => BinaryPrimitives.ReadUInt32LittleEndian(ReadBytes(4, part));

    /// <summary>Eight bytes, most significant first.</summary>
    public ulong ReadUInt64BigEndian(string part) => BinaryPrimitives.ReadUInt64BigEndian(ReadBytes(8, part));

    /// <summary>Eight bytes, least significant first.</summary>
    public ulong ReadUInt64LittleEndian(string part) => BinaryPrimitives.ReadUInt64LittleEndian(ReadBytes(8, part));

    /// <summary>The error for a field that was read but is wrong.</summary>
    public readonly MalformedException Malformed(string part, string expected, string found) => new(format, part, expected, found);
}
