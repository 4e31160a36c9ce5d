using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Codecs;

namespace Sbox.Sysroot;

/// <summary>What shall be deployed.</summary>
/// <param name="Os">The stateroot, which must be there.</param>
/// <param name="Commit">The commit, which must be in the sysroot's repository.</param>
public sealed record DeployRequest(string Os, Checksum Commit)
{
    /// <summary>Where its upgrades will come from. Null: as the deployment whose /etc is taken over.</summary>
    public Origin? Origin { get; init; }

    /// <summary>
    /// All kernel arguments. Null: those of the deployment whose /etc is taken over, with what the recipe changed between the two
    /// commits; for a first deployment <c>root=LABEL=sbox-root</c> and the recipe's.
    /// </summary>
    public KernelArguments? Arguments { get; init; }

    /// <summary>Kernel arguments beside those.</summary>
    public KernelArguments MoreArguments { get; init; } = KernelArguments.Empty;

    /// <summary>Keep every deployment there is, not only the one that runs (or came first) and pinned ones.</summary>
    public bool Retain { get; init; }

    /// <summary>Keep those that stand before the one that runs in the boot menu, too.</summary>
    public bool RetainPending { get; init; }

    /// <summary>Keep those that stand after the one that runs, too.</summary>
    public bool RetainRollback { get; init; }

    /// <summary>Put it behind the one that runs, not before all.</summary>
    public bool NotAsDefault { get; init; }

    /// <summary>Leave objects that nothing needs any more where they are.</summary>
    public bool NoPrune { get; init; }

    /// <summary>Deploy a commit without a seal on a sealed box: with Secure Boot on, the firmware will not start it.</summary>
    public bool AllowUnsealed { get; init; }

    /// <summary>On a box with an encrypted disk, deploy a commit that does not open it by itself.</summary>
    public bool AllowUnopened { get; init; }

    /// <summary>Initrds that the boot loader loads after the tree's own: paths of files. They are of this deployment alone; none follows by itself. No UKI has them.</summary>
    public IReadOnlyList<string> OverlayInitrds { get; init; } = [];

    /// <summary>Take the new tree's /etc as it is, without the owner's changes.</summary>
    public bool NoMerge { get; init; }
}

/// <summary>What a deployment will do, before anything is done: to be printed, tested and refused.</summary>
/// <param name="Request">What was asked for.</param>
/// <param name="Name">The new deployment.</param>
/// <param name="Version">The commit's version; null where it has none.</param>
/// <param name="Time">When the commit was made.</param>
/// <param name="Merge">Whose /etc and kernel arguments are taken over; null for the first.</param>
/// <param name="Arguments">Its kernel arguments, without those that name it.</param>
/// <param name="Origin">Its origin; null where none is known.</param>
/// <param name="Kept">The deployments that stay, in boot order, after the new one.</param>
/// <param name="Dropped">The deployments that go, last of all.</param>
/// <param name="Etc">How the owner's changes to /etc are carried over; null for a first deployment.</param>
/// <param name="EspBytes">Bytes that will be written to the ESP, at most; 0 without one.</param>
public sealed record DeployPlan(
    DeployRequest Request, DeploymentName Name, string? Version, DateTimeOffset Time, DeploymentName? Merge, KernelArguments Arguments,
    Origin? Origin, IReadOnlyList<DeploymentName> Kept, IReadOnlyList<DeploymentName> Dropped, EtcMergePlan? Etc, long EspBytes)
{
    /// <summary>
    /// Whether what is dropped goes first: the ESP has no room for the new UKI beside all that are there. What runs stays, so a cut in
    /// between still boots it.
    /// </summary>
    public bool DropsFirst { get; init; }

    /// <summary>Bytes that will be written to the root file system, /etc and a first /var included, at most; what is pulled is there already.</summary>
    public long RootBytes { get; init; }

    /// <summary>How many of those that are kept come before the new one in the boot menu; 0 where it is the default.</summary>
    public int Position { get; init; }

    /// <summary>What was found that its owner should know of, a line each; none of it is in the way.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>The plan for people, one line a step.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
        Line($"deploy {Name.Short}{(Version is null ? "" : $", version {Version}")}, of {Time:yyyy-MM-dd HH:mm:ss} UTC");
        if (Origin?.Refspec is { } refspec)
            Line($"  upgrades from {refspec}");
        Line($"  kernel arguments: {Arguments}");
        if (Merge is { } merge)
            Line($"  /etc: {Etc?.Steps.Count ?? 0} changes taken over from {merge.Short}");
        foreach (string line in Etc?.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries) ?? [])
            Line($"    {line}");
        if (EspBytes > 0)
            Line($"  EFI partition: {EspBytes / 1048576.0:0.0} MiB for EFI/Linux/{UnifiedKernel.FileName(Name)}");
        Line($"  root file system: {RootBytes / 1048576.0:0.0} MiB at most");
        foreach (DeploymentName kept in Kept)
            Line($"keep {kept.Short}");
        foreach (DeploymentName dropped in Dropped)
            Line($"remove {dropped.Short}{(DropsFirst ? ", before all else: the EFI partition has no room for one more" : "")}");
        foreach (string note in Notes)
            Line($"note: {note}");
        return text.ToString();
    }
}

/// <summary>What was deployed.</summary>
/// <param name="Plan">The plan as it was carried out.</param>
/// <param name="ImageDigest">The fs-verity digest of its composefs image, which its kernel command line names.</param>
/// <param name="Cleanup">What went.</param>
public sealed record DeployResult(DeployPlan Plan, Checksum ImageDigest, CleanupReport Cleanup)
{
    /// <summary>The new deployment.</summary>
    public DeploymentName Name => Plan.Name;

    /// <summary>What was found that its owner should know of, a line each.</summary>
    public IReadOnlyList<string> Notes => [.. Plan.Notes, .. Cleanup.Notes];
}

/// <summary>What was made the default again.</summary>
/// <param name="Deployment">The new default.</param>
/// <param name="Cleanup">What went.</param>
public sealed record RollbackResult(Deployment Deployment, CleanupReport Cleanup)
{
    /// <summary>The new default's name.</summary>
    public DeploymentName Name => Deployment.Name;
}

/// <summary>What a cleanup removed.</summary>
/// <param name="Deployments">Deployments whose directories went.</param>
/// <param name="ObjectsDeleted">Objects that no commit needed any more.</param>
/// <param name="BytesFreed">Bytes of those, and of UKIs.</param>
public sealed record CleanupReport(IReadOnlyList<DeploymentName> Deployments, long ObjectsDeleted, long BytesFreed)
{
    /// <summary>What was found that its owner should know of, a line each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}
