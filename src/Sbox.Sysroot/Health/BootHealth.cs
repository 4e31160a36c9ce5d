using Sbox.Boot;

namespace Sbox.Sysroot;

/// <summary>What was made of a boot.</summary>
/// <param name="Running">What runs.</param>
/// <param name="TriesLeft">How often it may still fail to come up, this boot included; null where it is not on trial.</param>
/// <param name="Waiting">The version that did not come up and is started once more by the next boot; null for none.</param>
/// <param name="FellBackFrom">The versions that have no tries left, noticed now for the first time.</param>
public sealed record BootVerdict(DeploymentName Running, int? TriesLeft, DeploymentName? Waiting, IReadOnlyList<DeploymentName> FellBackFrom)
{
    /// <summary>Whether the version that runs has not been found good yet.</summary>
    public bool IsOnTrial => TriesLeft > 0;

    /// <summary>Whether the health checks' answer ends or counts anything: a good one also of a version that was given up and then chosen in the menu.</summary>
    /// <param name="good">What they found.</param>
    public bool Awaits(bool good) => good ? TriesLeft is not null : IsOnTrial;
}

/// <summary>
/// What ends a trial: a version that came up is the default for good; one that used up its tries is remembered as bad, and what runs in its place is the default.
/// </summary>
/// <param name="sysroot">The sysroot, open to be changed.</param>
/// <param name="esp">The EFI partition, open to be changed.</param>
/// <param name="boot">Which boot this is; null: the kernel's boot_id.</param>
/// <param name="patience">How long somebody else may go on changing the sysroot; null: half an hour.</param>
/// <remarks>docs/decisions/0012.</remarks>
public sealed class BootHealth(OstreeSysroot sysroot, EspWriter esp, string? boot = null, TimeSpan? patience = null)
{
    private static readonly TimeSpan Usual = TimeSpan.FromMinutes(30), Pause = TimeSpan.FromMilliseconds(500);
    private readonly string boot = boot ?? File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();

    /// <summary>
    /// Looks at what became of the last boot. Where another version than what should runs, the try was used up: it is counted, once a boot, and where one is left, the next boot
    /// starts that version once more.
    /// </summary>
    /// <returns>Null where no deployment of this sysroot runs.</returns>
    /// <exception cref="SysrootBusyException">Somebody else changed the sysroot all the time.</exception>
    public BootVerdict? Look()
    {
        using IDisposable held = Hold();
        if (sysroot.BootedName is not { } running)
            return null;
        if (esp.TriesLeft(running) is null)
            AutoState.NoteRan(sysroot, running);
        DeploymentName? waiting = null;
        if (IsOverdue(sysroot, esp, running) && esp.Failed(sysroot.Deployments[0].Name, boot) > 0)
            waiting = sysroot.Deployments[0].Name;
        return new BootVerdict(running, esp.TriesLeft(running), waiting, GivenUp(sysroot, esp, running));
    }

    /// <summary>
    /// Whether <see cref="Look"/> or a verdict would change anything: something is on trial, or has used up its tries and is not remembered yet. Takes no lock and changes nothing, so that
    /// a ghost of which nothing is wanted leaves its disk alone.
    /// </summary>
    /// <param name="sysroot">The sysroot.</param>
    /// <param name="esp">Its EFI partition.</param>
    /// <param name="canBeGood">Whether the verdict may be a good one, which a version without tries left is waiting for too; a deadline that passed has none.</param>
    public static bool IsAwaited(OstreeSysroot sysroot, EspWriter esp, bool canBeGood = true)
    {
        if (sysroot.BootedName is not { } running)
            return false;
        return (esp.TriesLeft(running) is { } left && (left > 0 || canBeGood)) || IsOverdue(sysroot, esp, running) || GivenUp(sysroot, esp, running).Length > 0;
    }

    /// <summary>The version that runs is good: its trial is over.</summary>
    /// <exception cref="SysrootBusyException">Somebody else changed the sysroot all the time.</exception>
    public void MarkGood()
    {
        using IDisposable held = Hold();
        if (sysroot.BootedName is not { } running)
            return;
        bool isWanted = sysroot.Deployments is [var first, ..] && first.Name == running, wasOnTrial = esp.TriesLeft(running) is not null;
        // Also where a reset of /var took the trial with it.
        if (isWanted && (wasOnTrial || (esp.Names(running) && !esp.IsDefault(running))))
            esp.Bless(running);
        else if (wasOnTrial) // who went back while it came up wants the other one
            esp.EndTrial(running);
        AutoState.NoteRan(sysroot, running);
        if (!wasOnTrial)
            return;
        BadVersions.Remove(sysroot, running.Os, running.Commit);
        BoxHistory.Add(sysroot, "good", running);
    }

    /// <summary>The version that runs is not good: a try is used up.</summary>
    /// <returns>
    /// The tries left; with none the next boot starts the version before. Null where a restart would help nothing: its owner went back from it already, or there is nothing to go back to.
    /// </returns>
    /// <exception cref="SysrootBusyException">Somebody else changed the sysroot all the time.</exception>
    public int? MarkFailed(string why)
    {
        using IDisposable held = Hold();
        if (sysroot.BootedName is not { } running)
            return null;
        BoxHistory.Add(sysroot, "bad", running, why);
        if (sysroot.Deployments is not [var first, ..] || first.Name != running)
        {
            esp.EndTrial(running);
            return null;
        }

        int left = esp.Failed(running, boot);
        return left > 0 || !esp.IsDefault(running) ? left : null;
    }

    /// <summary>
    /// Versions have no tries left: they are remembered, once <see cref="Deployer.Rollback"/> has made what runs the default. A commit that runs is not bad, whatever became of it
    /// under other kernel arguments.
    /// </summary>
    public void NoteFallback(BootVerdict verdict)
    {
        using IDisposable held = Hold();
        foreach (DeploymentName bad in verdict.FellBackFrom)
        {
            if (IsGoodElsewhere(sysroot, esp, bad) || BadVersions.Add(sysroot, bad.Os, bad.Commit, "it did not come up"))
                BoxHistory.Add(sysroot, "fallback", bad, $"{DeploymentSelector.Describe(sysroot, verdict.Running)} runs in its place");
        }
    }

    // Only what is wanted is tried: who went back from it by hand did not see it fail. What is not on the EFI partition was never started.
    private static bool IsOverdue(OstreeSysroot sysroot, EspWriter esp, DeploymentName running) =>
        sysroot.Deployments is [var first, ..] && first.Name != running && esp.TriesLeft(first.Name) > 0 && esp.Names(first.Name) && !esp.StartsOnce(first.Name);

    private static DeploymentName[] GivenUp(OstreeSysroot sysroot, EspWriter esp, DeploymentName running)
    {
        IReadOnlyList<BadVersion> known = BadVersions.Read(sysroot, running.Os);
        return [.. sysroot.Deployments.Select(static each => each.Name).Where(each => each != running && esp.TriesLeft(each) == 0
            && (each == sysroot.Deployments[0].Name || (!IsGoodElsewhere(sysroot, esp, each) && known.All(bad => bad.Commit != each.Commit))))];
    }

    // The same commit as another deployment, with other kernel arguments or another /etc, runs or was found good.
    private static bool IsGoodElsewhere(OstreeSysroot sysroot, EspWriter esp, DeploymentName name) =>
        sysroot.Deployments.Any(each => each.Name != name && each.Name.Commit == name.Commit && (sysroot.IsBooted(each) || esp.TriesLeft(each.Name) is null));

    private IDisposable Hold()
    {
        for (DateTime until = DateTime.UtcNow + (patience ?? Usual); ; Thread.Sleep(Pause))
        {
            try
            {
                IDisposable held = sysroot.Lock();
                sysroot.Reload();
                return held;
            }
            catch (SysrootBusyException) when (DateTime.UtcNow < until)
            {
            }
        }
    }
}
