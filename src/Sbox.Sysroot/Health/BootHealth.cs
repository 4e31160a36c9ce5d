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
    public bool IsOnTrial => TriesLeft is not null;
}

/// <summary>
/// What ends a trial: a version that came up is the default for good; one that used up its tries is remembered as bad, and what runs in its place is the default.
/// </summary>
/// <param name="sysroot">The sysroot, open to be changed.</param>
/// <param name="esp">The EFI partition, open to be changed.</param>
/// <remarks>docs/decisions/0012.</remarks>
public sealed class BootHealth(OstreeSysroot sysroot, EspWriter esp)
{
    /// <summary>
    /// Looks at what became of the last boot. Where another version than what should runs, the try was used up: it is counted, and where one is left, the next boot starts
    /// that version once more. A second look in one boot counts nothing.
    /// </summary>
    /// <returns>Null where no deployment of this sysroot runs.</returns>
    public BootVerdict? Look()
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        if (sysroot.BootedName is not { } running)
            return null;
        DeploymentName? waiting = null;
        // Only what is wanted is tried: who went back from it by hand did not see it fail.
        if (sysroot.Deployments is [var first, ..] && first.Name != running && esp.TriesLeft(first.Name) > 0 && !esp.StartsOnce(first.Name) && esp.Failed(first.Name) > 0)
            waiting = first.Name;
        IReadOnlyList<BadVersion> known = BadVersions.Read(sysroot, running.Os);
        DeploymentName[] given = [.. sysroot.Deployments.Select(static each => each.Name)
            .Where(each => each != running && esp.TriesLeft(each) == 0 && known.All(bad => bad.Commit != each.Commit))];
        return new BootVerdict(running, esp.TriesLeft(running), waiting, given);
    }

    /// <summary>The version that runs is good: its trial is over.</summary>
    public void MarkGood()
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        if (sysroot.BootedName is not { } running || esp.TriesLeft(running) is null)
            return;
        // Who went back while it came up wants the other one.
        if (sysroot.Deployments is [var first, ..] && first.Name == running)
            esp.Bless(running);
        else
            esp.EndTrial(running);
        BadVersions.Remove(sysroot, running.Os, running.Commit);
        BoxHistory.Add(sysroot, "good", running);
    }

    /// <summary>The version that runs is not good: a try is used up.</summary>
    /// <returns>The tries left; with none the next boot starts the version before.</returns>
    public int MarkFailed(DeploymentName running, string why)
    {
        using IDisposable held = sysroot.Lock();
        int left = esp.Failed(running);
        BoxHistory.Add(sysroot, "bad", running, why);
        return left;
    }

    /// <summary>Versions have no tries left: they are remembered. <see cref="Deployer.Rollback"/> then makes what runs the default.</summary>
    public void NoteFallback(BootVerdict verdict)
    {
        using IDisposable held = sysroot.Lock();
        foreach (DeploymentName bad in verdict.FellBackFrom)
        {
            if (BadVersions.Add(sysroot, bad.Os, bad.Commit, "it did not come up"))
                BoxHistory.Add(sysroot, "fallback", bad, $"{DeploymentSelector.Describe(sysroot, verdict.Running)} runs in its place");
        }
    }
}
