using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Sbox.Boot;

/// <summary>What a disk's first bytes say of the file system on it, as far as a box's root can be on it: ext4.</summary>
/// <param name="Type">Its type, as mount(8) calls it.</param>
/// <param name="Label">Its label; empty when it has none.</param>
/// <param name="Uuid">Its UUID, lower case.</param>
/// <param name="HasErrors">Whether the kernel marked it as damaged: it wants e2fsck.</param>
/// <remarks>The kernel's Documentation/filesystems/ext4/super.rst.</remarks>
internal sealed record Superblock(string Type, string Label, string Uuid, bool HasErrors)
{
    /// <summary>How many of a disk's first bytes must be known.</summary>
    public const int Length = 2048;

    private const int Start = 1024, Magic = 0x38, State = 0x3A, UuidAt = 0x68, LabelAt = 0x78, LabelLength = 16;
    private const ushort HasErrorsBit = 2;

    /// <summary>Reads it; null when there is no ext4.</summary>
    /// <param name="disk">The first bytes, <see cref="Length"/> or fewer on a smaller disk.</param>
    public static Superblock? Parse(ReadOnlySpan<byte> disk)
    {
        if (disk.Length < Length || BinaryPrimitives.ReadUInt16LittleEndian(disk[(Start + Magic)..]) != 0xEF53)
            return null;
        ReadOnlySpan<byte> label = disk.Slice(Start + LabelAt, LabelLength);
        int end = label.IndexOf((byte)0);
        string hex = Convert.ToHexStringLower(disk.Slice(Start + UuidAt, 16));
        return new Superblock(
            "ext4", Encoding.UTF8.GetString(end < 0 ? label : label[..end]),
            string.Create(CultureInfo.InvariantCulture, $"{hex[..8]}-{hex[8..12]}-{hex[12..16]}-{hex[16..20]}-{hex[20..]}"),
            (BinaryPrimitives.ReadUInt16LittleEndian(disk[(Start + State)..]) & HasErrorsBit) != 0);
    }
}
