namespace Sbox.Image;

/// <summary>
/// What a build leaves behind that belongs to one machine or one moment: identities must be each box's own, and anything that differs
/// from run to run would give the same recipe another checksum.
/// </summary>
internal static class MachineTraces
{
    private static readonly string[] Gone =
    [
        "vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old", ".dockerenv",
        "etc/fstab", "etc/.pwd.lock", "etc/.resolv.conf.systemd-resolved.bak", "etc/adjtime", "etc/.updated",
        "var/lib/apt/lists", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "var/lib/systemd/catalog/database",
        "var/lib/dbus/machine-id", "var/lib/dracut", "var/.updated",
    ];

    private static readonly string[] Emptied = ["boot", "dev", "run", "tmp", "proc", "sys", "var/tmp", "var/backups"];

    // Their directories stay, with owners and modes that their packages chose.
    private static readonly string[] FilesGone = ["var/log", "var/cache"];

    public static void Remove(TreeRoot tree)
    {
        foreach (string path in Gone)
            tree.Remove(path);
        foreach (string path in Emptied)
            tree.Empty(path);
        foreach (string path in FilesGone)
            RemoveFilesBelow(tree, path, _ => true);

        // passwd-, group- ...: the tools' copies of the file before their last change.
        RemoveFilesBelow(tree, "etc", name => name.EndsWith('-') || name.EndsWith(".dpkg-old", StringComparison.Ordinal));
        RemoveFilesBelow(tree, "etc/ssh", name => name.StartsWith("ssh_host_", StringComparison.Ordinal));
        RemoveFilesBelow(tree, "var/lib/ucf", name => name.Contains(".old", StringComparison.Ordinal));

        // Compiled Python holds the time of its source, which a commit does not keep: it would be stale at once.
        RemoveFilesBelow(tree, "usr", name => name.EndsWith(".pyc", StringComparison.Ordinal));

        // Empty and not missing: systemd writes an id into it without taking the box for one that was never set up.
        tree.Write("etc/machine-id", "", Permission.ReadOnly);

        // The builder's own, copied in by mmdebstrap; a link into /run was made by a package and stays.
        if (tree.Stat("etc/resolv.conf") is { IsSymlink: false })
            tree.Remove("etc/resolv.conf");
    }

    private static void RemoveFilesBelow(TreeRoot tree, string directory, Predicate<string> named)
    {
        foreach ((string path, Linux.FileStat stat) in tree.Below(directory).ToArray())
        {
            if (!stat.IsDirectory && named(path[(path.LastIndexOf('/') + 1)..]))
                tree.Dir.Unlink(path);
        }
    }
}
