namespace Sbox.Boot;

/// <summary>Which partition the firmware booted from, or would.</summary>
public static class EfiSystemPartition
{
    /// <summary>The partition type of an EFI system partition, as udev prints it.</summary>
    public const string PartitionType = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    /// <summary>Finds it: the one that the boot loader says it came from, else the one on the disk of the root.</summary>
    /// <param name="devices">All block devices.</param>
    /// <param name="loaderPartition">What <see cref="LoaderVariables.PartitionUuid"/> says.</param>
    /// <param name="rootDevice">Major and minor of the physical root's device.</param>
    /// <returns>Null where there is none. The loader's word counts only for a partition that is here.</returns>
    public static BlockDevice? Find(IReadOnlyList<BlockDevice> devices, string? loaderPartition, string? rootDevice)
    {
        BlockDevice? booted = loaderPartition is null ? null : devices.FirstOrDefault(device => device.PartitionUuid == loaderPartition);
        if (booted is not null)
            return booted;
        BlockDevice? root = devices.FirstOrDefault(device => device.Number == rootDevice);
        if (root?.Below is { } below)
            root = devices.FirstOrDefault(device => device.Name == below);
        string? disk = root?.Disk;
        return disk is null ? null : devices.FirstOrDefault(device => device.Disk == disk && device.PartitionType == PartitionType);
    }
}
