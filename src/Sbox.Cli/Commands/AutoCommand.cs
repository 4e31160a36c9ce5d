using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox auto</c>: updates without anybody typing; off until its owner turns it on.</summary>
internal static class AutoCommand
{
    private const string Timer = "sbox-auto.timer";

    public static Command Make()
    {
        var command = new DocumentedCommand("auto", "Update by itself: in windows, in turns, and never in the way")
        {
            Details =
            [
                "Off until sbox auto on. From then on sbox-auto.timer looks every quarter of an hour whether something may be done: look what the branch leads to, fetch and deploy a newer version as sbox upgrade does (with the "
                + "same approval, seal and health checks), and restart where that is wanted.",
                "Nothing is done outside of the windows; on battery below the limit; over a link that costs by the byte (NetworkManager says so where it runs; else links named ww*, and telephones that say ANDROID_METERED in "
                + "their DHCP answer to networkd); while what runs was not found good yet; in a boot that keeps nothing; in the hour after a failure. The machine is never restarted while somebody is logged in, or "
                + "where logind does not run and nobody knows, unless reboot = \"always\"; while somebody asks that it is not (systemd-inhibit --what=shutdown); into a version that was started before and did not come up; for what a "
                + "person made the next to boot; and not at all unless reboot is set. A version that a person or this box went back from is not brought back; its successor is.",
                "Settings are in /etc/sbox/auto.toml, key by key over /usr/lib/sbox/auto.toml: enabled (false); windows ([], at any time; [\"Mon-Fri 02:00-04:30\", \"Sat,Sun 22:00-06:00\"], local time); rollout ([], at once; "
                + "[\"5% 0h\", \"50% 24h\", \"100% 3d\"]: what part of a fleet takes a version how long after it was made, each machine's place by its machine-id and the version); reboot (\"never\", \"idle\", \"always\"); "
                + "battery-minimum (40; percent, 100 for never on battery); on-metered (false); check-every-hours (6).",
                "The timer starts where /etc/sbox/auto.toml is: enabled = true in /usr/lib/sbox/auto.toml alone does not start it, and status and why say so. A tree that is to update by itself from its first boot brings the file "
                + "/etc/sbox/auto.toml.",
            ],
            Examples = [new Example("Update at night, and restart when nobody is there", "sbox auto on --window 02:00-05:00 --reboot idle"), new Example("What keeps it from updating now?", "sbox auto why")],
        };
        foreach (Command sub in (Command[])[Status(), Why(), On(), Off(), Run()])
            command.Subcommands.Add(sub);
        return command;
    }

    private static Command Status()
    {
        Command command = new DocumentedCommand("status", "Show what is set, and what was done last") { Examples = [new Example("Is it on?", "sbox auto status --json | jq .enabled")] };
        return Looking(command, (speaker, settings, state, facts, decision) => speaker.Answer(StatusText(settings, state, facts, decision) + TimerText(settings, File.Exists(AutoSettings.OwnFile)), writer =>
        {
            Settings(writer, settings);
            writer.WriteBoolean("timer", File.Exists(AutoSettings.OwnFile));
            writer.WriteString("checked", state.Checked?.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture));
            writer.WriteString("failure", state.Failure?.Why);
            Write(writer, facts, decision);
        }));
    }

    private static Command Why()
    {
        Command command = new DocumentedCommand("why", "Say what would happen now, and what keeps it from that") { Examples = [new Example("The names of what is in the way", "sbox auto why --json | jq -r '.obstacles[].name'")] };
        return Looking(command, (speaker, settings, _, facts, decision) => speaker.Answer(WhyText(facts, decision) + TimerText(settings, File.Exists(AutoSettings.OwnFile)), writer => Write(writer, facts, decision)));
    }

    // What is not started says nothing by itself.
    internal static string TimerText(AutoSettings settings, bool ownFile) => settings.Enabled && !ownFile
        ? $"\n{Timer} does not run: it waits for {AutoSettings.OwnFile}, and what turns automatic updates on is {AutoSettings.Files[0]} alone: sbox auto on" : "";

    private static Command Looking(Command command, Action<Speaker, AutoSettings, AutoState, AutoFacts, AutoDecision> answer)
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        command.With(path, esp, json).SetAction(parsed =>
        {
            AutoSettings settings = AutoSettings.Read(AutoSettings.Files);
            using Box box = Box.ToLook(parsed, path, esp);
            using var deployer = new Deployer(box.Sysroot, box.Esp);
            var updater = new AutoUpdater(box.Sysroot, deployer, MachineProbe.This);
            AutoFacts facts = updater.Facts();
            answer(new Speaker(parsed.GetValue(json)), settings, AutoState.Read(box.Sysroot, updater.Os), facts, AutoDecision.Of(settings, facts));
            return 0;
        });
        return command;
    }

    private static Command On()
    {
        var window = new Option<string[]>("--window") { Description = "When something may be done: [DAYS] HH:MM-HH:MM, local time; may be given again. Takes the place of the windows that are set", HelpName = "WINDOW" };
        var rollout = new Option<string[]>("--rollout") { Description = "What part of a fleet takes a version how long after it was made: 'PERCENT% TIME'; may be given again", HelpName = "STEP" };
        var reboot = new Option<string?>("--reboot") { Description = "When the machine is restarted: never, idle (nobody is logged in), or always", HelpName = "WHEN" };
        var battery = new Option<int?>("--battery") { Description = "On battery with less than so much percent nothing is done; 100 for never on battery", HelpName = "PERCENT" };
        var metered = new Option<bool?>("--metered") { Description = "Whether links that cost by the byte are used: true or false", HelpName = "BOOL" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("on", "Turn automatic updates on, and set how")
        {
            Details = ["What is not said stays as it is set. A window or step that cannot be read is refused, and nothing is changed."],
            Examples = [new Example("Restart at night when nobody is logged in", "sbox auto on --window 'Mon-Fri 02:00-05:00' --reboot idle"), new Example("A twentieth of the fleet first", "sbox auto on --rollout '5% 0h' --rollout '100% 2d'")],
        }.With(window, rollout, reboot, battery, metered, json);
        command.SetAction(parsed =>
        {
            var values = new Dictionary<string, string> { ["enabled"] = "true" };
            static string List(string[] items) => $"[{string.Join(", ", items.Where(static item => item.Length > 0).Select(Quote))}]";
            if (parsed.GetValue(window) is { Length: > 0 } windows)
                values["windows"] = List(windows);
            if (parsed.GetValue(rollout) is { Length: > 0 } steps)
                values["rollout"] = List(steps);
            if (parsed.GetValue(reboot) is { } when)
                values["reboot"] = Quote(when);
            if (parsed.GetValue(battery) is { } percent)
                values["battery-minimum"] = percent.ToString(CultureInfo.InvariantCulture);
            if (parsed.GetValue(metered) is { } used)
                values["on-metered"] = used ? "true" : "false";
            return Turn(new Speaker(parsed.GetValue(json)), values, "start", "Automatic updates are on; sbox auto why says what would happen now");
        });
        return command;
    }

    private static Command Off()
    {
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("off", "Turn automatic updates off; what else is set stays").With(json);
        command.SetAction(parsed => Turn(new Speaker(parsed.GetValue(json)), new Dictionary<string, string> { ["enabled"] = "false" }, "stop", "Automatic updates are off"));
        return command;
    }

    private static int Turn(Speaker speaker, Dictionary<string, string> values, string verb, string said)
    {
        AutoSettings.Change(AutoSettings.OwnFile, values);
        AutoSettings settings = AutoSettings.Read(AutoSettings.Files);
        // Its timer is started at boot where the owner's file is there; now it is started, or stopped, at once.
        bool runs = Directory.Exists("/run/systemd/system");
        ChildResult? result = runs ? ChildProcess.Run(new ChildCommand("systemctl", [verb, Timer])) : null;
        if (result is { ExitCode: not 0 })
            speaker.Note($"The timer takes notice at the next boot: systemctl {verb} {Timer}: {result.LastLines.LastOrDefault() ?? $"exit status {result.ExitCode}"}");
        speaker.Answer(said, writer => Settings(writer, settings));
        return 0;
    }

    private static Command Run()
    {
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("run", "Do what may be done now: what sbox-auto.timer starts")
        {
            Details = ["Nothing is done where sbox auto why names something that is in the way. A failure is remembered, and tried again an hour later."],
        }.With(json);
        command.SetAction(async (parsed, cancel) => await AutoRun.Do(new Speaker(parsed.GetValue(json)), cancel));
        return command;
    }

    /// <summary>A text in TOML; whatever is in it.</summary>
    private static string Quote(string text) => $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";

    internal static string WhyText(AutoFacts facts, AutoDecision decision)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{facts.Now:ddd yyyy-MM-dd HH:mm}: {(decision.Wanted == AutoAction.Nothing ? "nothing is to be done" : "what is next")}: {decision.What}\n");
        if (decision.Obstacles.Count == 0 && decision.Wanted != AutoAction.Nothing)
            text.Append("Nothing keeps it from that: it happens within a quarter of an hour\n");
        if (decision.Obstacles.Count > 0)
            text.Append("What keeps it from that:\n");
        foreach (AutoObstacle obstacle in decision.Obstacles)
            text.Append(CultureInfo.InvariantCulture, $"  {obstacle.Name}: {obstacle.Why}\n");
        return text.ToString().TrimEnd();
    }

    private static string StatusText(AutoSettings settings, AutoState state, AutoFacts facts, AutoDecision decision)
    {
        var text = new StringBuilder(settings.Enabled ? "Automatic updates are on\n" : "Automatic updates are off: sbox auto on\n");
        text.Append(CultureInfo.InvariantCulture, $"  windows  {(settings.Windows.Count == 0 ? "at any time" : string.Join(", ", settings.Windows))}\n");
        text.Append(CultureInfo.InvariantCulture, $"  rollout  {(settings.Rollout.Count == 0 ? "at once" : string.Join(", ", settings.Rollout))}\n");
        text.Append(CultureInfo.InvariantCulture, $"  reboot   {settings.Reboot switch { AutoReboot.Never => "never by itself", AutoReboot.Idle => "when nobody is logged in", _ => "also with people logged in" }}\n");
        text.Append(CultureInfo.InvariantCulture, $"  battery  {(settings.BatteryMinimum == 100 ? "never on battery" : $"not below {settings.BatteryMinimum} %")}\n");
        text.Append(CultureInfo.InvariantCulture, $"  metered  {(settings.OnMetered ? "links that cost by the byte are used" : "never over links that cost by the byte")}\n");
        text.Append(CultureInfo.InvariantCulture, $"  looked   {(state.Checked is { } looked ? looked.ToOffset(facts.Now.Offset).ToString("ddd yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) : "never")}, every {settings.CheckEvery.TotalHours} h\n");
        if (state.Failure is { } failure)
            text.Append(CultureInfo.InvariantCulture, $"  FAILED   {failure.Time.ToOffset(facts.Now.Offset):ddd yyyy-MM-dd HH:mm}: {failure.Why}\n");
        return text.Append(WhyText(facts, decision)).ToString();
    }

    private static void Settings(Utf8JsonWriter writer, AutoSettings settings)
    {
        writer.WriteBoolean("enabled", settings.Enabled);
        Texts(writer, "windows", settings.Windows);
        Texts(writer, "rollout", settings.Rollout);
        writer.WriteString("reboot", settings.Reboot.ToString().ToLowerInvariant());
        writer.WriteNumber("battery-minimum", settings.BatteryMinimum);
        writer.WriteBoolean("on-metered", settings.OnMetered);
        writer.WriteNumber("check-every-hours", settings.CheckEvery.TotalHours);
    }

    private static void Texts<T>(Utf8JsonWriter writer, string name, IReadOnlyList<T> items)
    {
        writer.WriteStartArray(name);
        foreach (T item in items)
            writer.WriteStringValue($"{item}");
        writer.WriteEndArray();
    }

    internal static void Write(Utf8JsonWriter writer, AutoFacts facts, AutoDecision decision)
    {
        writer.WriteString("next", decision.Wanted.ToString().ToLowerInvariant());
        writer.WriteString("what", decision.What);
        writer.WriteString("version", (facts.Waiting ?? facts.Offer)?.Version);
        writer.WriteStartArray("obstacles");
        foreach (AutoObstacle obstacle in decision.Obstacles)
        {
            writer.WriteStartObject();
            writer.WriteString("name", obstacle.Name);
            writer.WriteString("why", obstacle.Why);
            if (obstacle.Until is { } until)
                writer.WriteString("until", until.UtcDateTime);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
