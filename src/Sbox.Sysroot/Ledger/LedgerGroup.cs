namespace Sbox.Sysroot;

/// <summary>What a changed path means to a person.</summary>
/// <param name="Id">One word; where it is no noise, also what <c>sbox keep</c> takes for all of it.</param>
/// <param name="Title">For people.</param>
/// <param name="IsNoise">Whether nobody misses it: folded into one line, and never kept unless a path asks for it.</param>
/// <param name="Patterns">From the root; <c>*</c> stands for one name or a part of one, and everything below belongs too.</param>
public sealed record LedgerGroup(string Id, string Title, bool IsNoise, IReadOnlyList<string> Patterns)
{
    private static LedgerGroup Made { get; } = new("made", "what this version makes at every boot", IsNoise: true, []);

    /// <summary>All groups. A path belongs to the first that has a pattern for it; the last has one for everything.</summary>
    public static IReadOnlyList<LedgerGroup> All { get; } =
    [
        // Noise that lies in places that mean something comes first.
        new("leftovers", "locks, backups and stamps of programs", IsNoise: true,
            ["/etc/.pwd.lock", "/etc/.updated", "/var/.updated", "/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/mtab", "/etc/adjtime",
                "/var/lib/systemd/random-seed", "/var/lib/systemd/timers", "/var/lib/systemd/timesync", "/var/lib/systemd/rfkill", "/var/lib/systemd/catalog", "/var/lib/private/systemd",
                "/var/lib/logrotate", "/var/lib/dhcpcd", "/var/lib/dhcp", "/var/lib/NetworkManager", "/var/lib/sudo", "/var/lib/dbus", "/var/lib/sbox", "/etc/resolv.conf"]),
        new("caches", "caches", IsNoise: true,
            ["/var/cache", "/var/home/*/.cache", "/var/roothome/.cache", "/var/lib/apt/lists", "/var/lib/apt/periodic", "/etc/ld.so.cache", "/var/home/*/.mozilla/*/*/cache2", "/var/lib/man-db"]),
        new("logs", "logs and crash dumps", IsNoise: true, ["/var/log", "/var/lib/systemd/coredump", "/var/crash", "/var/lib/systemd/pstore", "/var/account"]),
        new("temporary", "temporary files", IsNoise: true, ["/var/tmp", "/var/lock", "/var/run", "/var/spool/cups/tmp"]),

        new("identity", "what a ghost makes up for itself: machine-id and host name", IsNoise: true, ["/etc/machine-id", "/etc/hostname"]),

        Made,
        new("network", "networks", IsNoise: false,
            ["/etc/NetworkManager", "/etc/systemd/network", "/etc/systemd/networkd.conf*", "/etc/systemd/resolved.conf*", "/var/lib/iwd", "/etc/iwd", "/etc/wpa_supplicant", "/etc/network", "/etc/netplan",
                "/etc/wireguard", "/etc/openvpn", "/etc/hosts", "/var/lib/connman"]),
        new("bluetooth", "bluetooth devices", IsNoise: false, ["/var/lib/bluetooth", "/etc/bluetooth"]),
        new("printers", "printers", IsNoise: false, ["/etc/cups", "/etc/printcap", "/etc/papersize"]),
        new("ssh", "ssh hosts and keys", IsNoise: false, ["/etc/ssh", "/var/home/*/.ssh", "/var/roothome/.ssh"]),
        new("users", "users and groups", IsNoise: false,
            ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/sudoers", "/etc/sudoers.d", "/var/lib/AccountsService"]),
        new("locale", "language, keyboard and time zone", IsNoise: false,
            ["/etc/localtime", "/etc/timezone", "/etc/locale.conf", "/etc/default/locale", "/etc/default/keyboard", "/etc/vconsole.conf", "/etc/X11/xorg.conf.d"]),
        new("machine", "what the machine is called", IsNoise: false, ["/etc/machine-info"]),
        new("firewall", "firewall", IsNoise: false, ["/etc/nftables*", "/etc/ufw", "/etc/firewalld"]),
        new("units", "services that were switched on, off or changed", IsNoise: false, ["/etc/systemd/system", "/etc/systemd/user"]),
        new("packages", "packages and extensions", IsNoise: false,
            ["/var/lib/flatpak", "/var/home/*/.local/share/flatpak", "/var/lib/extensions", "/var/lib/confexts", "/var/lib/dpkg", "/var/lib/apt/extended_states", "/var/lib/snapd"]),
        new("browser", "browser profiles", IsNoise: false, ["/var/home/*/.mozilla", "/var/home/*/.config/chromium", "/var/roothome/.mozilla"]),
        new("home", "files in home directories", IsNoise: false, ["/var/home", "/var/roothome"]),
        new("etc", "other settings", IsNoise: false, ["/etc"]),
        new("var", "data of services", IsNoise: false, ["/"]),
    ];

    // Most patterns have no star, and most paths differ from one in its first letters: the ledger of a hundred thousand files asks ten million times.
    private static readonly (LedgerGroup Group, string Pattern, string Literal)[] Order = [.. All.SelectMany(static group => group.Patterns.Select(pattern => (group, pattern, pattern.Split('*')[0])))];

    /// <summary>The group of an entry.</summary>
    public static LedgerGroup Of(LedgerEntry entry) => Of(entry.Path).Group is var group && entry.IsMadeAtBoot && !group.IsNoise ? Made : group;

    /// <summary>The group of a path, and the pattern that says so.</summary>
    public static (LedgerGroup Group, string Pattern) Of(string path)
    {
        foreach ((LedgerGroup group, string pattern, string literal) in Order)
        {
            if (path.StartsWith(literal, StringComparison.Ordinal) && (literal.Length == pattern.Length ? EndsName(path, literal) : IsBelow(path, pattern)))
                return (group, pattern);
        }

        throw new InvalidOperationException($"{path}: the last group has everything");
    }

    private static bool EndsName(string path, string literal) => literal.Length == 1 || path.Length == literal.Length || path[literal.Length] == '/';

    /// <summary>Whether a path is just what a pattern means, and nothing below it.</summary>
    internal static bool IsAt(ReadOnlySpan<char> path, ReadOnlySpan<char> pattern) => path.Count('/') == pattern.Count('/') && IsBelow(path, pattern);

    private static bool IsBelow(ReadOnlySpan<char> path, ReadOnlySpan<char> pattern)
    {
        if (pattern is "/")
            return true;
        while (!pattern.IsEmpty)
        {
            if (path.IsEmpty)
                return false;
            ReadOnlySpan<char> wanted = NextName(ref pattern), name = NextName(ref path);
            if (!Matches(name, wanted))
                return false;
        }

        return true;
    }

    // A name of a pattern has one star at the most.
    private static bool Matches(ReadOnlySpan<char> name, ReadOnlySpan<char> wanted)
    {
        int star = wanted.IndexOf('*');
        return star < 0
            ? name.SequenceEqual(wanted)
            : name.Length >= wanted.Length - 1 && name.StartsWith(wanted[..star]) && name.EndsWith(wanted[(star + 1)..]);
    }

    private static ReadOnlySpan<char> NextName(ref ReadOnlySpan<char> path)
    {
        ReadOnlySpan<char> rest = path[1..];
        int slash = rest.IndexOf('/');
        ReadOnlySpan<char> name = slash < 0 ? rest : rest[..slash];
        path = slash < 0 ? [] : rest[slash..];
        return name;
    }
}
