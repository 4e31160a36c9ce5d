using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

// A version that was not found good yet is started once, by the firmware's variable LoaderEntryOneShot; loader.conf's default stays
// what is known to be good until then. docs/decisions/0012 says why the boot loader's own counting is not used.
public sealed partial class EspWriter
{
    /// <summary>How often a new version may fail to come up, where the repository's config does not say (<c>sysroot.boot-counting-tries</c>).</summary>
    private const int UsualTries = 3;

    // What ends a trial; a tree without it would never be found good.
    private const string HealthUnit = "usr/lib/systemd/system/sbox-health.service";

    /// <summary>How many tries a deployment has left; null where it is not on trial.</summary>
    internal int? TriesLeft(DeploymentName name) => Trials.Of(sysroot, name);

    /// <summary>Ends a deployment's trial: it is the default for good.</summary>
    internal void Bless(DeploymentName name)
    {
        Trials.End(sysroot, name);
        SetDefault([name]);
    }

    /// <summary>Ends a deployment's trial, and leaves the default as it is.</summary>
    internal void EndTrial(DeploymentName name) => Trials.End(sysroot, name);

    /// <summary>Takes a try from a version on trial, and has it started once more where one is left.</summary>
    /// <returns>The tries left.</returns>
    internal int Failed(DeploymentName name)
    {
        int left = Math.Max(0, (TriesLeft(name) ?? 0) - 1);
        Trials.Set(sysroot, name, left);
        if (left > 0)
            StartOnce(name);
        return left;
    }

    /// <summary>Whether the next boot starts it once.</summary>
    internal bool StartsOnce(DeploymentName name) => sysroot.Firmware?.EntryOneShot is { } once && UnifiedKernel.IsOf(once, name);

    /// <summary>Makes the first of these what boots when nobody chooses: by loader.conf where it was found good, else once, with one that was as the default.</summary>
    /// <param name="wanted">In boot order.</param>
    internal void SetDefault(IReadOnlyList<DeploymentName> wanted)
    {
        DeploymentName first = wanted[0];
        if (TriesLeft(first) > 0 && FallbackOf(wanted) is { } fallback && StartOnce(first))
        {
            Configure(fallback);
            return;
        }

        Configure(first);
        // What was to be tried is not wanted any more.
        if (sysroot.Firmware?.EntryOneShot is { } once && Trials.Read(sysroot, first.Os).Keys.Append(first).Any(each => UnifiedKernel.IsOf(once, each)))
            TryForget();
    }

    // What the firmware would boot if nothing were on trial: the intention, as people and commands see it.
    private BootChoice Intended(BootChoice choice) =>
        sysroot.Deployments is [var first, ..] && TriesLeft(first.Name) > 0 && choice.Variable is null
            && (choice.OneShot is null ? first.Name == sysroot.BootedName : Means(choice.Once, first.Name))
        && UnifiedKernels().Keys.FirstOrDefault(file => UnifiedKernel.IsOf(file, first.Name)) is { } file
            ? choice with { Entry = file, Once = null, OneShot = null } : choice;

    // What the box falls back on: that which is the default already, what runs, or any other that is there; one that was found good where there is such.
    private DeploymentName? FallbackOf(IReadOnlyList<DeploymentName> wanted)
    {
        string? conf = Default;
        // In the order of how good each is to fall back on.
        return wanted.Skip(1).Where(Names).OrderByDescending(each => TriesLeft(each) is null).ThenByDescending(each => conf is not null && UnifiedKernel.IsOf(conf, each))
            .ThenByDescending(each => each == sysroot.BootedName).Select(static each => (DeploymentName?)each).FirstOrDefault();
    }

    private void Configure(DeploymentName name)
    {
        LoaderConf conf = (ReadConf() ?? LoaderConf.Fresh).WithDefault(UnifiedKernel.FileName(name));
        if (conf != ReadConf())
            Replace(Loader, ConfName, output => output.Write(Encoding.UTF8.GetBytes(conf.Text)));
    }

    // A firmware that takes no variable tries nothing: the version is the default at once.
    private bool StartOnce(DeploymentName name)
    {
        if (sysroot.Firmware is not { } firmware)
            return false;
        try
        {
            if (!StartsOnce(name))
            {
                sysroot.Step("tell the firmware to start it once");
                firmware.SetEntryOneShot(UnifiedKernel.FileName(name));
            }

            return true;
        }
        catch (LinuxException)
        {
            Trials.End(sysroot, name);
            return false;
        }
    }

    private void TryForget()
    {
        try
        {
            sysroot.Step("forget what was to be tried");
            sysroot.Firmware!.ForgetEntryOneShot();
        }
        catch (LinuxException) // Overrule tries it again, and says so
        {
        }
    }

    // A version that can be gone back from, and that says by itself when it is good, is tried first.
    private int TriesOf(BootTarget target, int deployments)
    {
        if (deployments < 2 || sysroot.Firmware is not { IsThere: true })
            return 0;
        using Dir tree = sysroot.Root.OpenDir(target.Name.Directory);
        if (!tree.Exists(HealthUnit))
            return 0;
        return sysroot.Repository.Config.GetString("sysroot", "boot-counting-tries") is { } text && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int set)
            ? Math.Min(set, 9) : UsualTries;
    }

    // Before its UKI is there, so that no cut leaves it as one that was found good.
    private void BeginTrial(BootTarget target, int deployments)
    {
        if (TriesOf(target, deployments) is > 0 and var tries)
            Trials.Set(sysroot, target.Name, tries);
        else
            Trials.End(sysroot, target.Name);
    }

    // Whoever asks for a version by name wants it tried anew.
    private void TryAnew(BootTarget target, int deployments)
    {
        if (TriesLeft(target.Name) == 0)
            BeginTrial(target, deployments);
    }
}
