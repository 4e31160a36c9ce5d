using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox status</c>: what runs, what boots next, how to go back.</summary>
internal static class StatusCommand
{
    public static Command Make()
    {
        Option<string> path = SharedOptions.Sysroot();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("status", "Show what runs, what boots next, and how to go back")
        {
            Details = ["Deployments are listed in the order of the boot menu: the first is what boots next. Changes in /etc are counted against the deployment's own defaults."],
            Examples = [new Example("The version that runs, for a script", "sbox status --json | jq -r .booted.version")],
        }.With(path, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using OstreeSysroot sysroot = Box.ToLook(parsed.GetValue(path)!);
            Standing[] all = [.. sysroot.Deployments.Select(deployment => new Standing(sysroot, deployment))];
            speaker.Answer(Text(sysroot, all), writer => Write(writer, all));
            return 0;
        });
        return command;
    }

    /// <summary>A deployment, with what its commit says.</summary>
    private sealed class Standing(OstreeSysroot sysroot, Deployment deployment)
    {
        private readonly Commit commit = sysroot.Repository.LoadCommit(deployment.Name.Commit);

        public Deployment Deployment { get; } = deployment;

        public bool Booted { get; } = sysroot.IsBooted(deployment);

        public bool Next { get; } = deployment == sysroot.Deployments[0];

        public string Version => commit.Version ?? "without a version";

        public DateTimeOffset Time => commit.Time;

        public int EtcChanges { get; } = sysroot.EtcChanges(deployment).Count;

        public string Role => (Booted, Next) switch
        {
            (true, true) => "runs now, boots next",
            (true, false) => "runs now",
            (false, true) => "boots next",
            _ => "kept",
        };
    }

    private static string Text(OstreeSysroot sysroot, Standing[] all)
    {
        if (all.Length == 0)
            return $"{sysroot.Path}: nothing is deployed";
        var text = new StringBuilder();
        foreach (Standing each in all)
        {
            text.Append(CultureInfo.InvariantCulture, $"{(each.Booted ? '●' : each.Next ? '→' : ' ')} {each.Deployment.Name.Os} {each.Version,-8} {each.Role}{(each.Deployment.IsPinned ? ", pinned" : "")}\n");
            text.Append(CultureInfo.InvariantCulture, $"    commit   {each.Deployment.Name.Commit} of {each.Time:yyyy-MM-dd HH:mm} UTC\n");
            text.Append(CultureInfo.InvariantCulture, $"    origin   {each.Deployment.Origin?.Refspec?.ToString() ?? "none: it is not known where upgrades come from"}\n");
            text.Append(CultureInfo.InvariantCulture, $"    /etc     {each.EtcChanges} {(each.EtcChanges == 1 ? "name differs" : "names differ")} from its defaults\n");
        }

        text.Append(Advice(all));
        return text.ToString().TrimEnd('\n');
    }

    private static string Advice(Standing[] all) => all switch
    {
        [{ Booted: true }] => "Only one version is here; sbox upgrade brings the next, and keeps this one to go back to.",
        [{ Booted: true }, var other, ..] => $"To go back to version {other.Version}: sbox rollback, then reboot.",
        [var next, ..] when all.Any(static each => each.Booted) => $"Version {next.Version} runs after a reboot. To stay with this one: sbox rollback.",
        _ => "None of these runs on this machine.",
    };

    private static void Write(Utf8JsonWriter writer, Standing[] all)
    {
        Property("booted", all.FirstOrDefault(static each => each.Booted));
        Property("next", all.FirstOrDefault());
        writer.WriteStartArray("deployments");
        foreach (Standing each in all)
        {
            writer.WriteStartObject();
            Facts(writer, each);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();

        void Property(string name, Standing? standing)
        {
            if (standing is null)
            {
                writer.WriteNull(name);
                return;
            }

            writer.WriteStartObject(name);
            Facts(writer, standing);
            writer.WriteEndObject();
        }
    }

    private static void Facts(Utf8JsonWriter writer, Standing each)
    {
        writer.WriteString("version", each.Version);
        writer.WriteString("checksum", each.Deployment.Name.Commit.ToString());
        writer.WriteString("deployment", each.Deployment.Name.ToString());
        writer.WriteString("os", each.Deployment.Name.Os);
        writer.WriteNumber("serial", each.Deployment.Name.Serial);
        writer.WriteString("origin", each.Deployment.Origin?.Refspec?.ToString());
        writer.WriteString("time", each.Time.UtcDateTime);
        writer.WriteBoolean("booted", each.Booted);
        writer.WriteBoolean("next", each.Next);
        writer.WriteBoolean("pinned", each.Deployment.IsPinned);
        writer.WriteNumber("etc-changes", each.EtcChanges);
    }
}
