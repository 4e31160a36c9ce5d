using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Uki;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A tree without systemd's boot loader or EFI stub, of which a bootable ESP is made.</summary>
/// <param name="path">The directory of the tree where they are looked for.</param>
/// <param name="missing">The file.</param>
public sealed class NoBootLoaderException(string path, string missing) : SysrootException($"{path}: no {missing}: the tree lacks the package systemd-boot-efi")
{
    /// <summary>The directory.</summary>
    public string Path { get; } = path;
}

/// <summary>What a UKI is assembled from.</summary>
/// <param name="Stub">systemd's EFI stub.</param>
/// <param name="Kernel">The kernel.</param>
/// <param name="Initrd">The initrd from its beginning, seekable; null where there is none. Closed with this object.</param>
/// <param name="OsRelease">The text of <c>.osrel</c>: what a boot menu shows and sorts by.</param>
/// <param name="CommandLine">The kernel's command line.</param>
/// <param name="KernelVersion">The text of <c>.uname</c>.</param>
public sealed record UnifiedKernel(byte[] Stub, byte[] Kernel, Stream? Initrd, string OsRelease, string CommandLine, string KernelVersion) : IDisposable
{
    /// <summary>The menu entries that it gives beside each other; none for one entry without a name of its own.</summary>
    public IReadOnlyList<UkiProfile> Profiles { get; init; } = [];

    /// <summary>An initrd behind the first, made here and not of the tree; empty for none.</summary>
    public byte[] MoreInitrd { get; init; } = [];

    /// <summary>The TPM's part; null for none.</summary>
    public PcrSignatures? Pcr { get; init; }

    private const string EfiDirectory = "usr/lib/systemd/boot/efi";

    /// <summary>The file name on the ESP: lower case, since systemd-boot compares in lower case.</summary>
    public static string FileName(DeploymentName name) => $"{name.Os.ToLowerInvariant()}-{name.Commit.ToString()[..12]}.{name.Serial}.efi";

    /// <summary>A deployment's UKI on an ESP, by its path there; null where it is missing.</summary>
    public static string? FindOn(Dir esp, DeploymentName name) => $"EFI/Linux/{FileName(name)}" is var path && esp.Exists(path) ? path : null;

    /// <summary>Whether a menu entry is a deployment's: its file's, with a profile's name behind it or none.</summary>
    internal static bool IsOf(string entry, DeploymentName name) => BootChoice.FileOf(entry) == FileName(name);

    /// <summary>The part of EFI file names that says for which machine they are (<c>x64</c>, <c>aa64</c>), by what the tree has.</summary>
    /// <exception cref="NoBootLoaderException">The tree has no stub for any machine.</exception>
    internal static string Machine(Func<string, bool> treeHas, string treePath) =>
        ((string[])["x64", "aa64", "riscv64", "loongarch64"]).FirstOrDefault(machine => treeHas(StubPath(machine)))
            ?? throw new NoBootLoaderException($"{treePath}/{EfiDirectory}", "linuxx64.efi.stub");

    /// <summary>Debian's name of the architecture that a tree is for, by its EFI stub: <c>amd64</c>.</summary>
    /// <exception cref="NoBootLoaderException">The tree has no stub for any machine.</exception>
    public static string Architecture(Dir tree) => Machine(tree.Exists, tree.Path) switch
    {
        "x64" => "amd64",
        "aa64" => "arm64",
        "loongarch64" => "loong64",
        var same => same,
    };

    internal static string StubPath(string machine) => $"{EfiDirectory}/linux{machine}.efi.stub";

    internal static string BootLoaderPath(string machine) => $"{EfiDirectory}/systemd-boot{machine}.efi";

    /// <inheritdoc/>
    public void Dispose() => Initrd?.Dispose();

    /// <summary>Writes the PE image.</summary>
    /// <exception cref="MalformedException">Stub or kernel is no PE image.</exception>
    public static void Assemble(UnifiedKernel parts, Stream output) => UnifiedKernelImage.Build(
        parts.Stub,
        new UkiParts(parts.Kernel, parts.CommandLine, Encoding.UTF8.GetBytes(parts.OsRelease))
        {
            KernelRelease = parts.KernelVersion,
            Initrds =
            [
                .. parts.Initrd is null ? [] : new[] { parts.Initrd },
                .. parts.MoreInitrd.Length == 0 ? [] : new[] { new MemoryStream(parts.MoreInitrd) },
            ],
            Profiles = parts.Profiles,
            PcrPublicKey = Encoding.ASCII.GetBytes(parts.Pcr?.PublicKey ?? ""),
            Others = parts.Pcr is { Signatures.Length: > 0 } pcr ? [new UkiSection(".pcrsig", Encoding.ASCII.GetBytes(pcr.Signatures))] : [],
        },
        output);

    /// <summary>Opens the parts in a deployment's tree.</summary>
    internal static UnifiedKernel Of(Dir tree, BootTarget target, Checksum imageDigest)
    {
        string machine = Machine(tree.Exists, tree.Path);
        KernelLayout kernel = target.Kernel;
        byte[] stub = tree.ReadAll(StubPath(machine)), linux = tree.ReadAll($"{kernel.Directory}/vmlinuz");
        FileStream? initrd = kernel.Initrd is null ? null : new FileStream(tree.OpenFile($"{kernel.Directory}/{kernel.Initrd}"), FileAccess.Read);
        return target.Seal is { } seal
            ? new UnifiedKernel(stub, linux, initrd, seal.OsRelease, seal.CommandLine, kernel.Version) { Profiles = seal.UkiProfiles, MoreInitrd = seal.MoreInitrd, Pcr = seal.Pcr }
            : Unsealed(target, Arguments(target, imageDigest).ToString());

        UnifiedKernel Unsealed(BootTarget target, string arguments) =>
            new(stub, linux, initrd, Release(target).ToString(), arguments, kernel.Version) { Profiles = BootProfiles.Of(BootProfiles.Standard, arguments) };
    }

    // root= first, then which deployment and its image, then all else in its order.
    internal static KernelArguments Arguments(BootTarget target, Checksum imageDigest)
    {
        KernelArgument[] own = [new($"sbox.deployment={target.Name}"), new($"composefs={imageDigest}")];
        List<KernelArgument> rest = [.. target.Arguments.Where(static argument => argument.Key is not ("sbox.deployment" or "composefs" or "ostree"))];
        int root = rest.FindIndex(static argument => argument.Key == "root");
        return KernelArguments.Of([.. rest[..(root + 1)], .. own, .. rest[(root + 1)..]]);
    }

    // systemd-boot sorts by the version here before it looks at file names, newest first: so the newest is the default even where
    // loader.conf is lost. The commit's time tells two builds of one version apart.
    internal static OsRelease Release(BootTarget target)
    {
        string text = target.Version ?? target.Release["VERSION_ID"] ?? "0";
        string version = new([.. text.Select(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' ? c : '.')]);
        return target.Release
            .With("PRETTY_NAME", target.Title)
            .With("IMAGE_VERSION", $"{version}-{target.Time.UtcDateTime:yyyyMMddHHmmss}");
    }
}
