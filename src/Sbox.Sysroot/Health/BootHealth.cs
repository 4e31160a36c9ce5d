using Sbox.Boot;

namespace Sbox.Sysroot;

/// <summary>What was made of a boot.</summary>
/// <param name="Running">What runs.</param>
/// <param name="IsCounted">Whether the boot loader still counted its tries: the version has not come up before.</param>
/// <param name="TriesLeft">How many tries it has after this one; null where they are not counted.</param>
/// <param name="FellBackFrom">The versions that the boot loader gave up, noticed now for the first time.</param>
public sealed record BootVerdict(DeploymentName Running, bool IsCounted, int? TriesLeft, IReadOnlyList<DeploymentName> FellBackFrom);

/// <summary>
/// The end of systemd-boot's counting: a version that came up loses its counter and is the default for good; one that the boot loader gave up is
/// remembered as bad, and what runs in its place is the default.
/// </summary>
/// <param name="sysroot">The sysroot, open to be changed.</param>
/// <param name="esp">The EFI partition, open to be changed.</param>
/// <remarks>docs/formats/sysroot.md, after systemd's "Automatic Boot Assessment".</remarks>
public sealed class BootHealth(OstreeSysroot sysroot, EspWriter esp)
{
    /// <summary>Looks; writes nothing.</summary>
    /// <returns>Null where no deployment of this sysroot runs.</returns>
    public BootVerdict? Look()
    {
        sysroot.Reload();
        if (sysroot.BootedName is not { } running)
            return null;
        IReadOnlyDictionary<DeploymentName, BootTries> tries = esp.Tries(sysroot.Deployments.Select(static each => each.Name));
        IReadOnlyList<BadVersion> known = BadVersions.Read(sysroot, running.Os);
        DeploymentName[] given = [.. tries.Where(each => each.Key != running && each.Value.Left == 0 && known.All(bad => bad.Commit != each.Key.Commit)).Select(static each => each.Key)];
        return new BootVerdict(running, tries.ContainsKey(running), tries.TryGetValue(running, out BootTries own) ? own.Left : null, given);
    }

    /// <summary>The version that runs is good: it is counted no more.</summary>
    public void MarkGood()
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        if (sysroot.BootedName is not { } running || !esp.Tries([running]).ContainsKey(running))
            return;
        esp.Bless(running);
        BadVersions.Remove(sysroot, running.Os, running.Commit);
        BoxHistory.Add(sysroot, "good", running);
    }

    /// <summary>The boot loader gave versions up: they are remembered. <see cref="Deployer.Rollback"/> then makes what runs the default.</summary>
    public void NoteFallback(BootVerdict verdict)
    {
        using IDisposable held = sysroot.Lock();
        foreach (DeploymentName bad in verdict.FellBackFrom)
        {
            if (BadVersions.Add(sysroot, bad.Os, bad.Commit, "it did not come up, and the boot loader went back"))
                BoxHistory.Add(sysroot, "fallback", bad, $"{DeploymentSelector.Describe(sysroot, verdict.Running)} runs in its place");
        }
    }
}

/// <summary>systemd-boot's counter in a file's name: <c>NAME+LEFT-DONE.efi</c>.</summary>
/// <param name="Left">Tries left.</param>
/// <param name="Done">Tries made.</param>
public readonly record struct BootTries(int Left, int Done);
