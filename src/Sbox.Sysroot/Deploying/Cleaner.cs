using System.Collections.Concurrent;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>Removes what the active boot configuration does not lead to. Every step may be the last before a power cut.</summary>
internal sealed class Cleaner(OstreeSysroot sysroot, Planner planner)
{
    private readonly List<string> notes = [];

    private Dir Root => sysroot.Root;

    /// <summary>
    /// Removes boot configurations, deployments and kernels that nothing leads to; objects stay. A deployment that cannot be removed stays too:
    /// nothing leads to it, and no box shall be without upgrades for it.
    /// </summary>
    public IReadOnlyList<DeploymentName> RemoveUnreferenced()
    {
        RemoveInactive();
        List<DeploymentName> removed = [.. DeploymentDirectories.Of(Root).Where(name => !IsActive(name) && !planner.IsProtected(name) && TryRemoveDeployment(name))];
        RemoveBacking();
        RemoveKernels();
        RemoveOverlays();
        return removed;
    }

    /// <summary>What belongs to a boot configuration that is not the active one: nothing leads there.</summary>
    internal static IReadOnlyList<string> Inactive(BootVersion boot)
    {
        int other = 1 - boot.Version;
        return
        [
            $"boot/loader.{other}", $"ostree/boot.{other}", $"ostree/boot.{other}.0", $"ostree/boot.{other}.1",
            $"ostree/boot.{boot.Version}.{1 - boot.Subversion}",
        ];
    }

    /// <summary>Removes the boot configurations that are not active, and nothing else.</summary>
    internal void RemoveInactive()
    {
        foreach (string name in Inactive(sysroot.BootVersion).Where(Root.Exists))
        {
            sysroot.Step($"remove {name}");
            Root.RemoveAll(name);
        }
    }

    /// <summary>Also sets the refs that keep the deployed commits, and deletes the objects that nothing needs.</summary>
    public CleanupReport Clean(CancellationToken cancel, bool noPrune = false)
    {
        IReadOnlyList<DeploymentName> removed = RemoveUnreferenced();
        try
        {
            SetRefs(cancel);
        }
        catch (Exception busy) when (busy is RepositoryBusyException or LinuxException or NotEnoughSpaceException)
        {
            notes.Add($"The refs that keep what is deployed were not set: {busy.Message}. sbox doctor --fix sets them"); // what boots is activated by now, and nothing is pruned meanwhile
            return new CleanupReport(removed, 0, 0) { Notes = notes };
        }

        if (noPrune)
            return new CleanupReport(removed, 0, 0) { Notes = notes };
        sysroot.Step("prune the repository");
        PruneOptions options = new()
        {
            RefsOnly = true,
            Depth = 0,
            Keep = [.. DeploymentDirectories.Of(Root).Select(static name => name.Commit).Distinct()],
        };
        try
        {
            PruneReport pruned = sysroot.Repository.Prune(options, cancel);
            return new CleanupReport(removed, pruned.ObjectsDeleted, pruned.BytesFreed) { Notes = notes };
        }
        catch (Exception broken) when (broken is RepositoryException or IOException)
        {
            // What boots is activated by now: a repository with a hole keeps its garbage, and the box its upgrades.
            return new CleanupReport(removed, 0, 0) { Notes = [.. notes, $"The repository was not cleaned up: {broken.Message}"] };
        }
    }

    private bool IsActive(DeploymentName name) => sysroot.Deployments.Any(each => each.Name == name);

    private bool TryRemoveDeployment(DeploymentName name)
    {
        sysroot.Step($"remove {name.Directory}");
        try
        {
            using (Dir directory = Root.OpenDir(name.Directory))
                InodeFlags.ClearImmutable(directory); // libostree sets it
            InodeFlags.RemoveAllMarked(Root, Layout.BackingOf(name));
            Root.TryUnlink(Layout.OriginOf(name));
            RemoveMostOf(name);
            InodeFlags.RemoveAllMarked(Root, name.Directory);
            return true;
        }
        catch (LinuxException refused)
        {
            notes.Add($"{name.Short} could not be removed, and is tried again with the next change: {refused.Message}");
            return false;
        }
    }

    // A tree has ten thousand names and more, and the kernel takes its time for each: all processors at once, on directories that have nothing to do with each other.
    // What it leaves, whoever removes all of it removes too, or says what is in the way.
    private void RemoveMostOf(DeploymentName name)
    {
        var parents = new List<Dir>();
        try
        {
            using Dir? usr = Root.TryOpenDir($"{name.Directory}/usr");
            foreach (string directory in usr is null ? [] : Directories(usr))
                parents.Add(usr!.OpenDir(directory));
            (Dir Parent, string Name)[] parts = [.. parents.SelectMany(static parent => Directories(parent).Select(inner => (parent, inner)))];
            Parallel.ForEach(Partitioner.Create(parts, EnumerablePartitionerOptions.NoBuffering), static part =>
            {
                try
                {
                    part.Parent.RemoveAll(part.Name);
                }
                catch (LinuxException)
                {
                    return;
                }
            });
        }
        catch (LinuxException)
        {
            return; // a tree whose /usr is no directory, or is gone in this moment
        }
        finally
        {
            parents.ForEach(static parent => parent.Dispose());
        }

        static IEnumerable<string> Directories(Dir dir) => dir.Entries().Where(static entry => entry.Kind == FileKind.Directory).Select(static entry => entry.Name);
    }

    // What was kept beside a deployment that is gone: an older libostree removes the one and not the other.
    private void RemoveBacking()
    {
        HashSet<DeploymentName> there = [.. DeploymentDirectories.Of(Root)];
        using Dir deploy = Root.OpenDir(Layout.Deploy);
        foreach (string os in deploy.Entries().Select(static entry => entry.Name))
        {
            using Dir? backing = deploy.TryStat(os) is { IsDirectory: true } ? deploy.TryOpenDir($"{os}/backing") : null;
            foreach (DirEntry entry in backing?.Entries() ?? [])
            {
                if (!DeploymentName.TryParse($"{os}/{entry.Name}", out DeploymentName name) || there.Contains(name))
                    continue;
                sysroot.Step($"remove {backing!.Of(entry.Name)}");
                backing.RemoveAll(entry.Name);
            }
        }
    }

    private void RemoveKernels()
    {
        HashSet<Checksum> active = [.. sysroot.Deployments.Select(static each => each.BootChecksum)];
        using Dir? kernels = Root.TryOpenDir("boot/ostree");
        foreach (DirEntry entry in kernels?.Entries() ?? [])
        {
            int dash = entry.Name.LastIndexOf('-');
            if (dash > 0 && Checksum.TryParse(entry.Name.AsSpan(dash + 1), out Checksum checksum) && !active.Contains(checksum))
            {
                sysroot.Step($"remove boot/ostree/{entry.Name}");
                kernels!.RemoveAll(entry.Name);
            }
        }
    }

    private void RemoveOverlays()
    {
        HashSet<string> active = [.. sysroot.Deployments.SelectMany(static each => each.Overlays)];
        using Dir? overlays = Root.TryOpenDir($"{Layout.Boot}/{OverlayInitrds.Directory}");
        foreach (DirEntry entry in overlays?.Entries() ?? [])
        {
            if (active.Contains(entry.Name))
                continue;
            sysroot.Step($"remove {overlays!.Of(entry.Name)}");
            overlays.RemoveAll(entry.Name);
        }
    }

    // ostree/VERSION/SUBVERSION/INDEX: what keeps a deployed commit when someone prunes by refs alone. New ones first. In a transaction, as libostree: it also takes away what others
    // had staged in the repository before this boot.
    internal void SetRefs(CancellationToken cancel = default)
    {
        IReadOnlyDictionary<string, Checksum> before = sysroot.Repository.Refs("ostree");
        IReadOnlyDictionary<string, Checksum> wanted = WantedRefs(sysroot);
        (string Name, Checksum? Commit)[] changes =
        [
            .. wanted.Where(each => !before.TryGetValue(each.Key, out Checksum old) || old != each.Value).Select(static each => (each.Key, (Checksum?)each.Value)),
            .. before.Keys.Where(name => IsDeploymentRef(name) && !wanted.ContainsKey(name)).Select(static name => (name, (Checksum?)null)),
        ];
        if (changes.Length == 0)
            return;
        using Transaction transaction = sysroot.Repository.Begin(cancel, resumes: false); // what an interrupted pull has fetched is nothing to publish and prune here
        foreach ((string name, Checksum? commit) in changes)
            transaction.SetRef(name, commit);
        sysroot.Step($"set the refs {string.Join(", ", changes.Select(static change => change.Name))}");
        transaction.Commit();
    }

    /// <summary>The refs that keep what is deployed, with their commits.</summary>
    internal static IReadOnlyDictionary<string, Checksum> WantedRefs(OstreeSysroot sysroot) => sysroot.Deployments.Index().ToDictionary(
        each => $"ostree/{sysroot.BootVersion.Version}/{sysroot.BootVersion.Subversion}/{each.Index}", static each => each.Item.Name.Commit);

    /// <summary>Whether a ref is one of those.</summary>
    internal static bool IsDeploymentRef(string name) => name.Split('/') is ["ostree", "0" or "1", "0" or "1", var index] && index.All(char.IsAsciiDigit);
}
