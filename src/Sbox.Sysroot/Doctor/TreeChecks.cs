using Sbox.Boot;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>The directories of deployments: whether they are whole, and whether anything leads to them.</summary>
internal static class TreeChecks
{
    private const string Beside = "sbox verify reads what is there; a pull of the branch (sbox upgrade --check) brings what is missing";

    public static IEnumerable<DoctorFinding> Look(DoctorScene scene)
    {
        foreach (Deployment each in scene.Sysroot.Deployments)
        {
            foreach (DoctorFinding finding in Listed(scene, each))
                yield return finding;
        }

        if (scene.BootIsElsewhere)
            yield break;
        foreach (DeploymentName name in scene.Directories.Where(name => !scene.IsListed(name) && name != scene.Staged?.Name))
            yield return Unlisted(scene, name);
        foreach (string leftover in Leftovers(scene))
        {
            yield return new DoctorFinding(
                "deployment-leftover", FindingGrade.Warning, scene.Root.Of(leftover), "belongs to a deployment that is gone", "its removal was cut short", "it is set aside")
            { Repair = [BootChecks.SetAside(leftover)] };
        }
    }

    private static IEnumerable<DoctorFinding> Listed(DoctorScene scene, Deployment deployment)
    {
        DeploymentName name = deployment.Name;
        string path = scene.Root.Of(name.Directory);
        if (!scene.Trees.TryGetValue(name, out TreeLook? tree))
            yield break;
        if (!tree.HasCommit)
        {
            yield return new DoctorFinding(
                "commit-missing", FindingGrade.Warning, scene.Root.Of(Layout.Repo), $"lacks commit {name.Commit}, which is deployed", "this version may boot, but it cannot be proven, repaired or compared with what an upgrade offers",
                deployment.Origin?.Refspec is { Remote: { } remote } ? $"sbox store pull {remote} {name.Commit}" : "pull that commit from where it came from");
        }
        else if (scene.Sysroot.Repository.IsPartial(name.Commit))
        {
            yield return new DoctorFinding(
                "commit-partial", FindingGrade.Warning, scene.Root.Of(Layout.Repo), $"says that commit {name.Commit}, which is deployed, is not whole", "a pull of it was cut short, or fsck found damage", Beside);
        }

        if (tree.MissingObjects is [var first, ..])
        {
            yield return new DoctorFinding(
                "objects-missing", FindingGrade.Broken, scene.Root.Of(Layout.Repo), $"lacks {tree.MissingObjects.Count} objects of {name.Short}, {first} among them", "on a composefs root the files that they are cannot be read", Beside);
        }

        if (tree.Missing is [var missing, ..])
        {
            bool can = tree.MissingObjects.Count == 0;
            yield return new DoctorFinding(
                "deployment-incomplete", FindingGrade.Broken, path, $"lacks {tree.Missing.Count} of its tree's names, or has them otherwise: {missing}{(tree.Missing.Count > 1 ? ", ..." : "")}",
                "a classic boot of this version lacks them, and its UKI may not be made anew", can ? "they are made again from the commit" : Beside)
            {
                Repair = can ? [new RepairStep(RepairKind.RestoreTree, name.Directory, $"make the names that {name.Short} lacks again, from its commit") { Deployment = name }] : [],
            };
        }

        foreach (DoctorFinding finding in Surroundings(scene, deployment))
            yield return finding;
    }

    private static IEnumerable<DoctorFinding> Surroundings(DoctorScene scene, Deployment deployment)
    {
        DeploymentName name = deployment.Name;
        if (scene.Root.TryStat($"{name.Directory}/etc") is not { IsDirectory: true })
        {
            bool can = scene.Root.TryStat($"{name.Directory}/usr/etc") is { IsDirectory: true } && !scene.Root.Exists($"{name.Directory}/etc");
            yield return new DoctorFinding(
                "etc-missing", FindingGrade.Broken, scene.Root.Of($"{name.Directory}/etc"), "is no directory", "this version does not boot",
                can ? "its defaults are put there; what you changed in /etc is not among them" : "sbox undeploy takes the version away")
            {
                Repair = can ? [new RepairStep(RepairKind.RestoreEtc, $"{name.Directory}/etc", $"give {name.Short} the defaults of its /etc") { Deployment = name }] : [],
            };
        }

        if (scene.Root.TryStat(name.VarDirectory) is not { IsDirectory: true })
        {
            yield return new DoctorFinding(
                "var-missing", FindingGrade.Broken, scene.Root.Of(name.VarDirectory), "is no directory", "no version of this stateroot boots", "an empty one is made")
            { Repair = scene.Root.Exists(name.VarDirectory) ? [] : [new RepairStep(RepairKind.MakeVar, name.VarDirectory, $"make an empty {name.VarDirectory}") { Deployment = name }] };
        }

        if (deployment.Origin is null && !scene.Root.Exists(Layout.OriginOf(name)))
        {
            yield return new DoctorFinding(
                "origin-missing", FindingGrade.Warning, scene.Root.Of(Layout.OriginOf(name)), "is missing", "it is not known where this version's upgrades come from", "sbox switch REMOTE:BRANCH says so from now on");
        }
        else if (deployment.Origin?.Refspec is { Remote: { } remote } refspec && scene.Sysroot.Repository.Remote(remote) is null
            && scene.Sysroot.Deployments.First(each => each.Origin?.Refspec == refspec) == deployment)
        {
            yield return new DoctorFinding(
                "remote-missing", FindingGrade.Warning, scene.Root.Of(Layout.OriginOf(name)), $"names {refspec}, and the repository knows no remote '{remote}'", "sbox upgrade finds nothing",
                $"sbox store remote add {remote} URL, or sbox switch to a branch of another remote");
        }
    }

    private static DoctorFinding Unlisted(DoctorScene scene, DeploymentName name)
    {
        string path = scene.Root.Of(name.Directory);
        TreeLook tree = scene.Trees[name];
        if (scene.Sysroot.BootedName == name)
        {
            return new DoctorFinding(
                "running-unlisted", FindingGrade.Broken, path, "runs, and no boot entry leads to it", "the next boot starts something else, and nothing leads back", "it is added to the boot entries")
            { Repair = BootChecks.Rewrite(scene) };
        }

        if (scene.Bootable.Contains(name))
        {
            return new DoctorFinding(
                "deployment-unlisted", FindingGrade.Broken, path, "is whole, and no boot entry leads to it", "it was deployed, and no boot loader that reads these entries starts it", "boot entries are made anew, for the versions that are whole")
            { Repair = BootChecks.Rewrite(scene) };
        }

        bool whole = tree.IsWhole && scene.Root.Exists($"{name.Directory}/etc");
        // Where the EFI partition was not looked at, what is whole may be what the firmware starts.
        bool can = !whole || scene.Deployer.Esp is not null || !scene.Root.Exists($"{name.Directory}/{PhysicalRoot.ImageName}");
        return new DoctorFinding(
            whole ? "deployment-unlisted" : "deployment-half", FindingGrade.Warning, path, whole ? "is whole, and no boot entry leads to it" : "is not whole, and no boot entry leads to it",
            "an upgrade or a cleanup was cut short; what boots is not touched by it, and it takes room", can ? "it is set aside; sbox upgrade removes it too" : "look again with the EFI partition, --esp=PATH: its UKI may start it")
        {
            Repair = !can ? [] : [.. ((string[])[name.Directory, Layout.OriginOf(name), Layout.BackingOf(name)]).Where(scene.Root.Exists).Select(BootChecks.SetAsideLast)],
        };
    }

    // Origins and what was kept beside deployments whose directories are gone.
    private static IEnumerable<string> Leftovers(DoctorScene scene)
    {
        using Dir deploy = scene.Root.OpenDir(Layout.Deploy);
        foreach (string os in deploy.Entries().Select(static entry => entry.Name).Where(name => deploy.TryStat(name) is { IsDirectory: true }))
        {
            foreach ((string place, string suffix) in ((string, string)[])[("deploy", ".origin"), ("backing", "")])
            {
                using Dir? dir = deploy.TryOpenDir($"{os}/{place}");
                foreach (string file in (dir?.Entries() ?? []).Select(static entry => entry.Name).Where(file => file.EndsWith(suffix, StringComparison.Ordinal)))
                {
                    if (DeploymentName.TryParse($"{os}/{file[..^suffix.Length]}", out DeploymentName name) && !scene.Directories.Contains(name))
                        yield return $"{Layout.Deploy}/{os}/{place}/{file}";
                }
            }
        }
    }
}
