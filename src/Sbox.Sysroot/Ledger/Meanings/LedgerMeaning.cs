using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What a change means to a person, where the file's format is known: <c>user anna added</c> instead of <c>/etc/passwd</c> alone.</summary>
/// <remarks>Only names are ever told. Passwords, their hashes, keys and the addresses of printers, which may have a password in them, are not.</remarks>
public static class LedgerMeaning
{
    private const long ReadBytes = 1 << 20; // of a longer one nothing is told but its path
    private const int LongestName = 80;

    // The last that fits. An entry's text before and after; of a link, where it leads; null where there was or is nothing.
    private sealed record Reader(string Pattern, Func<string, string?, string?, IEnumerable<string>> Read, bool ReadsBytes = true)
    {
        public string Literal { get; } = Pattern.Split('*')[0]; // what most paths differ from at once
    }

    private static readonly Reader[] Readers =
    [
        new("/etc/passwd", static (_, before, now) => AccountMeanings.Users(before, now)),
        new("/etc/shadow", static (_, before, now) => AccountMeanings.Passwords(before, now)),
        new("/etc/group", static (_, before, now) => AccountMeanings.Groups(before, now)),
        new("/etc/gshadow", static (_, before, now) => AccountMeanings.GroupPasswords(before, now)),
        new("/etc/NetworkManager/system-connections/*", NetworkMeanings.OfNetworkManager),
        new("/etc/systemd/network/*", NetworkMeanings.OfNetworkd),
        new("/etc/network/interfaces", static (_, before, now) => NetworkMeanings.OfInterfaces(before, now)),
        new("/etc/wireguard/*", NetworkMeanings.OfWireGuard, ReadsBytes: false),
        new("/var/lib/iwd/*", NetworkMeanings.OfIwd, ReadsBytes: false),
        new("/etc/wpa_supplicant/*", static (_, before, now) => NetworkMeanings.OfWpaSupplicant(before, now)),
        new("/var/home/*/.ssh/known_hosts", static (_, before, now) => SshMeanings.KnownHosts(before, now)),
        new("/var/roothome/.ssh/known_hosts", static (_, before, now) => SshMeanings.KnownHosts(before, now)),
        new("/etc/ssh/ssh_known_hosts", static (_, before, now) => SshMeanings.KnownHosts(before, now)),
        new("/var/home/*/.ssh/authorized_keys", SshMeanings.AuthorizedKeys),
        new("/var/roothome/.ssh/authorized_keys", SshMeanings.AuthorizedKeys),
        new("/etc/ssh/ssh_host_*", SshMeanings.HostKeys, ReadsBytes: false),
        new("/etc/cups/printers.conf", static (_, before, now) => DeviceMeanings.Printers(before, now)),
        new("/var/lib/bluetooth/*/*/info", DeviceMeanings.Bluetooth),
        new("/etc/localtime", static (_, before, now) => PlaceMeanings.TimeZone(before, now)),
        new("/etc/timezone", static (_, before, now) => PlaceMeanings.TimeZone(before, now)),
        new("/etc/hostname", static (_, before, now) => PlaceMeanings.Value("host name", before?.Trim(), now?.Trim())),
        new("/etc/machine-info", static (_, before, now) => PlaceMeanings.Variables(before, now)),
        new("/etc/locale.conf", static (_, before, now) => PlaceMeanings.Variables(before, now)),
        new("/etc/default/locale", static (_, before, now) => PlaceMeanings.Variables(before, now)),
        new("/etc/default/keyboard", static (_, before, now) => PlaceMeanings.Variables(before, now)),
        new("/etc/vconsole.conf", static (_, before, now) => PlaceMeanings.Variables(before, now)),
        new("/etc/systemd/system/*", PlaceMeanings.Unit),
        new("/etc/systemd/system/*.wants/*", PlaceMeanings.WantedUnit),
        new("/etc/systemd/system/*.requires/*", PlaceMeanings.WantedUnit),
        new("/var/lib/flatpak/app/*/current", PlaceMeanings.Flatpak),
        new("/var/home/*/.local/share/flatpak/app/*/current", PlaceMeanings.Flatpak),
        new("/var/lib/extensions/*.raw", PlaceMeanings.Extension, ReadsBytes: false),
    ];

    /// <summary>What an entry means, a sentence each; empty where its path tells all that is known.</summary>
    /// <param name="layers">The directories of the ghost.</param>
    /// <param name="entry">Of the ledger of one of them.</param>
    public static IReadOnlyList<string> Of(IReadOnlyList<GhostLayer> layers, LedgerEntry entry)
    {
        if (entry.Kind is not (FileKind.Regular or FileKind.Symlink) || ReaderOf(entry.Path) is not { } reader || layers.FirstOrDefault(layer => layer.Holds(entry.Path)) is not { } layer)
            return [];
        try
        {
            string relative = layer.Relative(entry.Path);
            Text before = entry.Change == LedgerChange.New ? default : Read(layer.Lower, relative, reader.ReadsBytes), now = entry.Change == LedgerChange.Deleted ? default : Read(layer.Upper, relative, reader.ReadsBytes);
            return before.IsUnread || now.IsUnread ? [] : Of(entry.Path, before.Value, now.Value);
        }
        catch (IOException)
        {
            return []; // gone or refused meanwhile: the path is listed, and says enough
        }
    }

    /// <summary>What a change from one text to another means; a link's text is where it leads.</summary>
    /// <param name="path">From the root, in the ledger's words.</param>
    /// <param name="before">What the disk has; null for nothing.</param>
    /// <param name="now">What the session has; null for nothing.</param>
    public static IReadOnlyList<string> Of(string path, string? before, string? now) => before == now && before is not { Length: 0 } ? []
        : [.. (ReaderOf(path)?.Read(path, before, now) ?? []).Select(Short).Distinct(StringComparer.Ordinal)];

    private static Reader? ReaderOf(string path)
    {
        for (int at = Readers.Length - 1; at >= 0; at--)
        {
            if (path.StartsWith(Readers[at].Literal, StringComparison.Ordinal) && LedgerGroup.IsAt(path, Readers[at].Pattern))
                return Readers[at];
        }

        return null;
    }

    private readonly record struct Text(string? Value, bool IsUnread);

    private static Text Read(string root, string relative, bool bytes)
    {
        using Dir top = Dir.Open(root);
        using Dir? parent = top.TryOpenParent(relative, out string name);
        return parent?.TryStat(name) switch
        {
            null => default,
            { IsSymlink: true } => new Text(parent.ReadLink(name), IsUnread: false),
            { IsRegular: true } when !bytes => new Text("", IsUnread: false),
            { IsRegular: true, Size: <= ReadBytes } => new Text(Encoding.UTF8.GetString(parent.ReadAll(name)), IsUnread: false),
            _ => new Text(null, IsUnread: true),
        };
    }

    private static string Short(string text) => Printable(text.Length <= 2 * LongestName ? text : text[..(2 * LongestName)] + "…");

    /// <summary>A text that is one line and steers no terminal. Names of networks, printers and files are other people's words, and a terminal obeys some characters.</summary>
    public static string Printable(string text)
    {
        var plain = new StringBuilder(text.Length);
        foreach (char letter in text)
            plain.Append(char.IsControl(letter) || char.GetUnicodeCategory(letter) == System.Globalization.UnicodeCategory.Format ? '?' : letter);
        return plain.ToString();
    }

    /// <summary>Texts that only one side has.</summary>
    internal static IEnumerable<string> Sets(IEnumerable<string> before, IEnumerable<string> now, Func<string, string> added, Func<string, string> removed)
    {
        string[] old = [.. before], @new = [.. now];
        return [.. @new.Except(old).Select(added), .. old.Except(@new).Select(removed)];
    }

    /// <summary>What became of the whole file, in one word.</summary>
    internal static string Verb(string? before, string? now) => before is null ? "added" : now is null ? "removed" : "changed";

    internal static string[] Lines(string? text) => text?.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [];

    /// <summary>A value of a key file: <c>[section]</c> lines and <c>key=value</c> lines; null where it has none.</summary>
    internal static string? KeyFile(string? text, string section, string key)
    {
        string here = "";
        foreach (string line in Lines(text))
        {
            if (line is ['[', .. var name, ']'])
                here = name;
            else if (here == section && line.Split('=', 2) is [var found, var value] && found.Trim() == key)
                return value.Trim();
        }

        return null;
    }
}
