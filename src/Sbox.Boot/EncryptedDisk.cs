namespace Sbox.Boot;

/// <summary>The LUKS2 volume below a box's physical root.</summary>
/// <param name="Device">The device that holds it: <c>vda2</c>.</param>
/// <param name="Uuid">The volume's own UUID.</param>
/// <remarks>docs/encryption.md.</remarks>
public sealed record EncryptedDisk(string Device, string Uuid)
{
    /// <summary>What the opened volume is called: <c>/dev/mapper/sbox-root</c>.</summary>
    public const string MappedName = "sbox-root";

    /// <summary>A directory of the physical root, for root alone: what is about this disk and no deployment's.</summary>
    public const string Directory = ".sbox";

    /// <summary>A file that asks the first boot to encrypt the disk it is on.</summary>
    public const string Marker = $"{Directory}/encrypt";

    /// <summary>A key of the volume, kept on the volume: with it the running box binds the volume anew, and nobody is asked.</summary>
    public const string KeyFile = $"{Directory}/disk.key";

    /// <summary>A file below <c>/run/sbox</c> in which the initrd says what opened the volume.</summary>
    public const string OpenedByName = "disk-opened-by";

    /// <summary>What it says where it was the machine's TPM.</summary>
    public const string ByTpm = "tpm";

    /// <summary>What the volume takes of its partition for its header, and for moving what was in its place: cryptsetup's own figure.</summary>
    public const int HeaderMebibytes = 32;

    /// <summary>What the partition must be larger than its file system: for that, and for a copy of its first 16 MiB until the header is whole.</summary>
    public const int SpareMebibytes = HeaderMebibytes + 16;

    /// <summary>Where an initrd has cryptsetup, which opens it.</summary>
    public const string ProgramInInitrd = "usr/bin/cryptsetup";

    /// <summary>Kernel modules that it needs in an initrd, where there is nobody whom the kernel could ask for them.</summary>
    public static IReadOnlyList<string> Modules { get; } = ["dm_mod", "xts", "ecb", "cbc", "aesni_intel", "dm_crypt", "algif_skcipher", "efivarfs"];

    private const string Luks2 = "CRYPT-LUKS2-";

    /// <summary>The device node.</summary>
    public string Path => $"/dev/{Device}";

    /// <summary>The volume that a block device was opened from; null where it is none.</summary>
    /// <param name="number">Major and minor: <c>252:0</c>.</param>
    /// <param name="sys">Where sysfs is.</param>
    public static EncryptedDisk? Below(string number, string sys = "/sys")
    {
        string device = $"{sys}/dev/block/{number}";
        if (!File.Exists($"{device}/dm/uuid") || !System.IO.Directory.Exists($"{device}/slaves"))
            return null;
        // CRYPT-LUKS2-32 digits-name
        string uuid = File.ReadAllText($"{device}/dm/uuid").Trim();
        string[] below = System.IO.Directory.GetFileSystemEntries($"{device}/slaves");
        return uuid.StartsWith(Luks2, StringComparison.Ordinal) && Guid.TryParseExact(uuid[Luks2.Length..].Split('-')[0], "N", out Guid id) && below is [var only]
            ? new EncryptedDisk(System.IO.Path.GetFileName(only), id.ToString("D")) : null;
    }
}
