using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>The repository: refs, and what interrupted work left in it.</summary>
internal static class StoreChecks
{
    private const string Staging = "staging-", Lock = "-lock";

    public static IEnumerable<DoctorFinding> Look(DoctorScene scene)
    {
        string refs = scene.Root.Of($"{Layout.Repo}/refs");
        IReadOnlyDictionary<string, Checksum> all = scene.Sysroot.Repository.Refs();
        if (!scene.BootIsElsewhere)
        {
            IReadOnlyDictionary<string, Checksum> wanted = Cleaner.WantedRefs(scene.Sysroot);
            RepairStep[] set = [new(RepairKind.SetRefs, "ostree/repo/refs", "set the refs that keep the commits of what is deployed")];
            foreach ((string name, Checksum commit) in wanted.Where(each => !all.TryGetValue(each.Key, out Checksum there) || there != each.Value))
            {
                if (scene.Sysroot.Repository.Has(new ObjectName(commit, ObjectType.Commit)))
                    yield return new DoctorFinding("ref-missing", FindingGrade.Warning, $"{refs}/heads/{name}", $"does not keep commit {commit}, which is deployed", "whoever prunes by refs deletes a version that boots", "it is set") { Repair = set };
            }

            foreach (string name in all.Keys.Where(name => Cleaner.IsDeploymentRef(name) && !wanted.ContainsKey(name)))
                yield return new DoctorFinding("ref-leftover", FindingGrade.Warning, $"{refs}/heads/{name}", "keeps a commit for a deployment that is not there", "its objects take room", "it is removed") { Repair = set };
        }

        foreach ((string name, Checksum commit) in all.Where(each => !Cleaner.IsDeploymentRef(each.Key) && !scene.Sysroot.Repository.Has(new ObjectName(each.Value, ObjectType.Commit))))
        {
            yield return new DoctorFinding(
                "ref-dangling", FindingGrade.Warning, refs, $"has '{name}', which leads to commit {commit}, and that is not there", "fsck complains, and the branch cannot be deployed offline",
                $"sbox upgrade brings the branch again; sbox store refs --delete {name} forgets it");
        }

        foreach (DoctorFinding finding in Interrupted(scene))
            yield return finding;
    }

    // Staging directories of an earlier boot: whoever filled them is gone, and bytes may be too.
    private static IEnumerable<DoctorFinding> Interrupted(DoctorScene scene)
    {
        string current = $"{Staging}{File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim()}-";
        using Dir? tmp = scene.Root.TryOpenDir($"{Layout.Repo}/tmp");
        foreach (string name in (tmp?.Entries() ?? []).Select(static entry => entry.Name).Where(static name => name.StartsWith(Staging, StringComparison.Ordinal)))
        {
            string path = $"{Layout.Repo}/tmp/{name}";
            bool isLock = name.EndsWith(Lock, StringComparison.Ordinal);
            if (name.StartsWith(current, StringComparison.Ordinal) || (isLock && tmp!.Exists(name[..^Lock.Length])))
                continue;
            yield return new DoctorFinding(
                "download-leftover", FindingGrade.Warning, scene.Root.Of(path), isLock ? "is the lock of a download that is gone" : "is a download that a power cut or a kill ended in an earlier boot", "it takes room, and nothing uses it",
                "it is removed; the next sbox upgrade does that too")
            {
                Repair =
                [
                    new RepairStep(RepairKind.Remove, path, $"remove {path}"),
                    .. !isLock && tmp!.Exists(name + Lock) ? [new RepairStep(RepairKind.Remove, path + Lock, $"remove {path}{Lock}")] : Array.Empty<RepairStep>(),
                ],
            };
        }
    }
}
