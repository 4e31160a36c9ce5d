using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>What the doctor may look at beside the sysroot.</summary>
public sealed record DoctorOptions
{
    /// <summary>Where the running system keeps what is gone at power-off (<c>/run</c>); null where the sysroot is not what runs.</summary>
    public string? RunDirectory { get; init; }

    /// <summary>How far the running system is sealed; null where the sysroot is not what runs.</summary>
    public SealStatus? Seal { get; init; }

    /// <summary>Services of sbox and ostree that failed, as systemd has them.</summary>
    public IReadOnlyList<string> FailedUnits { get; init; } = [];

    /// <summary>Why no EFI partition is looked at, where one should be; null where that is well.</summary>
    public string? EspUnseen { get; init; }
}

/// <summary>Looks at all of a box for what is half-done, left over or in the way, and mends what can be mended without losing anything.</summary>
/// <param name="sysroot">The sysroot, opened with <see cref="SysrootOptions.TolerateDamage"/>.</param>
/// <param name="deployer">Its deployer, which knows the EFI partition.</param>
/// <param name="options">What else is looked at.</param>
/// <remarks>sbox-doctor(1) lists the findings. Looking takes no lock: while another changes deployments, its half-done work is found too.</remarks>
public sealed class BoxDoctor(OstreeSysroot sysroot, Deployer deployer, DoctorOptions options)
{
    /// <summary>Looks; writes nothing.</summary>
    public DoctorReport Look(CancellationToken cancel = default)
    {
        sysroot.Reload();
        var findings = new List<DoctorFinding>();
        try
        {
            _ = sysroot.Repository;
        }
        catch (Exception unseen) when (IsRefused(unseen))
        {
            return new DoctorReport(sysroot.Path, [Unseen(sysroot.Root.Of(Layout.Repo), unseen)]);
        }
        catch (Exception broken) when (broken is RepositoryException or IOException or MalformedException)
        {
            findings.Add(new DoctorFinding(
                "repository", FindingGrade.Broken, sysroot.Root.Of(Layout.Repo), broken.Message, "nothing can be upgraded, and no version can be proven or repaired",
                "bring ostree/repo/config and the objects back from a backup, or install anew; what is deployed may boot all the same"));
            return new DoctorReport(sysroot.Path, findings);
        }

        DoctorScene scene;
        try
        {
            scene = new DoctorScene(sysroot, deployer, options, cancel);
        }
        catch (Exception unseen) when (IsRefused(unseen))
        {
            return new DoctorReport(sysroot.Path, [Unseen(sysroot.Root.Of(Layout.Deploy), unseen)]);
        }

        bool all = true;
        foreach ((string place, Func<DoctorScene, IEnumerable<DoctorFinding>> check) in ((string, Func<DoctorScene, IEnumerable<DoctorFinding>>)[])
        [
            (Layout.Boot, BootChecks.Look), (Layout.Deploy, TreeChecks.Look), (Layout.Repo, StoreChecks.Look), ("the EFI partition", EspChecks.Look), (Layout.Deploy, EtcChecks.Look), (Layout.Deploy, StateChecks.Look),
        ])
        {
            try
            {
                foreach (DoctorFinding finding in check(scene))
                    findings.Add(finding);
            }
            catch (Exception unseen) when (IsRefused(unseen))
            {
                findings.Add(Unseen(place, unseen));
                all = false;
            }
        }

        // What is in the way can be told by who has seen everything alone.
        return new DoctorReport(sysroot.Path, [.. findings.Select(finding => all ? finding : finding with { Repair = [] }).OrderByDescending(static finding => finding.Grade)]);
    }

    private static bool IsRefused(Exception failure) => failure is UnauthorizedAccessException or LinuxException { Errno: Errno.EACCES or Errno.EPERM }
        || failure.InnerException is { } inner && IsRefused(inner);

    private static DoctorFinding Unseen(string path, Exception refused) => new DoctorFinding(
        "unseen", FindingGrade.Warning, path, $"may not be looked at: {refused.Message}", "what else is wrong there is not known, and nothing is mended before all was looked at", "sudo sbox doctor, with the same options");

    /// <summary>Mends what a report's plan says, under the sysroot's lock. What it takes away is kept in <c>ostree/sbox-set-aside</c>.</summary>
    /// <param name="shown">The plan that its owner agreed to: nothing else is done.</param>
    /// <param name="progress">Told each step before it is done.</param>
    /// <param name="cancel">Looked at between two steps.</param>
    /// <exception cref="SysrootBusyException">Someone else changes this sysroot.</exception>
    /// <exception cref="RepairChangedException">More is to be done by now than was shown; nothing was.</exception>
    public RepairReport Repair(RepairPlan shown, IProgress<RepairStep>? progress = null, CancellationToken cancel = default)
    {
        using IDisposable held = sysroot.Lock();
        RepairPlan now = Look(cancel).Plan;
        if (now.Steps.FirstOrDefault(step => !shown.Steps.Contains(step)) is { } unseen)
            throw new RepairChangedException(sysroot.Path, unseen);
        return new BoxRepair(sysroot, deployer).Run(now, progress, cancel);
    }

    /// <summary>What earlier repairs set aside: a directory each, by the time of the repair.</summary>
    public IReadOnlyList<string> Aside()
    {
        using Dir? aside = sysroot.Root.TryOpenDir(BoxRepair.AsideDirectory);
        return [.. (aside?.Entries() ?? []).Select(entry => aside!.Of(entry.Name)).Order(StringComparer.Ordinal)];
    }

    /// <summary>Deletes what earlier repairs set aside.</summary>
    /// <exception cref="SysrootBusyException">Someone else changes this sysroot.</exception>
    public void DropAside()
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Step($"remove {BoxRepair.AsideDirectory}");
        sysroot.Root.RemoveAll(BoxRepair.AsideDirectory);
    }
}

/// <summary>What every check needs.</summary>
internal sealed class DoctorScene
{
    public DoctorScene(OstreeSysroot sysroot, Deployer deployer, DoctorOptions options, CancellationToken cancel)
    {
        (Sysroot, Deployer, Options, Cancel) = (sysroot, deployer, options, cancel);
        Directories = DeploymentDirectories.Of(sysroot.Root);
        Trees = Directories.ToDictionary(static name => name, name => TreeLook.Of(sysroot, name, cancel));
        Staged = options.RunDirectory is null ? null : StagedDeployment.Read(options.RunDirectory);
    }

    public OstreeSysroot Sysroot { get; }

    public Deployer Deployer { get; }

    public DoctorOptions Options { get; }

    public CancellationToken Cancel { get; }

    /// <summary>All directories of deployments, listed or not.</summary>
    public IReadOnlyList<DeploymentName> Directories { get; }

    public IReadOnlyDictionary<DeploymentName, TreeLook> Trees { get; }

    /// <summary>The versions that a boot configuration can be made of, those that a repair completes among them; in boot order.</summary>
    public IReadOnlyList<DeploymentName> Bootable => field ??= BootRescue.Names(Sysroot, Trees, Deployer.Esp, afterwards: true);

    /// <summary>What libostree has staged for the shutdown; null for nothing.</summary>
    public StagedDeployment? Staged { get; }

    public Dir Root => Sysroot.Root;

    public bool IsListed(DeploymentName name) => Sysroot.Deployments.Any(each => each.Name == name);

    /// <summary>Whether /boot seems to be a file system of its own that is not mounted.</summary>
    public bool BootIsElsewhere => Root.TryOpenDir(Layout.Boot) is not { } boot || IsBare(boot);

    private bool IsBare(Dir boot)
    {
        using (boot)
            return boot.Entries().Count == 0 && Directories.Count > 0 && (Root.Exists("ostree/boot.0") || Root.Exists("ostree/boot.1"));
    }

    /// <summary>A path from the sysroot's root, of a full one.</summary>
    public string Relative(string path) => path.StartsWith(Root.Of(""), StringComparison.Ordinal) ? path[Root.Path.TrimEnd('/').Length..].TrimStart('/') : path;
}

/// <summary>What libostree stages: <c>/run/ostree/staged-deployment</c>, GVariant <c>a{sv}</c>, whose <c>target</c> names the deployment.</summary>
/// <param name="Path">The file.</param>
/// <param name="Name">The deployment; null where the file does not say.</param>
/// <param name="IsHeld">Whether somebody keeps it from being finalized (<c>ostree admin lock-finalization</c>).</param>
internal sealed record StagedDeployment(string Path, DeploymentName? Name, bool IsHeld)
{
    public static StagedDeployment? Read(string run)
    {
        string path = $"{run}/ostree/staged-deployment";
        if (!File.Exists(path))
            return null;
        DeploymentName? name = null;
        using Dir dir = Dir.Open($"{run}/ostree");
        try
        {
            if (VariantDictionary.Parse(dir.ReadAll("staged-deployment"))["target"] is { } target)
                name = Target(target);
        }
        catch (MalformedException)
        {
            // Half of a file is a staged deployment that nobody can finalize: that it names none is the finding.
        }

        return new StagedDeployment(path, name, dir.Exists("staged-deployment-locked"));
    }

    // a{sv} with osname (the stateroot) and name (CHECKSUM.SERIAL).
    private static DeploymentName? Target(GVariant target)
    {
        VariantDictionary fields = VariantDictionary.Parse(target.ToBytes());
        return DeploymentName.TryParse($"{fields.GetString("osname")}/{fields.GetString("name")}", out DeploymentName name) ? name : null;
    }
}
