using System.CommandLine;
using System.Runtime.InteropServices;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Integrity;
using Sbox.Linux;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox watch</c>: the sentinel, and what it knows.</summary>
internal static class WatchCommand
{
    public static Command Make()
    {
        var why = new Option<string?>("--why") { Description = "Do not watch: tell what carries a path, whether it can be written, and what is known of it", HelpName = "PATH" };
        Option<bool> json = SharedOptions.Json();
        Option<string> state = Hidden("--state-directory", new SentinelOptions().StateDirectory);
        Option<string> run = Hidden("--runtime-directory", new SentinelOptions().RuntimeDirectory);
        Option<string> tree = Hidden("--tree-policy", LoadedPolicy.TreeDirectory);
        Option<string> owner = Hidden("--owner-policy", LoadedPolicy.OwnerDirectory);
        var process = new Option<int>("--system-process") { Hidden = true, DefaultValueFactory = static _ => 1 };
        Command command = new DocumentedCommand("watch", "Watch that nothing of the system becomes writable, and raise the alarm when it does")
        {
            Details =
            [
                "The sentinel sleeps until the kernel tells it of something: a mount in any namespace, a disk opened for writing, a module, a set-user-id file, an attack "
                + "on itself. It judges by the policy in /usr/lib/sbox/sentinel.d, which is sealed with the tree, and does what the policy says: journal, wall, metrics, "
                + "a program, undo, freeze, kill, reboot. On a box it runs as sbox-watch.service; this command is what that service starts.",
                "Every alarm is in the journal with all its facts (journalctl -t sbox-watch -o verbose) and in /var/lib/sbox/sentinel/history.jsonl. Numbers are in /run/sbox/sentinel/metrics.prom.",
            ],
            Examples = [new Example("What is mounted at a path, and what has happened there", "sbox watch --why /usr"), new Example("Is the sentinel awake?", "sbox watch test")],
        };
        foreach (Option option in (Option[])[why, json, state, run, tree, owner, process])
            command.Options.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            var options = new SentinelOptions
            {
                StateDirectory = parsed.GetValue(state)!, RuntimeDirectory = parsed.GetValue(run)!, TreePolicy = parsed.GetValue(tree)!,
                OwnerPolicy = parsed.GetValue(owner)!, SystemProcess = parsed.GetValue(process), Watchdog = ServiceManager.Watchdog,
            };
            var speaker = new Speaker(parsed.GetValue(json));
            return Task.FromResult(parsed.GetValue(why) is { } path ? WatchQuestions.Why(path, options, speaker) : Watch(options, speaker, cancel));
        });
        command.Subcommands.Add(WatchQuestions.HistoryCommand());
        command.Subcommands.Add(WatchTest.Make());
        return command;

        static Option<string> Hidden(string name, string place) => new(name) { Hidden = true, DefaultValueFactory = _ => place };
    }

    private static int Watch(SentinelOptions options, Speaker speaker, CancellationToken cancel)
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root can see what becomes writable in every namespace", "sudo sbox watch, or systemctl status sbox-watch.service");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using PosixSignalRegistration terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true;
            stop.Cancel();
        });
        using var sentinel = new Sentinel(options, alarm => Say(alarm, speaker), Console.Error.WriteLine);
        foreach (string line in Outlook(sentinel.Outlook))
            Console.Error.WriteLine(line);
        bool ready = false;
        sentinel.Run(() =>
        {
            ServiceManager.Notify(ready ? "WATCHDOG=1" : "READY=1");
            ready = true;
        }, stop.Token);
        if (ServiceManager.IsService && !ServiceManager.SystemIsStopping())
            sentinel.ReportStop();
        ServiceManager.Notify("STOPPING=1");
        return 0;
    }

    // Under systemd the journal has each alarm from the sentinel itself, with all its fields.
    private static void Say(Alarm alarm, Speaker speaker)
    {
        if (speaker.Json)
            Console.Out.WriteLine(alarm.ToJson());
        else if (!ServiceManager.IsService)
            Console.Error.WriteLine($"{alarm.Time:HH:mm:ss} {PolicyReader.NameOf(alarm.Severity)}: {alarm}");
    }

    private static IEnumerable<string> Outlook(Outlook outlook)
    {
        yield return $"<6>policy: {string.Join(", ", outlook.Policy.Files)}";
        foreach (StorageFacts storage in outlook.Storage)
            yield return $"<6>storage: {storage.Rule.Mount} is {storage.Device}, on the disk of {string.Join(", ", storage.Disk.Order(StringComparer.Ordinal))}";
        if (outlook.OpenEyes == 0)
        {
            yield return $"<4>the kernel lets no eye in ({outlook.Closed[0].Reason}): mounts of the system are seen, but not who made them, nor what happens in namespaces made later";
            yield break;
        }

        yield return $"<6>{outlook.OpenEyes} eyes are open";
        foreach (ClosedEye closed in outlook.Closed)
            yield return $"<4>an eye stays closed: {closed.Function}: {closed.Reason}";
    }
}

/// <summary>What systemd and a service tell each other; sd_notify(3).</summary>
internal static class ServiceManager
{
    /// <summary>Whether systemd started this program as a service.</summary>
    public static bool IsService { get; } = Environment.GetEnvironmentVariable("NOTIFY_SOCKET") is not null;

    /// <summary>How often systemd wants to hear that the service lives.</summary>
    public static TimeSpan? Watchdog { get; } =
        long.TryParse(Environment.GetEnvironmentVariable("WATCHDOG_USEC"), System.Globalization.CultureInfo.InvariantCulture, out long often) ? TimeSpan.FromMicroseconds(often) : null;

    /// <summary>Tells systemd something.</summary>
    public static void Notify(string state)
    {
        if (Environment.GetEnvironmentVariable("NOTIFY_SOCKET") is { Length: > 0 } socket)
            _ = Datagram.Send(socket, System.Text.Encoding.ASCII.GetBytes(state));
    }

    /// <summary>Whether the whole system is on its way down.</summary>
    public static bool SystemIsStopping()
    {
        try
        {
            return ChildProcess.Run(new ChildCommand("systemctl", ["is-system-running"])).LastLines is [.., "stopping"];
        }
        catch (ChildFailedException)
        {
            return false; // nobody to ask: then it counts as an attack, which is the safe mistake
        }
    }
}

/// <summary>What the sentinel knows, asked by people.</summary>
internal static class WatchQuestions
{
    public static int Why(string path, SentinelOptions options, Speaker speaker)
    {
        string real = Path.GetFullPath(path);
        SentinelPolicy policy = LoadedPolicy.Load(options.TreePolicy, options.OwnerPolicy).Policy;
        MountEntry? mount = MountTree.Of(MountTable.Read()).Carrying(real);
        ProtectedPath? rule = policy.Protected.Where(each => each.Path == "/" || each.Type is not null ? real == "/" : MountTree.IsAtOrBelow(real, each.Path)).MaxBy(static each => each.Path.Length);
        string[] past = [.. Past(options).Where(line => line.Path == real || MountTree.IsAtOrBelow(line.Path, real) || MountTree.IsAtOrBelow(real, line.Path)).Select(static line => line.Text).TakeLast(5)];
        Guard? guard = Guard.Of(policy, mount);
        ReactionPlan? plan = rule is null ? null : policy.ReactionTo(policy.SeverityOf(FindingKind.Writable));
        string carried = mount is null ? "nothing known carries it" : $"{mount.Type} {mount.Source} at {mount.MountPoint} carries it, {(mount.IsReadOnly ? "read-only" : "writable")}";
        string wanted = rule is not null
            ? $"the policy protects it (protect {rule.Path}); were it writable: {string.Join(", ", plan!.Do.Select(PolicyReader.NameOf))}"
            : guard is null ? "the policy leaves it alone"
            : guard.Pattern is { } pattern ? $"the policy lets it be written ({pattern} of the storage behind {guard.Mount})"
            : $"it is part of the storage behind {guard.Mount}, of which nothing else may be writable";
        speaker.Answer(
            $"{real}: {carried}; {wanted}.\n{(past.Length == 0 ? "Nothing has happened there." : $"Last alarms there:\n  {string.Join("\n  ", past)}")}",
            json =>
            {
                json.WriteString("path", real);
                json.WriteString("mount-point", mount?.MountPoint);
                json.WriteString("type", mount?.Type);
                json.WriteBoolean("writable", mount is { IsReadOnly: false });
                json.WriteString("protected-by", rule?.Path);
                json.WriteString("guarded-storage", guard?.Mount);
                json.WriteString("writable-by", guard?.Pattern);
                json.WriteStartArray("reactions");
                foreach (Reaction step in plan?.Do ?? [])
                    json.WriteStringValue(PolicyReader.NameOf(step));
                json.WriteEndArray();
                json.WriteStartArray("alarms");
                foreach (string line in past)
                    json.WriteStringValue(line);
                json.WriteEndArray();
            });
        return 0;
    }

    // What the policy says of the storage that carries a path; the device tells which that is.
    private sealed record Guard(string Mount, string? Pattern)
    {
        public static Guard? Of(SentinelPolicy policy, MountEntry? carrier)
        {
            IReadOnlyList<MountEntry> mounts = MountTable.Read();
            foreach (IGrouping<string, GuardedStorage> rules in policy.Storage.GroupBy(static rule => rule.Mount))
            {
                if (carrier is not null && mounts.Any(mount => mount.MountPoint == rules.Key && mount.Device == carrier.Device))
                    return new Guard(rules.Key, rules.SelectMany(static rule => rule.Writable).FirstOrDefault(pattern => pattern.Covers(carrier.Root))?.Text);
            }

            return null;
        }
    }

    public static Command HistoryCommand()
    {
        Option<bool> json = SharedOptions.Json();
        var last = new Option<int>("--last") { Description = "Only so many, the latest", HelpName = "N", DefaultValueFactory = static _ => int.MaxValue };
        var state = new Option<string>("--state-directory") { Hidden = true, DefaultValueFactory = static _ => new SentinelOptions().StateDirectory };
        var command = new DocumentedCommand("history", "Show all alarms that are kept, oldest first")
        {
            Examples = [new Example("Programs that made something writable, for a script", "sbox watch history --json | jq -r .by.exe")],
        };
        foreach (Option option in (Option[])[last, json, state])
            command.Options.Add(option);
        command.SetAction(parsed =>
        {
            var options = new SentinelOptions { StateDirectory = parsed.GetValue(state)! };
            foreach ((string text, string raw, _) in Past(options).TakeLast(parsed.GetValue(last)))
                Console.Out.WriteLine(parsed.GetValue(json) ? raw : text);
            return 0;
        });
        return command;
    }

    internal static IEnumerable<(string Text, string Raw, string Path)> Past(SentinelOptions options)
    {
        foreach (string line in new History(options.History).Lines())
        {
            using JsonDocument? document = Parse(line);
            if (document is null)
                continue;
            JsonElement root = document.RootElement;
            string by = root.TryGetProperty("by", out JsonElement who)
                ? $"{who.GetProperty("exe").GetString()}[{who.GetProperty("pid").GetInt32()}] of user {who.GetProperty("uid").GetUInt32()}" : "someone unknown";
            string path = root.GetProperty("path").GetString()!;
            yield return ($"{root.GetProperty("time").GetDateTime():yyyy-MM-dd HH:mm:ss} {root.GetProperty("severity").GetString(),-8} {path}: {root.GetProperty("says").GetString()}; by {by}", line, path);
        }
    }

    // A power cut may leave half a line at the end.
    private static JsonDocument? Parse(string line)
    {
        try
        {
            return JsonDocument.Parse(line);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
