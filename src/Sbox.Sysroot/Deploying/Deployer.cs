using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Verity;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>
/// Changes what is deployed. Each change takes the sysroot's lock and keeps one order: the new deployment whole and synced, then the
/// boot entries swapped, then the ESP led to it, and only then what is no longer wanted removed. A power cut anywhere leaves a machine
/// that boots the old deployment or the new, and the same command finishes the work.
/// </summary>
/// <remarks>docs/formats/sysroot.md.</remarks>
public sealed partial class Deployer : IDisposable
{
    private readonly OstreeSysroot sysroot;
    private readonly Dir? espDir;
    private readonly EspWriter? esp;
    private readonly Planner planner;
    private readonly SealedFiles sealing;

    /// <summary>Prepares to change a sysroot.</summary>
    /// <param name="sysroot">The sysroot; must stay open.</param>
    /// <param name="espDirectory">The mounted ESP, or the directory that becomes one; null where only boot entries are kept.</param>
    /// <param name="seal">What the box accepts; null where it is not sealed.</param>
    public Deployer(OstreeSysroot sysroot, string? espDirectory, SealPolicy? seal = null)
    {
        this.sysroot = sysroot;
        sealing = new SealedFiles(sysroot, seal);
        espDir = espDirectory is null ? null : Dir.Open(espDirectory);
        esp = espDir is null ? null : new EspWriter(sysroot, espDir, sealing);
        planner = new Planner(sysroot, esp);
    }

    /// <summary>By what this box knows boot files that their owner signed.</summary>
    internal SealedFiles Sealing => sealing;

    /// <summary>The ESP; null where none was given.</summary>
    public EspWriter? Esp => esp;

    /// <summary>What a version must do to open the box's encrypted disk; null where there is none.</summary>
    public DiskOpening? Disk { get; init; }

    /// <summary>
    /// Told which version is about to boot next, while the one before still does: its UKI is on the EFI partition, and nothing leads to it yet. Called once more when its boot
    /// loader is there too. What throws here keeps the one before; null where nobody wants to know.
    /// </summary>
    public Action<DeploymentName>? BeforeDefault { get; set; }

    /// <summary>Says what <see cref="Deploy"/> would do. Nothing is changed.</summary>
    /// <exception cref="NoSuchDeploymentException">There is no such stateroot.</exception>
    /// <exception cref="NoSpaceException">The ESP has too little room.</exception>
    /// <exception cref="NoKernelException">The tree has no kernel.</exception>
    /// <exception cref="UnsealedCommitException">The box is sealed and the commit is not.</exception>
    /// <exception cref="DiskNotOpenedException">The box's disk is encrypted, and the commit would not open it.</exception>
    public DeployPlan Plan(DeployRequest request)
    {
        DeployPlan plan = planner.Plan(request);
        if (sealing.IsSealed && !request.AllowUnsealed && CommitSeal.Of(sysroot.Repository.LoadDetachedMetadata(request.Commit)) is null)
            throw new UnsealedCommitException(request.Commit);
        if (!request.AllowUnopened)
            Disk?.Require(sysroot.Repository, request.Commit);
        plan = plan with { DropsFirst = esp?.MustDropFirst(plan.EspBytes, plan.Dropped) ?? false };
        new RootSpace(sysroot).Require(plan.RootBytes);
        return plan;
    }

    /// <summary>Deploys a commit as the new default.</summary>
    /// <param name="request">What and where.</param>
    /// <param name="progress">Told in words what is done now.</param>
    /// <param name="cancel">Looked at until the boot entries are swapped; what is there by then is cleaned away by the next change.</param>
    /// <param name="planned">Told the plan before anything is written; what it throws leaves everything as it is.</param>
    /// <exception cref="SysrootBusyException">Someone else changes this sysroot.</exception>
    /// <exception cref="NoSpaceException">The ESP has too little room; nothing was written.</exception>
    public DeployResult Deploy(DeployRequest request, IProgress<string>? progress = null, CancellationToken cancel = default, Action<DeployPlan>? planned = null)
    {
        using IDisposable held = Begin();
        using IDisposable remembered = sysroot.Repository.RememberTrees();
        DeployPlan plan = Plan(request);
        planned?.Invoke(plan);
        if (plan.DropsFirst)
            Offer([.. plan.Kept.Select(Kept)], ImageDigest, updateLoader: false, progress);
        new Cleaner(sysroot, planner).RemoveUnreferenced();

        progress?.Report("Checking out");
        Checksum digest = CheckOut(plan, cancel);
        FillVar(plan);
        progress?.Report("Merging /etc");
        MergeEtc(plan);
        int conflicts = EtcRecord.Of(sysroot, plan.Name)?.Open.Count() ?? 0;
        if (conflicts > 0)
            plan = plan with { Notes = [.. plan.Notes, $"/etc: you and the new version changed {conflicts} of the same files, and yours are kept: sbox etc resolve shows them"] };
        cancel.ThrowIfCancellationRequested();

        remembered.Dispose(); // whoever cleans up asks the disk
        progress?.Report("Making it bootable");
        BootTarget added = BootTarget.Of(sysroot, plan.Name, plan.Arguments, sealing.IsSealed);
        if (added.Seal is not null)
        {
            progress?.Report("Checking the seal");
            sealing.Check(added, digest);
            SealDeployment(plan, progress, cancel);
        }

        List<BootTarget> targets = [.. plan.Kept.Select(Kept)];
        targets.Insert(plan.Position, added with { MayBeUnsealed = request.AllowUnsealed, Overlays = OverlayInitrds.Install(sysroot, request.OverlayInitrds) });
        CleanupReport report = Activate(targets, name => name == plan.Name ? digest : ImageDigest(name), updateLoader: true, progress, request.NoPrune, asked: plan.Name);
        BoxHistory.Add(sysroot, "deploy", plan.Name, plan.Origin?.Refspec?.ToString());
        return new DeployResult(plan, digest, report);

        BootTarget Kept(DeploymentName name) => Existing(name) with { MayBeUnsealed = request.AllowUnsealed };
    }

    /// <summary>Says what becomes of the owner's changes to /etc in another version. Nothing is changed.</summary>
    /// <param name="revision">A commit of the repository. Null: what is deployed and never ran, else what the branch leads to.</param>
    /// <returns>What the version is called, and the plan.</returns>
    /// <exception cref="NoSuchDeploymentException">There is no other version, or no /etc to carry over.</exception>
    public (string Onto, EtcMergePlan Plan) PlanEtc(string? revision)
    {
        Deployment current = sysroot.Booted ?? CurrentDefault ?? throw new NoSuchDeploymentException(sysroot.Path, "nothing is deployed");
        Checksum? pending = sysroot.Deployments.FirstOrDefault(each => each != current && EtcRecord.Of(sysroot, each.Name) is { IsPending: true } record && record.From == current.Name)?.Name.Commit;
        Checksum commit = revision is not null ? sysroot.Repository.Resolve(revision)
            : pending ?? (current.Origin?.Refspec is { } refspec ? sysroot.Repository.Resolve(refspec.ToString())
            : throw new NoSuchDeploymentException(sysroot.Path, $"{current.Name.Short} has no origin, and nothing else is deployed: there is nothing to merge with"));
        var tree = new CommitTree(sysroot.Repository, commit);
        EtcMergePlan plan = planner.EtcPlan(current.Name, tree.Etc(), tree.EtcContent) ?? throw new NoSuchDeploymentException(sysroot.Path, $"{current.Name.Short} has no /etc to merge");
        string name = commit.ToString()[..12];
        return (tree.Commit.Version is { } version ? $"version {version} ({name})" : $"commit {name}", plan);
    }

    /// <summary>The deployment that <see cref="Rollback"/> would make the default: the first of the stateroot that is not the default now, and was not given up.</summary>
    /// <exception cref="NoSuchDeploymentException">There is only one, or the others did not come up.</exception>
    public Deployment RollbackTarget()
    {
        Deployment current = CurrentDefault ?? throw new NoSuchDeploymentException(sysroot.Path, "nothing is deployed");
        Deployment[] others = [.. sysroot.Deployments.Where(each => each.Name.Os == current.Name.Os && each.Name != current.Name)];
        // One that did not come up is no way back; whoever wants it all the same says so.
        return others.FirstOrDefault(each => Trials.Of(sysroot, each.Name)?.Left != 0) ?? throw new NoSuchDeploymentException(sysroot.Path, others is [var bad, ..]
            ? $"{DeploymentSelector.Describe(sysroot, bad.Name)} has no try left, and there is no other to go back to: sbox rollback --to {bad.Name.Short} tries it anew"
            : $"{current.Name.Short} is the only deployment: there is none to go back to");
    }

    /// <summary>Makes another deployment the default; no tree and no UKI is copied.</summary>
    /// <param name="target">Which; null: <see cref="RollbackTarget"/>.</param>
    /// <param name="allowUnopened">Also one that does not open the box's encrypted disk.</param>
    /// <returns>The new default, and what went.</returns>
    /// <exception cref="NoSuchDeploymentException">There is no other.</exception>
    /// <exception cref="DiskNotOpenedException">The box's disk is encrypted, and it would not open it.</exception>
    public RollbackResult Rollback(DeploymentName? target = null, bool allowUnopened = false)
    {
        using IDisposable held = Begin();
        Deployment chosen = target is { } name ? Find(name) : RollbackTarget();
        if (!allowUnopened && !sysroot.IsBooted(chosen))
            Disk?.Require(sysroot.Repository, chosen.Name.Commit);
        IEnumerable<DeploymentName> rest = sysroot.Deployments.Where(each => each.Name != chosen.Name).Select(static each => each.Name);
        CleanupReport report = Activate([.. rest.Prepend(chosen.Name).Select(Existing)], ImageDigest, updateLoader: false, progress: null, asked: target);
        BoxHistory.Add(sysroot, "rollback", chosen.Name);
        return new RollbackResult(Find(chosen.Name), report);
    }

    /// <summary>Removes a deployment that does not run.</summary>
    /// <exception cref="DeploymentBootedException">It runs.</exception>
    /// <exception cref="NoSuchDeploymentException">There is none such, or it is the last one.</exception>
    public CleanupReport Undeploy(DeploymentName name)
    {
        using IDisposable held = Begin();
        Deployment unwanted = Find(name);
        if (sysroot.IsBooted(unwanted))
            throw new DeploymentBootedException(name);
        List<BootTarget> rest = [.. sysroot.Deployments.Where(each => each.Name != name).Select(each => Existing(each.Name))];
        if (rest.Count == 0 && esp is not null)
            throw new NoSuchDeploymentException(sysroot.Path, $"{name.Short} is the only deployment: without it nothing boots");
        string? version = BoxHistory.VersionOf(sysroot, name);
        CleanupReport report = Activate(rest, ImageDigest, updateLoader: false, progress: null);
        BoxHistory.Add(sysroot, "undeploy", name, version: version);
        return report;
    }

    /// <summary>Gives a deployment that is there other kernel arguments, in its place: what <c>ostree admin instutil set-kargs</c> does.</summary>
    public CleanupReport SetArguments(DeploymentName name, KernelArguments arguments)
    {
        using IDisposable held = Begin();
        return Activate(
            [.. sysroot.Deployments.Select(each => each.Name == name ? Existing(each.Name) with { Arguments = arguments } : Existing(each.Name))], ImageDigest, updateLoader: false, progress: null);
    }

    /// <summary>Finishes what a cut left undone: leads the ESP to what is deployed, and removes all that nothing leads to.</summary>
    public CleanupReport Finish(IProgress<string>? progress = null)
    {
        using IDisposable held = Begin();
        return Activate([.. sysroot.Deployments.Select(each => Existing(each.Name))], ImageDigest, updateLoader: false, progress);
    }

    /// <summary>
    /// Whether nothing is left to <see cref="Finish"/>: the ESP, where there is one, offers exactly what is deployed, and no other tree is there.
    /// </summary>
    public bool IsSettled
    {
        get
        {
            DeploymentName[] deployed = [.. sysroot.Deployments.Select(static each => each.Name)];
            return (esp?.IsInStep(deployed) ?? true)
                && DeploymentDirectories.Of(sysroot.Root).All(name => deployed.Contains(name) || name == sysroot.BootedName);
        }
    }

    /// <summary>What boots when nobody chooses: by firmware and ESP where there is one that says so, else the first boot entry.</summary>
    public Deployment? CurrentDefault => OfEntry(ChosenEntry()) ?? sysroot.Deployments.FirstOrDefault();

    /// <summary>The deployment that a menu entry starts; null where it starts none of these.</summary>
    /// <param name="entry">The entry's file name; null for none.</param>
    internal Deployment? OfEntry(string? entry) =>
        entry is null ? null : sysroot.Deployments.FirstOrDefault(each => UnifiedKernel.IsOf(entry, each.Name));

    /// <summary>Makes the firmware forget what it was told to boot in place of the first deployment; nothing else is changed.</summary>
    /// <returns>A line for each variable that was in the way.</returns>
    public IReadOnlyList<string> Overrule()
    {
        using IDisposable held = Begin();
        return sysroot.Deployments.Count == 0 || esp is null ? [] : esp.Overrule(sysroot.Deployments[0].Name);
    }

    /// <summary>Has the box start as this when nobody chooses in the menu; an upgrade keeps it.</summary>
    /// <returns>A line for each variable of the firmware's that was in the way; null where there is no EFI partition, or nothing is deployed.</returns>
    /// <exception cref="NoSuchProfileException">The default's UKI has no such entry.</exception>
    public IReadOnlyList<string>? StartAs(DefaultBoot boots)
    {
        using IDisposable held = Begin();
        return sysroot.Deployments.Count == 0 ? null : esp?.StartAs(boots);
    }

    /// <inheritdoc/>
    public void Dispose() => espDir?.Dispose();

    private string? ChosenEntry()
    {
        try
        {
            return esp?.Choice.Entry;
        }
        catch (LinuxException)
        {
            return esp!.Default; // firmware whose variables cannot be read: loader.conf is what is left
        }
    }

    private IDisposable Begin()
    {
        IDisposable held = sysroot.Lock();
        sysroot.Reload();
        esp?.RemoveLeftovers();
        return held;
    }

    private Deployment Find(DeploymentName name) => sysroot.Deployments.FirstOrDefault(each => each.Name == name)
        ?? throw new NoSuchDeploymentException(sysroot.Path, $"no deployment {name.Short}");

    private BootTarget Existing(DeploymentName name) => BootTarget.Of(sysroot, name, Find(name).Arguments, sealing.IsSealed);

    private CleanupReport Activate(IReadOnlyList<BootTarget> targets, Func<DeploymentName, Checksum> digestOf, bool updateLoader, IProgress<string>? progress, bool noPrune = false, DeploymentName? asked = null)
    {
        DeploymentName? first = targets.Count == 0 ? null : targets[0].Name;
        DefaultBoot boots = first is { } one && esp is not null ? esp.BootsAsOf(one) : DefaultBoot.Normal; // before anything is written
        long freed = Offer(targets, digestOf, updateLoader, progress, asked);
        IReadOnlyList<string> overruled = targets.Count == 0 || esp is null ? [] : esp.Overrule(targets[0].Name);
        progress?.Report("Cleaning up");
        CleanupReport report = new Cleaner(sysroot, planner).Clean(CancellationToken.None, noPrune);
        return report with { BytesFreed = report.BytesFreed + freed, Notes = [.. overruled, .. first is { } wanted && esp is not null ? esp.Differences(wanted, boots, wanted == asked) : [], .. MediumIsWanted(targets), .. report.Notes] };
    }

    // Whoever takes the stick out at each login would take it from under a trial.
    private string[] MediumIsWanted(IReadOnlyList<BootTarget> targets) =>
        targets.Count > 0 && esp?.TriesLeft(targets[0].Name) > 0 && esp.BootsAs == DefaultBoot.GhostInMemory
            ? ["The new version is tried as an ordinary ghost: leave the medium in until it was found good; after that the box is a ghost in memory again"] : [];

    // Boot entries, then the ESP; what is dropped from both is still there. Returns the bytes freed on the ESP.
    private long Offer(IReadOnlyList<BootTarget> targets, Func<DeploymentName, Checksum> digestOf, bool updateLoader, IProgress<string>? progress, DeploymentName? asked = null)
    {
        esp?.RequireSeals(targets);
        new BootLinksWriter(sysroot, classic: esp is null).Write(targets);
        if (esp is null)
            return 0;
        progress?.Report("Writing the EFI partition");
        esp.Publish(targets, digestOf, updateLoader, asked, BeforeDefault);
        return esp.RemoveOthers([.. targets.Select(static target => target.Name)]);
    }

    private Checksum CheckOut(DeployPlan plan, CancellationToken cancel)
    {
        sysroot.Root.MakeDirs(Layout.Deployments(plan.Name.Os));
        using Dir deployments = sysroot.Root.OpenDir(Layout.Deployments(plan.Name.Os));
        string name = $"{plan.Name.Commit}.{plan.Name.Serial}";
        sysroot.Step($"check out {plan.Name.Directory}");
        sysroot.Repository.Checkout(plan.Name.Commit, deployments, name, new CheckoutOptions { PassthroughWhiteouts = true }, null, cancel);
        using Dir tree = deployments.OpenDir(name);
        sysroot.Step("write the composefs image");
        // For the image all of the tree is in memory, maybe two versions of it: it takes the place of what the plan needed, and what follows takes its place.
        GC.Collect();
        Checksum digest = WriteImage(tree, plan.Name.Commit, cancel);
        GC.Collect();
        if (plan.Origin is { } origin)
        {
            sysroot.Step("write the origin");
            Durable.Replace(deployments, $"{name}.origin", Encoding.UTF8.GetBytes(origin.ToString()));
        }

        return digest;
    }

    // The first deployment of a stateroot brings its /var along; nobody's is ever changed.
    private void FillVar(DeployPlan plan)
    {
        using Dir tree = sysroot.Root.OpenDir(plan.Name.Directory);
        using Dir var = sysroot.Root.MakeAndOpenDir(plan.Name.VarDirectory);
        if (var.Entries().Count > 0)
            return;
        sysroot.Step("fill /var");
        using Dir? brought = tree.TryOpenDir("var");
        foreach (DirEntry entry in brought?.Entries() ?? [])
        {
            if (brought!.TryStat(entry.Name) is { IsDirectory: true })
                TreeCopy.Recursive(brought, entry.Name, var, entry.Name);
            else
                TreeCopy.Leaf(brought, entry.Name, var, entry.Name);
        }

        if (!tree.Exists("usr/lib/tmpfiles.d"))
            OstreeSysroot.FillVarWithUsualNames(var);
    }

    private Checksum WriteImage(Dir tree, Checksum commit, CancellationToken cancel)
    {
        string temporary = $"{PhysicalRoot.ImageName}.tmp";
        tree.TryUnlink(temporary);
        Checksum digest;
        using (SafeFileHandle file = tree.CreateFile(temporary))
        {
            using (var stream = new FileStream(file, FileAccess.ReadWrite, bufferSize: 1 << 16))
            {
                digest = sysroot.Repository.WriteComposefs(commit, stream, OtherImages(), cancel).Digest;
                stream.Flush();
                Durable.Sync(file, tree.Of(temporary));
            }
        }

        tree.Rename(temporary, tree, PhysicalRoot.ImageName);
        return digest;
    }

    // Most of a version is in the one before, whose image has the digests: a tenth of the time of reading it all.
    private IEnumerable<ReadOnlyMemory<byte>> OtherImages()
    {
        const long Limit = 64L << 20; // of a million files it has 200 MiB, and then the memory is worth more than the time
        foreach (DeploymentName other in sysroot.Deployments.Select(static each => each.Name).DistinctBy(static name => name.Commit).Take(2))
        {
            using Dir? tree = sysroot.Root.TryOpenDir(other.Directory);
            using SafeFileHandle? image = tree is null || !tree.Exists(PhysicalRoot.ImageName) ? null : tree.OpenFile(PhysicalRoot.ImageName);
            if (image is null || RandomAccess.GetLength(image) is var length && length > Limit)
                continue;
            var bytes = new byte[length];
            int read = 0;
            for (int more; (more = RandomAccess.Read(image, bytes.AsSpan(read), read)) > 0;)
                read += more;
            yield return bytes.AsMemory(0, read);
        }
    }

    // Before anything leads to it: a sealed boot reads nothing that is not.
    private void SealDeployment(DeployPlan plan, IProgress<string>? progress, CancellationToken cancel)
    {
        sysroot.Step("seal the objects");
        progress?.Report("Sealing every file (fs-verity)");
        VeritySummary summary = sysroot.Repository.EnableVerity(plan.Name.Commit, cancel);
        if (!summary.Supported && sealing.MustSealFiles)
            throw new SealBrokenException(plan.Name.Commit, sysroot.Root.Of(Layout.Repo), "its file system has no fs-verity (tune2fs -O verity), and a sealed boot would read no file");
        if (summary.Supported)
            progress?.Report($"Sealed {summary.Enabled} files; {summary.AlreadyEnabled} were");
        using Dir tree = sysroot.Root.OpenDir(plan.Name.Directory);
        using SafeFileHandle image = tree.OpenFile(PhysicalRoot.ImageName);
        Verity.TryEnable(image, tree.Of(PhysicalRoot.ImageName));
    }

    private void MergeEtc(DeployPlan plan)
    {
        using Dir tree = sysroot.Root.OpenDir(plan.Name.Directory);
        PrepareEtc(tree);
        if (!tree.Exists("etc"))
            return;
        if (plan.Merge is { } merge && !plan.Request.NoMerge)
        {
            // Planned again from the tree that is there now: /etc is alive and may have changed since.
            sysroot.Step("merge /etc");
            using Dir defaults = tree.OpenDir("usr/etc"), etc = tree.OpenDir("etc");
            using Dir? local = sysroot.Root.TryOpenDir($"{merge.Directory}/etc");
            if (local is not null && planner.EtcPlan(merge, plan.Name.Commit, defaults) is { } etcPlan)
            {
                EtcMerge.Apply(etcPlan, local, etc);
                using Dir? before = sysroot.Root.TryOpenDir($"{merge.Directory}/usr/etc");
                EtcRecord record = EtcRecord.Of(etcPlan, merge).KeepCopies(sysroot, plan.Name, before, local);
                etc.TryUnlink(".updated");
                (record with { Written = EtcRecord.Digest(etc) }).WriteBeside(sysroot, plan.Name);
                EtcRecord.TakePlace(sysroot, plan.Name);
            }
        }

        // systemd's ConditionNeedsUpdate= looks at these: whatever runs once after an update shall run.
        tree.TryUnlink("etc/.updated");
        sysroot.Root.TryUnlink($"{plan.Name.VarDirectory}/.updated");
    }

    // The tree has its defaults in usr/etc, and perhaps an empty etc to mount on.
    private void PrepareEtc(Dir tree)
    {
        sysroot.Step("copy usr/etc to etc");
        if (tree.TryStat("etc") is { IsDirectory: true })
        {
            using Dir etc = tree.OpenDir("etc");
            bool empty = etc.Entries().Count == 0;
            if (tree.Exists("usr/etc"))
            {
                if (!empty)
                    throw new SysrootDamagedException(tree.Path, "the tree has both /etc and /usr/etc");
                tree.RemoveDir("etc");
            }
            else if (!empty)
            {
                tree.Rename("etc", tree, "usr/etc"); // a tree that nobody prepared; libostree does the same
            }
        }

        if (tree.TryStat("usr/etc") is { IsDirectory: true } && !tree.Exists("etc"))
            TreeCopy.Recursive(tree, "usr/etc", tree, "etc");
    }

    private Checksum ImageDigest(DeploymentName name)
    {
        using Dir tree = sysroot.Root.OpenDir(name.Directory);
        if (!tree.Exists(PhysicalRoot.ImageName))
        {
            InodeFlags.ClearImmutable(tree); // deployed by a libostree without composefs
            return WriteImage(tree, name.Commit, CancellationToken.None);
        }

        return DigestOf(tree);
    }

    /// <summary>The fs-verity digest of a deployment's composefs image, by its bytes.</summary>
    internal static Checksum DigestOf(Dir tree)
    {
        using SafeFileHandle image = tree.OpenFile(PhysicalRoot.ImageName);
        var hasher = new VerityHasher();
        var buffer = new byte[1 << 20];
        long at = 0;
        for (int read; (read = RandomAccess.Read(image, buffer, at)) > 0; at += read)
            hasher.Append(buffer.AsSpan(0, read));
        return hasher.Finish();
    }
}
