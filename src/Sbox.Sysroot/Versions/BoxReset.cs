using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Something that a reset takes away.</summary>
/// <param name="Path">What, as the running system names it.</param>
/// <param name="Files">Files in it.</param>
/// <param name="Bytes">Bytes that it takes on the disk.</param>
public sealed record ResetLoss(string Path, long Files, long Bytes);

/// <summary>A reset is refused; nothing was changed.</summary>
/// <param name="path">The sysroot.</param>
/// <param name="finding">Why.</param>
public sealed class ResetRefusedException(string path, string finding) : SysrootException($"{path}: {finding}");

/// <summary>A change of the owner's that a reset takes away.</summary>
/// <param name="Deployment">In whose /etc.</param>
/// <param name="Change">What was changed.</param>
public sealed record ResetEtcChange(DeploymentName Deployment, EtcChange Change);

/// <summary>What a reset does, before it is done: to be shown and refused.</summary>
/// <param name="Os">The stateroot.</param>
/// <param name="Var">Whether /var is emptied.</param>
/// <param name="Etc">The deployments whose /etc goes back to its defaults.</param>
/// <param name="Losses">What goes with it, the largest first.</param>
/// <param name="EtcChanges">The owner's changes to /etc that go, of every deployment.</param>
public sealed record BoxReset(string Os, bool Var, IReadOnlyList<DeploymentName> Etc, IReadOnlyList<ResetLoss> Losses, IReadOnlyList<ResetEtcChange> EtcChanges)
{
    /// <summary>Plans one.</summary>
    /// <param name="sysroot">The box.</param>
    /// <param name="var">Empty /var: logs, state, and everybody's home.</param>
    /// <param name="etc">Bring the defaults of /etc back in every deployment of the stateroot.</param>
    /// <exception cref="NoSuchDeploymentException">Nothing is deployed.</exception>
    public static BoxReset Plan(OstreeSysroot sysroot, bool var, bool etc)
    {
        Deployment current = sysroot.Booted ?? sysroot.Deployments.FirstOrDefault() ?? throw new NoSuchDeploymentException(sysroot.Path, "nothing is deployed");
        string os = current.Name.Os;
        Deployment[] reset = etc ? [.. sysroot.Deployments.Where(each => each.Name.Os == os)] : [];
        return new BoxReset(
            os, var,
            [.. reset.Select(static each => each.Name)],
            var ? Measured(sysroot.Root, current.Name.VarDirectory) : [],
            [.. reset.SelectMany(each => sysroot.EtcChanges(each).Select(change => new ResetEtcChange(each.Name, change)))]);
    }

    /// <summary>Does it. What runs keeps the old directories until the reboot; the next boot has the new ones, and deletes the old.</summary>
    /// <exception cref="ResetRefusedException">A reset waits for the reboot already, or what would go is no longer what was planned.</exception>
    public void Execute(OstreeSysroot sysroot)
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        // What the first one took away is what runs: a second one would delete it from under everybody.
        if (sysroot.BootedName is not null && FactoryReset.IsWaiting(sysroot.Path, Os))
            throw new ResetRefusedException(sysroot.Path, "a reset waits for the reboot; nothing more was changed. Reboot first");
        BoxReset now = Plan(sysroot, var: false, etc: Etc.Count > 0);
        if (now.Os != Os || !now.Etc.SequenceEqual(Etc) || now.EtcChanges.Except(EtcChanges).Any())
            throw new ResetRefusedException(sysroot.Path, "what would be lost is more or other than what was shown; nothing was changed. Look at it once more");
        FactoryReset.WhileRunning(sysroot.Path, Os, Var, Etc);
        if ((sysroot.Booted ?? sysroot.Deployments.FirstOrDefault()) is { } current)
            BoxHistory.Add(sysroot, "reset", current.Name, (Var, Etc.Count > 0) switch { (true, true) => "/etc and /var", (true, _) => "/var", _ => "/etc" });
    }

    private static IReadOnlyList<ResetLoss> Measured(Dir root, string var)
    {
        using Dir? dir = root.TryOpenDir(var);
        return [.. (dir?.Entries() ?? []).Select(entry => Measure(dir!, entry.Name)).Where(static loss => loss.Files > 0).OrderByDescending(static loss => loss.Bytes)];
    }

    private static ResetLoss Measure(Dir dir, string name)
    {
        (long files, long bytes) = (0, 0);
        Add(dir, name);
        return new ResetLoss($"/var/{name}", files, bytes);

        void Add(Dir parent, string entry)
        {
            if (parent.TryStat(entry) is not { } stat)
                return;
            if (!stat.IsDirectory)
            {
                files++;
                bytes += stat.Size;
                return;
            }

            using Dir? inner = parent.TryOpenDir(entry);
            foreach (DirEntry each in inner?.Entries() ?? [])
                Add(inner!, each.Name);
        }
    }
}
