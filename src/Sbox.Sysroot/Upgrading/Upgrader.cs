using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>What an upgrade may do.</summary>
public sealed record UpgradeOptions
{
    /// <summary>The stateroot. Null: that of the deployment that runs, else of the default.</summary>
    public string? Os { get; init; }

    /// <summary>Another branch to follow from now on. Null: the origin's.</summary>
    public Refspec? SwitchTo { get; init; }

    /// <summary>Take a commit that is older than the current one, or, of a remote that has a trust document, than the branch's that is here.</summary>
    public bool AllowOlder { get; init; }

    /// <summary>The tree whose approval policy decides: <c>/</c> on the running box. Null: the current deployment's own directory.</summary>
    public string? PolicyTree { get; init; }

    /// <summary>Take a commit that too few signed of those whom the tree trusts.</summary>
    public bool AllowUnapproved { get; init; }

    /// <summary>Take a version that this box went back from by itself.</summary>
    public bool Retry { get; init; }

    /// <summary>Fetch nothing: what the repository has of the branch is what is offered.</summary>
    public bool Offline { get; init; }

    /// <summary>How to pull; remote and refs are set here.</summary>
    public PullOptions Pull { get; init; } = new();
}

/// <summary>What there is to do.</summary>
public enum UpgradeState
{
    /// <summary>The commit runs, or is the default where nothing runs.</summary>
    UpToDate,
    /// <summary>It is deployed and boots next.</summary>
    AwaitsReboot,
    /// <summary>It is deployed, but a cut kept the EFI partition from following: <see cref="Deployer.Finish"/>.</summary>
    Unfinished,
    /// <summary>It is in the repository now and can be deployed.</summary>
    Available,
    /// <summary>It was here, did not come up, and the box went back; it is not tried again unless asked.</summary>
    KnownBad,
}

/// <summary>What a branch offers, its objects pulled.</summary>
/// <param name="State">What there is to do.</param>
/// <param name="Refspec">The branch.</param>
/// <param name="Version">The commit's version; null where it has none.</param>
/// <param name="Time">When the commit was made.</param>
/// <param name="Current">The deployment that it would follow.</param>
/// <param name="Request">What to give to <see cref="Deployer.Deploy"/>, or to <see cref="Deployer.Plan"/>.</param>
/// <param name="Pulled">What came over the network.</param>
public sealed record UpgradeOffer(
    UpgradeState State, Refspec Refspec, string? Version, DateTimeOffset Time, Deployment Current, DeployRequest Request, PullResult? Pulled)
{
    /// <summary>What was found that its owner should know of, a line each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

/// <summary>Brings what a box's branch offers.</summary>
/// <param name="sysroot">The sysroot; must stay open.</param>
/// <param name="deployer">Its deployer, which knows what boots next.</param>
public sealed class Upgrader(OstreeSysroot sysroot, Deployer deployer)
{
    /// <summary>Pulls the branch and says what there is to do. Nothing is deployed.</summary>
    /// <exception cref="NoSuchDeploymentException">Nothing is deployed, or the deployment names no branch.</exception>
    /// <exception cref="OlderVersionException">The branch's commit is older than the current one.</exception>
    /// <exception cref="UnapprovedCommitException">Too few signed it of those whom the tree trusts; at most its commit object was fetched, and the branch leads where it led.</exception>
    /// <exception cref="PullException">It could not be fetched.</exception>
    /// <exception cref="TrustException">The remote has a trust document, and what it offers is not to be believed by that.</exception>
    public async Task<UpgradeOffer> Fetch(UpgradeOptions options, IProgress<PullProgress>? progress = null, CancellationToken cancel = default)
    {
        sysroot.Reload();
        Deployment current = Current(options.Os);
        Refspec refspec = options.SwitchTo ?? current.Origin?.Refspec
            ?? throw new NoSuchDeploymentException(sysroot.Path, $"{current.Name.Short} has no origin: it is not known where upgrades come from");
        ApprovalPolicy? policy = options.AllowUnapproved ? null : Policy(current, options);
        PullResult? pulled = null;
        if (refspec.Remote is { } remote && !options.Offline)
        {
            PullOptions pull = options.Pull with
            {
                Remote = remote, Refs = [refspec.Ref], KeepBeside = KeepBeside, AllowOlder = options.AllowOlder,
            };
            pulled = policy is null
                ? await sysroot.Repository.Pull(pull, progress, cancel).ConfigureAwait(false)
                : await PullApproved(policy, pull, refspec, progress, cancel).ConfigureAwait(false);
        }
        else if (policy is not null)
        {
            RequireApproved(policy, sysroot.Repository.Resolve(refspec.ToString()));
        }

        return Offer(current, refspec, options, pulled);
    }

    /// <summary>Looks what the current branch leads to. Nothing but the commit object is fetched, and the branch leads where it led.</summary>
    /// <returns>Null where the branch leads to no newer commit than what is there.</returns>
    /// <exception cref="NoSuchDeploymentException">Nothing is deployed, or the deployment names no branch.</exception>
    /// <exception cref="PullException">It could not be fetched.</exception>
    public async Task<AutoOffer?> Peek(CancellationToken cancel = default)
    {
        sysroot.Reload();
        Deployment current = Current(null);
        Refspec refspec = current.Origin?.Refspec
            ?? throw new NoSuchDeploymentException(sysroot.Path, $"{current.Name.Short} has no origin: it is not known where upgrades come from");
        Checksum commit = refspec.Remote is { } remote
            ? (await sysroot.Repository.Pull(new PullOptions { Remote = remote, Refs = [refspec.Ref], CommitMetadataOnly = true, WithoutRefs = true, KeepBeside = KeepBeside, AllowOlder = true }, null, cancel).ConfigureAwait(false)).Refs.Values.Single()
            : sysroot.Repository.Resolve(refspec.ToString());
        Commit offered = sysroot.Repository.LoadCommit(commit);
        Commit? now = sysroot.Repository.Has(new ObjectName(current.Name.Commit, ObjectType.Commit)) ? sysroot.Repository.LoadCommit(current.Name.Commit) : null;
        return commit == current.Name.Commit || offered.Timestamp < now?.Timestamp ? null : new AutoOffer(commit, offered.Version, offered.Time);
    }

    // The commit and its signatures first: nothing that nobody approved fills this disk, and no ref leads to it. Then that very commit, whatever
    // the branch leads to by then.
    private async Task<PullResult> PullApproved(
        ApprovalPolicy policy, PullOptions pull, Refspec refspec, IProgress<PullProgress>? progress, CancellationToken cancel)
    {
        PullResult looked = await sysroot.Repository.Pull(pull with { CommitMetadataOnly = true, WithoutRefs = true }, null, cancel).ConfigureAwait(false);
        Checksum offered = looked.Refs.Values.Single();
        RequireApproved(policy, offered);
        PullResult pulled = await sysroot.Repository.Pull(pull with { Refs = [$"{refspec.Ref}@{offered}"], WithoutRefs = true }, progress, cancel).ConfigureAwait(false);
        RequireApproved(policy, offered); // what lies beside it was fetched again
        sysroot.Repository.SetRef(refspec.ToString(), offered);
        return pulled with { Refs = looked.Refs, Notes = [.. looked.Notes.Union(pulled.Notes)] };
    }

    private VariantDictionary KeepBeside(Checksum commit, VariantDictionary here, VariantDictionary offered) =>
        IsDeployed(commit) ? KeptBeside.Of(here, offered, deployer.Sealing) : offered;

    private bool IsDeployed(Checksum commit) => sysroot.Deployments.Any(each => each.Name.Commit == commit);

    private ApprovalPolicy? Policy(Deployment current, UpgradeOptions options)
    {
        using Dir tree = options.PolicyTree is { } root ? Dir.Open(root) : sysroot.OpenDeployment(current);
        return ApprovalPolicy.Of(tree);
    }

    private void RequireApproved(ApprovalPolicy policy, Checksum offered)
    {
        // What is deployed already was approved by the tree that deployed it; signers may have changed since.
        if (IsDeployed(offered))
            return;
        if (policy.Judge(sysroot.Repository, offered) is { IsEnough: false } lacking)
            throw new UnapprovedCommitException(offered, lacking);
    }

    private UpgradeOffer Offer(Deployment current, Refspec refspec, UpgradeOptions options, PullResult? pulled)
    {
        Checksum offered = sysroot.Repository.Resolve(refspec.ToString());
        Commit commit = sysroot.Repository.LoadCommit(offered);
        // Without its commit nobody knows how old the current one is; a box that could never upgrade again would be worse.
        Commit? now = sysroot.Repository.Has(new ObjectName(current.Name.Commit, ObjectType.Commit)) ? sysroot.Repository.LoadCommit(current.Name.Commit) : null;
        if (now is not null && commit.Timestamp < now.Timestamp && !options.AllowOlder && !Switches(current, options))
            throw new OlderVersionException(refspec, now.Time, commit.Time);
        Origin origin = current.Origin is { } old ? old.ForSuccessor().With(refspec) : Origin.Of(refspec);
        return new UpgradeOffer(
            Tried(State(offered, refspec), current.Name.Os, offered, options), refspec, commit.Version, commit.Time, current, new DeployRequest(current.Name.Os, offered) { Origin = origin }, pulled)
        {
            Notes = [.. pulled?.Notes ?? [], .. now is null ? [$"The repository lacks the commit of {current.Name.Short}: whether the offered one is newer is not known"] : Array.Empty<string>()],
        };
    }

    // Another branch may well be older than the one that is left: whoever asks for it by name knows. Than itself, as it was taken before, it may not (PullTargets.CheckAge).
    private static bool Switches(Deployment current, UpgradeOptions options) => options.SwitchTo is not null && options.SwitchTo != current.Origin?.Refspec;

    private UpgradeState Tried(UpgradeState state, string os, Checksum offered, UpgradeOptions options) =>
        state == UpgradeState.Available && !options.Retry && BadVersions.Read(sysroot, os).Any(bad => bad.Commit == offered) ? UpgradeState.KnownBad : state;

    private UpgradeState State(Checksum offered, Refspec refspec)
    {
        if (sysroot.Deployments.FirstOrDefault() is not { } first || first.Name.Commit != offered || first.Origin?.Refspec != refspec)
            return UpgradeState.Available;
        if (!deployer.IsSettled)
            return UpgradeState.Unfinished;
        return sysroot.BootedName is { } booted && booted != first.Name ? UpgradeState.AwaitsReboot : UpgradeState.UpToDate;
    }

    private Deployment Current(string? os)
    {
        os ??= (sysroot.Booted ?? sysroot.Deployments.FirstOrDefault())?.Name.Os;
        return (os is null ? null : sysroot.MergeDeployment(os))
            ?? throw new NoSuchDeploymentException(sysroot.Path, os is null ? "nothing is deployed" : $"nothing of '{os}' is deployed");
    }
}
