namespace Sbox.Image;

/// <summary>The names in /: what is written to is a link into /var, what is mounted over is an empty directory.</summary>
internal static class TopLevel
{
    /// <summary>Directories of / that a box writes to, and where in /var they live.</summary>
    public static readonly IReadOnlyList<(string Path, string InVar)> Homes =
    [
        ("home", "var/home"), ("root", "var/roothome"), ("opt", "var/opt"), ("srv", "var/srv"), ("mnt", "var/mnt"), ("usr/local", "var/usrlocal"),
    ];

    /// <summary>The same of /tmp, where a recipe wants it on the disk.</summary>
    public static readonly (string Path, string Target) TmpOnDisk = ("tmp", "sysroot/tmp");

    private static readonly string[] MountPoints = ["boot", "dev", "efi", "proc", "run", "sys", "sysroot", "var"];

    /// <summary>Moves what packages put there to /var, where <see cref="VarState"/> finds it, and leaves links.</summary>
    public static void MoveHomesToVar(TreeRoot tree)
    {
        foreach ((string path, string inVar) in Homes)
        {
            if (tree.Stat(path) is { IsSymlink: true })
                continue;
            tree.MakeDirs(path);
            tree.Remove(inVar);
            tree.Move(path, inVar);
            tree.Link(path, path.Contains('/', StringComparison.Ordinal) ? $"../{inVar}" : inVar);
        }
    }

    /// <summary>Makes the other names.</summary>
    public static void Lay(TreeRoot tree, TmpPlace tmp)
    {
        foreach (string name in MountPoints)
            tree.Empty(name);
        tree.Remove("media");
        tree.Link("media", "run/media");
        tree.Link("ostree", "sysroot/ostree");
        if (tmp == TmpPlace.Disk)
        {
            LayTmpOnDisk(tree);
            return;
        }

        tree.Empty("tmp");
        tree.Dir.ChangeMode("tmp", 0x3FF); // 1777
    }

    // /sysroot is mounted read-only for everyone, so its tmp needs a mount of its own that is not.
    private static void LayTmpOnDisk(TreeRoot tree)
    {
        tree.Remove("tmp");
        tree.Link(TmpOnDisk.Path, TmpOnDisk.Target);
        tree.Link("usr/lib/systemd/system/tmp.mount", "/dev/null");
        tree.Write("usr/lib/systemd/system/sbox-tmp.service", """
            [Unit]
            Description=Writable /tmp on the disk
            DefaultDependencies=no
            RequiresMountsFor=/sysroot
            Before=local-fs.target systemd-tmpfiles-setup.service
            ConditionPathIsDirectory=/sysroot/tmp

            [Service]
            Type=oneshot
            RemainAfterExit=yes
            ExecStart=mount --bind /sysroot/tmp /sysroot/tmp
            ExecStart=mount -o remount,bind,rw,nosuid,nodev /sysroot/tmp

            """);
        tree.Link("usr/lib/systemd/system/local-fs.target.wants/sbox-tmp.service", "../sbox-tmp.service");
    }
}
