using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;

namespace Sbox.Codecs;

/// <summary>A SHA-256, the name of every object: 32 bytes, printed as 64 lower-case hexadecimal digits.</summary>
public readonly struct Checksum : IEquatable<Checksum>, IComparable<Checksum>
{
    /// <summary>Bytes in a checksum.</summary>
    public const int Size = 32;

    private readonly Bytes32 bytes;

    private Checksum(ReadOnlySpan<byte> source) => source.CopyTo(bytes);

    /// <summary>The checksum that these 32 bytes are.</summary>
    /// <exception cref="MalformedException">There are not exactly 32.</exception>
    public static Checksum FromBytes(ReadOnlySpan<byte> bytes) => bytes.Length == Size
        ? new Checksum(bytes)
        : throw new MalformedException("checksum", "length", "32 bytes", $"{bytes.Length} bytes");

    /// <summary>The checksum of some bytes.</summary>
    public static Checksum Of(ReadOnlySpan<byte> content)
    {
        Span<byte> hash = stackalloc byte[Size];
        SHA256.HashData(content, hash);
        return new Checksum(hash);
    }

    /// <summary>Reads 64 lower-case hexadecimal digits.</summary>
    /// <exception cref="MalformedException">They are fewer, more, or not such digits.</exception>
    public static Checksum Parse(ReadOnlySpan<char> text) => TryParse(text, out Checksum checksum)
        ? checksum
        : throw new MalformedException("checksum", "text", "64 digits of 0-9a-f", $"'{text}'");

    /// <summary>Reads 64 lower-case hexadecimal digits; false when the text is anything else.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out Checksum checksum)
    {
        checksum = default;
        if (text.Length != Size * 2 || text.ContainsAnyExcept("0123456789abcdef"))
            return false;
        Span<byte> bytes = stackalloc byte[Size];
        Convert.FromHexString(text, bytes, out _, out _);
        checksum = new Checksum(bytes);
        return true;
    }

    /// <summary>The 32 bytes, for as long as this value lives.</summary>
    [UnscopedRef]
    public ReadOnlySpan<byte> Span => bytes;

    /// <summary>A copy of the 32 bytes.</summary>
    public byte[] ToArray() => ((ReadOnlySpan<byte>)bytes).ToArray();

    /// <summary>Writes the 32 bytes.</summary>
    public void CopyTo(Span<byte> destination) => ((ReadOnlySpan<byte>)bytes).CopyTo(destination);

    /// <inheritdoc/>
    public bool Equals(Checksum other) => ((ReadOnlySpan<byte>)bytes).SequenceEqual(other.bytes);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Checksum other && Equals(other);

    // A SHA-256 is already spread evenly: four of its bytes are as good a hash as any.
    /// <inheritdoc/>
    public override int GetHashCode() => System.Buffers.Binary.BinaryPrimitives.ReadInt32LittleEndian(bytes);

    /// <inheritdoc/>
    public int CompareTo(Checksum other) => ((ReadOnlySpan<byte>)bytes).SequenceCompareTo(other.bytes);

    /// <summary>64 lower-case hexadecimal digits.</summary>
    public override string ToString() => Convert.ToHexStringLower(bytes);

    /// <summary>Whether the bytes are the same.</summary>
    public static bool operator ==(Checksum left, Checksum right) => left.Equals(right);

    /// <summary>Whether the bytes differ.</summary>
    public static bool operator !=(Checksum left, Checksum right) => !left.Equals(right);

    [InlineArray(Size)]
    private struct Bytes32
    {
        private byte first;
    }
}
