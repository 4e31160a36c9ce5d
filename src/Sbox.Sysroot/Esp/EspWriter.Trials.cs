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

    // What ends a trial; a tree without it would never be found good, nor one whose owner switched it off.
    private const string HealthUnit = "usr/lib/systemd/system/sbox-health.service", HealthMask = "etc/systemd/system/sbox-health.service";

    private string? OneShot
    {
        get
        {
            try
            {
                return sysroot.Firmware?.EntryOneShot;
            }
            catch (LinuxException) // what cannot be read starts nothing that we know
            {
                return null;
            }
        }
    }

    /// <summary>How many tries a deployment has left; null where it is not on trial.</summary>
    internal int? TriesLeft(DeploymentName name) => Trials.Of(sysroot, name)?.Left;

    /// <summary>Whether loader.conf names a deployment.</summary>
    internal bool IsDefault(DeploymentName name) => Default is { } conf && UnifiedKernel.IsOf(conf, name);

    /// <summary>Whether the next boot starts it once.</summary>
    internal bool StartsOnce(DeploymentName name) => OneShot is { } once && UnifiedKernel.IsOf(once, name);

    /// <summary>Ends a deployment's trial: it is the default for good.</summary>
    internal void Bless(DeploymentName name)
    {
        // In this order: cut in between, it is still on trial, and found good once more.
        Configure(name, BootsAsOf(name));
        Trials.End(sysroot, name);
        ForgetTrials(name.Os, name);
    }

    /// <summary>Ends a deployment's trial, and leaves the default as it is.</summary>
    internal void EndTrial(DeploymentName name) => Trials.End(sysroot, name);

    /// <summary>Takes a try from a version on trial, and has it started once more where one is left.</summary>
    /// <param name="name">Which.</param>
    /// <param name="boot">The boot in which that is counted: once in each.</param>
    /// <returns>The tries left; none also where the firmware does not take the variable, or the disk does not take the count.</returns>
    internal int Failed(DeploymentName name, string boot)
    {
        if (Trials.Of(sysroot, name) is not { } trial)
            return 0;
        int left = trial.CountedIn == boot ? trial.Left : Math.Max(0, trial.Left - 1);
        try
        {
            Trials.Set(sysroot, name, new Trial(left, boot));
            if (left > 0 && !StartOnce(name, BootsAsOf(name)))
                Trials.Set(sysroot, name, new Trial(left = 0, boot));
            return left;
        }
        catch (IOException)
        {
            // A version that fills the disk must not go on running for that. Uncounted tries would have no end, so there is none: the version before starts next.
            return 0;
        }
    }

    /// <summary>Makes the first of these what boots when nobody chooses: by loader.conf where it was found good, else once, with one that was as the default.</summary>
    /// <param name="wanted">In boot order.</param>
    internal void SetDefault(IReadOnlyList<DeploymentName> wanted)
    {
        DeploymentName first = wanted[0];
        DefaultBoot boots = BootsAsOf(first);
        DeploymentName? fallback = TriesLeft(first) is null ? null : FallbackOf(wanted);
        if (TriesLeft(first) > 0 && fallback is { } before && StartOnce(first, boots))
        {
            Configure(before, boots);
            return;
        }

        if (TriesLeft(first) == 0 && fallback is { } good)
        {
            Configure(good, boots); // it was given up: until what runs is put first, what was found good boots
            return;
        }

        // Nothing to go back to, or a firmware that takes no variable: no trial.
        Configure(first, boots);
        Trials.End(sysroot, first);
        ForgetTrials(first.Os, first);
    }

    // What was to be tried is not wanted any more.
    private void ForgetTrials(string os, DeploymentName also)
    {
        if (OneShot is not { } once || !Trials.Read(sysroot, os).Keys.Append(also).Any(each => UnifiedKernel.IsOf(once, each)))
            return;
        try
        {
            sysroot.Step("forget what was to be tried");
            sysroot.Firmware!.ForgetEntryOneShot();
        }
        catch (LinuxException) // Overrule tries it again, and says so
        {
        }
    }

    // What the box would start if nothing were on trial: the intention, as people and commands see it.
    private BootChoice Intended(BootChoice choice) =>
        sysroot.Deployments is [var first, ..] && TriesLeft(first.Name) > 0 && choice.Variable is null
            && (choice.OneShot is null ? first.Name == sysroot.BootedName : Means(choice.Once, first.Name))
        && Names(first.Name)
            ? choice with { Entry = EntryOf(first.Name, BootsAsOf(first.Name)), Once = null, OneShot = null } : choice;

    // In the order of how good each is to fall back on: found good, the default already, what runs.
    private DeploymentName? FallbackOf(IReadOnlyList<DeploymentName> wanted) => wanted.Skip(1).Where(Names)
        .OrderByDescending(each => TriesLeft(each) is null).ThenByDescending(IsDefault).ThenByDescending(each => each == sysroot.BootedName)
        .Select(static each => (DeploymentName?)each).FirstOrDefault();

    private void Configure(DeploymentName name, DefaultBoot boots)
    {
        LoaderConf conf = (ReadConf() ?? LoaderConf.Fresh).WithDefault(EntryOf(name, boots));
        if (conf != ReadConf())
            Replace(Loader, ConfName, output => output.Write(Encoding.UTF8.GetBytes(conf.Text)));
    }

    // As the box starts by default: a trial must not have a ghost write, nor a box forget.
    private bool StartOnce(DeploymentName name, DefaultBoot boots)
    {
        if (sysroot.Firmware is not { IsThere: true } firmware)
            return false;
        try
        {
            string entry = EntryOf(name, boots.OnTrial());
            if (!string.Equals(firmware.EntryOneShot, entry, StringComparison.OrdinalIgnoreCase))
            {
                sysroot.Step("tell the firmware to start it once");
                firmware.SetEntryOneShot(entry);
            }

            return true;
        }
        catch (LinuxException)
        {
            return false;
        }
    }

    // A version that can be gone back from, and that says by itself when it is good, is tried first.
    private int TriesOf(BootTarget target, int deployments)
    {
        if (deployments < 2 || sysroot.Firmware is not { IsThere: true })
            return 0;
        using Dir tree = sysroot.Root.OpenDir(target.Name.Directory);
        if (!tree.Exists(HealthUnit) || (tree.TryStat(HealthMask) is { IsSymlink: true } && tree.ReadLink(HealthMask) == "/dev/null"))
            return 0;
        if (RefusesGhosts(target.Name) && BootsAsOf(target.Name) != DefaultBoot.Normal)
            return 0;
        return sysroot.Repository.Config.GetString("sysroot", "boot-counting-tries") is { } text && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int set)
            ? Math.Min(set, 9) : UsualTries;
    }

    // Made before ghosts were judged. As a ghost it would use up its tries, however good it is; as a normal boot it would write what its owner does not want kept.
    private bool RefusesGhosts(DeploymentName name)
    {
        using Dir tree = sysroot.Root.OpenDir(name.Directory);
        return tree.TryReadAll(HealthUnit) is { } unit
            && Encoding.UTF8.GetString(unit).Split('\n').Any(static line => line.Trim() == $"ConditionKernelCommandLine=!{RootConfig.GhostArgument}");
    }

    // Before its UKI is there, so that no cut leaves it as one that was found good. Whoever asks for a version that was given up wants it tried anew.
    private void BeginTrial(BootTarget target, int deployments)
    {
        BadVersions.Remove(sysroot, target.Name.Os, target.Name.Commit);
        if (TriesOf(target, deployments) is > 0 and var tries)
            Trials.Set(sysroot, target.Name, new Trial(tries, null));
        else
            Trials.End(sysroot, target.Name);
    }
}
