using System.Globalization;

namespace Sbox.Sysroot;

/// <summary>What every root's ext4 has, made with an image or on a disk.</summary>
public static class RootFileSystem
{
    /// <summary>Its label, by which the kernel command line names it, and its partition's name.</summary>
    public const string Label = "sbox-root";

    /// <summary>Bytes in a block.</summary>
    public const int BlockSize = 4096;

    /// <summary>The journal: enough for the bursts of an upgrade, small beside a deployment.</summary>
    public const int JournalMebibytes = 32;

    /// <summary>Percent kept for root, so that a full /var does not keep root from cleaning up.</summary>
    public const int ReservedPercent = 1;

    // Spelled out, since the defaults of /etc/mke2fs.conf differ from release to release. verity is what sealing needs.
    private const string Features =
        "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,verity";

    /// <summary>What mkfs.ext4 is told of it.</summary>
    /// <param name="id">Its UUID.</param>
    /// <param name="inodes">How many files there can be.</param>
    public static IReadOnlyList<string> Arguments(Guid id, long inodes) =>
    [
        "-q", "-F", "-t", "ext4", "-L", Label, "-U", $"{id}", "-b", $"{BlockSize}", "-I", "256", "-N", inodes.ToString(CultureInfo.InvariantCulture),
        "-m", $"{ReservedPercent}", "-J", $"size={JournalMebibytes}", "-O", Features,
    ];
}
