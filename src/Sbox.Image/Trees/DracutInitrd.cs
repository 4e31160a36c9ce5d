namespace Sbox.Image;

/// <summary>An initrd made by dracut inside the tree: systemd, udev, and sbox-root as a unit. For LUKS, network disks and odd hardware.</summary>
internal static class DracutInitrd
{
    private const string Made = "boot/sbox-initrd.img";

    // Without dracut's own hooks (base, dracut-systemd): systemd and sbox-root do all that a box needs, and the hooks cost seconds.
    private static readonly string[] Modules =
    [
        "bash", "systemd", "systemd-initrd", "systemd-journald", "systemd-udevd", "systemd-modules-load", "systemd-emergency",
        "fs-lib", "kernel-modules", "udev-rules",
    ];

    private static readonly string[] Drivers = ["vfat", "nls_ascii", "nls_cp437", "nls_utf8", "dm_mod", "dm_crypt", "dm_verity"];

    // Where a recipe's file can change what dracut makes; it is put into the tree before dracut runs.
    private static readonly string[] Configured =
    [
        "/etc/dracut", "/usr/lib/dracut", "/etc/modprobe.d", "/usr/lib/modprobe.d", "/etc/modules", "/usr/lib/modules-load.d", "/etc/udev",
        "/usr/lib/udev", "/etc/systemd", "/usr/lib/systemd", "/etc/sysctl", "/usr/lib/sysctl.d", "/etc/tmpfiles.d", "/usr/lib/tmpfiles.d",
        "/etc/vconsole.conf", "/etc/crypttab", "/etc/cmdline",
    ];

    /// <summary>Whether dracut reads such a file of the recipe.</summary>
    public static bool Reads(RecipeFile file) => Configured.Any(prefix => file.Path.StartsWith(prefix, StringComparison.Ordinal));

    public static void Make(
        TreeRoot tree, Recipe recipe, IReadOnlyList<string> drivers, string kernel, BoxPrograms? programs, long sourceDateEpoch, string destination, StepRunner runner)
    {
        if (!tree.Exists("usr/bin/dracut"))
            throw new BuildFailedException("initrd", "the recipe wants an initrd made by dracut, and its packages do not have it; add dracut");
        runner.Run(InTree.Command(tree, "dracut", Arguments(recipe, drivers, kernel, programs), sourceDateEpoch));
        File.Move($"{tree.Path}/{Made}", destination, overwrite: true);
    }

    public static IReadOnlyList<string> Arguments(Recipe recipe, IReadOnlyList<string> drivers, string kernel, BoxPrograms? programs) =>
    [
        "--force", "--quiet", "--no-hostonly", "--no-hostonly-cmdline", "--no-early-microcode", "--reproducible", "--zstd", "--tmpdir", "/tmp",
        "--modules", string.Join(' ', [.. Modules, .. programs is null ? Array.Empty<string>() : ["sbox"], .. recipe.Initrd.Modules]),
        "--drivers", string.Join(' ', [.. drivers, .. Drivers]),
        "--kver", kernel, "/" + Made,
    ];
}
