using Sbox.Codecs;

namespace Sbox.Image;

/// <summary>The initrd of a tree: dracut runs inside it, for any machine and not for the one that builds.</summary>
internal static class Initrd
{
    private const string Made = "boot/sbox-initrd.img";

    private static readonly string[] Modules =
    [
        "dash", "systemd", "systemd-initrd", "systemd-journald", "systemd-udevd", "systemd-modules-load", "systemd-sysctl", "systemd-tmpfiles",
        "systemd-emergency", "dracut-systemd", "base", "fs-lib", "kernel-modules", "udev-rules", "shutdown",
    ];

    // Disks that people and clouds have, the file systems of a box, a keyboard for the emergency shell. All of Debian's would be 33 MB.
    private static readonly string[] Drivers =
    [
        "virtio", "virtio_pci", "virtio_blk", "virtio_scsi", "ahci", "ata_piix", "nvme", "vmd", "usb_storage", "uas", "sd_mod", "sr_mod",
        "sdhci_pci", "sdhci_acpi", "mmc_block", "mptspi", "vmw_pvscsi", "hv_storvsc", "hv_vmbus", "xen_blkfront",
        "ehci_pci", "ohci_pci", "uhci_hcd", "xhci_pci", "usbhid", "hid_generic", "atkbd", "i8042",
        "ext4", "erofs", "overlay", "loop", "vfat", "nls_ascii", "nls_cp437", "nls_utf8", "dm_mod", "dm_crypt", "dm_verity",
    ];

    // Where a recipe's file can change what dracut makes; it is put into the tree before dracut runs.
    private static readonly string[] Configured =
    [
        "/etc/dracut", "/usr/lib/dracut", "/etc/modprobe.d", "/usr/lib/modprobe.d", "/etc/modules", "/usr/lib/modules-load.d", "/etc/udev",
        "/usr/lib/udev", "/etc/systemd", "/usr/lib/systemd", "/etc/sysctl", "/usr/lib/sysctl.d", "/etc/tmpfiles.d", "/usr/lib/tmpfiles.d",
        "/etc/vconsole.conf", "/etc/crypttab", "/etc/cmdline",
    ];

    /// <summary>Whether a file of the recipe must be in the tree when the initrd is made.</summary>
    public static bool DependsOn(RecipeFile file) => Configured.Any(prefix => file.Path.StartsWith(prefix, StringComparison.Ordinal));

    /// <summary>One key for all that goes into the initrd; the packages are known by their versions.</summary>
    public static Checksum Key(Recipe recipe, IReadOnlyList<InstalledPackage> packages, BoxPrograms? programs)
    {
        using var digest = new InputDigest("sbox initrd 1");
        digest.Add(Arguments(recipe, "KVER", programs)).Add(RecipeDigest.OfPackages(recipe.Packages).Span).Add(packages.Select(package => $"{package}"));
        digest.Add(programs is null ? [] : programs.InitrdDigest().Span);
        foreach (RecipeFile file in recipe.Files.Where(DependsOn))
            RecipeDigest.AddFile(digest, file);
        return digest.Finish();
    }

    /// <summary>Makes the initrd and moves it out of the tree, to a name on the same file system.</summary>
    public static void Make(TreeRoot tree, Recipe recipe, string kernel, BoxPrograms? programs, long sourceDateEpoch, string destination, StepRunner runner)
    {
        runner.Run(InTree.Command(tree, "dracut", Arguments(recipe, kernel, programs), sourceDateEpoch));
        File.Move($"{tree.Path}/{Made}", destination, overwrite: true);
    }

    private static IReadOnlyList<string> Arguments(Recipe recipe, string kernel, BoxPrograms? programs) =>
    [
        "--force", "--quiet", "--no-hostonly", "--no-hostonly-cmdline", "--no-early-microcode", "--reproducible", "--zstd", "--tmpdir", "/tmp",
        "--modules", string.Join(' ', [.. Modules, .. programs is null ? Array.Empty<string>() : ["sbox"], .. recipe.Initrd.Modules]),
        "--drivers", string.Join(' ', [.. Drivers, .. recipe.Initrd.Drivers]),
        "--kver", kernel, "/" + Made,
    ];
}
