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

    /// <summary>What a root beside the one that runs is made of, for whoever finds itself in it later.</summary>
    public sealed record NoteRoot(string Run, string Root, DeploymentName Deployment) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"note that {Root} is {Deployment.Short}";
    }

    /// <summary>A file system in memory, for root alone and never swapped to a disk: what a ghost changes goes there.</summary>
    public sealed record MountMemory(string At) : RootStep
    {
        /// <summary>Bytes that it may take; null for half of the machine's memory.</summary>
        public long? Limit { get; init; }

        /// <inheritdoc/>
        public override string ToString() => $"mount tmpfs at {At}: what changes lives there, never swapped, until power-off";
    }

    /// <summary>A directory of the disk as it is, with changes that go to memory.</summary>
    public sealed record MountShadow(string From, string Memory, string To) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"mount overlay at {To}: {From} as it is, changes to {Memory}";
    }

    /// <summary>A machine-id, a host name and addresses of network cards that no boot had before.</summary>
    public sealed record BeNobody(string Etc, string Run) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"make up a machine-id and a host name in {Etc}, and have network cards make up their addresses";
    }

    /// <summary>A second mount of the disk, by which this program writes to it; the one that stays is read-only.</summary>
    public sealed record OpenDisk(string Disk, string At) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"bind {Disk} at {At}, writable, for the next steps";
    }

    /// <summary>Nobody is asked, but whoever is there sees what comes and can still switch the machine off.</summary>
    public sealed record CountDown(string Os, int Seconds) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"count down {Seconds} s on the console: switched off until then, the machine keeps all it has";
    }

    /// <summary>What takes the place of a stateroot's /var and of its deployments' /etc: made beside them, whole and on the disk before anything is exchanged.</summary>
    /// <param name="Bin">The directory for it.</param>
    /// <param name="Var">The stateroot's /var: owner and mode are taken from it.</param>
    /// <param name="Defaults">The defaults of each /etc.</param>
    public sealed record PrepareReset(string Bin, string Var, IReadOnlyList<EtcDefaults> Defaults) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"make an empty {Var} in {Bin}, and copies of {string.Join(", ", Defaults.Select(static each => each.From))}";
    }

    /// <summary>The new takes the place of the old, one rename each.</summary>
    public sealed record Exchange(string Bin, string Var, IReadOnlyList<EtcDefaults> Defaults) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"exchange them with {Var}, {string.Join(", ", Defaults.Select(static each => each.Etc))}";
    }

    /// <summary>What a reset put aside is deleted, also what one left that was cut short.</summary>
    public sealed record Discard(string Bin) : RootStep
    {
        /// <inheritdoc/>
        public override string ToString() => $"delete {Bin} and all in it";
    }
}

/// <summary>An /etc and where its defaults are.</summary>
/// <param name="From">The directory of the defaults.</param>
/// <param name="Etc">The /etc that gets them.</param>
public sealed record EtcDefaults(string From, string Etc);
