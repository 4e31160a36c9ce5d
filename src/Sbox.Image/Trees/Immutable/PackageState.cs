namespace Sbox.Image;

/// <summary>
/// What dpkg, apt and maintainer scripts remember of installed packages. It describes /usr, so it moves there and goes back with it;
/// /var gets links.
/// </summary>
internal static class PackageState
{
    /// <summary>Where it lives in the tree.</summary>
    public const string Home = "usr/lib/sysimage";

    private static readonly string[] InVarLib =
    [
        "dpkg", "apt/extended_states", "pam", "ucf", "shells.state",
        "systemd/deb-systemd-helper-enabled", "systemd/deb-systemd-helper-masked",
        "systemd/deb-systemd-user-helper-enabled", "systemd/deb-systemd-user-helper-masked",
    ];

    // Locks and copies of the state before, which no reader misses.
    private static readonly string[] OfDpkgGone =
        ["lock", "lock-frontend", "triggers/Lock", "status-old", "diversions-old", "statoverride-old", "available", "available-old"];

    public static void MoveToUsr(TreeRoot tree)
    {
        foreach (string name in InVarLib)
        {
            if (!tree.Exists($"var/lib/{name}"))
                continue;
            tree.Move($"var/lib/{name}", $"{Home}/{name}");
            string up = string.Concat(Enumerable.Repeat("../", 2 + name.Count(c => c == '/')));
            tree.Link($"var/lib/{name}", $"{up}{Home}/{name}");
        }

        foreach (string name in OfDpkgGone)
            tree.Remove($"{Home}/dpkg/{name}");
    }
}
