using System.CommandLine;
using System.Globalization;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox pin</c>, <c>undeploy</c>, <c>kargs</c> and <c>history</c>: what a person does with the versions that are here.</summary>
internal static class VersionCommands
{
    private const string Which = "Its number in sbox status, its version, or the beginning of its commit";

    public static Command Pin()
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        var remove = new Option<bool>("--remove", "-r") { Description = "Let it go again" };
        var version = new Argument<string?>("VERSION") { Description = Which + "; the one that runs where it is not said", Arity = ArgumentArity.ZeroOrOne };
        Command command = new DocumentedCommand("pin", "Keep a version from being cleaned away")
        {
            Details = ["An upgrade keeps the version that runs and drops those before it, but never a pinned one. ostree admin pin writes the same mark."],
            Examples = [new Example("Keep what runs, whatever comes", "sbox pin"), new Example("Let it go again", "sbox pin --remove 1")],
        }.With(version, remove, path, esp, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToChange(parsed, path, esp);
            Deployment chosen = Chosen(box.Sysroot, parsed.GetValue(version));
            bool pinned = !parsed.GetValue(remove), changed = Pinning.Set(box.Sysroot, chosen.Name, pinned);
            string name = Name(box.Sysroot, chosen);
            speaker.Answer($"{name} {(changed ? "is" : "was already")} {(pinned ? "pinned: no upgrade removes it" : "not pinned: an upgrade may remove it")}", writer =>
            {
                writer.WriteString("deployment", chosen.Name.ToString());
                writer.WriteBoolean("pinned", pinned);
                writer.WriteBoolean("changed", changed);
            });
            return 0;
        });
        return command;
    }

    public static Command Undeploy()
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        var version = new Argument<string>("VERSION") { Description = Which };
        Command command = new DocumentedCommand("undeploy", "Remove a version that does not run")
        {
            Details = ["Its tree, its /etc, its entry in the boot menu and the objects that nothing else needs go. /var is shared and stays."],
            Examples = [new Example("Make room on the EFI partition", "sbox undeploy 1")],
        }.With(version, path, esp, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToChange(parsed, path, esp);
            using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal);
            Deployment chosen = DeploymentSelector.Find(box.Sysroot, parsed.GetValue(version)!);
            string name = Name(box.Sysroot, chosen);
            CleanupReport report = deployer.Undeploy(chosen.Name);
            foreach (string note in report.Notes)
                speaker.Note(note);
            speaker.Answer($"{name} is gone; {Amount.OfBytes(report.BytesFreed)} are free again", writer =>
            {
                writer.WriteString("deployment", chosen.Name.ToString());
                writer.WriteNumber("bytes-freed", report.BytesFreed);
                Speaker.Notes(writer, report.Notes);
            });
            return 0;
        });
        return command;
    }

    public static Command Kargs()
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        var append = new Option<string[]>("--append") { Description = "Add an argument", HelpName = "KEY=VALUE" };
        var replace = new Option<string[]>("--replace") { Description = "Give an argument another value (KEY=OLD=NEW where there are several)", HelpName = "KEY=VALUE" };
        var delete = new Option<string[]>("--delete") { Description = "Remove an argument", HelpName = "KEY[=VALUE]" };
        Command command = new DocumentedCommand("kargs", "Show or change the kernel's arguments")
        {
            Details =
            [
                "Changed arguments are a new deployment of the same version, which boots next: sbox rollback takes them back as it takes back an upgrade. What the recipe asks for changes with the recipe; what you "
                + "changed stays through upgrades.",
                "On a sealed box the arguments are part of what its owner signed, and this command refuses to change them.",
            ],
            Examples = [new Example("See the kernel's messages at boot", "sbox kargs --delete quiet && reboot")],
        }.With(append, replace, delete, path, esp, json);
        command.SetAction((parsed, cancel) => Task.FromResult(ChangeKargs(
            parsed, new Speaker(parsed.GetValue(json)), path, esp, (parsed.GetValue(append)!, parsed.GetValue(replace)!, parsed.GetValue(delete)!), cancel)));
        return command;
    }

    private static int ChangeKargs(
        ParseResult parsed, Speaker speaker, Option<string> path, Option<string?> esp, (string[] Append, string[] Replace, string[] Delete) changes, CancellationToken cancel)
    {
        bool looks = changes.Append.Length + changes.Replace.Length + changes.Delete.Length == 0;
        if (looks)
        {
            Box.RequireSysroot(parsed.GetValue(path)!);
            using OstreeSysroot looked = OstreeSysroot.Open(parsed.GetValue(path)!);
            Say(speaker, Chosen(looked, null).Arguments, changed: false, "");
            return 0;
        }

        using Box box = Box.ToChange(parsed, path, esp);
        if (box.Seal is not null)
            throw new Finding("this box is sealed: the kernel's arguments are part of what its owner signed", "Change them in the recipe ([boot] kernel-arguments), build, seal and publish it, and type sbox upgrade here");
        using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal);
        Deployment current = deployer.CurrentDefault ?? throw new Finding($"{box.Sysroot.Path}: nothing is deployed", "Name a box with --sysroot=PATH");
        KernelArguments arguments = current.Arguments;
        arguments = changes.Delete.Aggregate(arguments, static (all, each) => all.Delete(each));
        arguments = changes.Replace.Aggregate(arguments, static (all, each) => all.Replace(each));
        arguments = changes.Append.Aggregate(arguments, static (all, each) => all.Append(each));
        if (arguments.Equals(current.Arguments))
        {
            Say(speaker, arguments, changed: false, "Nothing changes");
            return 0;
        }

        using var line = new ProgressLine(speaker);
        DeployResult result = deployer.Deploy(
            new DeployRequest(current.Name.Os, current.Name.Commit) { Arguments = arguments, Origin = current.Origin?.ForSuccessor() }, new Reporter<string>(line.Step), cancel);
        line.Dispose();
        foreach (string note in result.Notes)
            speaker.Note(note);
        Say(speaker, arguments, changed: true, "They count after a reboot; sbox rollback takes that back");
        return 0;
    }

    private static void Say(Speaker speaker, KernelArguments arguments, bool changed, string note)
    {
        speaker.Answer(arguments.ToString(), writer =>
        {
            writer.WriteStartArray("arguments");
            foreach (KernelArgument argument in arguments)
                writer.WriteStringValue(argument.Text);
            writer.WriteEndArray();
            writer.WriteBoolean("changed", changed);
        });
        if (note.Length > 0)
            speaker.Note(note);
    }

    public static Command History()
    {
        (Option<string> path, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Json());
        var count = new Option<int>("--lines", "-n") { Description = "How many, the newest last; 0 for all", HelpName = "N", DefaultValueFactory = static _ => 20 };
        Command command = new DocumentedCommand("history", "Show what this box deployed, booted, and went back from")
        {
            Details = ["Written down are deploy, undeploy, rollback, pin, unpin and reset, each when it is done; boot, where sbox-etc.service runs; and good, bad and fallback, what came of the first boots. It is kept in /var/lib/sbox/history, one JSON object a line, and goes with a reset of /var."],
            Examples = [new Example("When did the last upgrade come?", "sbox history | grep deploy")],
        }.With(count, path, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            Box.RequireSysroot(parsed.GetValue(path)!);
            using OstreeSysroot sysroot = OstreeSysroot.Open(parsed.GetValue(path)!);
            IReadOnlyList<HistoryEntry> all = BoxHistory.Read(sysroot, Chosen(sysroot, null).Name.Os);
            if (all.Count == 0)
                speaker.Note("Nothing is written down yet");
            foreach (HistoryEntry each in all.Skip(parsed.GetValue(count) > 0 ? Math.Max(0, all.Count - parsed.GetValue(count)) : 0))
            {
                string name = each.Version is { } version ? $"version {version}" : DeploymentName.TryParse(each.Deployment, out DeploymentName known) ? known.Short : each.Deployment;
                speaker.Answer(
                    string.Create(CultureInfo.InvariantCulture, $"{each.Time:yyyy-MM-dd HH:mm:ss} UTC  {each.What,-9} {name}{(each.Detail is null ? "" : $"  ({each.Detail})")}"),
                    writer =>
                    {
                        writer.WriteString("time", each.Time.UtcDateTime);
                        writer.WriteString("what", each.What);
                        writer.WriteString("deployment", each.Deployment);
                        writer.WriteString("version", each.Version);
                        writer.WriteString("detail", each.Detail);
                    });
            }

            return 0;
        });
        return command;
    }

    /// <summary>The version that a person names; the one that runs, else the first, where none is named.</summary>
    internal static Deployment Chosen(OstreeSysroot sysroot, string? text) => text is not null ? DeploymentSelector.Find(sysroot, text)
        : sysroot.Booted ?? sysroot.Deployments.FirstOrDefault() ?? throw new Finding($"{sysroot.Path}: nothing is deployed", "Name a box with --sysroot=PATH");

    internal static string Name(OstreeSysroot sysroot, Deployment deployment)
    {
        string name = DeploymentSelector.Describe(sysroot, deployment.Name);
        return char.ToUpperInvariant(name[0]) + name[1..];
    }
}
