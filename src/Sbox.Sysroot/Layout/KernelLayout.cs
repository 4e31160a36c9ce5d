using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A tree without a kernel where one is looked for.</summary>
/// <param name="path">The tree.</param>
public sealed class NoKernelException(string path) : IOException($"{path}: no usr/lib/modules/VERSION/vmlinuz: this tree cannot boot")
{
    /// <summary>The tree.</summary>
    public string Path { get; } = path;
}

/// <summary>The kernel, initrd and device trees of a tree, and the checksum that names their directory in /boot.</summary>
/// <param name="Version">The kernel's version, a directory of <c>usr/lib/modules</c>.</param>
/// <param name="Initrd">The initrd's file name there; null where there is none.</param>
/// <param name="DeviceTree">The single device tree's file name there; null where there is none.</param>
/// <param name="DeviceTrees">A directory of device trees there; null where there is none.</param>
/// <param name="BootChecksum">SHA-256 over the bytes of kernel, initrd and device trees, one after the other, without their names.</param>
/// <remarks>docs/formats/sysroot.md, after get_kernel_from_tree_usrlib_modules of libostree's ostree-sysroot-deploy.c.</remarks>
public sealed record KernelLayout(string Version, string? Initrd, string? DeviceTree, string? DeviceTrees, Checksum BootChecksum)
{
    /// <summary>The directory with the files, from the tree's root.</summary>
    public string Directory => $"usr/lib/modules/{Version}";

    /// <summary>The kernel's name in /boot.</summary>
    public string KernelName => $"vmlinuz-{Version}";

    /// <summary>The initrd's name in /boot.</summary>
    public string? InitrdName => Initrd is null ? null : $"initramfs-{Version}.img";

    /// <summary>The device tree's name in /boot.</summary>
    public string? DeviceTreeName => DeviceTree is null ? null : $"devicetree-{Version}";

    /// <summary>Finds the kernel. Of several the newest counts (libostree takes the first that the file system happens to list).</summary>
    /// <param name="tree">The tree's root, a deployment's directory.</param>
    /// <exception cref="NoKernelException">There is none.</exception>
    public static KernelLayout Find(Dir tree)
    {
        using Dir? modules = tree.TryOpenDir("usr/lib/modules");
        string version = modules?.Entries()
            .Select(static entry => entry.Name)
            .Where(name => modules.TryStat($"{name}/vmlinuz") is { IsRegular: true })
            .Order(VersionOrder.Comparer)
            .LastOrDefault() ?? throw new NoKernelException(tree.Path);
        using Dir files = modules!.OpenDir(version);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(hash, files, "vmlinuz");
        string? initrd = FirstOf(files, FileKind.Regular, "initramfs.img", "initramfs");
        if (initrd is not null)
            Append(hash, files, initrd);
        string? tree1 = FirstOf(files, FileKind.Regular, "devicetree");
        string? trees = tree1 is null ? FirstOf(files, FileKind.Directory, "dtb") : null;
        if (tree1 is not null)
            Append(hash, files, tree1);
        else if (trees is not null)
            AppendAll(hash, files, trees);
        return new KernelLayout(version, initrd, tree1, trees, Checksum.FromBytes(hash.GetHashAndReset()));
    }

    private static string? FirstOf(Dir dir, FileKind kind, params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (dir.TryStat(name)?.Kind == kind)
                return name;
        }

        return null;
    }

    private static void AppendAll(IncrementalHash hash, Dir parent, string name)
    {
        using Dir dir = parent.OpenDir(name);
        foreach (DirEntry entry in dir.Entries())
        {
            if (dir.Stat(entry.Name).IsDirectory)
                AppendAll(hash, dir, entry.Name);
            else
                Append(hash, dir, entry.Name);
        }
    }

    private static void Append(IncrementalHash hash, Dir dir, string name)
    {
        using SafeFileHandle file = dir.OpenFile(name);
        var buffer = new byte[1 << 20];
        long at = 0;
        for (int read; (read = RandomAccess.Read(file, buffer, at)) > 0; at += read)
            hash.AppendData(buffer, 0, read);
    }
}
