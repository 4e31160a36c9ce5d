using System.CommandLine;
using System.Text;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox etc</c>: what the owner changed in /etc, what a merge will do with it, and having it otherwise.</summary>
internal static class EtcCommand
{
    /// <summary>The login message about the last merge at shutdown.</summary>
    public const string Merge = "etc";

    public static Command Make()
    {
        var etc = new DocumentedCommand("etc", "See what is changed in /etc, what an upgrade makes of it, and decide otherwise")
        {
            Details =
            [
                "A new version has its own defaults in /usr/etc, and your changes are merged into a copy of them. What you did not touch is as the new version has it. What only you touched stays. "
                + "Where both changed a file: text is merged line by line where the changes are apart; passwd, group, shadow, gshadow, subuid and subgid are merged account by account, so that a new system user "
                + "arrives, your passwords stay, and no account gets another id (where the new version's ids do not fit yours, your files stand whole, and that is a conflict); owner, group and mode each count by themselves. Where the changes meet, your file stands whole, and that is a conflict: sbox status lists it "
                + "until sbox etc resolve settles it. What you deleted stays deleted until sbox etc reset brings it back.",
                "The merge is done when the new version is deployed, and once more at shutdown with what you edited meanwhile (sbox-etc.service). A merge never fails a boot or a shutdown: the new version has a whole /etc "
                + "from the beginning, and the second one is made beside it and exchanged for it.",
            ],
        };
        foreach (Command command in (Command[])[Diff(), Plan(), Resolve(), Reset(), Undo(), AtBoot(), AtShutdown()])
            etc.Subcommands.Add(command);
        return etc;
    }

    private static Command Diff()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Option<bool> json = SharedOptions.Json();
        var paths = new Argument<string[]>("PATH") { Description = "Show the changed lines of these", Arity = ArgumentArity.ZeroOrMore };
        Command command = new DocumentedCommand("diff", "Show how /etc differs from the defaults of the version that runs")
        {
            Details = ["Without a PATH one line a name: M changed, D deleted, A your own. With a PATH its lines, as diff -u prints them."],
            Examples = [new Example("What did I change in sshd's settings?", "sbox etc diff /etc/ssh/sshd_config")],
        }.With(sysroot, json);
        command.Arguments.Add(paths);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using OstreeSysroot opened = Open(parsed.GetValue(sysroot)!);
            Deployment deployment = Current(opened);
            using Dir defaults = opened.Root.OpenDir($"{deployment.Name.Directory}/usr/etc"), local = opened.Root.OpenDir($"{deployment.Name.Directory}/etc");
            foreach (string path in parsed.GetValue(paths)!.Select(EtcKeeper.Below))
            {
                string difference = Lines(defaults, local, path);
                speaker.Answer(difference.TrimEnd('\n'), writer => { writer.WriteString("path", $"/etc/{path}"); writer.WriteString("diff", difference); });
            }

            if (parsed.GetValue(paths)!.Length > 0)
                return 0;
            foreach (EtcChange change in opened.EtcChanges(deployment))
                speaker.Answer(change.ToString(), writer => { writer.WriteString("path", $"/etc/{change.Path}"); writer.WriteString("change", change.Kind.ToString().ToLowerInvariant()); });
            return 0;
        });
        return command;
    }

    private static Command Plan()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Option<bool> json = SharedOptions.Json();
        var commit = new Option<string?>("--commit") { Description = "A commit of the box's repository; what boots next, or the branch's, where it is not said", HelpName = "REV" };
        Command command = new DocumentedCommand("plan", "Show what the merge makes of your changes, before it is done or before it counts")
        {
            Details = ["Nothing is fetched: sbox upgrade --check brings the branch's newest version into the repository."],
            Examples = [new Example("What would the newest version do to /etc?", "sbox upgrade --check; sbox etc plan")],
        }.With(sysroot, commit, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using OstreeSysroot opened = Open(parsed.GetValue(sysroot)!);
            using var deployer = new Deployer(opened, espDirectory: null);
            (string what, EtcMergePlan plan) = deployer.PlanEtc(parsed.GetValue(commit));
            string text = plan.ToString().TrimEnd('\n');
            speaker.Answer(
                $"Your changes on top of {what}:\n{(text.Length == 0 ? "nothing of yours has to be carried over: /etc is as the new version has it" : text)}\n{Summary(plan)}",
                writer => Write(writer, what, plan));
            return 0;
        });
        return command;
    }

    private static Command Resolve()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Option<bool> json = SharedOptions.Json();
        var paths = new Argument<string[]>("PATH") { Description = "What is decided; without one the conflicts are listed", Arity = ArgumentArity.ZeroOrMore };
        var mine = new Option<bool>("--mine") { Description = "Your file, as it was before the merge" };
        var fresh = new Option<bool>("--new") { Description = "The new version's default" };
        var old = new Option<bool>("--base") { Description = "The default of the version before" };
        Command command = new DocumentedCommand("resolve", "List what waits for your decision after a merge, and decide it")
        {
            Details =
            [
                "Without a choice the file stays as it is (edit it first, where you like) and is no conflict any more. A choice is made in the version that the merge was for: before its first boot it holds for the "
                + "merge at shutdown too. A file that was merged without a conflict can be decided as well. sbox etc undo takes it back.",
            ],
            Examples = [new Example("Take the new version's file", "sbox etc resolve --new /etc/ssh/sshd_config"), new Example("What waits?", "sbox etc resolve")],
        }.With(mine, fresh, old, sysroot, json);
        command.Arguments.Add(paths);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            string[] asked = [.. parsed.GetValue(paths)!.Select(EtcKeeper.Below)];
            EtcChoice[] choices = [.. ((Option<bool> Option, EtcChoice Choice)[])[(mine, EtcChoice.Mine), (fresh, EtcChoice.New), (old, EtcChoice.Base)] is var all
                ? all.Where(each => parsed.GetValue(each.Option)).Select(static each => each.Choice) : []];
            if (choices.Length > 1 || (choices.Length == 1 && asked.Length == 0))
                throw new Finding("one PATH or more, and one of --mine, --new and --base at most", "sbox etc resolve --help");
            if (asked.Length == 0)
            {
                using OstreeSysroot looked = Open(parsed.GetValue(sysroot)!);
                List(speaker, new EtcKeeper(looked).Open());
                return 0;
            }

            using Box box = Box.ToWrite(parsed.GetValue(sysroot)!);
            foreach (string path in asked)
            {
                EtcChoice choice = choices.Length == 1 ? choices[0] : EtcChoice.Accepted;
                Sbox.Boot.DeploymentName name = new EtcKeeper(box.Sysroot).Resolve(path, choice);
                speaker.Answer($"/etc/{path} of {name.Short} {Says(choice)}", writer =>
                {
                    writer.WriteString("path", $"/etc/{path}");
                    writer.WriteString("choice", choice.ToString().ToLowerInvariant());
                    writer.WriteString("deployment", name.ToString());
                });
            }

            return 0;
        });
        return command;
    }

    private static Command Reset()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Option<bool> json = SharedOptions.Json();
        var paths = new Argument<string[]>("PATH") { Description = "Files, links or directories below /etc", Arity = ArgumentArity.OneOrMore };
        Command command = new DocumentedCommand("reset", "Bring defaults in /etc back")
        {
            Details = ["What you changed or deleted is as the version that runs has it; what is your own is gone. sbox etc undo takes it back, the last one first."],
            Examples = [new Example("The default sshd settings again", "sbox etc reset /etc/ssh/sshd_config")],
        }.With(sysroot, json);
        command.Arguments.Add(paths);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            string[] asked = [.. parsed.GetValue(paths)!.Select(EtcKeeper.Below)];
            using Box box = Box.ToWrite(parsed.GetValue(sysroot)!);
            Deployment deployment = Current(box.Sysroot);
            foreach (string path in asked)
            {
                new EtcKeeper(box.Sysroot).Reset(deployment.Name, path);
                bool there;
                using (Dir etc = box.Sysroot.Root.OpenDir($"{deployment.Name.Directory}/etc"))
                    there = etc.Exists(path);
                speaker.Answer(
                    there ? $"/etc/{path} is as version {deployment.Name.Short} has it; sbox etc undo takes that back" : $"/etc/{path} is gone: it was your own; sbox etc undo brings it back",
                    writer => { writer.WriteString("path", $"/etc/{path}"); writer.WriteBoolean("there", there); });
            }

            return 0;
        });
        return command;
    }

    private static Command Undo()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("undo", "Take the last sbox etc reset or sbox etc resolve back")
        {
            Details = ["The last 32 can be taken back, one by one."],
        }.With(sysroot, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToWrite(parsed.GetValue(sysroot)!);
            EtcUndo? undone = new EtcKeeper(box.Sysroot).Undo();
            speaker.Answer(
                undone is null ? "There is nothing to take back" : $"/etc/{undone.Path} of {undone.Deployment.Short} is as it was before sbox etc {undone.What}",
                writer => { writer.WriteString("path", undone is null ? null : $"/etc/{undone.Path}"); writer.WriteString("what", undone?.What); });
            return 0;
        });
        return command;
    }

    private static Command AtBoot()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Command command = new Command("at-boot", "Say that this version ran (sbox-etc.service)") { Hidden = true }.With(sysroot);
        command.SetAction(parsed =>
        {
            using Box box = Box.ToWrite(parsed.GetValue(sysroot)!);
            if (new LateEtcMerge(box.Sysroot).MarkBooted() is not { Failure: { } failure, Deployment: var running })
                return 0;
            string before = EtcRecord.Of(box.Sysroot, running) is { } record ? $" The /etc that it came from: /sysroot/{record.From.Directory}/etc." : "";
            LoginMessage.Show(Merge, $"/etc: what was edited after the upgrade did not come with it: {failure}.{before} What differs from the defaults here: sbox etc diff");
            return 0;
        });
        return command;
    }

    private static Command AtShutdown()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Option<bool> json = SharedOptions.Json();
        Command command = new Command("at-shutdown", "Merge once more what was edited meanwhile (sbox-etc.service)") { Hidden = true }.With(sysroot, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToWrite(parsed.GetValue(sysroot)!);
            IReadOnlyList<LateMerge> merges = new LateEtcMerge(box.Sysroot).Run();
            foreach (LateMerge each in merges)
                speaker.Answer(
                    each.Failure is { } failure ? $"/etc of {each.Deployment.Short} stays as it was: {failure}"
                        : each.Changed ? $"/etc of {each.Deployment.Short} has what was edited since" : $"/etc of {each.Deployment.Short} had all of it",
                    writer =>
                    {
                        writer.WriteString("deployment", each.Deployment.ToString());
                        writer.WriteBoolean("changed", each.Changed);
                        writer.WriteString("failure", each.Failure);
                    });
            return merges.Any(static each => each.Failure is not null) ? 1 : 0;
        });
        return command;
    }

    private static OstreeSysroot Open(string path)
    {
        Box.RequireSysroot(path);
        return OstreeSysroot.Open(path);
    }

    private static Deployment Current(OstreeSysroot sysroot) => sysroot.Booted ?? sysroot.Deployments.FirstOrDefault()
        ?? throw new Finding($"{sysroot.Path}: nothing is deployed", "Name a box with --sysroot=PATH");

    private static string Lines(Dir defaults, Dir local, string path)
    {
        (FileStat? before, FileStat? after) = (defaults.TryStat(path), local.TryStat(path));
        if (before is null && after is null)
            throw new EtcPathException($"/etc/{path}", "is neither there nor among the defaults");
        var text = new StringBuilder();
        if (before?.Kind != after?.Kind && before is not null && after is not null)
            text.Append($"kind: {before.Value.Kind} -> {after.Value.Kind}\n");
        else if (before is { IsSymlink: false } b && after is { } a && (b.Permissions, b.Uid, b.Gid) != (a.Permissions, a.Uid, a.Gid))
            text.Append($"mode {Convert.ToString(b.Permissions, 8)} -> {Convert.ToString(a.Permissions, 8)}, owner {b.Uid}:{b.Gid} -> {a.Uid}:{a.Gid}\n");
        string Bytes(Dir dir, FileStat? stat) => stat switch
        {
            { IsRegular: true } => Encoding.Latin1.GetString(dir.ReadAll(path)),
            { IsSymlink: true } => $"-> {dir.ReadLink(path)}\n",
            _ => "",
        };
        string difference = LineDiff.Unified(Bytes(defaults, before), Bytes(local, after), $"/usr/etc/{path}", $"/etc/{path}");
        // One char is one byte in there; what is printed is UTF-8.
        return text.Append(Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(difference))).ToString();
    }

    private static void List(Speaker speaker, IReadOnlyList<(Sbox.Boot.DeploymentName Deployment, EtcFinding Finding)> open)
    {
        if (open.Count == 0)
            speaker.Note("Nothing waits for your decision");
        foreach ((Sbox.Boot.DeploymentName deployment, EtcFinding finding) in open)
            speaker.Answer($"/etc/{finding.Path}  ({deployment.Short})\n{string.Join('\n', finding.Notes.Select(static note => $"    {note}"))}", writer =>
            {
                writer.WriteString("path", $"/etc/{finding.Path}");
                writer.WriteString("deployment", deployment.ToString());
                Speaker.Notes(writer, finding.Notes);
            });
        if (open.Count > 0)
            speaker.Note("Decide with sbox etc resolve [--mine|--new|--base] PATH; without a choice it stays as it is");
    }

    private static string Says(EtcChoice choice) => choice switch
    {
        EtcChoice.Mine => "is yours, as before the merge",
        EtcChoice.New => "is the new version's default",
        EtcChoice.Base => "is the default of the version before",
        _ => "stays as it is",
    };

    private static string Summary(EtcMergePlan plan)
    {
        int conflicts = plan.Conflicts.Count(), merged = plan.Steps.Count(static step => step.Action == EtcAction.Combine);
        return $"{plan.Steps.Count} changes, {merged} files merged, {conflicts} conflicts{(conflicts > 0 ? ": yours is kept, and sbox etc resolve lists them afterwards" : "")}";
    }

    private static void Write(Utf8JsonWriter writer, string what, EtcMergePlan plan)
    {
        writer.WriteString("onto", what);
        writer.WriteStartArray("steps");
        foreach (EtcStep step in plan.Steps)
        {
            writer.WriteStartObject();
            writer.WriteString("path", $"/etc/{step.Path}");
            writer.WriteString("action", step.Action switch { EtcAction.Remove => "remove", EtcAction.CopyLeaf => "keep", EtcAction.Combine => "merge", EtcAction.Own => "own", _ => "keep-directory" });
            writer.WriteBoolean("conflict", step.IsConflict);
            Speaker.Notes(writer, step.Findings);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteStartArray("left-behind");
        foreach (string path in plan.Skipped)
            writer.WriteStringValue($"/etc/{path}");
        writer.WriteEndArray();
    }
}
