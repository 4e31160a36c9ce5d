using System.Buffers.Binary;
using Sbox.Codecs;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb;

/// <summary>What a blob holds.</summary>
public enum BlobType
{
    /// <summary>Bytes of a file.</summary>
    Data = 0,
    /// <summary>A directory's entries.</summary>
    Tree = 1,
}

/// <summary>Where a blob is.</summary>
/// <param name="Type">What it holds.</param>
/// <param name="Id">SHA-256 of its plain bytes.</param>
/// <param name="Pack">The pack file.</param>
/// <param name="Offset">Where its sealed bytes begin there.</param>
/// <param name="Length">How many they are.</param>
/// <param name="UncompressedLength">Plain bytes when it is compressed; 0 when it is not.</param>
public readonly record struct BlobLocation(BlobType Type, Checksum Id, Checksum Pack, uint Offset, uint Length, uint UncompressedLength)
{
    /// <summary>Plain bytes.</summary>
    public int PlainLength => (int)(UncompressedLength != 0 ? UncompressedLength : Length - SealingKey.Overhead);

    /// <summary>Where the sealed bytes end.</summary>
    public long End => (long)Offset + Length;
}

/// <summary>One blob as a pack's header lists it.</summary>
/// <param name="Type">What it holds.</param>
/// <param name="Id">SHA-256 of its plain bytes.</param>
/// <param name="Offset">Where its sealed bytes begin in the pack.</param>
/// <param name="Length">How many they are.</param>
/// <param name="UncompressedLength">Plain bytes when it is compressed; 0 when it is not.</param>
public readonly record struct PackEntry(BlobType Type, Checksum Id, uint Offset, uint Length, uint UncompressedLength);

/// <summary>The end of a pack file: the sealed list of its blobs, and that list's length in four bytes.</summary>
/// <remarks>docs/formats/restic-repository.md.</remarks>
public static class PackHeader
{
    /// <summary>Bytes of the length behind the header.</summary>
    public const int LengthSize = 4;

    /// <summary>Larger headers are refused, as restic does.</summary>
    public const int MaximumSize = 16 * 1024 * 1024;

    private const int PlainEntry = 1 + 4 + Checksum.Size, CompressedEntry = PlainEntry + 4;
    private const string Format = "restic pack header";

    /// <summary>Bytes that a header of these blobs takes in the file, its length included.</summary>
    public static int Size(int plain, int compressed) => SealingKey.Overhead + LengthSize + (plain * PlainEntry) + (compressed * CompressedEntry);

    /// <summary>Reads the opened header.</summary>
    /// <param name="bytes">Entries one after the other: type, sealed length, plain length when compressed, id.</param>
    /// <param name="blobBytes">Bytes that the pack has for blobs: all but the header.</param>
    /// <exception cref="MalformedException">An entry is of no known type, is cut short, or does not fit into the pack.</exception>
    public static IReadOnlyList<PackEntry> Parse(ReadOnlySpan<byte> bytes, long blobBytes)
    {
        var reader = new SpanReader(bytes, Format);
        var entries = new List<PackEntry>(bytes.Length / PlainEntry);
        long offset = 0;
        while (reader.Remaining > 0)
        {
            byte type = reader.ReadByte("type");
            if (type > 3)
                throw reader.Malformed("type", "0 to 3", $"{type}");
            uint length = reader.ReadUInt32LittleEndian("length");
            uint plain = type >= 2 ? reader.ReadUInt32LittleEndian("uncompressed length") : 0;
            Checksum id = Checksum.FromBytes(reader.ReadBytes(Checksum.Size, "id"));
            if (length < SealingKey.Overhead || length > int.MaxValue || plain > int.MaxValue || (type >= 2 && plain == 0))
                throw reader.Malformed("length", "the length of a sealed blob", $"{length}, {plain} uncompressed");
            if (offset + length > blobBytes)
                throw reader.Malformed("length", $"blobs of {blobBytes} bytes together", $"{offset + length} and more");
            entries.Add(new PackEntry((BlobType)(type & 1), id, (uint)offset, length, plain));
            offset += length;
        }

        return entries;
    }

    /// <summary>Writes the header of these blobs, to be sealed.</summary>
    public static byte[] Write(IReadOnlyList<PackEntry> entries)
    {
        var bytes = new byte[entries.Count * CompressedEntry];
        int used = 0;
        foreach (PackEntry entry in entries)
        {
            bool compressed = entry.UncompressedLength != 0;
            bytes[used] = (byte)((int)entry.Type | (compressed ? 2 : 0));
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(used + 1), entry.Length);
            used += 5;
            if (compressed)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(used), entry.UncompressedLength);
                used += 4;
            }

            entry.Id.CopyTo(bytes.AsSpan(used));
            used += Checksum.Size;
        }

        return bytes[..used];
    }
}
