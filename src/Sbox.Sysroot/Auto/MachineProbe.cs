using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What a machine says of its power, its network and who uses it, as files of the kernel and of systemd have it.</summary>
/// <param name="Root">Where <c>/sys</c>, <c>/proc</c>, <c>/run</c> and <c>/etc</c> are; another one for tests.</param>
/// <param name="AskManager">Asks NetworkManager for its property Metered; null where it does not run.</param>
public sealed record MachineProbe(string Root, Func<int?> AskManager)
{
    // DHCP option 43 of a telephone that shares its connection, as networkd writes it down.
    private static readonly string AndroidMetered = Convert.ToHexString(Encoding.ASCII.GetBytes("ANDROID_METERED"));

    /// <summary>This machine.</summary>
    public static MachineProbe This { get; } = new("", NetworkManager) { AskInhibitors = Logind };

    /// <summary>Asks logind who asks that the machine is not shut down or restarted; each as <c>WHO: WHY</c>. Null where it gives no answer.</summary>
    public Func<IReadOnlyList<string>?> AskInhibitors { get; init; } = static () => [];

    /// <summary>What tells it from others; empty where there is none.</summary>
    public string MachineId => Text("etc/machine-id")?.Trim() ?? "";

    /// <summary>Percent of its batteries while they are discharging and nothing feeds them; null else.</summary>
    /// <remarks>After the kernel's Documentation/ABI/testing/sysfs-class-power. Batteries of mice and the like have the scope Device.</remarks>
    public int? Battery()
    {
        const string directory = "sys/class/power_supply";
        var charges = new List<int>();
        bool discharging = false;
        foreach (string supply in Names(directory))
        {
            string Of(string name) => Text($"{directory}/{supply}/{name}")?.Trim() ?? "";
            if (Of("type") is "Mains" or "USB" or "Wireless" && Of("online") is "1" or "2")
                return null;
            if (Of("type") != "Battery" || Of("scope") == "Device" || !int.TryParse(Of("capacity"), NumberStyles.None, CultureInfo.InvariantCulture, out int percent))
                continue;
            charges.Add(percent);
            discharging |= Of("status") == "Discharging";
        }

        return discharging ? (int)charges.Average() : null;
    }

    /// <summary>How it is connected: what NetworkManager says where it runs, else what is known of the links that lead out.</summary>
    public NetworkCost Network()
    {
        string[] links = [.. Routes("proc/net/route", static fields => fields.Length > 7 && fields[1] == "00000000" && fields[7] == "00000000", 0), .. Routes(
            "proc/net/ipv6_route", static fields => fields.Length > 9 && fields[0].All(static digit => digit == '0') && fields[1] == "00" && fields[9] != "lo" && fields[9].Length > 0, 9)];
        if (links.Length == 0)
            return NetworkCost.Offline;
        // org.freedesktop.NetworkManager's Metered: 1 yes, 2 no, 3 yes by guess, 4 no by guess, 0 not known.
        if (AskManager() is { } answer and not 0)
            return answer is 1 or 3 ? NetworkCost.Metered : NetworkCost.Free;
        return links.Any(static link => link.StartsWith("ww", StringComparison.Ordinal)) || links.Any(LeaseIsMetered) ? NetworkCost.Metered : NetworkCost.Free;
    }

    /// <summary>Who is logged in, by logind's sessions: people's, not greeters' and not those of services. Null where logind does not run, and nobody knows.</summary>
    /// <remarks>Sessions of people have the class user, or one that begins with user-: user-early, user-light, user-incomplete and so on (sd_session_get_class(3)).</remarks>
    public IReadOnlyList<string>? Users()
    {
        if (!Directory.Exists($"{Root}/run/systemd/sessions"))
            return null;
        var users = new HashSet<string>(StringComparer.Ordinal);
        foreach (string session in Names("run/systemd/sessions").Where(static name => !name.EndsWith(".ref", StringComparison.Ordinal)))
        {
            Dictionary<string, string> fields = Fields($"run/systemd/sessions/{session}");
            string kind = fields.GetValueOrDefault("CLASS", "user");
            if ((kind == "user" || kind.StartsWith("user-", StringComparison.Ordinal)) && fields.GetValueOrDefault("STATE") != "closing")
                users.Add(fields.GetValueOrDefault("USER") ?? fields.GetValueOrDefault("UID") ?? session);
        }

        return [.. users.Order(StringComparer.Ordinal)];
    }

    /// <summary>Who asks that the machine is not restarted now. Null where logind and D-Bus run and did not say; without one of them nobody can ask for that.</summary>
    public IReadOnlyList<string>? Inhibitors() =>
        AskInhibitors() ?? (Directory.Exists($"{Root}/run/systemd/sessions") && File.Exists($"{Root}/run/dbus/system_bus_socket") ? null : []);

    private bool LeaseIsMetered(string link) => Text($"sys/class/net/{link}/ifindex")?.Trim() is { Length: > 0 } index
        && (Text($"run/systemd/netif/leases/{index}") ?? "").Contains(AndroidMetered, StringComparison.OrdinalIgnoreCase);

    private IEnumerable<string> Routes(string file, Func<string[], bool> isDefault, int name) => (Text(file) ?? "").Split('\n')
        .Select(static line => line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)).Where(isDefault).Select(fields => fields[name]).Distinct();

    private Dictionary<string, string> Fields(string file) => (Text(file) ?? "").Split('\n').Select(static line => line.Split('=', 2)).Where(static parts => parts.Length == 2)
        .GroupBy(static parts => parts[0]).ToDictionary(static parts => parts.Key, static parts => parts.Last()[1].Trim('"'));

    private IEnumerable<string> Names(string directory) => Directory.Exists($"{Root}/{directory}") ? Directory.GetFileSystemEntries($"{Root}/{directory}").Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal) : [];

    // What is gone between listing and reading is gone.
    private string? Text(string path)
    {
        try
        {
            return File.Exists($"{Root}/{path}") ? File.ReadAllText($"{Root}/{path}") : null;
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static IReadOnlyList<string>? Logind()
    {
        var lines = new List<string>();
        try
        {
            ChildResult answer = ChildProcess.Run(new ChildCommand(
                "busctl", ["--system", "--auto-start=no", "--timeout=5", "--json=short", "call", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "ListInhibitors"]), lines.Add);
            return answer.ExitCode == 0 ? Inhibitors(string.Concat(lines)) : null;
        }
        catch (ChildFailedException)
        {
            return null;
        }
    }

    /// <summary>Those who forbid a shutdown, from what ListInhibitors answers: <c>a(ssssuu)</c>, what, who, why, mode, user and process. Null for what is no such answer.</summary>
    internal static IReadOnlyList<string>? Inhibitors(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return [.. document.RootElement.GetProperty("data")[0].EnumerateArray().Where(static each => each[3].GetString() == "block" && (each[0].GetString() ?? "").Split(':').Contains("shutdown"))
                .Select(static each => $"{each[1].GetString()}: {each[2].GetString()}")];
        }
        catch (Exception unreadable) when (unreadable is JsonException or KeyNotFoundException or InvalidOperationException or IndexOutOfRangeException)
        {
            return null;
        }
    }

    private static int? NetworkManager()
    {
        try
        {
            ChildResult answer = ChildProcess.Run(new ChildCommand(
                "busctl", ["--system", "--auto-start=no", "--timeout=5", "get-property", "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager", "Metered"]));
            return answer.ExitCode == 0 && answer.LastLines.LastOrDefault()?.Split(' ') is ["u", var number] && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int metered) ? metered : null;
        }
        catch (ChildFailedException)
        {
            return null; // a box without D-Bus has no NetworkManager
        }
    }
}
