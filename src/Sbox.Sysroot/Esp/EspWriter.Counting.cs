using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

public sealed partial class EspWriter
{
    /// <summary>How often a new version may fail to come up, where the repository's config does not say (<c>sysroot.boot-counting-tries</c>).</summary>
    private const int UsualTries = 3;

    // What ends the counting; a tree without it would lose its entry after three good boots.
    private const string HealthUnit = "usr/lib/systemd/system/sbox-health.service";

    /// <summary>The counters of those that have one.</summary>
    internal IReadOnlyDictionary<DeploymentName, BootTries> Tries(IEnumerable<DeploymentName> names)
    {
        string[] files = [.. UnifiedKernels().Keys];
        var tries = new Dictionary<DeploymentName, BootTries>();
        foreach (DeploymentName name in names)
        {
            if (files.FirstOrDefault(file => UnifiedKernel.IsOf(file, name)) is { } file && CounterOf(file) is { } counter)
                tries[name] = counter;
        }

        return tries;
    }

    /// <summary>Takes the counter from a deployment's file, and makes it the default by its lasting name.</summary>
    internal void Bless(DeploymentName name)
    {
        RenameTo(name, UnifiedKernel.FileName(name));
        SetDefault(name);
    }

    /// <summary>Makes a deployment what boots when nobody chooses.</summary>
    internal void SetDefault(DeploymentName name)
    {
        if (UnifiedKernels().Keys.FirstOrDefault(file => UnifiedKernel.IsOf(file, name)) is not { } there)
            return;
        LoaderConf conf = (ReadConf() ?? LoaderConf.Fresh).WithDefault(DefaultFor(there));
        if (conf != ReadConf())
            Replace(Loader, ConfName, output => output.Write(Encoding.UTF8.GetBytes(conf.Text)));
    }

    /// <summary>
    /// What loader.conf's default says for a file. With a counter: a pattern that fits it for as long as tries are left, and without a counter as well
    /// (the boot loader renames the file at each try); then the boot loader takes the first of its menu, in which what failed comes last.
    /// </summary>
    internal static string DefaultFor(string file) =>
        CounterOf(file) is null ? file : $"{UnifiedKernel.WithoutCounter(file)[..^4]}[.+][e123456789]*fi";

    internal static BootTries? CounterOf(string file)
    {
        if (UnifiedKernel.WithoutCounter(file) == file)
            return null;
        string[] counts = file[(file.LastIndexOf('+') + 1)..^4].Split('-');
        return new BootTries(Number(counts[0]), counts.Length > 1 ? Number(counts[1]) : 0);

        static int Number(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : 0;
    }

    // A version that can be gone back from, and that says by itself when it is good, is counted.
    private string NewName(BootTarget target, int deployments)
    {
        string plain = UnifiedKernel.FileName(target.Name);
        int tries = sysroot.Repository.Config.GetString("sysroot", "boot-counting-tries") is { } text && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int set)
            ? Math.Min(set, 9) : UsualTries;
        using Dir tree = sysroot.Root.OpenDir(target.Name.Directory);
        return tries > 0 && deployments > 1 && tree.Exists(HealthUnit) ? $"{plain[..^4]}+{tries}.efi" : plain;
    }

    // Whoever asks for a version by name wants it tried anew.
    private void Recount(BootTarget target, int deployments)
    {
        if (UnifiedKernels().Keys.FirstOrDefault(file => UnifiedKernel.IsOf(file, target.Name)) is { } there && CounterOf(there) is { Left: 0 })
            RenameTo(target.Name, NewName(target, deployments));
    }

    private void RenameTo(DeploymentName name, string wanted)
    {
        using Dir linux = esp.OpenDir(Linux);
        if (UnifiedKernels().Keys.FirstOrDefault(file => UnifiedKernel.IsOf(file, name)) is not { } there || there == wanted)
            return;
        sysroot.Step($"rename {linux.Of(there)} to {wanted}");
        linux.Rename(there, linux, wanted);
        Durable.Sync(linux);
    }
}
