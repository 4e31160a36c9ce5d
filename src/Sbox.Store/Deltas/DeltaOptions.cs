using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>How a static delta is made.</summary>
public sealed record DeltaOptions
{
    /// <summary>New files of more bytes than this are left to be fetched by themselves; 0: none is.</summary>
    public long MinimumFallback { get; init; } = 4_000_000;

    /// <summary>Whether a file of so many bytes is left to be fetched by itself, where it is taken as a whole.</summary>
    internal bool IsFallback(long size) => MinimumFallback > 0 && size > MinimumFallback;

    /// <summary>Old and new version of a file together may have so many bytes for differences to be looked for; else it is taken as a whole.</summary>
    public long MaximumDifference { get; init; } = 128_000_000;

    /// <summary>Bytes of a part before it is compressed.</summary>
    public long MaximumPart { get; init; } = 32_000_000;

    /// <summary>Whether differences are looked for at all.</summary>
    public bool Differences { get; init; } = true;

    /// <summary>
    /// Whether a second, smaller delta is put beside it where new files are compressed by xz (kernel modules) or by zstd (an initrd): it has the differences of what they unpack to, and whoever
    /// applies it compresses the outcome again. libostree does not see it, and uses the other. Not with <see cref="Inline"/> or <see cref="FileName"/>.
    /// </summary>
    public bool Recompress { get; init; }

    /// <summary>Put the parts into the superblock, so that the delta is one file.</summary>
    public bool Inline { get; init; }

    /// <summary>Write the superblock's numbers most significant byte first.</summary>
    public bool BigEndian { get; init; }

    /// <summary>The superblock's path; its parts are written beside it. Null: in the repository.</summary>
    public string? FileName { get; init; }

    /// <summary>Signs a superblock: given its bytes, what is to lie beside them, by the name of the kind of key. Null: it is not signed.</summary>
    public Func<byte[], VariantDictionary>? Sign { get; init; }

    /// <summary>Where "now" comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>A delta that was made.</summary>
/// <param name="Name">Its commits.</param>
/// <param name="Modified">New files for which an old version was found.</param>
/// <param name="NewMetadata">New objects that are no files.</param>
/// <param name="NewFiles">New regular files.</param>
/// <param name="NewSymlinks">New symbolic links.</param>
/// <param name="Differences">Files that are made from their old version.</param>
/// <param name="Fallbacks">Files that are left to be fetched by themselves.</param>
/// <param name="Parts">Its parts.</param>
/// <param name="UncompressedSize">Bytes of the objects that it makes.</param>
/// <param name="Size">Bytes of its parts.</param>
/// <param name="LooseSize">Bytes of its objects as this repository keeps them.</param>
public sealed record DeltaReport(
    DeltaName Name, int Modified, int NewMetadata, int NewFiles, int NewSymlinks, int Differences, IReadOnlyList<DeltaFallback> Fallbacks,
    IReadOnlyList<DeltaPartHeader> Parts, long UncompressedSize, long Size, long LooseSize)
{
    /// <summary>Large files that are put together from stretches of their old version, as it is.</summary>
    public int Copied { get; init; }

    /// <summary>Bytes of those stretches.</summary>
    public long CopiedBytes { get; init; }

    /// <summary>Files that the smaller delta beside it makes out of what their old versions unpack to; 0 where there is no such delta.</summary>
    public int Recompressed { get; init; }

    /// <summary>Bytes of that delta's parts.</summary>
    public long RecompressedSize { get; init; }
}

/// <summary>How far the making of a delta is.</summary>
/// <param name="Done">Objects that are in it.</param>
/// <param name="Total">Objects that shall be.</param>
/// <param name="Bytes">Bytes of content that were read.</param>
public readonly record struct DeltaProgress(int Done, int Total, long Bytes)
{
    /// <summary>Bytes of the parts that were given to the compressor, which is the last of the work and much of it.</summary>
    public long Packed { get; init; }

    /// <summary>Bytes that it shall be given; 0 as long as that is not known.</summary>
    public long ToPack { get; init; }
}
