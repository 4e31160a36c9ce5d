using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A wireless network within reach.</summary>
/// <param name="Name">Its SSID.</param>
/// <param name="Signal">Its strength, 0 to 100.</param>
/// <param name="IsSecured">Whether it asks for a password.</param>
public sealed record WirelessNetwork(string Name, int Signal, bool IsSecured);

/// <summary>How a machine is connected, and by which wireless networks it could be.</summary>
public static class NetworkLook
{
    private const int MaxSsid = 32; // IEEE 802.11, bytes

    private static readonly TimeSpan LookAgain = TimeSpan.FromMilliseconds(500);

    private static ReadOnlySpan<byte> Addresses => "\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"u8;

    /// <summary>By what the machine is connected, and its address there: <c>enp1s0</c>, <c>10.0.2.15</c>. Null where it has no way out.</summary>
    public static (string Card, string Address)? Connection()
    {
        foreach (NetworkInterface card in NetworkInterface.GetAllNetworkInterfaces().Where(static card => card.OperationalStatus == OperationalStatus.Up && card.NetworkInterfaceType != NetworkInterfaceType.Loopback))
        {
            IPInterfaceProperties properties = card.GetIPProperties();
            if (properties.GatewayAddresses.Count > 0
                && properties.UnicastAddresses.Select(static each => each.Address).Where(static each => !IsLocal(each)).OrderBy(static each => each.AddressFamily == AddressFamily.InterNetworkV6).FirstOrDefault() is { } address)
                return (card.Name, address.ToString());
        }

        return null;
    }

    /// <summary>Waits until the machine has a way out: a card that is asked for its address is no connection yet.</summary>
    /// <param name="limit">How long at most.</param>
    /// <param name="isConnected">Looks; <see cref="Connection"/> unless told.</param>
    /// <param name="cancel">Ends the waiting.</param>
    /// <returns>Whether it has one.</returns>
    public static async Task<bool> WaitForConnection(TimeSpan limit, Func<bool>? isConnected = null, CancellationToken cancel = default)
    {
        isConnected ??= static () => Connection() is not null;
        for (var waited = Stopwatch.StartNew(); !isConnected(); await Task.Delay(LookAgain, cancel))
        {
            if (waited.Elapsed >= limit)
                return false;
        }

        return true;
    }

    /// <summary>Whether it has a wireless card.</summary>
    public static bool HasWireless(string sys = "/sys") => Directory.Exists($"{sys}/class/net") && Directory.GetDirectories($"{sys}/class/net").Any(static card => Directory.Exists($"{card}/phy80211"));

    /// <summary>The networks within reach, strongest first, by NetworkManager.</summary>
    /// <exception cref="ChildFailedException">It does not run, or gave no list.</exception>
    public static IReadOnlyList<WirelessNetwork> Scan(CancellationToken cancel)
    {
        var lines = new List<string>();
        ChildProcess.Check(new ChildCommand("nmcli", ["--terse", "--fields", "SIGNAL,SECURITY,SSID", "device", "wifi", "list", "--rescan", "yes"]), lines.Add, cancel);
        return Parse(lines);
    }

    /// <summary>What nmcli's terse lines say: <c>SIGNAL:SECURITY:SSID</c>, where a colon or backslash in a field has a backslash before it.</summary>
    public static IReadOnlyList<WirelessNetwork> Parse(IEnumerable<string> lines)
    {
        var best = new Dictionary<string, WirelessNetwork>(StringComparer.Ordinal);
        foreach (string line in lines)
        {
            string[] fields = Fields(line);
            if (fields.Length != 3 || fields[2].Length == 0 || !int.TryParse(fields[0], out int signal))
                continue;
            if (!best.TryGetValue(fields[2], out WirelessNetwork? known) || known.Signal < signal)
                best[fields[2]] = new WirelessNetwork(fields[2], signal, fields[1] is not ("" or "--"));
        }

        return [.. best.Values.OrderByDescending(static each => each.Signal)];
    }

    /// <summary>A connection of NetworkManager for it, as a file that only root reads: a password in a program's arguments could be read by all.</summary>
    /// <param name="connections">/etc/NetworkManager/system-connections.</param>
    /// <param name="name">The network's SSID.</param>
    /// <param name="password">UTF-8; empty for an open one.</param>
    /// <returns>The connection's name.</returns>
    /// <remarks>nm-settings-keyfile(5); there SSIDs are lists of bytes where they are not plain.</remarks>
    public static string WriteConnection(Dir connections, string name, ReadOnlySpan<byte> password)
    {
        byte[] ssid = Encoding.UTF8.GetBytes(name);
        if (ssid.Length is 0 or > MaxSsid)
            throw new ArgumentException($"'{name}' is no wireless network's name: 1 to {MaxSsid} bytes", nameof(name));
        string id = $"sbox-{Convert.ToHexStringLower(ssid)}";
        byte[] head = Encoding.UTF8.GetBytes($"[connection]\nid={id}\ntype=wifi\n\n[wifi]\nmode=infrastructure\nssid={string.Concat(ssid.Select(static each => $"{each};"))}\n"
            + (password.IsEmpty ? "" : "\n[wifi-security]\nkey-mgmt=wpa-psk\npsk="));
        ReadOnlySpan<byte> tail = password.IsEmpty ? Addresses : [(byte)'\n', .. Addresses];
        using var file = new SecretMemory(head.Length + (2 * password.Length) + tail.Length);
        head.CopyTo(file.Span);
        int length = head.Length + Escape(password, file.Span[head.Length..]);
        tail.CopyTo(file.Span[length..]);
        Durable.Replace(connections, $"{id}.nmconnection", file.Span[..(length + tail.Length)], 0x180 /* 0600 */);
        return id;
    }

    /// <summary>Connects by what <see cref="WriteConnection"/> wrote.</summary>
    /// <exception cref="ChildFailedException">It did not come to a connection; NetworkManager's words are in it.</exception>
    public static void Connect(string connection, CancellationToken cancel)
    {
        ChildProcess.Check(new ChildCommand("nmcli", ["connection", "reload"]), cancel: cancel);
        ChildProcess.Check(new ChildCommand("nmcli", ["--wait", "45", "connection", "up", "id", connection]), cancel: cancel);
    }

    // GKeyFile's: a backslash is doubled, and a space at the beginning would be lost. At most two bytes for each.
    private static int Escape(ReadOnlySpan<byte> value, Span<byte> into)
    {
        int length = 0;
        foreach (byte letter in value)
        {
            byte escaped = letter switch { (byte)'\\' => (byte)'\\', (byte)'\t' => (byte)'t', (byte)' ' when length == 0 => (byte)'s', _ => 0 };
            if (escaped != 0)
                into[length++] = (byte)'\\';
            into[length++] = escaped != 0 ? escaped : letter;
        }

        return length;
    }

    private static string[] Fields(string line)
    {
        var fields = new List<string>();
        var field = new StringBuilder();
        for (int at = 0; at < line.Length; at++)
        {
            if (line[at] == '\\' && at + 1 < line.Length)
                field.Append(line[++at]);
            else if (line[at] == ':')
            {
                fields.Add(field.ToString());
                field.Clear();
            }
            else
                field.Append(line[at]);
        }

        return [.. fields, field.ToString()];
    }

    private static bool IsLocal(IPAddress address) => IPAddress.IsLoopback(address) || address.IsIPv6LinkLocal || (address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes() is [169, 254, ..]);
}
