using System.Text;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>A deployment that was found, and which of its parts are there.</summary>
/// <param name="Name">Its name, from its path.</param>
/// <param name="HasImage">Whether its composefs image is there.</param>
/// <param name="HasEtc">Whether its merged /etc is there.</param>
/// <param name="HasVar">Whether its stateroot's /var is there.</param>
/// <param name="HasBootDirectory">Whether its tree has a /boot to mount the physical root's on.</param>
public sealed record FoundDeployment(DeploymentName Name, bool HasImage, bool HasEtc, bool HasVar, bool HasBootDirectory)
{
    /// <summary>Whether it can be booted.</summary>
    public bool IsWhole => HasImage && HasEtc && HasVar;
}

/// <summary>What a physical root holds of what a boot needs. Only looked at, never changed.</summary>
/// <param name="Path">Where it is mounted.</param>
/// <param name="HasObjects">Whether it has a repository's objects.</param>
/// <param name="HasBootEntries">Whether it has libostree's boot entries, <c>boot/loader</c>.</param>
/// <param name="Deployments">All deployments, by path.</param>
/// <param name="OstreeLinkTarget">The deployment that the <c>ostree=</c> link leads to; null where it leads nowhere or was not asked for.</param>
public sealed record PhysicalRoot(
    string Path, bool HasObjects, bool HasBootEntries, IReadOnlyList<FoundDeployment> Deployments, DeploymentName? OstreeLinkTarget)
{
    /// <summary>The deployments that boot entries lead to, the default first; empty where there are none.</summary>
    public IReadOnlyList<DeploymentName> BootOrder { get; init; } = [];

    /// <summary>The stateroots in which a factory reset that was cut short left something to be deleted.</summary>
    public IReadOnlyList<string> Leftovers { get; init; } = [];

    /// <summary>The directory of objects, from the physical root.</summary>
    public const string Objects = "ostree/repo/objects";

    /// <summary>The composefs image in a deployment's directory; libostree's name.</summary>
    public const string ImageName = ".ostree.cfs";

    /// <summary>Looks at a mounted physical root.</summary>
    /// <exception cref="LinuxException">It cannot be read.</exception>
    public static PhysicalRoot Look(string path, string? ostreeLink)
    {
        using Dir root = Dir.Open(path);
        return new PhysicalRoot(path, root.Exists(Objects), root.Exists("boot/loader"), [.. Find(root)], ostreeLink is null ? null : Follow(root, ostreeLink))
        {
            BootOrder = [.. Order(root)],
            Leftovers = [.. Stateroots(root).Where(os => root.Exists(RootPlan.ResetBin(os)))],
        };
    }

    // libostree numbers its entries: the greatest version is the default.
    private static IEnumerable<DeploymentName> Order(Dir root)
    {
        using Dir? boot = root.TryOpenDir("boot");
        if (boot?.TryStat("loader") is not { IsSymlink: true } || boot.TryOpenDir($"{boot.ReadLink("loader")}/entries") is not { } entries)
            return [];
        using (entries)
        {
            return [.. entries.Entries()
                .Where(static entry => entry.Name.StartsWith("ostree-", StringComparison.Ordinal) && entry.Name.EndsWith(".conf", StringComparison.Ordinal))
                .Select(entry => BootEntry.Parse(Encoding.UTF8.GetString(entries.ReadAll(entry.Name))))
                .OrderByDescending(static entry => int.TryParse(entry.Version, out int version) ? version : 0)
                .Select(entry => entry.Options.Get("ostree") is { } link ? Follow(root, link) : null)
                .OfType<DeploymentName>()];
        }
    }

    private static string[] Stateroots(Dir root)
    {
        using Dir? stateroots = root.TryOpenDir("ostree/deploy");
        return [.. (stateroots?.Entries() ?? []).Select(static entry => entry.Name)];
    }

    private static IEnumerable<FoundDeployment> Find(Dir root)
    {
        using Dir? stateroots = root.TryOpenDir("ostree/deploy");
        foreach (DirEntry stateroot in stateroots?.Entries() ?? [])
        {
            using Dir? deployments = stateroots!.TryStat($"{stateroot.Name}/deploy") is { IsDirectory: true }
                ? stateroots.OpenDir($"{stateroot.Name}/deploy") : null;
            foreach (DirEntry entry in deployments?.Entries() ?? [])
            {
                if (deployments!.TryStat(entry.Name) is { IsDirectory: true }
                    && DeploymentName.TryParse($"{stateroot.Name}/{entry.Name}", out DeploymentName name))
                    yield return new FoundDeployment(
                        name, deployments.Exists($"{entry.Name}/{ImageName}"), deployments.Exists($"{entry.Name}/etc"),
                        root.Exists(name.VarDirectory), deployments.TryStat($"{entry.Name}/boot") is { IsDirectory: true });
            }
        }
    }

    // /ostree/boot.0/OS/BOOTCSUM/0 -> ../../../deploy/OS/deploy/CSUM.N, and /ostree/boot.0 itself is a link to boot.0.1.
    private static DeploymentName? Follow(Dir root, string link)
    {
        string relative = link.TrimStart('/');
        if (relative.Split('/').Contains("..") || root.TryStat(relative) is not { IsSymlink: true })
            return null;
        string[] parts = root.ReadLink(relative).TrimEnd('/').Split('/');
        return parts is [.., "deploy", var os, "deploy", var checkout] && DeploymentName.TryParse($"{os}/{checkout}", out DeploymentName name)
            ? name
            : null;
    }
}
