using System.Text;
using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>The steps that make a deployment's root, in order. Made from what was asked and what was found; nothing is touched by making it.</summary>
/// <param name="Deployment">The deployment that will run.</param>
/// <param name="Steps">The steps.</param>
public sealed record RootPlan(DeploymentName Deployment, IReadOnlyList<RootStep> Steps)
{
    /// <summary>Where a ghost's changes are, below <c>/run</c>: <c>etc/upper</c> and <c>var/upper</c> are overlayfs' upper layers.</summary>
    public const string GhostMemory = "sbox/ghost";

    private const int CountDownSeconds = 30;

    /// <summary>Plans the root.</summary>
    /// <param name="config">What the kernel command line asks for.</param>
    /// <param name="disk">What the physical root holds.</param>
    /// <param name="run">A writable directory on a tmpfs for mount points that are needed on the way: <c>/run</c>.</param>
    /// <param name="changes">Bytes that a ghost's changes may take; null for half of the memory.</param>
    /// <exception cref="NoRootException">No such root can be made; the message is the line for the console.</exception>
    public static RootPlan Make(RootConfig config, PhysicalRoot disk, string run = "/run", long? changes = null)
    {
        FoundDeployment chosen = Choose(config, disk);
        if (config.RequireVerity && config.ComposefsDigest is null)
            throw new NoRootException("sbox.verity=required, and no composefs=DIGEST on the kernel command line says which image: this UKI was not made by sbox seal");

        string deployment = $"{disk.Path}/{chosen.Name.Directory}";
        string image = $"{run}/sbox/image", root = $"{run}/sbox/root";
        return new RootPlan(chosen.Name,
        [
            new RootStep.Isolate(),
            // A ghost's disk stays as it is: not even its root can make a file there.
            .. config.Ghost ? Array.Empty<RootStep>() : [new RootStep.Unlock(disk.Path)],
            .. config.RequireVerity && !config.Ghost
                ? [new RootStep.SealImage(disk.Path, $"{chosen.Name.Directory}/{PhysicalRoot.ImageName}", $"{run}/sbox/disk")] : Array.Empty<RootStep>(),
            // Without the demand, composefs= is only what an unsigned line says; the digest would prove nothing.
            new RootStep.MountImage($"{deployment}/{PhysicalRoot.ImageName}", image, config.RequireVerity ? config.ComposefsDigest : null),
            new RootStep.MountOverlay(image, $"{disk.Path}/{PhysicalRoot.Objects}", root, config.RequireVerity),
            new RootStep.Detach(image),
            .. Reset(config, disk, chosen.Name, root, run),
            .. State(config, disk, chosen.Name, root, run, changes),
            .. Boot(disk, chosen, root),
            new RootStep.MarkBooted($"{run}/ostree-booted", deployment, config.RequireVerity),
            // A bind and a detach, not a move: the root would be mounted below what it is mounted from, and systemd
            // could no longer unmount it in order.
            new RootStep.Bind(disk.Path, $"{root}/sysroot", Writable: false),
            new RootStep.Detach(disk.Path),
            new RootStep.Move(root, disk.Path),
        ]);
    }

    /// <summary>Plans the root that a soft reboot goes to, beside the one that runs: kernel, devices and /run stay as they are.</summary>
    /// <param name="deployment">The deployment.</param>
    /// <param name="disk">What the physical root holds; its file system is writable, though its mount is not.</param>
    /// <param name="run">Where /run is.</param>
    /// <exception cref="NoRootException">No such root can be made.</exception>
    public static RootPlan MakeNext(DeploymentName deployment, PhysicalRoot disk, string run = "/run")
    {
        FoundDeployment chosen = Choose(RootConfig.From(KernelArguments.Parse($"sbox.deployment={deployment}")), disk);
        string directory = $"{disk.Path}/{chosen.Name.Directory}", image = $"{run}/sbox/image", root = new SoftRoots(run).NextRoot;
        return new RootPlan(chosen.Name,
        [
            new RootStep.MountImage($"{directory}/{PhysicalRoot.ImageName}", image, null),
            new RootStep.MountOverlay(image, $"{disk.Path}/{PhysicalRoot.Objects}", root, RequireVerity: false),
            new RootStep.Detach(image),
            new RootStep.Bind($"{directory}/etc", $"{root}/etc", Writable: true),
            new RootStep.Bind($"{disk.Path}/{chosen.Name.VarDirectory}", $"{root}/var", Writable: true),
            .. Boot(disk, chosen, root),
            new RootStep.Bind(disk.Path, $"{root}/sysroot", Writable: false),
            new RootStep.NoteRoot(run, root, chosen.Name),
        ]);
    }

    /// <summary>One line a step.</summary>
    public override string ToString()
    {
        var text = new StringBuilder($"root of {Deployment}:\n");
        foreach (RootStep step in Steps)
            text.Append("  ").Append(step).Append('\n');
        return text.ToString();
    }

    // /etc and /var: the disk's own, or a ghost's, which are the disk's with all changes in memory.
    private static RootStep[] State(RootConfig config, PhysicalRoot disk, DeploymentName name, string root, string run, long? changes)
    {
        string etc = $"{disk.Path}/{name.Directory}/etc", var = $"{disk.Path}/{name.VarDirectory}", memory = $"{run}/{GhostMemory}";
        return config.Ghost
            ?
            [
                new RootStep.MountMemory(memory) { Limit = changes },
                new RootStep.MountShadow(etc, $"{memory}/etc", $"{root}/etc"),
                new RootStep.MountShadow(var, $"{memory}/var", $"{root}/var"),
                new RootStep.BeNobody($"{root}/etc", run),
            ]
            : [new RootStep.Bind(etc, $"{root}/etc", Writable: true), new RootStep.Bind(var, $"{root}/var", Writable: true)];
    }

    // Where /run/ostree-booted is, libostree looks for /boot/loader.
    private static RootStep[] Boot(PhysicalRoot disk, FoundDeployment chosen, string root) =>
        disk.HasBootEntries && chosen.HasBootDirectory ? [new RootStep.Bind($"{disk.Path}/boot", $"{root}/boot", Writable: false)] : [];

    // All deployments of a stateroot share its /var, and an /etc that is kept for a way back may hold what shall be gone. The one that boots
    // takes its defaults from its image, whose names are proven where the boot is sealed.
    private static RootStep[] Reset(RootConfig config, PhysicalRoot disk, DeploymentName chosen, string root, string run)
    {
        bool left = disk.Leftovers.Contains(chosen.Os);
        if (config.Ghost || (!config.FactoryReset && !left))
            return [];
        string at = $"{run}/sbox/disk", var = $"{at}/{chosen.VarDirectory}", bin = $"{at}/{ResetBin(chosen.Os)}";
        EtcDefaults[] defaults = [.. disk.Deployments.Where(each => each.Name.Os == chosen.Os && each.IsWhole).Select(each => new EtcDefaults(
            each.Name == chosen ? $"{root}/usr/etc" : $"{at}/{each.Name.Directory}/usr/etc", $"{at}/{each.Name.Directory}/etc"))];
        return
        [
            .. config.FactoryReset ? [new RootStep.CountDown(chosen.Os, CountDownSeconds)] : Array.Empty<RootStep>(),
            new RootStep.OpenDisk(disk.Path, at),
            .. left ? [new RootStep.Discard(bin)] : Array.Empty<RootStep>(),
            .. config.FactoryReset
                ? [new RootStep.PrepareReset(bin, var, defaults), new RootStep.Exchange(bin, var, defaults), new RootStep.Discard(bin)] : Array.Empty<RootStep>(),
            new RootStep.Detach(at),
        ];
    }

    /// <summary>Where a reset puts what it makes and what it takes away, from the physical root.</summary>
    internal static string ResetBin(string os) => $"ostree/deploy/{os}/.sbox-reset";

    private static FoundDeployment Choose(RootConfig config, PhysicalRoot disk)
    {
        string where = config.Root is null ? "this disk" : $"root={config.Root}";
        if (config.Commit is { } commit)
            return ChooseOf(commit, disk, where);
        if (config.Deployment is null && config.OstreeLink is null)
            throw new NoRootException($"the kernel command line names no deployment (sbox.deployment=OS/CHECKSUM.SERIAL); {Remedy(disk, where)}");

        DeploymentName wanted = config.Deployment ?? disk.OstreeLinkTarget
            ?? throw new NoRootException($"ostree={config.OstreeLink} leads to no deployment; {Remedy(disk, where)}");
        FoundDeployment found = disk.Deployments.FirstOrDefault(each => each.Name == wanted)
            ?? throw new NoRootException($"deployment {wanted.Short} is missing; {Remedy(disk, where)}");

        string? missing = !found.HasImage ? PhysicalRoot.ImageName
            : !found.HasEtc ? "etc"
            : !found.HasVar ? $"its /{wanted.VarDirectory}"
            : !disk.HasObjects ? $"/{PhysicalRoot.Objects}"
            : null;
        return missing is null
            ? found
            : throw new NoRootException($"deployment {wanted.Short} is not whole ({missing} is missing); {Remedy(disk, where)}");
    }

    // A signed line names the commit and no serial, which only the box knows. Of several deployments of one commit the boot entries say
    // which comes first; without their word, the newest that is whole.
    private static FoundDeployment ChooseOf(Checksum commit, PhysicalRoot disk, string where)
    {
        FoundDeployment[] whole = [.. disk.Deployments.Where(each => each.Name.Commit == commit && each.IsWhole).OrderByDescending(static each => each.Name.Serial)];
        if (whole.Length == 0 || !disk.HasObjects)
            throw new NoRootException($"no whole deployment of commit {commit.ToString()[..12]}; {Remedy(disk, where)}");
        return disk.BootOrder.Select(name => whole.FirstOrDefault(each => each.Name == name)).FirstOrDefault(static each => each is not null) ?? whole[0];
    }

    private static string Remedy(PhysicalRoot disk, string where)
    {
        string[] whole = [.. disk.Deployments.Where(static each => each.IsWhole).Select(static each => each.Name.Short)];
        return whole.Length > 0
            ? $"{where} has {string.Join(", ", whole)}: reboot and choose it in the boot menu"
            : $"{where} has no deployment that can be booted: is it the right disk? Else install again from the image";
    }
}
