using System.Globalization;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>Gathers what a decision is made of, and looks at the branch.</summary>
/// <param name="sysroot">The box.</param>
/// <param name="deployer">Its deployer, which knows what boots next.</param>
/// <param name="probe">The machine.</param>
public sealed class AutoUpdater(OstreeSysroot sysroot, Deployer deployer, MachineProbe probe)
{
    private DateTimeOffset Now => sysroot.Options.Clock.GetLocalNow();

    /// <summary>The stateroot that runs, or boots first.</summary>
    /// <exception cref="NoSuchDeploymentException">Nothing is deployed.</exception>
    public string Os => Current.Name.Os;

    private Deployment Current => sysroot.Booted ?? sysroot.Deployments.FirstOrDefault() ?? throw new NoSuchDeploymentException(sysroot.Path, "nothing is deployed");

    /// <summary>Looks at box and machine; writes nothing.</summary>
    public AutoFacts Facts()
    {
        sysroot.Reload();
        AutoState state = AutoState.Read(sysroot, Os);
        Deployment current = Current;
        Deployment? next = deployer.CurrentDefault;
        Deployment? waiting = sysroot.Booted is not null && next is not null && next.Name != current.Name ? next : null;
        AutoOffer? offer = state.Offer is { } offered && offered.Commit != current.Name.Commit && !(Made(current) > offered.Made) ? offered : null;
        bool onTrial = sysroot.Booted is not null && Trials.Of(sysroot, current.Name) is not null, ghost = RootConfig.IsGhost(sysroot.BootArguments);
        return new AutoFacts(Now, probe.MachineId)
        {
            Network = probe.Network(),
            Battery = probe.Battery(),
            Users = probe.Users(),
            Inhibitors = waiting is null ? [] : probe.Inhibitors(),
            Checked = state.Checked,
            Offer = offer,
            Waiting = waiting is null ? null : new AutoOffer(waiting.Name.Commit, DeploymentSelector.VersionOf(sysroot, waiting.Name), Made(waiting) ?? DateTimeOffset.UnixEpoch),
            WaitingRan = waiting is not null && waiting.Name.Commit == state.Deployed && state.DeployedAs is null,
            // A person who went back and forth, or deployed it anew, chose it themselves.
            WaitsByItself = waiting is not null && waiting.Name.Commit == state.Deployed && state.DeployedAs == Mark,
            WaitingFailed = waiting is not null && Trials.Of(sysroot, waiting.Name)?.CountedIn is not null,
            Declined = offer is null || offer.Commit == waiting?.Name.Commit ? null : Declined(offer, state),
            IsOnTrial = onTrial,
            IsGhost = ghost,
            RunsUnnoted = sysroot.Booted is not null && !onTrial && !ghost && current.Name.Commit == state.Deployed && state.DeployedAs is not null,
            Failed = state.Failure?.Time,
            FailedWhy = state.Failure?.Why,
        };
    }

    /// <summary>Remembers that what was deployed by itself runs now: a person who chooses another in the boot menu is not restarted out of it.</summary>
    public void NoteRunning()
    {
        sysroot.Reload();
        if (sysroot.BootedName is { } running)
            AutoState.NoteRan(sysroot, running);
    }

    /// <summary>Looks what the branch leads to, and remembers it.</summary>
    /// <exception cref="PullException">It could not be fetched.</exception>
    public async Task Check(CancellationToken cancel = default)
    {
        AutoOffer? offer = await new Upgrader(sysroot, deployer).Peek(cancel).ConfigureAwait(false);
        (AutoState.Read(sysroot, Os) with { Checked = Now, Offer = offer, Failure = null }).Write(sysroot, Os);
    }

    /// <summary>Remembers that a version was deployed by itself.</summary>
    public void NoteDeployed(Checksum commit) => (AutoState.Read(sysroot, Os) with { Deployed = commit, DeployedAs = Mark, Failure = null }).Write(sysroot, Os);

    /// <summary>
    /// Remembers what became of an upgrade. The branch may have moved on since it was looked at, or a person was quicker: only what was deployed by it is this program's,
    /// and an offer that led to nothing is forgotten until the branch is looked at again.
    /// </summary>
    /// <param name="deployed">The commit that the upgrade says it deployed; null where it deployed nothing.</param>
    public void NoteUpgrade(Checksum? deployed)
    {
        sysroot.Reload();
        if (deployed is { } commit && sysroot.Deployments is [var first, ..] && first.Name.Commit == commit)
            NoteDeployed(commit);
        else
            (AutoState.Read(sysroot, Os) with { Offer = null, Failure = null }).Write(sysroot, Os);
    }

    /// <summary>Remembers that an attempt failed.</summary>
    public void NoteFailure(string why) => (AutoState.Read(sysroot, Os) with { Failure = (Now, why) }).Write(sysroot, Os);

    // Whoever changes what is deployed sets the time of ostree/deploy, ostree too.
    private string Mark => sysroot.Root.TryStat(Layout.Deploy) is { } stat ? string.Create(CultureInfo.InvariantCulture, $"{stat.ModifiedSeconds}.{stat.ModifiedNanoseconds:000000000}") : "";

    private DateTimeOffset? Made(Deployment deployment) =>
        sysroot.Repository.Has(new ObjectName(deployment.Name.Commit, ObjectType.Commit)) ? sysroot.Repository.LoadCommit(deployment.Name.Commit).Time : null;

    // What a person, or this box, decided against is not brought back by itself.
    private string? Declined(AutoOffer offer, AutoState state)
    {
        if (BadVersions.Read(sysroot, Os).Any(bad => bad.Commit == offer.Commit))
            return $"this box went back from {offer.Words} by itself: sbox upgrade --retry takes it, its successor comes by itself";
        if (offer.Commit == state.Deployed || sysroot.Deployments.Any(each => each.Name.Commit == offer.Commit))
            return $"a person chose another version than {offer.Words} after it was deployed: sbox upgrade takes it, its successor comes by itself";
        return null;
    }
}
