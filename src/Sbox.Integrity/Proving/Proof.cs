using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Integrity;

/// <summary>Where a proof looks; another place only for tests.</summary>
public sealed record ProofOptions
{
    /// <summary>The root that runs.</summary>
    public string Root { get; init; } = "/";

    /// <summary>Where procfs is.</summary>
    public string Proc { get; init; } = "/proc";

    /// <summary>Where sysfs is.</summary>
    public string Sys { get; init; } = "/sys";

    /// <summary>The mounted EFI partition; null where none was looked at.</summary>
    public string? Esp { get; init; }

    /// <summary>Why none was looked at.</summary>
    public string? EspUnseen { get; init; }

    /// <summary>A process that sees mounts as everyone does.</summary>
    public int SystemProcess { get; init; } = 1;

    /// <summary>The sealed tree's sentinel policy.</summary>
    public string TreePolicy { get; init; } = LoadedPolicy.TreeDirectory;

    /// <summary>The owner's additions to it.</summary>
    public string OwnerPolicy { get; init; } = LoadedPolicy.OwnerDirectory;

    /// <summary>sbox's own path in the system: namespaces of its processes may write.</summary>
    public string Sbox { get; init; } = "/usr/bin/sbox";
}

/// <summary>What runs on this machine, fact by fact.</summary>
/// <param name="Deployment">Which deployment runs; null where none is known to.</param>
/// <param name="Version">Its version; null where it has none.</param>
/// <param name="Facts">In the order of a boot: firmware first.</param>
public sealed record ProofReport(DeploymentName? Deployment, string? Version, IReadOnlyList<Fact> Facts)
{
    /// <summary>What it comes to: the worst of the facts.</summary>
    public Verdict Verdict => Facts.Select(static fact => fact.Verdict).Worst();
}

/// <summary>Gathers the evidence of what runs and has it judged. Looks only.</summary>
/// <param name="sysroot">The box that runs.</param>
/// <param name="options">Where to look.</param>
public sealed class Proof(OstreeSysroot sysroot, ProofOptions options)
{
    /// <summary>Looks at everything.</summary>
    public ProofReport Run(CancellationToken cancel = default)
    {
        DeploymentName? running = sysroot.BootedName;
        FirmwareState firmware = FirmwareState.Read($"{options.Sys}/firmware/efi/efivars");
        (string? file, byte[] image) = Uki(running);
        using Dir root = Dir.Open(options.Root);
        return new ProofReport(running, Try(() => running is { } name ? sysroot.Repository.LoadCommit(name.Commit).Version : null),
        [
            BootJudge.Firmware(firmware),
            Fact("kernel", () => BootJudge.Kernel(KernelLooks.Kernel(options.Proc, options.Sys, root))),
            Fact("command-line", () => BootJudge.CommandLine(File.ReadAllText($"{options.Proc}/cmdline"), file is null ? null : BootJudge.CommandLinesIn(image))),
            Fact("uki", () => BootJudge.Uki(file, image, firmware, options.Esp is null ? options.EspUnseen ?? "none was named" : running is null ? "no deployment is known to run here" : null)),
            Fact("root", () => Root(running, root, cancel)),
            Fact("mounts", MountsFact),
            Fact("modules", () => SystemProofJudge.Modules(
                KernelLooks.Modules(options.Proc, options.Sys), KernelModules.NamesOf(File.ReadAllText($"{options.Proc}/sys/kernel/osrelease").Trim(), options.Root.TrimEnd('/')), KernelLooks.Taint(options.Proc))),
            Fact("etc", () => Etc(root)),
            Fact("disk", () => DiskFact()),
            Fact("approval", () => Approved(running, root)),
        ]);
    }

    // What cannot be read is unchecked, with the reason; what was read and is no such thing, or what the disk or fs-verity refuses, is wrong.
    private static Fact Fact(string name, Func<Fact> look)
    {
        try
        {
            return look();
        }
        catch (Exception broken) when (broken is ObjectCorruptException or PolicyException or LinuxException { Errno: Errno.EIO })
        {
            return new Fact(name, Verdict.Wrong, broken.Message);
        }
        catch (Exception unseen) when (unseen is IOException or UnauthorizedAccessException or RepositoryException or MalformedException)
        {
            return new Fact(name, Verdict.Unchecked, unseen.Message);
        }
    }

    private static T? Try<T>(Func<T?> look)
        where T : class
    {
        try
        {
            return look();
        }
        catch (Exception unseen) when (unseen is IOException or UnauthorizedAccessException or RepositoryException or MalformedException)
        {
            _ = unseen;
            return null;
        }
    }

    private (string? File, byte[] Image) Uki(DeploymentName? running)
    {
        if (options.Esp is null || running is not { } name)
            return (null, []);
        using Dir esp = Dir.Open(options.Esp);
        return UnifiedKernel.FindOn(esp, name) is { } file ? (file, esp.ReadAll(file)) : (null, []);
    }

    private Fact Root(DeploymentName? running, Dir root, CancellationToken cancel)
    {
        MountEntry? mount = Mounts(options.SystemProcess) is { } mounts ? MountTree.Of(mounts).Carrying("/") : null;
        if (running is not { } name)
            return SystemProofJudge.Root(new RootEvidence(mount, null, false, null, []));
        Commit commit = sysroot.Repository.LoadCommit(name.Commit);
        var tree = new RunningTree(sysroot.Repository, cancel);
        int? names = null;
        if (sysroot.Repository.Find(name.Commit, "/usr") is { Tree: { } usr } && root.TryOpenDir("usr") is { } mounted)
        {
            using (mounted)
                tree.Compare(mounted, usr, "/usr");
            names = tree.Names;
        }

        return SystemProofJudge.Root(new RootEvidence(mount, Image(name, commit, cancel), RootConfig.AsksForVerity(sysroot.BootArguments), names, tree.Differences));
    }

    private ImageEvidence Image(DeploymentName name, Commit commit, CancellationToken cancel)
    {
        var expected = new List<(string, Checksum)>();
        if (sysroot.BootArguments.Get("composefs") is { } text && Checksum.TryParse(text, out Checksum line))
            expected.Add(("the command line", line));
        if (CommitSeal.Of(sysroot.Repository.LoadDetachedMetadata(name.Commit)) is { } seal)
            expected.Add(("the seal", seal.Composefs));
        if (commit.ComposefsDigest is { } named)
            expected.Add(("the commit", named));
        using Dir deployment = sysroot.Root.OpenDir(name.Directory);
        using SafeFileHandle? file = deployment.TryOpenFile(PhysicalRoot.ImageName);
        return file is null
            ? new ImageEvidence(null, null, expected)
            : new BoxCheck(sysroot, new VerifyOptions()).RunningImage(file, deployment.Of(PhysicalRoot.ImageName), name.Commit, expected, cancel);
    }

    private Fact MountsFact()
    {
        if (!Environment.IsPrivilegedProcess)
            return SystemProofJudge.MountsOf(null, 0, "only root can see the mounts of every namespace");
        SentinelPolicy policy = LoadedPolicy.Load(options.TreePolicy, options.OwnerPolicy).Policy;
        IReadOnlyList<MountEntry> system = Mounts(options.SystemProcess) ?? throw new IOException($"/proc/{options.SystemProcess}/mountinfo: the mounts of the system cannot be seen");
        uint number = Namespaces.MountNamespaceOf(options.SystemProcess) ?? 0, own = Namespaces.MountNamespaceOf(Environment.ProcessId) ?? 0;
        SystemFacts facts = SystemFacts.Of(policy, system, number, SystemFacts.DisksOf);
        var findings = new List<Finding>(Wrong(system, number, isSbox: false));
        int looked = 1, unseen = 0;
        foreach ((uint other, int process) in Namespaces.All().Where(each => each.Key != number && each.Key != own))
        {
            if (Mounts(process) is { } mounts)
            {
                findings.AddRange(Wrong(mounts, other, IsSbox(process)));
                looked++;
            }
            else
            {
                unseen += Namespaces.MountNamespaceOf(process) is null ? 0 : 1; // ended just now: no finding
            }
        }

        return SystemProofJudge.MountsOf(findings, looked, unseen > 0 ? $"{unseen} more could not be looked at" : null);

        IEnumerable<Finding> Wrong(IReadOnlyList<MountEntry> mounts, uint where, bool isSbox) =>
            MountJudge.Violations(policy, facts, new NamespaceView(where, mounts, isSbox)).Where(finding => !MountJudge.IsAllowed(policy, facts, finding, where, null));
    }

    private bool IsSbox(int process) => Try(() => new FileInfo($"/proc/{process}/exe").LinkTarget) == options.Sbox;

    private static IReadOnlyList<MountEntry>? Mounts(int process)
    {
        using MountInfoFile? file = MountInfoFile.TryOpen(process);
        return Try(() => file?.Read());
    }

    private static Fact Etc(Dir root)
    {
        using Dir? defaults = root.TryOpenDir("usr/etc"), local = root.TryOpenDir("etc");
        return defaults is null || local is null
            ? SystemProofJudge.Etc(null, "the running tree has no /usr/etc")
            : SystemProofJudge.Etc(EtcDiff.Between(defaults, local), null);
    }

    private Fact DiskFact()
    {
        if (DiskKeeper.Of(sysroot.Path) is not { } keeper)
            return SystemProofJudge.Disk(isEncrypted: false, null, null, TpmRegister.OpenSince());
        try
        {
            return SystemProofJudge.Disk(isEncrypted: true, Environment.IsPrivilegedProcess ? keeper.Look() : null, "only root can see what opens it", TpmRegister.OpenSince());
        }
        catch (ChildFailedException unseen)
        {
            return SystemProofJudge.Disk(isEncrypted: true, null, unseen.Message, TpmRegister.OpenSince());
        }
    }

    private Fact Approved(DeploymentName? running, Dir root)
    {
        if (running is not { } name)
            return SystemProofJudge.Approved(null, "no deployment is known to run here", isBroken: false);
        try
        {
            return SystemProofJudge.Approved(ApprovalPolicy.Of(root)?.Judge(sysroot.Repository, name.Commit), null, isBroken: false);
        }
        catch (ApprovalPolicyException broken)
        {
            return SystemProofJudge.Approved(null, broken.Message, isBroken: true);
        }
    }
}
