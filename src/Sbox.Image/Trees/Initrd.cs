using Sbox.Boot;
using Sbox.Codecs;

namespace Sbox.Image;

/// <summary>The initrd of a tree, for any machine and not for the one that builds: sbox-root alone, or dracut's.</summary>
internal static class Initrd
{
    // Disks that people and clouds have, the file systems of a box, a keyboard for the emergency shell. All of Debian's would be 33 MB.
    private static readonly string[] Drivers =
    [
        "virtio", "virtio_pci", "virtio_blk", "virtio_scsi", "ahci", "ata_piix", "nvme", "vmd", "usb_storage", "uas", "sd_mod", "sr_mod",
        "sdhci_pci", "sdhci_acpi", "mmc_block", "mptspi", "vmw_pvscsi", "hv_storvsc", "hv_vmbus", "pci_hyperv", "hyperv_keyboard", "virtio_mmio", "xen_blkfront",
        "ehci_pci", "ohci_pci", "uhci_hcd", "xhci_pci", "usbhid", "hid_generic", "atkbd", "i8042",
        "ext4", "erofs", "overlay", "loop",
        "efivarfs", // in which the boot loader says which disk it came from
    ];

    /// <summary>Whether a file of the recipe must be in the tree when the initrd is made.</summary>
    public static bool DependsOn(Recipe recipe, RecipeFile file) => recipe.Initrd.MadeBy == InitrdMaker.Dracut && DracutInitrd.Reads(file);

    /// <summary>One key for all that goes into the initrd; the packages are known by their versions.</summary>
    public static Checksum Key(Recipe recipe, IReadOnlyList<InstalledPackage> packages, BoxPrograms? programs)
    {
        using var digest = new InputDigest("sbox initrd 2");
        digest.Add($"{recipe.Initrd.MadeBy}").Add(recipe.Initrd.Modules).Add(AllDrivers(recipe));
        digest.Add(RecipeDigest.OfPackages(recipe.Packages).Span).Add(packages.Select(package => $"{package}"));
        digest.Add(programs is null ? [] : programs.InitrdDigest().Span);
        digest.Add(recipe.Initrd.MadeBy == InitrdMaker.Dracut ? DracutInitrd.Arguments(recipe, AllDrivers(recipe), "KVER", programs) : OwnInitrd.Contents(recipe.Initrd.EncryptedRoot));
        foreach (RecipeFile file in recipe.Files.Where(file => DependsOn(recipe, file)))
            RecipeDigest.AddFile(digest, file);
        return digest.Finish();
    }

    /// <summary>Makes the initrd and moves it out of the tree, to a name on the same file system.</summary>
    /// <exception cref="BuildFailedException">A tool failed, or a driver that the recipe asks for is not there.</exception>
    public static void Make(TreeRoot tree, Recipe recipe, string kernel, BoxPrograms? programs, long sourceDateEpoch, string destination, StepRunner runner)
    {
        if (recipe.Initrd.MadeBy == InitrdMaker.Dracut)
            DracutInitrd.Make(tree, recipe, AllDrivers(recipe), kernel, programs, sourceDateEpoch, destination, runner);
        else
            OwnInitrd.Make(tree, AllDrivers(recipe), recipe.Initrd, kernel, sourceDateEpoch, destination, runner);
    }

    private static IReadOnlyList<string> AllDrivers(Recipe recipe) =>
        [.. Drivers, .. recipe.Initrd.EncryptedRoot ? EncryptedDisk.Modules : [], .. recipe.Initrd.Drivers];
}
