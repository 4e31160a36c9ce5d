using System.Buffers.Binary;
using System.Text;

namespace Sbox.Codecs.Iso;

/// <summary>
/// What makes a disk's image a CD's as well: an ISO 9660 volume without files, and an El Torito boot catalog that names the EFI system partition. It lies behind the
/// partition table and before the first partition, where neither has anything.
/// </summary>
/// <remarks>docs/formats/iso.md, after ECMA-119 and the El Torito specification 1.0. Judge: xorriso.</remarks>
public static class IsoHeader
{
    /// <summary>Bytes in a sector of a CD.</summary>
    public const int SectorSize = 2048;

    /// <summary>Where it begins: what is before is left to others.</summary>
    public const int Offset = FirstSector * SectorSize;

    private const int FirstSector = 16, CatalogAt = 19, DirectoryAt = 20, PathsAt = 21, PathsBackwardsAt = 22, Sectors = 7;
    private const int RecordBytes = 34, PathsBytes = 10;
    private const byte ForEfi = 0xEF, Bootable = 0x88;

    /// <summary>Bytes of it.</summary>
    public const int Bytes = Sectors * SectorSize;

    /// <summary>Makes it.</summary>
    /// <param name="volume">The volume's name: capital letters, digits and underscores, 32 at most.</param>
    /// <param name="imageBytes">The image's size.</param>
    /// <param name="espOffset">Where the EFI system partition begins, a whole number of sectors.</param>
    /// <param name="time">What it says of its making.</param>
    public static byte[] Make(string volume, long imageBytes, long espOffset, DateTimeOffset time)
    {
        if (espOffset % SectorSize != 0 || espOffset < Offset + Bytes)
            throw new ArgumentException("the partition begins in the header, or between two sectors", nameof(espOffset));
        var header = new byte[Bytes];
        WriteVolume(Sector(header, FirstSector), volume, (uint)(imageBytes / SectorSize), time);
        WriteBootRecord(Sector(header, FirstSector + 1));
        Descriptor(Sector(header, FirstSector + 2), type: 255);
        WriteCatalog(Sector(header, CatalogAt), (uint)(espOffset / SectorSize));
        Span<byte> directory = Sector(header, DirectoryAt);
        WriteRecord(directory, name: 0, time);
        WriteRecord(directory[RecordBytes..], name: 1, time);
        WritePaths(Sector(header, PathsAt), backwards: false);
        WritePaths(Sector(header, PathsBackwardsAt), backwards: true);
        return header;
    }

    private static Span<byte> Sector(byte[] header, int number) => header.AsSpan((number - FirstSector) * SectorSize, SectorSize);

    private static void Descriptor(Span<byte> sector, byte type)
    {
        sector[0] = type;
        "CD001"u8.CopyTo(sector[1..]);
        sector[6] = 1;
    }

    private static void WriteVolume(Span<byte> sector, string volume, uint sectors, DateTimeOffset time)
    {
        Descriptor(sector, type: 1);
        Text(sector.Slice(8, 32), "");
        Text(sector.Slice(40, 32), volume);
        Both(sector[80..], sectors);
        Both16(sector[120..], 1);
        Both16(sector[124..], 1);
        Both16(sector[128..], SectorSize);
        Both(sector[132..], PathsBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[140..], PathsAt);
        BinaryPrimitives.WriteUInt32BigEndian(sector[148..], PathsBackwardsAt);
        WriteRecord(sector[156..], name: 0, time);
        Text(sector[190..813], "");
        string moment = time.UtcDateTime.ToString("yyyyMMddHHmmss", System.Globalization.CultureInfo.InvariantCulture) + "00";
        Text(sector.Slice(813, 16), moment);
        Text(sector.Slice(830, 16), moment);
        sector.Slice(847, 16).Fill((byte)'0');
        sector.Slice(864, 16).Fill((byte)'0');
        sector[881] = 1;
    }

    private static void WriteBootRecord(Span<byte> sector)
    {
        Descriptor(sector, type: 0);
        "EL TORITO SPECIFICATION"u8.CopyTo(sector[7..]);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[71..], CatalogAt);
    }

    // How large the partition is has no room in 16 bits; 0 is read as: to the volume's end.
    private static void WriteCatalog(Span<byte> sector, uint at)
    {
        (sector[0], sector[1], sector[30], sector[31]) = (1, ForEfi, 0x55, 0xAA);
        ushort sum = 0;
        for (int word = 0; word < 32; word += sizeof(ushort))
            sum += BinaryPrimitives.ReadUInt16LittleEndian(sector[word..]);
        BinaryPrimitives.WriteUInt16LittleEndian(sector[28..], (ushort)-sum);
        Span<byte> entry = sector.Slice(32, 32);
        entry[0] = Bootable;
        BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], at);
    }

    // The root directory, as itself (0) and as its own parent (1).
    private static void WriteRecord(Span<byte> record, byte name, DateTimeOffset time)
    {
        record[0] = RecordBytes;
        Both(record[2..], DirectoryAt);
        Both(record[10..], SectorSize);
        DateTime utc = time.UtcDateTime;
        ((ReadOnlySpan<byte>)[(byte)(utc.Year - 1900), (byte)utc.Month, (byte)utc.Day, (byte)utc.Hour, (byte)utc.Minute, (byte)utc.Second, 0]).CopyTo(record[18..]);
        record[25] = 2; // a directory
        Both16(record[28..], 1);
        record[32] = 1;
        record[33] = name;
    }

    private static void WritePaths(Span<byte> sector, bool backwards)
    {
        sector[0] = 1;
        if (backwards)
        {
            BinaryPrimitives.WriteUInt32BigEndian(sector[2..], DirectoryAt);
            BinaryPrimitives.WriteUInt16BigEndian(sector[6..], 1);
        }
        else
        {
            BinaryPrimitives.WriteUInt32LittleEndian(sector[2..], DirectoryAt);
            BinaryPrimitives.WriteUInt16LittleEndian(sector[6..], 1);
        }
    }

    private static void Text(Span<byte> field, string text)
    {
        field.Fill((byte)' ');
        Encoding.ASCII.GetBytes(text, field);
    }

    // Least significant byte first, and once more the other way.
    private static void Both(Span<byte> field, uint number)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(field, number);
        BinaryPrimitives.WriteUInt32BigEndian(field[4..], number);
    }

    private static void Both16(Span<byte> field, ushort number)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(field, number);
        BinaryPrimitives.WriteUInt16BigEndian(field[2..], number);
    }
}
