using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>Judges mounts. Everything here is a function of policy, facts and tables; the kernel is not asked.</summary>
public static class MountJudge
{
    /// <summary>What became wrong between two looks at a namespace.</summary>
    /// <param name="policy">What is wanted.</param>
    /// <param name="facts">What the system is.</param>
    /// <param name="before">The namespace before; null when it was not looked at yet.</param>
    /// <param name="after">The namespace now.</param>
    /// <param name="by">The program that changed it, as a path of the sealed system; null when it is not known, or is not of the system.</param>
    public static IReadOnlyList<Finding> Compare(SentinelPolicy policy, SystemFacts facts, NamespaceView? before, NamespaceView after, string? by)
    {
        HashSet<(FindingKind, string, int)> known = before is null ? [] : [.. Violations(policy, facts, before).Select(static finding => finding.Key)];
        return [.. Violations(policy, facts, after).Where(finding => !known.Contains(finding.Key) && !IsAllowed(policy, facts, finding, after.Number, by))];
    }

    /// <summary>Everything that is wrong in a namespace.</summary>
    public static IReadOnlyList<Finding> Violations(SentinelPolicy policy, SystemFacts facts, NamespaceView view)
    {
        MountTree tree = MountTree.Of(view.Mounts);
        var findings = new List<Finding>();
        bool isSystem = tree.Base is { } root && root.Device == facts.RootDevice && root.Root == facts.RootPath;
        if (isSystem)
            findings.AddRange(OfSystem(policy, facts, tree, view.IsSbox));
        else if (view.Number == facts.Namespace && tree.Base is { } other)
            findings.Add(new Finding(FindingKind.RootReplaced, "/", $"the root of the system is now {Describe(other)}") { Mount = other });
        if (!view.IsSbox)
            findings.AddRange(tree.Mounts.Select(mount => OfStorage(facts, mount)).OfType<Finding>());
        return findings;
    }

    /// <summary>Whether the policy says that a finding is none.</summary>
    public static bool IsAllowed(SentinelPolicy policy, SystemFacts facts, Finding finding, uint number, string? by) => policy.Allowed.Any(allowance =>
        (allowance.Finding is null || allowance.Finding == finding.Kind)
        && (allowance.Path is null || allowance.Path.Covers(finding.Path))
        && (allowance.Types.Count == 0 || (finding.Mount is { } mount && allowance.Types.Contains(mount.Type)))
        && (allowance.Root is null || (finding.Mount is { } rooted && allowance.Root.Covers(rooted.Root)))
        && (allowance.By.Count == 0 || (by is not null && allowance.By.Contains(by)))
        && (!allowance.OnlyOwnNamespace || number != facts.Namespace));

    // A namespace whose lowest mount is the system's own root: here paths mean what the policy means by them. In a container, whose root
    // is another, /usr is none of our business; storage is, everywhere.
    private static IEnumerable<Finding> OfSystem(SentinelPolicy policy, SystemFacts facts, MountTree tree, bool isSbox)
    {
        MountEntry root = tree.Base!;
        foreach (ProtectedPath path in policy.Protected)
        {
            if (path.Type is { } type)
            {
                foreach (MountEntry mount in tree.Mounts.Where(each => each.MountPoint == path.Path && each.Type != type))
                    yield return Cover(policy, path, mount);
                continue; // what is below, and whether it is written, is not this rule's business
            }

            MountEntry? carrier = path.Storage is null ? root : tree.Mounts.FirstOrDefault(mount => IsRightful(facts, path, mount));
            foreach (MountEntry mount in tree.Mounts)
            {
                if (mount != root && mount != carrier && Covers(mount, path.Path) && !IsSame(facts, root, policy, mount))
                    yield return Cover(policy, path, mount);
            }

            if (carrier is null || (isSbox && path.Storage is not null))
                continue; // storage is what sbox's own namespace is made to write to
            if (!carrier.IsReadOnly)
                yield return new Finding(FindingKind.Writable, path.Path, $"it can be written: {Describe(carrier)}") { Mount = carrier };
            else if (!carrier.IsMarkedReadOnly)
                yield return new Finding(FindingKind.Loosened, path.Path, "the read-only mark of its mount was taken away; its file system still refuses writers") { Mount = carrier };
        }
    }

    private static Finding Cover(SentinelPolicy policy, ProtectedPath path, MountEntry mount)
    {
        bool test = policy.TestPath is { } place && mount.MountPoint == place && mount.Type == "tmpfs";
        bool extension = mount.Type == "overlay" && mount.Source is "sysext" or "confext";
        FindingKind kind = test ? FindingKind.Test : extension ? FindingKind.SystemExtension : FindingKind.Covered;
        string at = MountTree.IsAtOrBelow(mount.MountPoint, path.Path) ? mount.MountPoint : path.Path;
        string says = extension ? "a system extension is merged into it" : $"{Describe(mount)} is mounted over it{(mount.IsReadOnly ? "" : ", writable")}";
        return new Finding(kind, at, says) { Mount = mount };
    }

    private static Finding? OfStorage(SystemFacts facts, MountEntry mount)
    {
        if (mount.IsReadOnly)
            return null;
        foreach (StorageFacts storage in facts.Storage)
        {
            if (mount.Device == storage.Device)
            {
                return storage.Rule.Writable.Any(pattern => pattern.Covers(mount.Root)) ? null
                    : new Finding(FindingKind.PhysicalWritable, mount.MountPoint, $"{mount.Root} of the storage behind {storage.Rule.Mount} ({mount.Device}) is mounted writable there") { Mount = mount };
            }

            if (storage.Disk.Contains(mount.Device) && mount.Type is "vfat" or "msdos")
                return new Finding(FindingKind.EspWritable, mount.MountPoint, $"{mount.Source}, on the system's disk, is mounted writable there outside of an sbox operation") { Mount = mount };
        }

        return null;
    }

    // On it or below it; or on a directory above it, where that is not what carries it.
    private static bool Covers(MountEntry mount, string path)
    {
        if (path == "/")
            return mount.MountPoint == "/"; // the directory itself: what is below has rules of its own
        return MountTree.IsAtOrBelow(mount.MountPoint, path)
            || (MountTree.IsAtOrBelow(path, mount.MountPoint) && mount.MountPoint != "/");
    }

    private static bool IsRightful(SystemFacts facts, ProtectedPath path, MountEntry mount) =>
        mount.MountPoint == path.Path && mount.Root == path.Storage && facts.Storage.Any(storage => storage.Device == mount.Device);

    // What systemd does to protect a service: the same directory of the same file system once more, read-only.
    private static bool IsSame(SystemFacts facts, MountEntry root, SentinelPolicy policy, MountEntry mount)
    {
        if (!mount.IsReadOnly || mount.IsIdMapped)
            return false;
        if (mount.Device == root.Device)
            return mount.Root == Below(root.Root, mount.MountPoint);
        return policy.Protected.Any(path => path.Storage is { } storage && MountTree.IsAtOrBelow(mount.MountPoint, path.Path)
            && facts.Storage.Any(each => each.Device == mount.Device)
            && mount.Root == Below(storage, mount.MountPoint[path.Path.Length..]));
    }

    private static string Below(string directory, string rest) =>
        rest is "" or "/" ? directory : directory == "/" ? rest : directory + rest;

    internal static string Describe(MountEntry mount) =>
        $"{mount.Type} {mount.Source}{(mount.Root == "/" ? "" : $" [{mount.Root}]")} ({mount.Device}, {(mount.IsReadOnly ? "read-only" : "writable")})";
}
