using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What a merge at shutdown did for one deployment.</summary>
/// <param name="Deployment">The one that waits for its first boot.</param>
/// <param name="Changed">Whether its /etc is another one now.</param>
/// <param name="Failure">Why it could not be done, and its /etc is as it was; null where it could.</param>
public sealed record LateMerge(DeploymentName Deployment, bool Changed, string? Failure);

/// <summary>
/// Merges /etc once more for what waits for its first boot, at shutdown: what was edited since it was deployed comes with it. The deployment was whole
/// before, so nothing depends on this: the new /etc is made beside the old one and exchanged for it, and a cut or a failure leaves the old one.
/// </summary>
/// <param name="sysroot">The sysroot, open to be changed; must stay open.</param>
/// <remarks>docs/decisions/0011-etc-is-merged-twice.md.</remarks>
public sealed class LateEtcMerge(OstreeSysroot sysroot)
{
    private const string Fresh = "etc.sbox-new";

    /// <summary>Says that the deployment that runs has run: from now on its /etc is its owner's, and is never merged into again.</summary>
    public void MarkBooted()
    {
        using IDisposable held = sysroot.Lock();
        if (sysroot.BootedName is { } booted && EtcRecord.Of(sysroot, booted) is { IsPending: true } record)
            (record with { IsPending = false }).Write(sysroot, booted);
    }

    /// <summary>Merges for every deployment that took over the running one's /etc and never ran.</summary>
    public IReadOnlyList<LateMerge> Run()
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        var done = new List<LateMerge>();
        foreach (Deployment each in sysroot.Deployments)
        {
            if (EtcRecord.Of(sysroot, each.Name) is not { IsPending: true } record || record.From != sysroot.BootedName)
                continue;
            try
            {
                done.Add(new LateMerge(each.Name, Merge(each.Name, record), null));
            }
            catch (Exception failed) when (failed is IOException or LinuxException or SysrootException)
            {
                done.Add(new LateMerge(each.Name, Changed: false, failed.Message));
                (record with { Failure = failed.Message }).Write(sysroot, each.Name);
            }
        }

        return done;
    }

    private bool Merge(DeploymentName name, EtcRecord before)
    {
        using Dir tree = sysroot.Root.OpenDir(name.Directory);
        InodeFlags.ClearImmutable(tree);
        tree.RemoveAll(Fresh);
        using Dir oldDefaults = sysroot.Root.OpenDir($"{before.From.Directory}/usr/etc"), mine = sysroot.Root.OpenDir($"{before.From.Directory}/etc"), defaults = tree.OpenDir("usr/etc");
        EtcMergePlan plan = EtcMergePlan.Make(EtcTree.Read(oldDefaults), EtcTree.Read(mine), EtcTree.Read(defaults), EtcContents.Of(oldDefaults, mine, defaults));
        EtcRecord fresh = WithChoices(EtcRecord.Of(plan, before.From), before);
        sysroot.Step($"merge into {Fresh}");
        TreeCopy.Recursive(tree, "usr/etc", tree, Fresh);
        using (Dir etc = tree.OpenDir(Fresh))
        {
            EtcMerge.Apply(plan, mine, etc);
            etc.TryUnlink(".updated");
            fresh.WriteWithCopies(sysroot, name, oldDefaults, mine);
            new EtcKeeper(sysroot).ApplyChoices(fresh, name, etc);
            using Dir now = tree.OpenDir("etc");
            if (EtcNode.Same(EtcTree.Read(etc), EtcTree.Read(now)))
            {
                tree.RemoveAll(Fresh);
                return false;
            }
        }

        sysroot.Step("sync the merged /etc");
        Durable.SyncFileSystem(tree);
        sysroot.Step("exchange it for the one before");
        tree.Exchange(Fresh, tree, "etc");
        Durable.Sync(tree);
        tree.RemoveAll(Fresh);
        return true;
    }

    // What the owner chose for a path holds for the same path, as long as there is something to choose.
    private static EtcRecord WithChoices(EtcRecord fresh, EtcRecord before) => fresh with
    {
        Findings = [.. fresh.Findings.Select(each => each with
        {
            Choice = before.Findings.FirstOrDefault(old => old.Path == each.Path)?.Choice ?? EtcChoice.None,
        })],
    };
}
