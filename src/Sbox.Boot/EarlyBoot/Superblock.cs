using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Sbox.Boot;

/// <summary>
/// What a disk's first bytes say of the file system on it: all of an ext4, on which a box's root can be, or of a LUKS2 volume, in which that may be, and of
/// others only what they are.
/// </summary>
/// <param name="Type">Its type, as blkid(8) calls it.</param>
/// <param name="Label">Its label; empty when it has none.</param>
/// <param name="Uuid">Its UUID, lower case.</param>
/// <param name="HasErrors">Whether the kernel marked it as damaged: it wants e2fsck.</param>
/// <remarks>The kernel's Documentation/filesystems/ext4/super.rst; LUKS2 On-Disk Format Specification, 2.1.</remarks>
internal sealed record Superblock(string Type, string Label, string Uuid, bool HasErrors)
{
    /// <summary>How many of a disk's first bytes must be known.</summary>
    public const int Length = 65536 + 4096;

    /// <summary>The one file system that can be a root here.</summary>
    public const string Ext4 = "ext4";

    /// <summary>What can have one in it.</summary>
    public const string Luks = "crypto_LUKS";

    private const int Start = 1024, Blocks = 0x4, LogBlockSize = 0x18, Magic = 0x38, State = 0x3A, Incompatible = 0x60, UuidAt = 0x68, LabelAt = 0x78, LabelLength = 16, MoreBlocks = 0x150;
    private const int SecondHeader = 16384;
    private const ushort HasErrorsBit = 2;
    private const uint Has64BitBlocks = 0x80;

    /// <summary>How much of its device an ext4 takes, in bytes; 0 for others.</summary>
    public long Bytes { get; init; }

    /// <summary>Reads it; null when nothing known is there.</summary>
    /// <param name="disk">The first bytes, <see cref="Length"/> or fewer on a smaller disk.</param>
    public static Superblock? Parse(ReadOnlySpan<byte> disk)
    {
        if (disk.Length < 2 * Start || BinaryPrimitives.ReadUInt16LittleEndian(disk[(Start + Magic)..]) != 0xEF53)
            return OfLuks2(disk) ?? (OfOthers(disk) is { } type ? new Superblock(type, "", "", HasErrors: false) : null);
        string hex = Convert.ToHexStringLower(disk.Slice(Start + UuidAt, 16));
        return new Superblock(
            Ext4, Text(disk.Slice(Start + LabelAt, LabelLength)),
            string.Create(CultureInfo.InvariantCulture, $"{hex[..8]}-{hex[8..12]}-{hex[12..16]}-{hex[16..20]}-{hex[20..]}"),
            (BinaryPrimitives.ReadUInt16LittleEndian(disk[(Start + State)..]) & HasErrorsBit) != 0)
        {
            Bytes = BytesOf(disk[Start..]),
        };
    }

    private static long BytesOf(ReadOnlySpan<byte> superblock)
    {
        bool has64 = (BinaryPrimitives.ReadUInt32LittleEndian(superblock[Incompatible..]) & Has64BitBlocks) != 0;
        ulong blocks = BinaryPrimitives.ReadUInt32LittleEndian(superblock[Blocks..]) | (has64 ? (ulong)BinaryPrimitives.ReadUInt32LittleEndian(superblock[MoreBlocks..]) << 32 : 0);
        uint log = BinaryPrimitives.ReadUInt32LittleEndian(superblock[LogBlockSize..]);
        // A superblock that nonsense was written to takes more than any device has.
        return log > 6 || blocks > long.MaxValue >> 16 ? long.MaxValue : (long)(blocks << (10 + (int)log));
    }

    // The header is there twice, and one of them may be torn; cryptsetup mends it by the other.
    private static Superblock? OfLuks2(ReadOnlySpan<byte> disk) =>
        OfLuks2(disk, LuksMagic) ?? (disk.Length > SecondHeader ? OfLuks2(disk[SecondHeader..], SecondLuksMagic) : null);

    // Magic, version as two bytes, most significant first; a label of 48 bytes, a UUID as text in 40.
    private static Superblock? OfLuks2(ReadOnlySpan<byte> header, ReadOnlySpan<byte> magic) => Has(header, 0, magic) && Has(header, 6, [0, 2]) && header.Length >= 208
        ? new Superblock(Luks, Text(header.Slice(24, 48)), Text(header.Slice(168, 40)).ToLowerInvariant(), HasErrors: false) : null;

    private static string Text(ReadOnlySpan<byte> field)
    {
        int end = field.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? field : field[..end]);
    }

    private static ReadOnlySpan<byte> LuksMagic => [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE];

    private static ReadOnlySpan<byte> SecondLuksMagic => [0x53, 0x4B, 0x55, 0x4C, 0xBA, 0xBE];

    // What a person may have instead of an ext4, so that the line on the console can name it.
    private static string? OfOthers(ReadOnlySpan<byte> disk) =>
        Has(disk, 0, LuksMagic) ? Luks
        : Has(disk, 512 + 24, "LVM2 001"u8) ? "LVM2_member"
        : Has(disk, 0, "XFSB"u8) ? "xfs"
        : Has(disk, 65536 + 64, "_BHRfS_M"u8) ? "btrfs"
        : Has(disk, 4096, [0xFC, 0x4E, 0x2B, 0xA9]) ? "linux_raid_member"
        : null;

    private static bool Has(ReadOnlySpan<byte> disk, int at, ReadOnlySpan<byte> magic) =>
        disk.Length >= at + magic.Length && disk.Slice(at, magic.Length).SequenceEqual(magic);
}
