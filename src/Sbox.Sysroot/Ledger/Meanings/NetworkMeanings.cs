using System.Text;

namespace Sbox.Sysroot;

/// <summary>Which networks came, changed or went, by the names that people gave them. Their passwords are in the same files, and are not told.</summary>
internal static class NetworkMeanings
{
    private const string Wireless = "wireless network";

    /// <summary>A key file of NetworkManager's (nm-settings-keyfile(5)).</summary>
    public static IEnumerable<string> OfNetworkManager(string path, string? before, string? now)
    {
        string? text = now ?? before;
        string kind = LedgerMeaning.KeyFile(text, "connection", "type") switch
        {
            "wifi" or "802-11-wireless" => Wireless,
            "ethernet" or "802-3-ethernet" => "wired network",
            "vpn" or "wireguard" => "VPN",
            "gsm" or "cdma" => "mobile network",
            _ => "network",
        };
        return [$"{kind} {LedgerMeaning.KeyFile(text, "connection", "id") ?? Path.GetFileNameWithoutExtension(path)} {LedgerMeaning.Verb(before, now)}"];
    }

    /// <summary>A file of systemd-networkd's (systemd.network(5), systemd.netdev(5), systemd.link(5)).</summary>
    public static IEnumerable<string> OfNetworkd(string path, string? before, string? now)
    {
        string? text = now ?? before;
        string? named = LedgerMeaning.KeyFile(text, "NetDev", "Name") ?? LedgerMeaning.KeyFile(text, "Match", "SSID") ?? LedgerMeaning.KeyFile(text, "Match", "Name");
        return [$"network settings {(named is null ? Path.GetFileName(path) : $"of {named}")} {LedgerMeaning.Verb(before, now)}"];
    }

    /// <summary>interfaces(5).</summary>
    public static IEnumerable<string> OfInterfaces(string? before, string? now) =>
        LedgerMeaning.Sets(Interfaces(before), Interfaces(now), static name => $"network settings of {name} added", static name => $"network settings of {name} removed");

    public static IEnumerable<string> OfWireGuard(string path, string? before, string? now) =>
        path.EndsWith(".conf", StringComparison.Ordinal) ? [$"VPN {Path.GetFileNameWithoutExtension(path)} {LedgerMeaning.Verb(before, now)}"] : [];

    /// <summary>iwd's files are named after the network: as it is, or <c>=</c> and its bytes in hexadecimal digits (iwd.network(5)).</summary>
    public static IEnumerable<string> OfIwd(string path, string? before, string? now) => Path.GetExtension(path) is ".psk" or ".open" or ".8021x" or ".hotspot"
        ? [$"{Wireless} {(Path.GetFileNameWithoutExtension(path) is ['=', .. var digits] ? FromHex(digits) : Path.GetFileNameWithoutExtension(path))} {LedgerMeaning.Verb(before, now)}"] : [];

    /// <summary>wpa_supplicant.conf(5).</summary>
    public static IEnumerable<string> OfWpaSupplicant(string? before, string? now) =>
        LedgerMeaning.Sets(Ssids(before), Ssids(now), static name => $"{Wireless} {name} added", static name => $"{Wireless} {name} removed");

    private static IEnumerable<string> Ssids(string? text) => LedgerMeaning.Lines(text).Where(static line => line.StartsWith("ssid=", StringComparison.Ordinal))
        .Select(static line => line["ssid=".Length..].Trim()).Select(static value => value is ['"', .. var quoted, '"'] ? quoted : FromHex(value));

    private static IEnumerable<string> Interfaces(string? text) => LedgerMeaning.Lines(text).Select(static line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        .Where(static words => words is ["iface", _, ..]).Select(static words => words[1]);

    private static string FromHex(string digits)
    {
        try
        {
            return Encoding.UTF8.GetString(Convert.FromHexString(digits));
        }
        catch (FormatException)
        {
            return digits;
        }
    }
}
