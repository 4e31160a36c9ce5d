using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Keeps a deployment from being cleaned away, by the mark in its origin that real ostree writes and reads.</summary>
public static class Pinning
{
    /// <summary>Pins a deployment, or lets it go again.</summary>
    /// <returns>Whether that changed anything.</returns>
    /// <exception cref="NoSuchDeploymentException">There is none such.</exception>
    public static bool Set(OstreeSysroot sysroot, DeploymentName name, bool pinned)
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        Deployment deployment = sysroot.Deployments.FirstOrDefault(each => each.Name == name) ?? throw new NoSuchDeploymentException(sysroot.Path, $"no deployment {name.Short}");
        if (deployment.IsPinned == pinned)
            return false;
        KeyFile file = deployment.Origin?.File ?? KeyFile.Empty;
        file = pinned ? file.With("libostree-transient", "pinned", "true") : file.Without("libostree-transient", "pinned");
        Write(sysroot, name, file);
        BoxHistory.Add(sysroot, pinned ? "pin" : "unpin", name);
        return true;
    }

    /// <summary>Gives a deployment another origin.</summary>
    public static void SetOrigin(OstreeSysroot sysroot, DeploymentName name, Origin origin)
    {
        using IDisposable held = sysroot.Lock();
        Write(sysroot, name, origin.File);
    }

    private static void Write(OstreeSysroot sysroot, DeploymentName name, KeyFile file)
    {
        sysroot.Step($"write the origin of {name.Short}");
        using (Dir deployments = sysroot.Root.OpenDir(Layout.Deployments(name.Os)))
            Durable.Replace(deployments, $"{name.Commit}.{name.Serial}.origin", Encoding.UTF8.GetBytes(file.ToString()));
        sysroot.TouchDeploy();
        sysroot.Reload();
    }
}
