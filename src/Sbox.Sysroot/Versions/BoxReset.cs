using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Something that a reset takes away.</summary>
/// <param name="Path">What, as the running system names it.</param>
/// <param name="Files">Files in it.</param>
/// <param name="Bytes">Bytes that it takes on the disk.</param>
public sealed record ResetLoss(string Path, long Files, long Bytes);

/// <summary>What a reset does, before it is done: to be shown and refused.</summary>
/// <param name="Os">The stateroot.</param>
/// <param name="Var">Whether /var is emptied.</param>
/// <param name="Etc">The deployments whose /etc goes back to its defaults.</param>
/// <param name="Losses">What goes with it, the largest first.</param>
/// <param name="EtcChanges">The owner's changes to the running /etc that go.</param>
public sealed record BoxReset(string Os, bool Var, IReadOnlyList<DeploymentName> Etc, IReadOnlyList<ResetLoss> Losses, IReadOnlyList<EtcChange> EtcChanges)
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
        return new BoxReset(
            os, var,
            etc ? [.. sysroot.Deployments.Where(each => each.Name.Os == os).Select(static each => each.Name)] : [],
            var ? Measured(sysroot.Root, current.Name.VarDirectory) : [],
            etc ? sysroot.EtcChanges(current) : []);
    }

    /// <summary>Does it. What runs keeps the old directories until the reboot; the next boot has the new ones, and deletes the old.</summary>
    public void Execute(OstreeSysroot sysroot)
    {
        using IDisposable held = sysroot.Lock();
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
