using Sbox.Boot;
using Sbox.Codecs;
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
/// <param name="patience">How long to wait for another process that changes deployments; null for 30 seconds.</param>
/// <remarks>
/// An /etc that is not as the last merge wrote it has run, or somebody edited it: it is its owner's and is never replaced, whatever the record says.
/// docs/decisions/0011-etc-is-merged-twice.md.
/// </remarks>
public sealed class LateEtcMerge(OstreeSysroot sysroot, TimeSpan? patience = null)
{
    internal const string Fresh = "etc.sbox-new";
    private static readonly TimeSpan Usual = TimeSpan.FromSeconds(30), Pause = TimeSpan.FromMilliseconds(200);

    /// <summary>Says that the deployment that runs has run: from now on its /etc is its owner's, and is never merged into again.</summary>
    /// <returns>Why what was edited before this boot is not all in its /etc; null where all of it is, or this was said at an earlier boot.</returns>
    /// <exception cref="SysrootBusyException">Another changes deployments, and went on doing so.</exception>
    public LateMerge? MarkBooted()
    {
        using IDisposable held = TryHold() ?? sysroot.Lock();
        if (sysroot.BootedName is not { } booted)
            return null;
        EtcRecord.FinishCut(sysroot, booted);
        EtcRecord? record = EtcRecord.Of(sysroot, booted);
        bool isNews = record is { Failure: not null, WasTold: false };
        if (record is { IsPending: true } || isNews)
            (record! with { IsPending = false, WasTold = isNews || record.WasTold }).Write(sysroot, booted);
        // A ghost leaves nothing on the disk that says when it ran.
        if (!RootConfig.IsGhost(sysroot.BootArguments))
            BoxHistory.Add(sysroot, "boot", booted);
        return isNews ? new LateMerge(booted, Changed: false, record!.Failure) : null;
    }

    /// <summary>Merges for every deployment that took over the running one's /etc and never ran.</summary>
    public IReadOnlyList<LateMerge> Run()
    {
        using IDisposable? held = TryHold();
        sysroot.Reload();
        var done = new List<LateMerge>();
        foreach (Deployment each in sysroot.Deployments)
        {
            if (One(each.Name, held is not null) is { } merge)
                done.Add(merge);
        }

        return done;
    }

    private LateMerge? One(DeploymentName name, bool held)
    {
        EtcRecord? record = null;
        try
        {
            if (held)
                EtcRecord.FinishCut(sysroot, name);
            record = EtcRecord.Of(sysroot, name);
            if (record is not { IsPending: true } || record.From != sysroot.BootedName)
                return null;
            if (!held)
                throw new SysrootBusyException(sysroot.Root.Of(Layout.LockFile));
            if (record.Written is null || record.Written != EtcRecord.Digest(sysroot, name))
                return Leave(name, record);
            return new LateMerge(name, Merge(name, record), null);
        }
        catch (Exception failed) when (failed is IOException or LinuxException or SysrootException or MalformedException)
        {
            if (record is not null)
                Note(name, record, failed.Message, held);
            return new LateMerge(name, Changed: false, failed.Message);
        }
    }

    // It ran without saying so (a rescue shell, a tree without the unit), or somebody edited it where it lies.
    private LateMerge Leave(DeploymentName name, EtcRecord record)
    {
        const string Why = "its /etc is not as the merge wrote it, so it ran or was edited: it stays as it is, without what was edited elsewhere since";
        (record with { IsPending = false, Failure = Why }).Write(sysroot, name);
        return new LateMerge(name, Changed: false, Why);
    }

    // The record that is on the disk: record and copies belong together, and a merge that failed early or late left either the old or the new pair.
    private void Note(DeploymentName name, EtcRecord record, string failure, bool held)
    {
        try
        {
            if (held)
                ((EtcRecord.Of(sysroot, name) ?? record) with { Failure = failure }).Write(sysroot, name);
            else
                EtcRecord.NoteFailure(sysroot, name, failure);
        }
        catch (Exception refused) when (refused is IOException or LinuxException or MalformedException)
        {
            // A disk that takes no record has refused the merge too: that is what is told.
        }
    }

    private IDisposable? TryHold()
    {
        for (DateTime until = DateTime.UtcNow + (patience ?? Usual); ; Thread.Sleep(Pause))
        {
            try
            {
                return sysroot.Lock();
            }
            catch (SysrootBusyException)
            {
                if (DateTime.UtcNow >= until)
                    return null;
            }
        }
    }

    private bool Merge(DeploymentName name, EtcRecord before)
    {
        using Dir tree = sysroot.Root.OpenDir(name.Directory);
        InodeFlags.ClearImmutable(tree);
        tree.RemoveAll(Fresh);
        using Dir oldDefaults = sysroot.Root.OpenDir($"{before.From.Directory}/usr/etc"), mine = sysroot.Root.OpenDir($"{before.From.Directory}/etc"), defaults = tree.OpenDir("usr/etc");
        EtcMergePlan plan = EtcMergePlan.Make(EtcTree.Read(oldDefaults), EtcTree.Read(mine), EtcTree.Read(defaults), EtcContents.Of(oldDefaults, mine, defaults));
        sysroot.Step($"merge into {Fresh}");
        TreeCopy.Recursive(tree, "usr/etc", tree, Fresh);
        EtcRecord fresh;
        using (Dir etc = tree.OpenDir(Fresh))
        {
            EtcMerge.Apply(plan, mine, etc);
            etc.TryUnlink(".updated");
            fresh = WithChoices(EtcRecord.Of(plan, before.From), before).KeepCopies(sysroot, name, oldDefaults, mine);
            new EtcKeeper(sysroot).ApplyChoices(fresh, name, etc);
            fresh = fresh with { Written = EtcRecord.Digest(etc) };
        }

        fresh.WriteBeside(sysroot, name);
        bool changed = fresh.Written != before.Written;
        if (changed)
            Replace(name, tree);
        else
            tree.RemoveAll(Fresh);
        // After /etc: a cut in between is seen by the digest, and finished by the next who looks.
        EtcRecord.TakePlace(sysroot, name);
        return changed;
    }

    private void Replace(DeploymentName name, Dir tree)
    {
        sysroot.Step("sync the merged /etc");
        Durable.SyncFileSystem(tree);
        sysroot.Step("exchange it for the one before");
        tree.Exchange(Fresh, tree, "etc");
        Durable.Sync(tree);
        sysroot.Step("keep the one before");
        string replaced = EtcRecord.ReplacedOf(name);
        sysroot.Root.RemoveAll(replaced);
        sysroot.Root.MakeDir(replaced, 0x1C0); // 0700
        tree.Rename(Fresh, sysroot.Root, $"{replaced}/etc");
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
