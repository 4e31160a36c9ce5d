using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>The entry that a box was to start by default is not in its boot menu.</summary>
/// <param name="path">The UKI.</param>
/// <param name="boot">What it was to start as.</param>
public sealed class NoSuchProfileException(string path, DefaultBoot boot) : SysrootException($"{path}: it has no entry '{boot.Name()}': it was made, or sealed, before there was one")
{
    /// <summary>The UKI.</summary>
    public string Path { get; } = path;
}

// What a box starts as is said where the boot loader reads it, and nowhere else: by the profile's name behind the default's, in loader.conf or in the firmware.
// Whoever changes the default carries it over. docs/decisions/0031 has the reasons.
public sealed partial class EspWriter
{
    /// <summary>What the box starts as when nobody chooses, whichever version that is.</summary>
    public DefaultBoot BootsAs => sysroot.Deployments is [var first, ..] ? BootsAsOf(first.Name) : DefaultBoot.Normal;

    /// <summary>Has the box start so from now on, a version on trial too.</summary>
    /// <returns>A line for what was in the way.</returns>
    /// <exception cref="NoSuchProfileException">The version that is the default, or the one on trial, offers no such entry; nothing was changed.</exception>
    internal IReadOnlyList<string> StartAs(DefaultBoot boots)
    {
        DeploymentName first = sysroot.Deployments[0].Name;
        DeploymentName named = Configured() ?? first;
        bool onTrial = TriesLeft(first) > 0 && StartsOnce(first);
        foreach (DeploymentName each in onTrial ? (DeploymentName[])[named, first] : [named])
        {
            if (boots.Profile() is { } profile && !Offers(each, profile))
                throw new NoSuchProfileException(esp.Of($"{Linux}/{UnifiedKernel.FileName(each)}"), boots);
        }

        // The variables are read before anything is written: one that decides against this must go, and a look at it afterwards would see the new default.
        string? variable = Deciding();
        Configure(named, boots);
        if (onTrial)
            StartOnce(first, boots);
        return variable is null ? [] : [Forget("LoaderEntryDefault", variable, sysroot.Firmware!.ForgetEntryDefault)];
    }

    // As the owner has it now, or, where nothing says it, as the recipe has it of what the box had before this version. Asked before anything is written.
    internal DefaultBoot BootsAsOf(DeploymentName name) => OfValue(Deciding()) ?? OfValue(ReadConf()?.Default) ?? OfRecipe(Elder(name));

    // A new version's recipe is for new boxes: an upgrade makes no ghost. What was found good counts, what runs first; a box's first version is its own.
    private DeploymentName Elder(DeploymentName name) => sysroot.Deployments.Select(static each => each.Name)
        .OrderBy(each => TriesLeft(each) is not null).ThenByDescending(each => each == sysroot.BootedName).ThenBy(each => each == name)
        .FirstOrDefault(name);

    // Of a value for the boot loader. Another entry of ours (rescue, a factory reset) and what is not ours say nothing.
    private DefaultBoot? OfValue(string? value)
    {
        string? entry = (value == "@saved" ? LastBooted() : value)?.ToLowerInvariant();
        if (entry is null)
            return null;
        if (entry.LastIndexOf('@') is var at and >= 0)
            return DefaultBoots.Parse(entry[(at + 1)..]) is { } boot and not DefaultBoot.Normal ? boot : null;
        return OurName().IsMatch(entry) || UnifiedKernels().Keys.Any(file => BootChoice.Fits(entry, file)) ? DefaultBoot.Normal : null;
    }

    private DefaultBoot OfRecipe(DeploymentName name) =>
        sysroot.Repository.Has(new ObjectName(name.Commit, ObjectType.Commit))
        && sysroot.Repository.LoadCommit(name.Commit).Metadata[DefaultBoots.MetadataKey] is { Type.Signature: "s" } said
        && DefaultBoots.Parse(said.Text) is { } boot ? boot : DefaultBoot.Normal;

    // LoaderEntryDefault, where the boot loader obeys it.
    private string? Deciding()
    {
        try
        {
            return BootChoice.Of(Entries(), ReadConf()?.Default, sysroot.Firmware?.EntryDefault, null, LastBooted()).Variable;
        }
        catch (LinuxException) // what cannot be read says nothing that we know
        {
            return null;
        }
    }

    private string? LastBooted()
    {
        try
        {
            return sysroot.Firmware?.EntryLastBooted;
        }
        catch (LinuxException)
        {
            return null;
        }
    }

    private DeploymentName? Configured() => sysroot.Deployments.Select(static each => (DeploymentName?)each.Name).FirstOrDefault(each => IsDefault(each!.Value));

    // A pattern that fits no entry would start the first of the menu. Of an older UKI, which has no ghost in memory, the ghost keeps as little.
    private string EntryOf(DeploymentName name, DefaultBoot boots)
    {
        string file = UnifiedKernel.FileName(name);
        string? profile = boots == DefaultBoot.Normal ? null : ((DefaultBoot[])[boots, DefaultBoot.Ghost]).Select(static each => each.Profile()!).FirstOrDefault(each => Offers(name, each));
        return profile is null ? file : $"{file}@{profile}";
    }

    /// <summary>What becomes otherwise than the box has it with a version as its first: lines for people.</summary>
    /// <param name="name">The version.</param>
    /// <param name="boots">What the box started as before it, by <see cref="BootsAsOf"/>.</param>
    /// <param name="isNew">Whether somebody asked for it by this, so that it would be tried.</param>
    internal IEnumerable<string> Differences(DeploymentName name, DefaultBoot boots, bool isNew)
    {
        if (boots == DefaultBoot.Normal)
            yield break;
        DefaultBoot offered = OfValue(EntryOf(name, boots)) ?? DefaultBoot.Normal;
        if (offered == DefaultBoot.Normal)
            yield return $"{name.Short} has no entry '{boots.Name()}' in the boot menu: it starts as the normal one, which writes to the disk; sbox rollback goes back from it";
        else if (offered != boots)
            yield return $"{name.Short} has no entry '{boots.Name()}' in the boot menu: it starts as '{offered.Name()}', so leave the medium in";
        if (isNew && sysroot.Deployments.Count > 1 && TriesLeft(name) is null && RefusesGhosts(name))
            yield return $"{name.Short} was made before a ghost could find a version good: it is not tried first, and is the default at once; where it does not come up, choose the one before in the boot menu";
    }

    private bool Offers(DeploymentName name, string profile)
    {
        using Dir? linux = esp.TryOpenDir(Linux);
        return linux is not null && BootProfiles.MoreOf(linux, UnifiedKernel.FileName(name)).Contains(profile, StringComparer.OrdinalIgnoreCase);
    }

    // A default of the firmware's is about to be forgotten: what it said of ghosts goes to loader.conf first.
    private void CarryOver(DeploymentName wanted)
    {
        DefaultBoot boots = BootsAsOf(wanted);
        if (Configured() is { } named)
            Configure(named, boots);
    }
}
