using System.Text;
using Sbox.Boot;

namespace Sbox.Sysroot;

/// <summary>The deployments as GRUB's own menu has them: what its generator's script for ostree prints.</summary>
/// <remarks>docs/formats/boot-entry.md; seen in what ostree 2026.4 prints.</remarks>
public static class GrubMenu
{
    /// <summary>The text.</summary>
    /// <param name="sysroot">The sysroot.</param>
    /// <param name="version">Which boot entries, 0 or 1; null for the active ones.</param>
    /// <param name="deviceId">The boot device's name, by which GRUB tells entries of several systems apart.</param>
    /// <param name="prepareRoot">The lines by which GRUB finds the disk, as its generator made them.</param>
    public static string Of(OstreeSysroot sysroot, int? version, string deviceId, string prepareRoot)
    {
        var text = new StringBuilder();
        foreach ((int index, BootEntry entry) in BootLinks.ReadEntries(sysroot.Root, version ?? sysroot.BootVersion.Version).Select(static each => each.Entry).Index())
        {
            text.Append($"menuentry '{entry.Title}' --class gnu-linux --class gnu --class os --unrestricted 'ostree-{index}-{deviceId}' {{\n");
            text.Append("load_video\nset gfxpayload=keep\ninsmod gzio\n").Append(prepareRoot).Append('\n');
            text.Append($"linux {entry.Linux} {entry.Options}\n");
            foreach (string initrd in entry.Initrds.Take(1)) // as libostree: overlays are not among them
                text.Append($"initrd {initrd}\n");
            text.Append("}\n");
        }

        return text.ToString();
    }
}
