using System.Text;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>Which partition the firmware booted from, or would.</summary>
public static class EfiSystemPartition
{
    /// <summary>The partition type of an EFI system partition, as udev prints it.</summary>
    public const string PartitionType = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    // systemd-boot and systemd-stub leave the partition's UUID here; the second half is systemd's vendor id.
    private const string LoaderVariable = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

    /// <summary>Finds it: the one that the boot loader says it came from, else the one on the disk of the root.</summary>
    /// <param name="devices">All block devices.</param>
    /// <param name="loaderPartition">What <see cref="LoaderPartition"/> found.</param>
    /// <param name="rootDevice">Major and minor of the physical root's device.</param>
    /// <returns>Null where there is none. The loader's word counts only for a partition that is here.</returns>
    public static BlockDevice? Find(IReadOnlyList<BlockDevice> devices, string? loaderPartition, string? rootDevice)
    {
        BlockDevice? booted = loaderPartition is null ? null : devices.FirstOrDefault(device => device.PartitionUuid == loaderPartition);
        if (booted is not null)
            return booted;
        string? disk = devices.FirstOrDefault(device => device.Number == rootDevice)?.Disk;
        return disk is null ? null : devices.FirstOrDefault(device => device.Disk == disk && device.PartitionType == PartitionType);
    }

    /// <summary>The partition UUID that the boot loader left in the firmware's variables, lower case; null where there is none.</summary>
    /// <param name="efivars">Where efivarfs is.</param>
    public static string? LoaderPartition(string efivars = "/sys/firmware/efi/efivars")
    {
        string path = $"{efivars}/{LoaderVariable}";
        if (!File.Exists(path))
            return null;
        using Dir directory = Dir.Open(efivars);
        return ParseLoaderPartition(directory.ReadAll(LoaderVariable));
    }

    /// <summary>Reads the variable: four bytes of attributes, then UTF-16, least significant byte first, with a NUL.</summary>
    internal static string? ParseLoaderPartition(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 4 && Guid.TryParse(Encoding.Unicode.GetString(bytes[4..]).TrimEnd('\0'), out Guid uuid) ? uuid.ToString("D") : null;
}
