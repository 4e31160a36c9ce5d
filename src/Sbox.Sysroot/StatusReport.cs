using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>One deployment as a status shows it.</summary>
/// <param name="Name">Which it is.</param>
/// <param name="Version">The commit's version; null where it has none or is not there.</param>
/// <param name="Time">When the commit was made; null where it is not there.</param>
/// <param name="Refspec">The branch it follows; null where none is known.</param>
/// <param name="Arguments">Its kernel arguments, without those that name it.</param>
public sealed record DeploymentStatus(DeploymentName Name, string? Version, DateTimeOffset? Time, Refspec? Refspec, KernelArguments Arguments)
{
    /// <summary>Whether it runs now.</summary>
    public bool IsBooted { get; init; }

    /// <summary>Whether it boots next when nobody chooses; null where that is not known.</summary>
    public bool? IsNext { get; init; }

    /// <summary>Whether the next boot alone starts it, whatever boots after that.</summary>
    public bool IsNextOnce { get; init; }

    /// <summary>As <c>ostree admin status</c> marks it: of the running stateroot, the first before the one that runs.</summary>
    public bool IsPending { get; init; }

    /// <summary>As <c>ostree admin status</c> marks it: of the running stateroot, the first after the one that runs.</summary>
    public bool IsRollback { get; init; }

    /// <summary>Whether the next soft reboot goes to it.</summary>
    public bool IsSoftRebootTarget { get; init; }

    /// <summary>Whether the owner pinned it.</summary>
    public bool IsPinned { get; init; }

    /// <summary>How it was unlocked for good; null where it was not.</summary>
    public string? Unlocked { get; init; }

    /// <summary>Whether it has an origin file at all.</summary>
    public bool HasOrigin { get; init; }

    /// <summary>Whether the EFI partition has its UKI; null where no EFI partition was looked at.</summary>
    public bool? HasUki { get; init; }

    /// <summary>Whether its commit carries a seal.</summary>
    public bool HasSeal { get; init; }

    /// <summary>How often it may still fail to come up; null where it is not on trial, or no EFI partition was looked at.</summary>
    public int? TriesLeft { get; init; }

    /// <summary>The owner's changes to its /etc; null where they were not counted.</summary>
    public int? EtcChanges { get; init; }
}

/// <summary>What a box is, at one look.</summary>
/// <param name="Deployments">In boot order.</param>
/// <param name="Root">The root file system's space.</param>
/// <param name="Esp">The EFI partition's space; null where none was looked at.</param>
/// <param name="IsSettled">False where a cut left the EFI partition behind what is deployed; null where no EFI partition was looked at.</param>
/// <param name="Choice">What the boot loader starts; null where no EFI partition was looked at.</param>
public sealed record StatusReport(
    IReadOnlyList<DeploymentStatus> Deployments, FileSystemSpace Root, FileSystemSpace? Esp, bool? IsSettled, BootChoice? Choice)
{
    /// <summary>Whether the running system is a ghost: what changes in its /etc and /var is gone at power-off.</summary>
    public bool IsGhost { get; init; }

    /// <summary>What the box starts as when nobody chooses; null where no EFI partition was looked at.</summary>
    public DefaultBoot? BootsAs { get; init; }

    /// <summary>Whether the kernel zeroes what it frees, so that a ghost's memory is empty when the power goes.</summary>
    public bool IsWiped { get; init; }

    /// <summary>The copy in memory that the running system was to run from; null where none was asked for.</summary>
    public MemoryDisk? Memory { get; init; }

    /// <summary>The versions that this box went back from by itself.</summary>
    public IReadOnlyList<BadVersion> Bad { get; init; } = [];

    /// <summary>The health checks that failed when they were last asked since the machine started; empty where none of these runs.</summary>
    public IReadOnlyList<HealthFinding> FailedChecks { get; init; } = [];

    /// <summary>What merges of /etc left to the owner, of every deployment.</summary>
    public IReadOnlyList<(DeploymentName Deployment, EtcFinding Finding)> EtcConflicts { get; init; } = [];

    /// <summary>Why the last merge of /etc at shutdown could not be done; null where it could.</summary>
    public string? EtcFailure { get; init; }

    /// <summary>How far the running system is sealed; null where none of these runs.</summary>
    public SealStatus? Seal { get; init; }

    /// <summary>The one that runs; null where none does.</summary>
    public DeploymentStatus? Booted => Deployments.FirstOrDefault(static each => each.IsBooted);

    /// <summary>The one that boots next when nobody chooses; null where that is not known, or it is none of these.</summary>
    public DeploymentStatus? Next => Deployments.FirstOrDefault(static each => each.IsNext == true);

    /// <summary>The one that the next boot alone starts; null where none is set, or it is none of these.</summary>
    public DeploymentStatus? NextOnce => Deployments.FirstOrDefault(static each => each.IsNextOnce);

    /// <summary>Looks at a sysroot. Takes no lock and changes nothing.</summary>
    /// <param name="sysroot">The sysroot.</param>
    /// <param name="deployer">Its deployer, which knows the EFI partition.</param>
    /// <param name="countEtcChanges">Whether to compare /etc with its defaults, by sizes and times of files.</param>
    public static StatusReport Of(OstreeSysroot sysroot, Deployer deployer, bool countEtcChanges = true)
    {
        sysroot.Reload();
        int booted = sysroot.Deployments.ToList().FindIndex(sysroot.IsBooted);
        // The boot entries alone say only what should boot: the firmware reads the EFI partition.
        BootChoice? choice = deployer.Esp?.Choice;
        Deployment? next = deployer.OfEntry(choice?.Entry), once = deployer.OfEntry(choice?.Once);
        bool SameOs(Deployment each) => booted >= 0 && each.Name.Os == sysroot.Deployments[booted].Name.Os;
        Deployment? pending = sysroot.Deployments.Take(Math.Max(booted, 0)).FirstOrDefault(SameOs);
        Deployment? rollback = booted < 0 ? null : sysroot.Deployments.Skip(booted + 1).FirstOrDefault(SameOs);
        int?[] etcChanges = countEtcChanges ? CountEtcChanges(sysroot) : new int?[sysroot.Deployments.Count];
        return new StatusReport(
            [.. sysroot.Deployments.Select((each, at) => One(sysroot, each) with
            {
                EtcChanges = etcChanges[at],
                IsBooted = sysroot.IsBooted(each),
                IsNext = choice?.Entry is null ? null : each == next,
                IsNextOnce = each == once,
                IsPending = each == pending,
                IsRollback = each == rollback,
                IsSoftRebootTarget = each.Name == sysroot.SoftRebootTarget,
                HasUki = deployer.Esp?.Names(each.Name),
                TriesLeft = deployer.Esp?.TriesLeft(each.Name),
            })],
            FileSystemSpace.Of(sysroot.Root), deployer.Esp?.Space, deployer.Esp is null ? null : deployer.IsSettled, choice)
        {
            Bad = sysroot.Deployments.Count == 0 ? [] : BadVersions.Read(sysroot, (sysroot.Booted ?? sysroot.Deployments[0]).Name.Os),
            FailedChecks = booted >= 0 ? new FailedChecks().Read() : [],
            EtcConflicts = new EtcKeeper(sysroot).Open(),
            EtcFailure = sysroot.Deployments.Select(each => EtcRecord.Of(sysroot, each.Name)?.Failure).FirstOrDefault(static failure => failure is not null),
            IsGhost = booted >= 0 && RootConfig.IsGhost(sysroot.BootArguments),
            BootsAs = BootsAsOf(deployer),
            IsWiped = sysroot.BootArguments.GetAll("init_on_free").LastOrDefault() is "1",
            Memory = booted >= 0 ? MemoryDisk.Read() : null,
            Seal = booted >= 0 ? SealStatus.Of(sysroot.BootArguments) : null,
        };
    }

    // Where the boot loader's files do not say it, a commit is read; one that is damaged must not hide everything else.
    private static DefaultBoot? BootsAsOf(Deployer deployer)
    {
        try
        {
            return deployer.Esp?.BootsAs;
        }
        catch (Exception damaged) when (damaged is RepositoryException or MalformedException)
        {
            return null;
        }
    }

    private static DeploymentStatus One(OstreeSysroot sysroot, Deployment deployment)
    {
        bool there = sysroot.Repository.Has(new ObjectName(deployment.Name.Commit, ObjectType.Commit));
        Commit? commit = there ? sysroot.Repository.LoadCommit(deployment.Name.Commit) : null;
        return new DeploymentStatus(deployment.Name, commit?.Version, commit?.Time, deployment.Origin?.Refspec, deployment.Arguments)
        {
            IsPinned = deployment.IsPinned,
            Unlocked = deployment.Origin?.Unlocked,
            HasSeal = commit is not null && CommitSeal.Of(sysroot.Repository.LoadDetachedMetadata(deployment.Name.Commit)) is not null,
            HasOrigin = deployment.Origin is not null,
        };
    }

    // Nothing but waiting for the kernel's answers, so each deployment has its own thread: the first one this, and no pool is started for the others.
    private static int?[] CountEtcChanges(OstreeSysroot sysroot)
    {
        if (sysroot.Deployments.Count == 0)
            return [];
        Task<int?>[] others =
        [
            .. sysroot.Deployments.Skip(1).Select(each => Task.Factory.StartNew(() => CountEtcChanges(sysroot, each), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)),
        ];
        Task<int?[]> rest = Task.WhenAll(others);
        int? first;
        try
        {
            first = CountEtcChanges(sysroot, sysroot.Deployments[0]);
        }
        finally
        {
            rest.GetAwaiter().GetResult(); // nobody reads on in a sysroot that its owner has closed
        }

        return [first, .. rest.Result];
    }

    // Who may not read all of /etc (shadow is root's) may still see what runs.
    private static int? CountEtcChanges(OstreeSysroot sysroot, Deployment deployment)
    {
        try
        {
            return sysroot.CountEtcChanges(deployment);
        }
        catch (LinuxException refused) when (refused.Errno == Errno.EACCES)
        {
            return null;
        }
    }
}
