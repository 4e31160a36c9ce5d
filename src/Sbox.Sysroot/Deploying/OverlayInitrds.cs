using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Initrds that an owner gives beside a tree's own, which the boot loader loads after it: <c>boot/ostree/initramfs-overlays/CHECKSUM.img</c>, CHECKSUM being SHA-256 of the
/// file. A boot entry names them, and they stay as long as one does.
/// </summary>
/// <remarks>docs/formats/sysroot.md; seen in sysroots that ostree 2026.4 made.</remarks>
internal static class OverlayInitrds
{
    /// <summary>Where they are, from /boot.</summary>
    public const string Directory = "ostree/initramfs-overlays";

    /// <summary>Whether a boot entry's path is one of them.</summary>
    public static bool Holds(string path) => path.Contains($"/{Directory}/", StringComparison.Ordinal);

    /// <summary>Brings files there, before any entry names them.</summary>
    /// <returns>Their names there, in the same order.</returns>
    /// <exception cref="LinuxException">One cannot be read, or there is no room.</exception>
    public static IReadOnlyList<string> Install(OstreeSysroot sysroot, IReadOnlyList<string> files)
    {
        if (files.Count == 0)
            return [];
        using Dir boot = sysroot.Root.OpenDir(Layout.Boot);
        using Dir overlays = boot.MakeAndOpenDir(Directory);
        return [.. files.Select(Install)];

        string Install(string path)
        {
            using Dir from = Dir.Open(Path.GetDirectoryName(Path.GetFullPath(path))!);
            byte[] content = from.ReadAll(Path.GetFileName(path));
            string name = $"{Checksum.Of(content)}.img";
            if (overlays.Exists(name))
                return name;
            sysroot.Step($"install {overlays.Of(name)}");
            Durable.Replace(overlays, name, content);
            return name;
        }
    }
}
