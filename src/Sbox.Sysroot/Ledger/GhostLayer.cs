using Sbox.Boot;

namespace Sbox.Sysroot;

/// <summary>A directory of the running ghost, and the two layers that it is made of.</summary>
/// <param name="At">Where the session sees it: <c>/etc</c>.</param>
/// <param name="Upper">What the session changed, in memory: overlayfs' upper layer.</param>
/// <param name="Lower">What the disk has, and will have after power-off.</param>
/// <param name="Staging">A directory on the same disk where what is kept is written before it gets its name; need not be there.</param>
public sealed record GhostLayer(string At, string Upper, string Lower, string Staging)
{
    /// <summary>The tree of the version that runs, which makes some of it by itself at every boot; null for none.</summary>
    public string? Tree { get; init; }

    /// <summary>Whether it is one and the same for all versions, so that a file on the disk is the same inode for as long as nobody replaces it.</summary>
    public bool IsShared { get; init; }

    /// <summary>The two directories of which a ghost forgets its changes.</summary>
    /// <param name="booted">The deployment that runs.</param>
    /// <param name="sysroot">The physical root.</param>
    /// <param name="run">The directory below which a ghost's memory is.</param>
    public static IReadOnlyList<GhostLayer> Of(DeploymentName booted, string sysroot = "/sysroot", string run = "/run") =>
    [
        new("/etc", $"{run}/{RootPlan.GhostMemory}/etc/upper", $"{sysroot}/{booted.Directory}/etc", $"{sysroot}/ostree/deploy/{booted.Os}/.sbox-keep"),
        new("/var", $"{run}/{RootPlan.GhostMemory}/var/upper", $"{sysroot}/{booted.VarDirectory}", $"{sysroot}/ostree/deploy/{booted.Os}/.sbox-keep") { Tree = "/", IsShared = true },
    ];

    /// <summary>Whether a path is this directory or below it.</summary>
    public bool Holds(string path) => IsAtOrBelow(path, At);

    /// <summary>A path in it, from its own root; <c>.</c> for itself.</summary>
    public string Relative(string path) => path.Length == At.Length ? "." : path[(At.Length + 1)..];

    /// <summary>Whether a path is another or below it; both absolute, without a slash at the end.</summary>
    public static bool IsAtOrBelow(string path, string parent) =>
        path == parent || (path.Length > parent.Length && path[parent.Length] == '/' && path.StartsWith(parent, StringComparison.Ordinal));
}
