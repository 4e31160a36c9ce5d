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
    // Trees made before usr/lib/modules/KVER held the kernel: NAME-BOOTCSUM in one of these, and the checksum is the name's.
    private static readonly string[] Legacy = ["usr/lib/ostree-boot", "boot"];

    /// <summary>Where an old tree keeps them in place of <c>usr/lib/modules</c>; null for a newer one.</summary>
    public string? LegacyDirectory { get; init; }

    /// <summary>The kernel's file name there.</summary>
    public string Kernel { get; init; } = "vmlinuz";

    /// <summary>The kernel's HMAC, which FIPS boots need; null where there is none.</summary>
    public string? Hmac { get; init; }

    /// <summary>The directory with the files, from the tree's root.</summary>
    public string Directory => LegacyDirectory ?? $"usr/lib/modules/{Version}";

    /// <summary>The kernel's name in /boot.</summary>
    public string KernelName => LegacyDirectory is null ? $"vmlinuz-{Version}" : WithoutChecksum(Kernel);

    /// <summary>The initrd's name in /boot.</summary>
    public string? InitrdName => Initrd is null ? null : LegacyDirectory is null ? $"initramfs-{Version}.img" : WithoutChecksum(Initrd);

    /// <summary>The device tree's name in /boot.</summary>
    public string? DeviceTreeName => DeviceTree is null ? null : LegacyDirectory is null ? $"devicetree-{Version}" : WithoutChecksum(DeviceTree);

    /// <summary>The HMAC's name in /boot: beside the kernel, after its name.</summary>
    public string? HmacName => Hmac is null ? null : $".{KernelName}.hmac";

    /// <summary>Finds the kernel. Of several the newest counts (libostree takes the first that the file system happens to list).</summary>
    /// <param name="tree">The tree's root, a deployment's directory.</param>
    /// <param name="known">The checksum by which /boot has it already, as libostree keeps it too; null: of its bytes.</param>
    /// <exception cref="NoKernelException">There is none.</exception>
    public static KernelLayout Find(Dir tree, Checksum? known = null)
    {
        KernelLayout? modern = FindModern(tree, known), legacy = FindLegacy(tree);
        // A kernel that the packages left in usr/lib/modules is not the one that an initrd was made for.
        return legacy is not null && (modern is null || (modern.Initrd is null && legacy.Initrd is not null)) ? legacy : modern ?? throw new NoKernelException(tree.Path);
    }

    private static KernelLayout? FindLegacy(Dir tree)
    {
        foreach (string directory in Legacy)
        {
            using Dir? files = tree.TryOpenDir(directory);
            string[] names = [.. (files?.Entries() ?? []).Select(static entry => entry.Name)];
            string? Named(string prefix) => names.FirstOrDefault(name => name.StartsWith(prefix, StringComparison.Ordinal) && ChecksumOf(name) is not null);
            if (Named("vmlinuz-") is { } kernel)
                return new KernelLayout("", Named("initramfs-"), Named("devicetree-"), null, ChecksumOf(kernel)!.Value) { LegacyDirectory = directory, Kernel = kernel };
        }

        return null;
    }

    private static Checksum? ChecksumOf(string name) =>
        name.LastIndexOf('-') is var dash and > 0 && Checksum.TryParse(name.AsSpan(dash + 1), out Checksum checksum) ? checksum : null;

    private static string WithoutChecksum(string name) => name[..name.LastIndexOf('-')];

    private static KernelLayout? FindModern(Dir tree, Checksum? known)
    {
        using Dir? modules = tree.TryOpenDir("usr/lib/modules");
        string? version = modules?.Entries()
            .Select(static entry => entry.Name)
            .Where(name => modules.TryStat($"{name}/vmlinuz") is { IsRegular: true })
            .Order(VersionOrder.Comparer)
            .LastOrDefault();
        if (version is null)
            return null;
        using Dir files = modules!.OpenDir(version);
        string? initrd = FirstOf(files, FileKind.Regular, "initramfs.img", "initramfs");
        string? single = FirstOf(files, FileKind.Regular, "devicetree");
        // libostree's own tests deploy one tree without and then with them.
        bool without = Environment.GetEnvironmentVariable("OSTREE_SYSROOT_DEBUG")?.Split(',').Contains("no-dtb") ?? false;
        string? trees = single is null && !without ? FirstOf(files, FileKind.Directory, "dtb") : null;
        return new KernelLayout(version, initrd, single, trees, known ?? ChecksumOf(files, initrd, single, trees)) { Hmac = FirstOf(files, FileKind.Regular, ".vmlinuz.hmac") };
    }

    private static Checksum ChecksumOf(Dir files, string? initrd, string? deviceTree, string? deviceTrees)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(hash, files, "vmlinuz");
        if (initrd is not null)
            Append(hash, files, initrd);
        if (deviceTree is not null)
            Append(hash, files, deviceTree);
        else if (deviceTrees is not null)
            AppendAll(hash, files, deviceTrees);
        return Checksum.FromBytes(hash.GetHashAndReset());
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
