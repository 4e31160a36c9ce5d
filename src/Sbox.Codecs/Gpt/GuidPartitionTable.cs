using System.Buffers.Binary;
using System.Text;

namespace Sbox.Codecs.Gpt;

/// <summary>
/// A GUID partition table of a disk with sectors of 512 bytes: what it holds, and the bytes of both of its copies. Immutable; a slot without a partition is null.
/// </summary>
/// <param name="DiskId">Which disk it is, the world over.</param>
/// <param name="DiskSectors">How many sectors the disk has; the second copy is in the last ones.</param>
/// <param name="Slots">What is in each of its entries, partition 1 first.</param>
/// <remarks>docs/formats/gpt.md, after the UEFI specification 2.10, chapter 5. Judge: sfdisk.</remarks>
public sealed record GuidPartitionTable(Guid DiskId, long DiskSectors, IReadOnlyList<GptPartition?> Slots)
{
    /// <summary>Bytes in a sector.</summary>
    public const int SectorSize = 512;

    /// <summary>A MiB, at whose multiples partitions begin.</summary>
    public const long SectorsInMebibyte = (1 << 20) / SectorSize;

    /// <summary>Bytes at the beginning of a disk: the record of before, the header and the entries.</summary>
    public const int HeadBytes = SectorSize + CopyBytes;

    /// <summary>Bytes of one copy.</summary>
    public const int CopyBytes = SectorSize + (SlotCount * EntryBytes);

    private const string Format = "gpt";
    private const int SlotCount = 128, EntryBytes = 128, HeaderBytes = 92, NameBytes = 72;
    private const int EntrySectors = SlotCount * EntryBytes / SectorSize;
    private const uint Revision = 0x00010000;
    private const int RecordAt = 446, RecordBytes = 16, ProtectiveType = 0xEE;

    private static ReadOnlySpan<byte> Signature => "EFI PART"u8;

    /// <summary>The first sector that a partition may have.</summary>
    public const long FirstUsable = 2 + EntrySectors;

    /// <summary>The last sector that a partition may have.</summary>
    public long LastUsable => DiskSectors - 2 - EntrySectors;

    /// <summary>A table without partitions.</summary>
    public static GuidPartitionTable Empty(Guid diskId, long diskSectors) => new(diskId, diskSectors, new GptPartition?[SlotCount]);

    /// <summary>Reads the first copy. Of the disk's size it says what it was when the table was written.</summary>
    /// <param name="head">The disk's first <see cref="HeadBytes"/> bytes.</param>
    /// <exception cref="MalformedException">There is none, or it is damaged, or not of the usual shape (128 entries of 128 bytes, from sector 2 on).</exception>
    public static GuidPartitionTable Parse(ReadOnlySpan<byte> head)
    {
        if (head.Length < HeadBytes)
            throw new MalformedException(Format, "head", $"{HeadBytes} bytes", $"{head.Length}");
        ReadOnlySpan<byte> header = head.Slice(SectorSize, HeaderBytes), entries = head.Slice(2 * SectorSize, SlotCount * EntryBytes);
        var reader = new SpanReader(header, Format);
        if (!reader.ReadBytes(Signature.Length, "signature").SequenceEqual(Signature))
            throw reader.Malformed("signature", "EFI PART", "something else");
        Expect(ref reader, "revision", Revision);
        Expect(ref reader, "header size", HeaderBytes);
        uint sum = reader.ReadUInt32LittleEndian("checksum");
        byte[] unsummed = header.ToArray();
        unsummed.AsSpan(16, sizeof(uint)).Clear();
        if (Crc32.Of(unsummed) != sum)
            throw reader.Malformed("checksum", $"{Crc32.Of(unsummed):x8}", $"{sum:x8}");
        reader.ReadUInt32LittleEndian("reserved");
        ExpectLong(ref reader, "own place", 1);
        long other = (long)reader.ReadUInt64LittleEndian("place of the other copy");
        reader.ReadBytes(2 * sizeof(ulong), "usable sectors");
        var disk = new Guid(reader.ReadBytes(16, "disk"));
        ExpectLong(ref reader, "place of the entries", 2);
        Expect(ref reader, "number of entries", SlotCount);
        Expect(ref reader, "size of an entry", EntryBytes);
        if (reader.ReadUInt32LittleEndian("checksum of the entries") is var entrySum && Crc32.Of(entries) != entrySum)
            throw reader.Malformed("checksum of the entries", $"{Crc32.Of(entries):x8}", $"{entrySum:x8}");
        var slots = new GptPartition?[SlotCount];
        for (int at = 0; at < SlotCount; at++)
            slots[at] = ParseEntry(entries.Slice(at * EntryBytes, EntryBytes));
        return new GuidPartitionTable(disk, other + 1, slots);
    }

    /// <summary>The same partitions on a disk of another size: one that the image was written to, say.</summary>
    /// <exception cref="ArgumentException">They do not fit.</exception>
    public GuidPartitionTable On(long diskSectors)
    {
        GuidPartitionTable moved = this with { DiskSectors = diskSectors };
        return Slots.All(partition => partition is null || partition.Last <= moved.LastUsable) ? moved
            : throw new ArgumentException("the partitions end behind the disk's end", nameof(diskSectors));
    }

    /// <summary>The last sector that a partition could have, a whole MiB, if it took all that is free behind it; where nothing is free, the one that it has.</summary>
    /// <param name="slot">Its entry, from 0.</param>
    public long RoomFor(int slot)
    {
        GptPartition partition = Slots[slot] ?? throw new ArgumentException("there is no such partition", nameof(slot));
        long next = Slots.OfType<GptPartition>().Where(other => other.First > partition.Last).Select(static other => other.First).Append(LastUsable + 1).Min();
        return Math.Max(partition.Last, (next / SectorsInMebibyte * SectorsInMebibyte) - 1);
    }

    /// <summary>The table with another partition in a slot.</summary>
    public GuidPartitionTable With(int slot, GptPartition? partition) => this with { Slots = [.. Slots.Select((old, at) => at == slot ? partition : old)] };

    /// <summary>The table of a disk that is not the one it was copied from: everything has another identifier.</summary>
    public GuidPartitionTable WithNewIds() =>
        this with { DiskId = Guid.NewGuid(), Slots = [.. Slots.Select(static partition => partition is null ? null : partition with { Id = Guid.NewGuid() })] };

    /// <summary>The bytes of the first copy, which begins at sector 1.</summary>
    public byte[] ToFirstCopy()
    {
        byte[] entries = Entries();
        return [.. Header(at: 1, other: DiskSectors - 1, entriesAt: 2, entries), .. entries];
    }

    /// <summary>The bytes of the second copy, which ends with the disk.</summary>
    public byte[] ToSecondCopy()
    {
        byte[] entries = Entries();
        return [.. entries, .. Header(at: DiskSectors - 1, other: 1, entriesAt: DiskSectors - 1 - EntrySectors, entries)];
    }

    /// <summary>Sector 0: what tells programs of before GPT that the whole disk is taken. The rest of what is there, a boot program, stays.</summary>
    /// <param name="sector">What is there.</param>
    public byte[] ToProtectiveRecord(ReadOnlySpan<byte> sector)
    {
        byte[] record = sector.ToArray();
        Span<byte> table = record.AsSpan(RecordAt, 4 * RecordBytes);
        int at = 0;
        while (at < 3 && table[(at * RecordBytes) + 4] != ProtectiveType)
            at++;
        if (table[(at * RecordBytes) + 4] != ProtectiveType)
        {
            table.Clear();
            at = 0;
        }

        Span<byte> entry = table.Slice(at * RecordBytes, RecordBytes);
        entry[4] = ProtectiveType;
        (entry[1], entry[2], entry[3]) = (0, 2, 0); // cylinder, head and sector of sector 1
        entry.Slice(5, 3).Fill(0xFF);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], (uint)Math.Min(DiskSectors - 1, uint.MaxValue));
        (record[510], record[511]) = (0x55, 0xAA);
        return record;
    }

    private static void Expect(ref SpanReader reader, string part, uint expected)
    {
        if (reader.ReadUInt32LittleEndian(part) is var found && found != expected)
            throw reader.Malformed(part, $"{expected}", $"{found}");
    }

    private static void ExpectLong(ref SpanReader reader, string part, ulong expected)
    {
        if (reader.ReadUInt64LittleEndian(part) is var found && found != expected)
            throw reader.Malformed(part, $"{expected}", $"{found}");
    }

    private static GptPartition? ParseEntry(ReadOnlySpan<byte> bytes)
    {
        var reader = new SpanReader(bytes, Format);
        var type = new Guid(reader.ReadBytes(16, "type"));
        if (type == Guid.Empty)
            return null;
        var id = new Guid(reader.ReadBytes(16, "partition"));
        long first = (long)reader.ReadUInt64LittleEndian("first sector"), last = (long)reader.ReadUInt64LittleEndian("last sector");
        ulong attributes = reader.ReadUInt64LittleEndian("attributes");
        if (first < FirstUsable || last < first)
            throw reader.Malformed("sectors", "the first before the last", $"{first} to {last}");
        return new GptPartition(type, id, first, last, attributes, Encoding.Unicode.GetString(reader.ReadBytes(NameBytes, "name")).TrimEnd('\0'));
    }

    private byte[] Entries()
    {
        var entries = new byte[SlotCount * EntryBytes];
        for (int at = 0; at < SlotCount; at++)
        {
            if (Slots[at] is { } partition)
                Write(partition, entries.AsSpan(at * EntryBytes, EntryBytes));
        }

        return entries;
    }

    private static void Write(GptPartition partition, Span<byte> entry)
    {
        partition.Type.TryWriteBytes(entry);
        partition.Id.TryWriteBytes(entry[16..]);
        BinaryPrimitives.WriteInt64LittleEndian(entry[32..], partition.First);
        BinaryPrimitives.WriteInt64LittleEndian(entry[40..], partition.Last);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[48..], partition.Attributes);
        Encoding.Unicode.GetBytes(partition.Name, entry.Slice(56, NameBytes));
    }

    private byte[] Header(long at, long other, long entriesAt, byte[] entries)
    {
        var sector = new byte[SectorSize];
        Span<byte> header = sector.AsSpan(0, HeaderBytes);
        Signature.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], Revision);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], HeaderBytes);
        BinaryPrimitives.WriteInt64LittleEndian(header[24..], at);
        BinaryPrimitives.WriteInt64LittleEndian(header[32..], other);
        BinaryPrimitives.WriteInt64LittleEndian(header[40..], FirstUsable);
        BinaryPrimitives.WriteInt64LittleEndian(header[48..], LastUsable);
        DiskId.TryWriteBytes(header[56..]);
        BinaryPrimitives.WriteInt64LittleEndian(header[72..], entriesAt);
        BinaryPrimitives.WriteUInt32LittleEndian(header[80..], SlotCount);
        BinaryPrimitives.WriteUInt32LittleEndian(header[84..], EntryBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header[88..], Crc32.Of(entries));
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], Crc32.Of(header));
        return sector;
    }
}
