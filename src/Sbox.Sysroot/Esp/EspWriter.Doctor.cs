using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Uki;
using Sbox.Linux;

namespace Sbox.Sysroot;

public sealed partial class EspWriter
{
    /// <summary>The mounted EFI partition.</summary>
    internal Dir Directory => esp;

    /// <summary>A deployment's UKI, from the partition's root; null where it is missing.</summary>
    internal string? FileOf(DeploymentName name) => UnifiedKernel.FindOn(esp, name);

    /// <summary>The UKIs, from the partition's root, that are none of these deployments'.</summary>
    internal IReadOnlyList<string> Strangers(IReadOnlyList<DeploymentName> deployed) =>
        [.. UnifiedKernels().Keys.Where(file => !deployed.Any(name => UnifiedKernel.IsOf(file, name))).Order(StringComparer.Ordinal).Select(static file => $"{Linux}/{file}")];

    /// <summary>Files that a cut left half-written, from the partition's root.</summary>
    internal IReadOnlyList<string> Leftovers()
    {
        var files = new List<string>();
        foreach (string path in (string[])[Linux, Systemd, Fallback, Loader])
        {
            using Dir? dir = esp.TryOpenDir(path);
            files.AddRange((dir?.Entries() ?? []).Select(static entry => entry.Name).Where(name => IsTemporary(name) || IsEmpty(dir!, name)).Select(name => $"{path}/{name}"));
        }

        return files;
    }

    /// <summary>Boot loaders that firmware looks for, and that are missing; none where the partition has another machine's.</summary>
    internal IReadOnlyList<string> MissingLoaders(Dir tree)
    {
        string machine = UnifiedKernel.Machine(tree.Exists, tree.Path);
        string[] wanted = [$"{Systemd}/systemd-boot{machine}.efi", $"{Fallback}/BOOT{machine.ToUpperInvariant()}.EFI"];
        return [.. wanted.Where(path => !esp.Exists(path))];
    }

    /// <summary>What loader.conf says boots when nobody chooses; null for nothing.</summary>
    internal string? ConfiguredDefault => ReadConf()?.Default;

    /// <summary>The names of all menu entries, lower case.</summary>
    internal IReadOnlyList<string> MenuEntries => Entries();

    /// <summary>The command line in a UKI.</summary>
    /// <param name="path">From the partition's root.</param>
    /// <param name="finding">What is wrong with the file; null where nothing is.</param>
    /// <returns>Null where it cannot be read.</returns>
    internal KernelArguments? CommandLineIn(string path, out string? finding)
    {
        using SafeFileHandle file = esp.OpenFile(path);
        long length = Files.Stat(file, esp.Of(path)).Size;
        try
        {
            IReadOnlyList<UkiPlace> places = UnifiedKernelImage.Find(BootProfiles.Read(file, 0, BootProfiles.HeaderBytes), length);
            finding = places.Any(static place => place.Name == ".linux") ? null : "has no kernel in it";
            if (places.FirstOrDefault(static place => place.Name == ".cmdline") is { Length: < 1 << 16 } line)
                return KernelArguments.Parse(Encoding.UTF8.GetString(BootProfiles.Read(file, line.Offset, (int)line.Length)).TrimEnd('\0', '\n'));
            finding = "has no command line in it";
        }
        catch (MalformedException damaged)
        {
            finding = $"is no whole UKI: {damaged.Message}";
        }

        return null;
    }

    /// <summary>Writes a deployment's UKI over the one that is there.</summary>
    internal void Rewrite(BootTarget target, Checksum imageDigest)
    {
        sealing.RequireSeal(target);
        MakeDirectories();
        WriteUnifiedKernel(target, imageDigest);
    }
}
