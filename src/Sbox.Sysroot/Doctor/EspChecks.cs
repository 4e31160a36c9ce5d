using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>The EFI partition: whether it offers exactly what is deployed, and whether it is what the firmware starts.</summary>
internal static class EspChecks
{
    public static IEnumerable<DoctorFinding> Look(DoctorScene scene)
    {
        if (scene.Deployer.Esp is not { } esp)
        {
            if (scene.Options.EspUnseen is { } why)
                yield return new DoctorFinding("esp-unseen", FindingGrade.Warning, "/efi", why, "what the firmware starts was not looked at", "mount it, and name it with --esp=PATH");
            yield break;
        }

        foreach (string leftover in esp.Leftovers())
        {
            yield return new DoctorFinding(
                "esp-leftover", FindingGrade.Warning, esp.Directory.Of(leftover), "is half of a file that was being written", "it takes room on the EFI partition, and nothing reads it", "it is removed; sbox upgrade does that too")
            { Repair = [new RepairStep(RepairKind.Remove, leftover, $"remove {leftover} from the EFI partition") { OnEsp = true }] };
        }

        if (scene.BootIsElsewhere)
            yield break;
        DeploymentName[] deployed = [.. scene.Bootable];
        foreach (DoctorFinding finding in Strangers(scene, esp, deployed).Concat(deployed.SelectMany(name => Uki(scene, esp, name))))
            yield return finding;
        if (deployed.Length == 0)
            yield break;
        foreach (DoctorFinding finding in Default(esp, deployed).Concat(Loaders(scene, esp, deployed[0])).Concat(Firmware(scene, esp, deployed)))
            yield return finding;
    }

    private static RepairStep Publish() => new(RepairKind.PublishEsp, "EFI/Linux", "lead the EFI partition to what is deployed") { OnEsp = true };

    private static IEnumerable<DoctorFinding> Strangers(DoctorScene scene, EspWriter esp, DeploymentName[] deployed)
    {
        foreach (string path in deployed.Length == 0 ? [] : esp.Strangers([.. deployed, .. scene.Sysroot.Deployments.Select(static each => each.Name)]))
        {
            bool isThere = scene.Directories.Any(name => UnifiedKernel.IsOf(Path.GetFileName(path), name));
            yield return new DoctorFinding(
                "uki-orphan", FindingGrade.Warning, esp.Directory.Of(path), isThere ? "starts a version that is not in the boot entries" : "starts a version that is not there",
                isThere ? "an upgrade or a cleanup was cut short, and it takes room on the EFI partition" : "whoever chooses it in the menu does not boot, and it takes room on the EFI partition",
                "it is set aside; sbox upgrade removes it too")
            { Repair = [new RepairStep(RepairKind.SetAsideLast, path, $"set {path} of the EFI partition aside") { OnEsp = true }] };
        }
    }

    private static IEnumerable<DoctorFinding> Uki(DoctorScene scene, EspWriter esp, DeploymentName name)
    {
        if (esp.FileOf(name) is not { } path)
        {
            yield return new DoctorFinding(
                "uki-missing", FindingGrade.Broken, esp.Directory.Of($"EFI/Linux/{UnifiedKernel.FileName(name)}"), $"is missing, and {name.Short} is deployed", "the firmware does not offer this version", "it is made anew from the version's tree")
            { Repair = [Publish()] };
            yield break;
        }

        KernelArguments? line = esp.CommandLineIn(path, out string? finding);
        Checksum? image = ImageOf(scene, name);
        Checksum? wanted = line?.Get("composefs") is { } text && Checksum.TryParse(text, out Checksum digest) ? digest : null;
        if (line is not null && !Names(line, name))
            finding = $"starts {line.Get("sbox.deployment") ?? line.Get("sbox.commit") ?? "no version"}, and its name is {name.Short}'s";
        if (finding is not null)
        {
            yield return new DoctorFinding("uki-damaged", FindingGrade.Broken, esp.Directory.Of(path), finding, "this version does not boot", "it is made anew from the version's tree")
            {
                Repair = [new RepairStep(RepairKind.CopyAside, path, $"keep a copy of {path} of the EFI partition") { OnEsp = true }, new RepairStep(RepairKind.RewriteUki, path, $"make {path} anew") { OnEsp = true, Deployment = name }],
            };
        }
        else if (image is null || (wanted is not null && image != wanted))
        {
            string place = $"{name.Directory}/{PhysicalRoot.ImageName}";
            yield return new DoctorFinding(
                image is null ? "image-missing" : "image-damaged", FindingGrade.Broken, scene.Root.Of(place), image is null ? "is missing" : $"has the digest {image}, and its UKI asks for {wanted}", "this version does not boot",
                "it is made again from the commit")
            {
                Repair = !scene.Trees[name].HasCommit || scene.Trees[name].MissingObjects.Count > 0 ? []
                    : [.. image is null ? Array.Empty<RepairStep>() : [new RepairStep(RepairKind.CopyAside, place, $"keep a copy of {place}")], new RepairStep(RepairKind.RestoreImage, place, $"make {place} again, from the commit") { Deployment = name, Digest = wanted }],
            };
        }
    }

    private static bool Names(KernelArguments line, DeploymentName name) =>
        line.Get("sbox.commit") is { } commit ? commit == name.Commit.ToString() : line.Get("sbox.deployment") == name.ToString();

    private static Checksum? ImageOf(DoctorScene scene, DeploymentName name)
    {
        using Dir tree = scene.Root.OpenDir(name.Directory);
        return tree.Exists(PhysicalRoot.ImageName) ? Deployer.DigestOf(tree) : null;
    }

    private static IEnumerable<DoctorFinding> Default(EspWriter esp, DeploymentName[] deployed)
    {
        const string path = "loader/loader.conf";
        string conf = esp.Directory.Of(path);
        RepairStep[] anew = [.. esp.Directory.Exists(path) ? [new RepairStep(RepairKind.CopyAside, path, $"keep a copy of {path} of the EFI partition") { OnEsp = true }] : Array.Empty<RepairStep>(), Publish()];
        if (esp.ConfiguredDefault is not { } configured)
        {
            yield return new DoctorFinding("default-missing", FindingGrade.Warning, conf, "names no default", "the boot loader starts the newest version, whatever was chosen", "the first of the boot entries becomes the default") { Repair = anew };
        }
        else if (!esp.MenuEntries.Any(entry => BootChoice.Fits(configured, entry)))
        {
            yield return new DoctorFinding("default-dangling", FindingGrade.Warning, conf, $"has '{configured}' as the default, and no entry is that", "the boot loader starts the newest version, whatever was chosen", "the first of the boot entries becomes the default") { Repair = anew };
        }
        // While a version is on trial, the default is the one before: it is started once by the firmware's variable.
        else if (esp.Default is { } file && !UnifiedKernel.IsOf(file, deployed[0]) && !(esp.TriesLeft(deployed[0]) is not null && deployed.Any(each => UnifiedKernel.IsOf(file, each))))
        {
            yield return new DoctorFinding(
                "default-behind", FindingGrade.Warning, conf, $"has '{configured}' as the default, and the first of the boot entries is {deployed[0].Short}", "an upgrade or a rollback was cut short: the firmware starts the version before",
                "the first of the boot entries becomes the default; sbox rollback chooses another")
            { Repair = anew };
        }
    }

    private static IEnumerable<DoctorFinding> Loaders(DoctorScene scene, EspWriter esp, DeploymentName first)
    {
        using Dir tree = scene.Root.OpenDir(first.Directory);
        IReadOnlyList<string> missing;
        string? without = null;
        try
        {
            missing = esp.MissingLoaders(tree);
        }
        catch (NoBootLoaderException lacking)
        {
            (missing, without) = ([], lacking.Message);
        }

        foreach (string path in missing)
            yield return new DoctorFinding("loader-missing", FindingGrade.Broken, esp.Directory.Of(path), "is missing", "firmware that looks for the boot loader there finds none", "it is installed from the first version's tree") { Repair = [Publish()] };
        if (without is not null)
            yield return new DoctorFinding("loader-source-missing", FindingGrade.Warning, tree.Path, without, "the EFI partition cannot be made anew from it", "sbox upgrade to a version that has it");
    }

    // What its owner set is obeyed; what fits nothing is only in the way.
    private static IEnumerable<DoctorFinding> Firmware(DoctorScene scene, EspWriter esp, DeploymentName[] deployed)
    {
        if (scene.Sysroot.Firmware is not { } firmware)
            yield break;
        (string, Func<string?>, string)[] variables =
        [
            ("LoaderEntryDefault", () => firmware.EntryDefault, "bootctl set-default ''"), ("LoaderEntryOneShot", () => firmware.EntryOneShot, "bootctl set-oneshot ''"),
        ];
        foreach ((string variable, Func<string?> read, string clear) in variables)
        {
            (string? value, string? failure) = Read(read);
            if (failure is not null)
                yield return new DoctorFinding("firmware-unread", FindingGrade.Warning, variable, failure, "what boots next is not known", "choose in the boot menu");
            if (value is null || value == "@saved" || (variable == "LoaderEntryOneShot" && deployed.Any(each => esp.TriesLeft(each) > 0 && UnifiedKernel.IsOf(value, each))))
                continue; // a trial is told of as one
            bool fits = esp.MenuEntries.Any(entry => BootChoice.Fits(value, entry)) || value.StartsWith("auto-", StringComparison.OrdinalIgnoreCase);
            yield return fits
                ? new DoctorFinding(
                    variable == "LoaderEntryDefault" ? "firmware-default" : "firmware-oneshot", FindingGrade.Note, variable, $"says to boot '{value}'",
                    variable == "LoaderEntryDefault" ? "that boots, whatever loader.conf says" : "the next boot alone starts that", $"where that is not what you want: {clear}")
                : new DoctorFinding("firmware-dangling", FindingGrade.Warning, variable, $"says to boot '{value}', which is no entry", "the boot loader passes over it", "the firmware forgets it")
                { Repair = [new RepairStep(RepairKind.Forget, variable, $"have the firmware forget {variable} ('{value}')")] };
        }
    }

    private static (string? Value, string? Failure) Read(Func<string?> read)
    {
        try
        {
            return (read(), null);
        }
        catch (LinuxException unread)
        {
            return (null, unread.Message);
        }
    }
}
