using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>To which part of a box a path belongs.</summary>
public enum PlaceKind
{
    /// <summary>The version's own tree: read-only.</summary>
    System,
    /// <summary>/etc: the deployment's own, merged.</summary>
    Etc,
    /// <summary>/var and what leads there: shared by all versions.</summary>
    Var,
    /// <summary>A file system in memory, or one that the kernel makes up.</summary>
    Memory,
    /// <summary>A home out of a tomb.</summary>
    Tomb,
    /// <summary>The EFI partition.</summary>
    Esp,
    /// <summary>The physical root, /sysroot.</summary>
    Disk,
    /// <summary>Another file system.</summary>
    Other,
}

/// <summary>Where a path is, and what becomes of it.</summary>
/// <param name="Path">The path as it was asked for.</param>
/// <param name="Real">Where it is, symbolic links followed.</param>
/// <param name="Kind">The part of the box.</param>
/// <param name="IsWritable">Whether root can write there.</param>
/// <param name="Exists">Whether it is there.</param>
public sealed record PathPlace(string Path, string Real, PlaceKind Kind, bool IsWritable, bool Exists)
{
    private const string OfGhost = "gone with the reboot: this boot is a ghost";
    private static readonly string[] InMemory = ["tmpfs", "ramfs", "devtmpfs", "proc", "sysfs", "devpts", "cgroup2", "securityfs", "debugfs", "tracefs", "configfs", "efivarfs", "bpf", "mqueue", "hugetlbfs", "pstore", "fusectl", "binfmt_misc", "autofs"];

    /// <summary>Where its bytes are, as a path on the physical root or a device; null where they are nowhere.</summary>
    public string? Bytes { get; init; }

    /// <summary>Whether /etc and /var live in memory: this boot is a ghost.</summary>
    public bool IsGhost { get; init; }

    /// <summary>Whether this boot, a ghost, made or changed it, so that it is in memory; false where the ghost shows what is on the disk. Null where there is no ghost, or who asks may not know.</summary>
    public bool? IsOfGhost { get; init; }

    /// <summary>How it differs from its default in /etc; null where it does not, or is not in /etc.</summary>
    public EtcChangeKind? Change { get; init; }

    /// <summary>What becomes of it when a new version comes.</summary>
    public string AtUpgrade => Kind switch
    {
        _ when IsOfGhost == true => OfGhost,
        PlaceKind.System => "replaced by the new version's",
        PlaceKind.Etc => Change is null ? "the new version's default" : "merged into the new version's defaults: sbox etc plan",
        PlaceKind.Esp => "rewritten as the versions need it; what is not ours stays",
        PlaceKind.Memory => "gone with the reboot",
        _ => "stays as it is",
    };

    /// <summary>What becomes of it when the box goes back.</summary>
    public string AtRollback => Kind switch
    {
        _ when IsOfGhost == true => OfGhost,
        PlaceKind.System => "the old version's again",
        PlaceKind.Etc => "the old version's own /etc, as it was when that ran last",
        PlaceKind.Memory => "gone with the reboot",
        _ => "stays as it is: all versions share it",
    };

    /// <summary>What becomes of it when the box restarts.</summary>
    public string AtReboot => Kind switch
    {
        PlaceKind.Memory => "gone",
        PlaceKind.Tomb => "stays in the tomb; what was not saved is gone",
        PlaceKind.Etc or PlaceKind.Var when IsGhost => IsOfGhost switch { true => "gone; sbox keep PATH keeps it", false => "stays", _ => "stays, without what this boot changed" },
        _ => "stays",
    };

    /// <summary>What becomes of it at a factory reset.</summary>
    public string AtReset => Kind switch
    {
        _ when IsOfGhost == true => OfGhost,
        PlaceKind.Etc => Change is null ? "stays: it is the default" : "as the version has it by default; your own is gone",
        PlaceKind.Var => "gone",
        PlaceKind.Memory => "gone with the reboot",
        PlaceKind.Tomb => "stays in the tomb; what was not saved is gone",
        _ => "stays",
    };

    /// <summary>Looks up a path on the running box.</summary>
    /// <param name="path">As a person names it.</param>
    /// <param name="real">The same with symbolic links followed as far as it is there; absolute.</param>
    /// <param name="exists">Whether it is there.</param>
    /// <param name="mounts">The mount table.</param>
    /// <param name="isGhost">Whether /etc and /var are in memory.</param>
    public static PathPlace Of(string path, string real, bool exists, IReadOnlyList<MountEntry> mounts, bool isGhost)
    {
        MountEntry? mount = mounts.Where(each => IsBelow(real, each.MountPoint)).OrderBy(static each => each.MountPoint.Length).LastOrDefault();
        PlaceKind kind = mount switch
        {
            null => PlaceKind.Other,
            { MountPoint: "/" } => PlaceKind.System,
            _ when mount.MountPoint == "/etc" => PlaceKind.Etc,
            _ when mount.MountPoint == "/var" => PlaceKind.Var,
            _ when mount.MountPoint == "/sysroot" || mount.MountPoint == "/boot" => PlaceKind.Disk,
            _ when mount.Type.StartsWith("fuse.sbox", StringComparison.Ordinal) => PlaceKind.Tomb,
            { Type: "overlay" } when mount.Source.StartsWith("tomb-", StringComparison.Ordinal) => PlaceKind.Tomb, // an open home: its changes above its newest snapshot
            _ when InMemory.Contains(mount.Type) => PlaceKind.Memory,
            _ when mount.Type is "vfat" or "msdos" => PlaceKind.Esp,
            _ => PlaceKind.Other,
        };
        return new PathPlace(path, real, kind, mount is { IsReadOnly: false } && kind != PlaceKind.System, exists)
        {
            IsGhost = isGhost, Bytes = kind switch { PlaceKind.Memory => null, PlaceKind.Esp or PlaceKind.Other => mount?.Source, _ => null },
        };
    }

    /// <summary>The same, with where its bytes are on the disk and how it differs from its default.</summary>
    /// <param name="sysroot">The box's.</param>
    /// <param name="running">The version that runs.</param>
    /// <param name="run">Where a ghost's memory is.</param>
    /// <exception cref="LinuxException">Who asks may not look there.</exception>
    public PathPlace With(OstreeSysroot sysroot, Deployment running, string run = "/run")
    {
        switch (Kind)
        {
            case PlaceKind.System:
                TreeEntry? entry = sysroot.Repository.Has(new ObjectName(running.Name.Commit, ObjectType.Commit)) ? sysroot.Repository.TryFind(running.Name.Commit, Real) : null;
                return this with { Bytes = entry?.Content is { } content ? $"/sysroot/ostree/repo/objects/{content.ToString()[..2]}/{content.ToString()[2..]}.file" : null };
            case PlaceKind.Etc or PlaceKind.Var:
                GhostLayer? ghost = IsGhost ? GhostLayer.Of(running.Name, sysroot.Root.Path, run).FirstOrDefault(each => each.Holds(Real)) : null;
                bool? ofGhost = ghost is null ? null : IsIn(ghost);
                string? bytes = ofGhost == true ? null : $"/sysroot/{(Kind == PlaceKind.Etc ? $"{running.Name.Directory}/etc" : running.Name.VarDirectory)}{Real[4..]}";
                return this with { IsOfGhost = ofGhost, Bytes = bytes, Change = Kind == PlaceKind.Etc ? ChangeOf(sysroot, running, ghost) : null };
            default:
                return this;
        }
    }

    // A directory that both layers have is of both. Only root sees the memory.
    private bool? IsIn(GhostLayer ghost)
    {
        string below = ghost.Relative(Real), upper = $"{ghost.Upper}/{below}";
        return Directory.Exists(upper) && Directory.Exists($"{ghost.Lower}/{below}") ? null : System.IO.Path.Exists(upper) ? true : Directory.Exists(ghost.Upper) ? false : null;
    }

    private EtcChangeKind? ChangeOf(OstreeSysroot sysroot, Deployment running, GhostLayer? ghost)
    {
        if (Real.Length <= "/etc/".Length)
            return null;
        string below = Real["/etc/".Length..];
        using Dir defaults = sysroot.Root.OpenDir($"{running.Name.Directory}/usr/etc");
        using Dir local = ghost is null ? sysroot.Root.OpenDir($"{running.Name.Directory}/etc") : Dir.Open(ghost.At);
        return (defaults.Exists(below), local.Exists(below)) switch
        {
            (true, false) => EtcChangeKind.Removed,
            (false, true) => EtcChangeKind.Added,
            (true, true) when EtcDiff.Differs(defaults, local, below) => EtcChangeKind.Modified,
            _ => null,
        };
    }

    private static bool IsBelow(string path, string top) =>
        top == "/" || path == top || path.StartsWith(top + "/", StringComparison.Ordinal);
}
