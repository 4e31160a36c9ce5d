using System.Text;
using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>One step on the way from a mounted physical root to a deployment's root.</summary>
public abstract record RootStep
{
    private RootStep()
    {
    }

    /// <summary>Mounts no longer show up in copies of this namespace; the kernel moves no mount that is shared.</summary>
    public sealed record Isolate : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => "make all mounts private";
    }

    /// <summary>The physical root's superblock becomes writable: /etc and /var live on it. Its mounts keep their own attributes.</summary>
    public sealed record Unlock(string MountPoint) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"make the file system of {MountPoint} writable";
    }

    /// <summary>An image that has no fs-verity yet gets it, through a mount of its own; what it is held to from now on is compared afterwards.</summary>
    public sealed record SealImage(string Disk, string Image, string At) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"seal {Image} where it is not";
    }

    /// <summary>The composefs image, EROFS, by the file itself or through a loop device; only the one of this digest, where there is one.</summary>
    public sealed record MountImage(string Image, string At, Checksum? Digest) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"mount erofs {Image} at {At}{(Digest is null ? "" : $", only with digest {Digest}")}";
    }

    /// <summary>The deployment: names and attributes of the image, bytes of the objects.</summary>
    public sealed record MountOverlay(string Image, string Objects, string At, bool RequireVerity) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() =>
            $"mount overlay at {At}, read-only: names of {Image}, bytes of {Objects}{(RequireVerity ? ", verity required" : "")}";
    }

    /// <summary>A mount of something that is mounted already.</summary>
    public sealed record Bind(string From, string To, bool Writable) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"bind {From} at {To}, {(Writable ? "writable" : "read-only")}";
    }

    /// <summary>A mount that was only needed on the way.</summary>
    public sealed record Detach(string MountPoint) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"detach {MountPoint}";
    }

    /// <summary>The finished root takes its place.</summary>
    public sealed record Move(string From, string To) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"move {From} to {To}";
    }

    /// <summary>The file by which programs know that an ostree deployment runs, and which one.</summary>
    public sealed record MarkBooted(string Mark, string DeploymentDirectory, bool Verity) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"write {Mark}, naming {DeploymentDirectory}";
    }
}

/// <summary>The steps that make a deployment's root, in order. Made from what was asked and what was found; nothing is touched by making it.</summary>
/// <param name="Deployment">The deployment that will run.</param>
/// <param name="Steps">The steps.</param>
public sealed record RootPlan(DeploymentName Deployment, IReadOnlyList<RootStep> Steps)
{
    /// <summary>Plans the root.</summary>
    /// <param name="config">What the kernel command line asks for.</param>
    /// <param name="disk">What the physical root holds.</param>
    /// <param name="run">A writable directory on a tmpfs for mount points that are needed on the way: <c>/run</c>.</param>
    /// <exception cref="NoRootException">No such root can be made; the message is the line for the console.</exception>
    public static RootPlan Make(RootConfig config, PhysicalRoot disk, string run = "/run")
    {
        FoundDeployment chosen = Choose(config, disk);
        if (config.RequireVerity && config.ComposefsDigest is null)
            throw new NoRootException("sbox.verity=required, and no composefs=DIGEST on the kernel command line says which image: this UKI was not made by sbox seal");

        string deployment = $"{disk.Path}/{chosen.Name.Directory}";
        string image = $"{run}/sbox/image", root = $"{run}/sbox/root";
        return new RootPlan(chosen.Name,
        [
            new RootStep.Isolate(),
            new RootStep.Unlock(disk.Path),
            .. config.RequireVerity
                ? [new RootStep.SealImage(disk.Path, $"{chosen.Name.Directory}/{PhysicalRoot.ImageName}", $"{run}/sbox/disk")] : Array.Empty<RootStep>(),
            // Without the demand, composefs= is only what an unsigned line says; the digest would prove nothing.
            new RootStep.MountImage($"{deployment}/{PhysicalRoot.ImageName}", image, config.RequireVerity ? config.ComposefsDigest : null),
            new RootStep.MountOverlay(image, $"{disk.Path}/{PhysicalRoot.Objects}", root, config.RequireVerity),
            new RootStep.Detach(image),
            new RootStep.Bind($"{deployment}/etc", $"{root}/etc", Writable: true),
            new RootStep.Bind($"{disk.Path}/{chosen.Name.VarDirectory}", $"{root}/var", Writable: true),
            // Where /run/ostree-booted is, libostree looks for /boot/loader.
            .. disk.HasBootEntries && chosen.HasBootDirectory
                ? [new RootStep.Bind($"{disk.Path}/boot", $"{root}/boot", Writable: false)] : Array.Empty<RootStep>(),
            new RootStep.MarkBooted($"{run}/ostree-booted", deployment, config.RequireVerity),
            // A bind and a detach, not a move: the root would be mounted below what it is mounted from, and systemd
            // could no longer unmount it in order.
            new RootStep.Bind(disk.Path, $"{root}/sysroot", Writable: false),
            new RootStep.Detach(disk.Path),
            new RootStep.Move(root, disk.Path),
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
