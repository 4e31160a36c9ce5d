using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>The boot entries on the root file system, and the links that they go through.</summary>
internal static class BootChecks
{
    public static IEnumerable<DoctorFinding> Look(DoctorScene scene)
    {
        if (scene.BootIsElsewhere)
        {
            yield return new DoctorFinding(
                "boot-unmounted", FindingGrade.Warning, scene.Root.Of(Layout.Boot), "is empty, and ostree/boot.* tells of boot entries", "what is deployed cannot be told, and nothing of it was looked at",
                "mount the file system of /boot there, and look again");
            yield break;
        }

        bool rewrites = false;
        foreach (BootTrouble trouble in scene.Sysroot.BootTroubles)
        {
            DoctorFinding finding = Of(scene, trouble);
            rewrites |= finding.Repair.Any(static step => step.Kind == RepairKind.RewriteBoot);
            yield return finding;
        }

        foreach (Deployment each in scene.Sysroot.Deployments)
        {
            foreach (string missing in MissingBootFiles(scene.Root, each.Entry))
            {
                yield return new DoctorFinding(
                    "kernel-missing", FindingGrade.Broken, scene.Root.Of(missing), $"is missing, and the entry '{each.Entry.Title}' starts it", "a boot loader that reads these entries does not start this version",
                    "the entries and their kernels are made anew from the version's tree")
                { Repair = Rewrite(scene) };
            }
        }

        // Made anew, what is active by then is the other configuration: the one that is inactive now is overwritten.
        foreach (string path in Cleaner.Inactive(scene.Sysroot.BootVersion).Where(scene.Root.Exists))
        {
            yield return new DoctorFinding(
                "boot-leftover", FindingGrade.Warning, scene.Root.Of(path), "belongs to a boot configuration that is not active", "a change of what is deployed was cut short; what boots is whole",
                "it is set aside; sbox upgrade removes it too")
            { Repair = [SetAside(path)] };
        }

        if (scene.Root.Exists("boot/loader.tmp"))
        {
            yield return new DoctorFinding(
                "boot-leftover", FindingGrade.Warning, scene.Root.Of("boot/loader.tmp"), "is a link that was to become boot/loader", "a change of what is deployed was cut short; what boots is whole", "it is removed")
            { Repair = [new RepairStep(RepairKind.Remove, "boot/loader.tmp", "remove boot/loader.tmp")] };
        }

        foreach (DoctorFinding kernel in rewrites ? [] : Kernels(scene))
            yield return kernel;
    }

    /// <summary>The step that sets a path aside.</summary>
    internal static RepairStep SetAside(string path) => new(RepairKind.SetAside, path, $"set {path} aside");

    /// <summary>The step that sets a path aside when nothing leads to it any more: not before the EFI partition follows.</summary>
    internal static RepairStep SetAsideLast(string path) => new(RepairKind.SetAsideLast, path, $"set {path} aside");

    /// <summary>The steps that make the boot configuration anew; none where no version that boots is there to be led to.</summary>
    internal static IReadOnlyList<RepairStep> Rewrite(DoctorScene scene)
    {
        if (scene.Bootable.Count == 0)
            return [];
        var steps = new List<RepairStep>();
        foreach (string path in (string[])["boot/loader.0", "boot/loader.1"])
        {
            if (scene.Root.Exists(path))
                steps.Add(new RepairStep(RepairKind.CopyAside, path, $"keep a copy of {path}"));
        }

        foreach (string link in (string[])["boot/loader", "ostree/boot.0", "ostree/boot.1"])
        {
            if (scene.Root.TryStat(link) is { IsSymlink: false })
                steps.Add(SetAside(link)); // no link can take its place by a rename
        }

        return [.. steps, new RepairStep(RepairKind.RewriteBoot, "boot/loader", "make the boot entries anew, for the versions that are there"), new RepairStep(RepairKind.SetRefs, "ostree/repo/refs", "set the refs that keep the commits of what is deployed")];
    }

    private static DoctorFinding Of(DoctorScene scene, BootTrouble trouble)
    {
        IReadOnlyList<RepairStep> repair = trouble.Kind == BootTroubleKind.Origin ? [] : Rewrite(scene);
        string anew = repair.Count > 0 ? "the entries are made anew, for the versions that are there" : "no version that boots is there: install anew; /var and /etc can be copied from ostree/deploy";
        return trouble.Kind switch
        {
            BootTroubleKind.LoaderLink => new DoctorFinding("loader-link", FindingGrade.Broken, trouble.Path, trouble.Finding, "which boot entries are active cannot be told, and ostree and sbox refuse to work", anew) { Repair = repair },
            BootTroubleKind.LinksLink => new DoctorFinding("boot-link", FindingGrade.Broken, trouble.Path, trouble.Finding, "the boot entries lead nowhere, and ostree and sbox refuse to work", anew) { Repair = repair },
            BootTroubleKind.Entry => new DoctorFinding("entry-dangling", FindingGrade.Broken, trouble.Path, trouble.Finding, "whoever chooses this entry does not boot, and ostree and sbox refuse to work", anew) { Repair = repair },
            _ => new DoctorFinding("origin-unreadable", FindingGrade.Warning, trouble.Path, trouble.Finding, "it is not known where this version's upgrades come from, and ostree and sbox refuse to work",
                "it is set aside; then sbox switch REMOTE:BRANCH says where they come from")
            { Repair = [SetAside(scene.Relative(trouble.Path))] },
        };
    }

    private static IEnumerable<string> MissingBootFiles(Dir root, BootEntry entry)
    {
        foreach (string file in entry.Initrds.Prepend(entry.Linux ?? "").Where(static path => path.Length > 0))
        {
            // As of /boot's own file system, or as of the root's: both hold, by the link boot/boot.
            string path = $"boot/{(file.StartsWith("/boot/", StringComparison.Ordinal) ? file["/boot/".Length..] : file.TrimStart('/'))}";
            if (!root.Exists(path))
                yield return path;
        }
    }

    private static IEnumerable<DoctorFinding> Kernels(DoctorScene scene)
    {
        HashSet<string> active = [.. scene.Sysroot.Deployments.Select(static each => Layout.BootDirectory(each.Name.Os, each.BootChecksum))];
        using Dir? kernels = scene.Root.TryOpenDir("boot/ostree");
        foreach (DirEntry entry in kernels?.Entries() ?? [])
        {
            if (active.Contains($"ostree/{entry.Name}") || entry.Name.LastIndexOf('-') is not (var dash and > 0) || !Checksum.TryParse(entry.Name.AsSpan(dash + 1), out _))
                continue;
            string path = $"boot/ostree/{entry.Name}";
            yield return new DoctorFinding(
                "kernel-leftover", FindingGrade.Warning, scene.Root.Of(path), "is a kernel that no boot entry starts", "it takes room in /boot; a change of what is deployed was cut short", "it is set aside; sbox upgrade removes it too")
            { Repair = [SetAside(path)] };
        }
    }
}

/// <summary>Which versions a boot configuration can be made of where the one that is there is damaged.</summary>
internal static class BootRescue
{
    private const string RootLabel = "root=LABEL=sbox-root";

    /// <summary>
    /// Those that entries lead to, and what runs; where an entry is damaged, also what is whole and was listed, by the refs or by the EFI partition. Where there is none of
    /// these, those whose trees are whole, the newest first.
    /// </summary>
    /// <param name="sysroot">The sysroot.</param>
    /// <param name="trees">How the trees look.</param>
    /// <param name="esp">The EFI partition; null where none is looked at.</param>
    /// <param name="afterwards">Whether a tree that a repair completes counts as complete.</param>
    public static IReadOnlyList<DeploymentName> Names(OstreeSysroot sysroot, IReadOnlyDictionary<DeploymentName, TreeLook> trees, EspWriter? esp, bool afterwards)
    {
        IReadOnlyDictionary<Checksum, int> places = Places(sysroot);
        bool Boots(DeploymentName name) => CanBoot(sysroot, name) || (afterwards && trees.GetValueOrDefault(name) is { HasCommit: true, MissingObjects.Count: 0 });
        List<DeploymentName> names = [.. sysroot.Deployments.Select(static each => each.Name).Where(Boots)];
        if (sysroot.BootTroubles.Any(static trouble => trouble.Kind == BootTroubleKind.Entry))
        {
            names.AddRange(trees.Where(each => each.Value.IsWhole && !names.Contains(each.Key) && CanBoot(sysroot, each.Key)
                && (places.ContainsKey(each.Key.Commit) || (esp?.Names(each.Key) ?? false))).Select(static each => each.Key));
            names = [.. names.OrderBy(name => places.GetValueOrDefault(name.Commit, int.MaxValue)).ThenByDescending(static name => name.Serial)];
        }

        if (sysroot.BootedName is { } running && !names.Contains(running) && Boots(running))
            names.Add(running);
        return names.Count > 0 ? names
            : [.. trees.Where(each => each.Value.IsWhole && CanBoot(sysroot, each.Key)).Select(static each => each.Key)
                .OrderBy(name => places.GetValueOrDefault(name.Commit, int.MaxValue))
                .ThenByDescending(name => sysroot.Repository.LoadCommit(name.Commit).Timestamp).ThenByDescending(static name => name.Serial)];
    }

    // ostree/VERSION/SUBVERSION/INDEX: where a commit stood in the boot menu when the refs were set.
    private static Dictionary<Checksum, int> Places(OstreeSysroot sysroot)
    {
        var places = new Dictionary<Checksum, int>();
        foreach ((string name, Checksum commit) in sysroot.Repository.Refs("ostree").Where(static each => Cleaner.IsDeploymentRef(each.Key)))
        {
            int index = int.TryParse(name[(name.LastIndexOf('/') + 1)..], out int number) ? number : int.MaxValue;
            places[commit] = Math.Min(index, places.GetValueOrDefault(commit, int.MaxValue));
        }

        return places;
    }

    /// <summary>What the entries are made from; arguments are the entry's own, else those of a damaged entry of the same stateroot, else the recipe's.</summary>
    public static IReadOnlyList<BootTarget> Targets(OstreeSysroot sysroot, IReadOnlyDictionary<DeploymentName, TreeLook> trees, EspWriter? esp, bool isSealed)
    {
        return [.. Names(sysroot, trees, esp, afterwards: false).Select(name => BootTarget.Of(sysroot, name, Arguments(name), isSealed))];

        KernelArguments Arguments(DeploymentName name)
        {
            if (sysroot.Deployments.FirstOrDefault(each => each.Name == name) is { } listed)
                return listed.Arguments;
            BootEntry? damaged = sysroot.BootTroubles.Select(static trouble => trouble.Entry)
                .FirstOrDefault(entry => entry?.Options.Get("ostree")?.Split('/') is ["", "ostree", _, var os, ..] && os == name.Os);
            damaged ??= sysroot.Deployments.FirstOrDefault(each => each.Name.Os == name.Os)?.Entry;
            if (damaged is not null)
                return new Deployment(name, default, 0, damaged, null).Arguments;
            bool known = sysroot.Repository.Has(new Store.ObjectName(name.Commit, Store.ObjectType.Commit));
            return KernelArguments.Parse(RootLabel).Append(known ? new CommitTree(sysroot.Repository, name.Commit).RecipeArguments.ToString() : "");
        }
    }

    private static bool CanBoot(OstreeSysroot sysroot, DeploymentName name)
    {
        using Dir? tree = sysroot.Root.TryOpenDir(name.Directory);
        try
        {
            return tree is not null && tree.Exists("etc") && KernelLayout.Find(tree) is not null;
        }
        catch (NoKernelException)
        {
            return false;
        }
    }
}
