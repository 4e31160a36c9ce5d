namespace Sbox.Codecs.Uki;

/// <summary>A section of a unified kernel image, in memory.</summary>
/// <param name="Name">Such as <c>.cmdline</c>; at most eight printable ASCII characters.</param>
/// <param name="Content">Its bytes without padding.</param>
public sealed record UkiSection(string Name, ReadOnlyMemory<byte> Content);

/// <summary>Where a section of a unified kernel image is in the file.</summary>
/// <param name="Name">Such as <c>.cmdline</c>.</param>
/// <param name="Offset">Bytes from the file's start.</param>
/// <param name="Length">Bytes of content, without padding.</param>
public sealed record UkiPlace(string Name, long Offset, long Length);

/// <summary>One of several menu entries that a unified kernel image gives.</summary>
/// <param name="Text">The <c>.profile</c> section: lines <c>ID=</c> and <c>TITLE=</c>.</param>
/// <param name="CommandLine">The kernel's arguments in this profile; null for those of the image.</param>
public sealed record UkiProfile(string Text, string? CommandLine);

/// <summary>What a unified kernel image holds beside systemd's stub.</summary>
/// <param name="Kernel">The Linux kernel, a PE image itself (EFI stub).</param>
/// <param name="CommandLine">The kernel's arguments; UTF-8 in the image.</param>
/// <param name="OsRelease">The os-release(5) file from which the boot menu takes name and version.</param>
public sealed record UkiParts(ReadOnlyMemory<byte> Kernel, string CommandLine, ReadOnlyMemory<byte> OsRelease)
{
    /// <summary>The kernel's release as <c>uname -r</c> says it, or null to leave it out.</summary>
    public string? KernelRelease { get; init; }

    /// <summary>Initial RAM disks, read from their position to their end, in this order; they must be seekable.</summary>
    public IReadOnlyList<Stream> Initrds { get; init; } = [];

    /// <summary>CPU microcode as an uncompressed cpio archive; empty for none.</summary>
    public ReadOnlyMemory<byte> Microcode { get; init; }

    /// <summary>A BMP picture; empty for none.</summary>
    public ReadOnlyMemory<byte> Splash { get; init; }

    /// <summary>The public key, PEM, with which signed PCR policies are checked; empty for none.</summary>
    public ReadOnlyMemory<byte> PcrPublicKey { get; init; }

    /// <summary>A device tree blob; empty for none.</summary>
    public ReadOnlyMemory<byte> DeviceTree { get; init; }

    /// <summary>Profiles, the default one first; none gives an image with one menu entry and no <c>.profile</c>.</summary>
    public IReadOnlyList<UkiProfile> Profiles { get; init; } = [];

    /// <summary>Further sections, such as <c>.pcrsig</c>.</summary>
    public IReadOnlyList<UkiSection> Others { get; init; } = [];
}
