using System.Globalization;
using System.Text;

namespace Sbox.Image;

/// <summary>What a disk image is made of.</summary>
/// <param name="RootDirectory">The physical root: what /sysroot shows on the box, with /ostree and /boot.</param>
/// <param name="EspDirectory">The EFI system partition's content.</param>
/// <param name="Seed">What identifiers are derived from, the commit's checksum: the same seed gives the same identifiers.</param>
public sealed record DiskContent(string RootDirectory, string EspDirectory, string Seed)
{
    /// <summary>Debian's name of the architecture; decides the root partition's type.</summary>
    public required string Architecture { get; init; }

    /// <summary>Regular files of the root, by their paths there, that fs-verity proves from the first boot on.</summary>
    public IReadOnlyList<string> SealedFiles { get; init; } = [];

    /// <summary>Bytes for /var and everything else that the box's people bring.</summary>
    public long UserBytes { get; init; } = 2L << 30;

    /// <summary>MiB of the root's partition behind its file system, for the header of a volume that it is to become.</summary>
    public int SpareMebibytes { get; init; }

    /// <summary>Whether the image is a CD's as well.</summary>
    public bool IsIso { get; init; }

    /// <summary>How many kernel images the EFI system partition holds at least.</summary>
    public int KernelImages { get; init; } = 3;

    /// <summary>Seconds since 1970 for what the file systems say of their making.</summary>
    public long Timestamp { get; init; }
}

/// <summary>A partition of the image.</summary>
/// <param name="Name">Its GPT name.</param>
/// <param name="Type">Its GPT type.</param>
/// <param name="Id">Its GPT identifier.</param>
/// <param name="Start">The first sector of 512 bytes.</param>
/// <param name="Sectors">How many.</param>
public sealed record PlannedPartition(string Name, Guid Type, Guid Id, long Start, long Sectors)
{
    /// <summary>Where it begins, in bytes.</summary>
    public long Offset => Start * DiskPlan.SectorSize;
}

/// <summary>Where everything goes, and why the image is as large as it is.</summary>
/// <param name="Content">What goes in.</param>
/// <param name="DiskId">The GPT's identifier.</param>
/// <param name="FileSystemId">The root file system's identifier.</param>
/// <param name="HashSeed">What ext4 scatters names with.</param>
/// <param name="FatSerial">The FAT's volume number.</param>
/// <param name="Esp">The EFI system partition.</param>
/// <param name="EspSize">Its size, explained.</param>
/// <param name="Root">The root partition; the last, so that it can grow with the disk.</param>
/// <param name="RootSize">Its size, explained.</param>
/// <param name="Measure">What the physical root takes now.</param>
/// <param name="Bytes">The image's size; most of it holes.</param>
public sealed record DiskPlan(
    DiskContent Content, Guid DiskId, Guid FileSystemId, Guid HashSeed, uint FatSerial,
    PlannedPartition Esp, EspSize EspSize, PlannedPartition Root, Ext4Size RootSize, RootMeasure Measure, long Bytes)
{
    /// <summary>Bytes in a sector.</summary>
    public const int SectorSize = 512;

    /// <summary>The plan for a person, a line each part.</summary>
    public override string ToString()
    {
        const long block = RootMeasure.BlockSize;
        var text = new StringBuilder();
        Line(text, "image", Bytes, "sparse");
        Line(text, "  ESP", Esp.Sectors * SectorSize, $"at {Esp.Offset}: {Mebibytes(EspSize.ContentBytes)} of content, room for {Content.KernelImages} kernel images of {Mebibytes(EspSize.LargestImage)}");
        Line(text, "  root", Root.Sectors * SectorSize, $"at {Root.Offset}, {RootSize.Inodes} inodes");
        Line(text, "    content", Measure.Blocks * block, $"{Measure.Inodes} inodes");
        Line(text, "    verity", Measure.VerityBlocks * block, "when every file has its tree");
        Line(text, "    upgrade", (Measure.Blocks + Measure.VerityBlocks) * block, "a second deployment that shares nothing with the first");
        Line(text, "    people", Content.UserBytes, "");
        if (Content.SpareMebibytes > 0)
            Line(text, "    LUKS2", (long)Content.SpareMebibytes << 20, "for the header, when the first boot encrypts it");
        Line(text, "    ext4", RootSize.OverheadBlocks * block, $"its own structures, {Ext4Size.JournalMebibytes} MiB of journal; {Ext4Size.ReservedPercent} % more is root's");
        return text.ToString();
    }

    private static void Line(StringBuilder text, string part, long bytes, string remark) =>
        text.Append($"{part,-12}{Mebibytes(bytes),12}  {remark}".TrimEnd()).Append('\n');

    private static string Mebibytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:F1} MiB");
}
