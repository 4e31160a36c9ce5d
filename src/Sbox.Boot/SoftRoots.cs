using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// Which deployments the roots are made of that systemd's soft reboot goes to: the kernel command line is the same before and after, and names the one that the machine started with.
/// <c>/run/sbox-roots</c> has a file for each, named by the device number of its file system, and <c>next</c>, which names the deployment that the next soft reboot shall go to.
/// It is in memory, and everybody may read it.
/// </summary>
/// <param name="run">Where /run is.</param>
/// <remarks>docs/boot.md, "Soft reboot". A device number is another root's only when the first root is gone for good.</remarks>
public sealed class SoftRoots(string run = "/run")
{
    private const string Directory = "sbox-roots", NextName = "next";

    /// <summary>Where the next root is made: systemd goes there.</summary>
    public string NextRoot => $"{run}/nextroot";

    /// <summary>The deployment that a root is made of; null where it is none that a soft reboot went to.</summary>
    public DeploymentName? Of(string root) => Read(Name(root));

    /// <summary>Writes down what a root is made of.</summary>
    public void Note(string root, DeploymentName deployment) => Write(Name(root), deployment);

    /// <summary>The deployment that the next soft reboot shall go to; null for the one that runs.</summary>
    public DeploymentName? Next
    {
        get => Read(NextName);
        set
        {
            if (value is { } deployment)
            {
                Write(NextName, deployment);
                return;
            }

            using Dir? dir = TryOpen();
            dir?.TryUnlink(NextName);
        }
    }

    /// <summary>Makes the root that the next soft reboot goes to, for all who share this process's mounts.</summary>
    /// <param name="sysroot">The physical root.</param>
    /// <returns>What was made; null where the next soft reboot shall stay with what runs.</returns>
    /// <exception cref="NoRootException">The deployment is not whole. Nothing stays mounted, and a soft reboot stays with what runs.</exception>
    /// <exception cref="IOException">The kernel refused; likewise.</exception>
    public RootPlan? MakeNext(string sysroot)
    {
        Clear();
        if (Next is not { } next)
            return null;
        RootPlan plan = RootPlan.MakeNext(next, PhysicalRoot.Look(sysroot, ostreeLink: null), run);
        try
        {
            RootMounter.Execute(plan, static _ => { });
            return plan;
        }
        catch
        {
            Clear();
            throw;
        }
    }

    /// <summary>Takes the root away that a soft reboot would go to; nothing where there is none.</summary>
    public void Clear()
    {
        foreach (string mounted in (string[])[$"{run}/sbox/image", NextRoot])
        {
            if (MountTable.At(mounted) is not null)
                Mounts.Detach(mounted);
        }
    }

    /// <summary>After a soft reboot: has the mark of a booted deployment name the one that runs now.</summary>
    /// <param name="sysroot">The physical root.</param>
    /// <returns>It; null where the machine runs what it was started with.</returns>
    public DeploymentName? Arrive(string sysroot)
    {
        if (Of("/") is not { } name)
            return null;
        RootMounter.Mark(new RootStep.MarkBooted($"{run}/ostree-booted", $"{sysroot}/{name.Directory}", Verity: false));
        if (Next == name)
            Next = null;
        return name;
    }

    private static string Name(string root)
    {
        using Dir dir = Dir.Open(root);
        return dir.Stat().Device.ToString("x", CultureInfo.InvariantCulture);
    }

    private Dir? TryOpen()
    {
        using Dir at = Dir.Open(run);
        return at.TryOpenDir(Directory);
    }

    private DeploymentName? Read(string name)
    {
        using Dir? dir = TryOpen();
        return dir?.TryReadAll(name) is { } bytes && DeploymentName.TryParse(Encoding.UTF8.GetString(bytes).Trim(), out DeploymentName deployment) ? deployment : null;
    }

    private void Write(string name, DeploymentName deployment)
    {
        using Dir at = Dir.Open(run);
        using Dir dir = at.MakeAndOpenDir(Directory);
        Durable.Replace(dir, name, Encoding.UTF8.GetBytes($"{deployment}\n"));
    }
}
