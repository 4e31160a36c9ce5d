using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox doctor</c>: what is half-done, left over or in the way, and what mends it.</summary>
internal static class DoctorCommand
{
    private const string Word = "fix", DropWord = "delete";
    private static readonly SysrootOptions Tolerant = new() { TolerateDamage = true };

    public static Command Make()
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        var fix = new Option<bool>("--fix") { Description = "Mend what can be mended without losing anything; the plan is shown first" };
        var drop = new Option<bool>("--drop-aside") { Description = "Delete what earlier repairs set aside" };
        var yes = new Option<bool>("--yes") { Description = "Do it without asking; for scripts" };
        Command command = new DocumentedCommand("doctor", "Find what is half-done, left over or in the way, and mend it")
        {
            Details =
            [
                "Looks at the running box, which needs root, or at one in directories (--sysroot, --esp): boot entries and the links that they go through, deployments and their commits, the EFI partition and the firmware's variables, refs, "
                + "interrupted downloads, merges of /etc, health, what ostree staged, room, clock, seal. It reads no file's bytes but the composefs images and command lines: damaged bytes are sbox verify's matter. What may not be looked at is a finding too (unseen), and nothing is mended then. "
                + "Sysroots that ostree made are read as well.",
                "Each finding has a name, the path, what is so, what follows from it, and what mends it. 'broken': a version does not boot or is not whole, or nothing can be upgraded. 'warning': the box boots, and something should be "
                + "done. 'note': something to know of. While another command changes the box, its half-done work is found too.",
                "--fix shows its plan, and then you are asked to type the word fix; without a terminal it is only shown, unless --yes stands there. What it takes away is moved to ostree/sbox-set-aside on the physical root, "
                + "under the path that it had, and --drop-aside deletes that. New entries are made beside the old ones and exchanged for them by one rename, the EFI partition follows them, and what nothing leads to any more is set aside last: "
                + "a power cut or a kill at any moment leaves a box that boots what it booted before, and the same command finishes the work. No version is deployed, upgraded or undeployed by it.",
                "Findings, the broken ones first: " + string.Join(", ", Names) + ".",
            ],
            ExitCodes = [(0, "Nothing is to be done."), (3, "Something is to be done, or was left to be done.")],
            Examples =
            [
                new Example("What is wrong?", "sbox doctor"), new Example("What would be mended?", "sbox doctor --fix </dev/null"),
                new Example("A disk of another machine", "sbox doctor --sysroot=/mnt --esp=/mnt-esp"), new Example("The names of what is broken, for a script", "sbox doctor --json | jq -r 'select(.grade == \"broken\").finding'"),
            ],
        }.With(fix, yes, drop, path, esp, json);
        command.SetAction((parsed, cancel) => Task.Run(
            () => Run(parsed, new Speaker(parsed.GetValue(json)), (path, esp), (parsed.GetValue(fix), parsed.GetValue(drop), parsed.GetValue(yes)), cancel), cancel));
        return command;
    }

    /// <summary>Every name that a finding may have.</summary>
    internal static IReadOnlyList<string> Names { get; } =
    [
        "repository", "loader-link", "boot-link", "entry-dangling", "kernel-missing", "running-unlisted", "deployment-incomplete", "etc-missing", "var-missing", "objects-missing", "uki-missing", "uki-damaged", "image-missing",
        "image-damaged", "loader-missing", "space-root", "space-esp", "boot-unmounted", "boot-leftover", "kernel-leftover", "origin-unreadable", "origin-missing", "remote-missing", "deployment-unlisted", "deployment-half",
        "deployment-leftover", "commit-missing", "commit-partial", "ref-missing", "ref-leftover", "ref-dangling", "download-leftover", "unseen", "esp-unseen", "esp-leftover", "uki-orphan", "default-missing", "default-dangling",
        "default-behind", "loader-source-missing", "firmware-unread", "firmware-dangling", "etc-leftover", "etc-record", "etc-failure", "version-bad", "trial-failed", "unit-failed", "finalize-failed", "staged-lost", "clock", "seal-missing",
        "seal", "verity", "firmware-default", "firmware-oneshot", "etc-conflicts", "reset-waits", "on-trial", "staged", "set-aside",
    ];

    private static int Run(ParseResult parsed, Speaker speaker, (Option<string> Path, Option<string?> Esp) where, (bool Fix, bool Drop, bool Yes) what, CancellationToken cancel)
    {
        if (Box.IsRunning(parsed.GetValue(where.Path)!) && !Environment.IsPrivilegedProcess)
            throw new Finding("only root may look at all of this box", "sudo sbox doctor");
        using Box box = what.Fix || what.Drop ? ToChange(parsed, where.Path, where.Esp) : Box.ToLook(parsed, where.Path, where.Esp, Tolerant);
        using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal);
        var doctor = new BoxDoctor(box.Sysroot, deployer, new DoctorOptions
        {
            RunDirectory = box.IsThisMachine ? "/run" : null, Seal = box.IsThisMachine ? SealStatus.Of(box.Sysroot.BootArguments) : null,
            FailedUnits = box.IsThisMachine ? FailedUnits() : [],
            EspUnseen = box.EspUnseen is { } unseen && (box.IsThisMachine || Box.IsRunning(parsed.GetValue(where.Path)!)) ? unseen : null,
        });
        if (what.Drop)
            return Drop(speaker, doctor, what.Yes);
        DoctorReport report = doctor.Look(cancel);
        Show(speaker, report);
        if (!what.Fix)
        {
            speaker.Note(Summary(report));
            return report.IsHealthy ? 0 : 3;
        }

        return Fix(speaker, doctor, report, what.Yes, cancel);
    }

    private static IReadOnlyList<string> FailedUnits()
    {
        if (!Directory.Exists("/run/systemd/system"))
            return [];
        var lines = new List<string>();
        ChildResult result = ChildProcess.Run(new ChildCommand("systemctl", ["list-units", "--failed", "--plain", "--no-legend", "--no-pager", "sbox-*", "ostree-*"]), lines.Add);
        return result.ExitCode == 0 ? [.. lines.Select(static line => line.Split(' ')[0]).Where(static unit => unit.Contains('.', StringComparison.Ordinal))] : [];
    }

    // Without an EFI partition the rest can be mended all the same.
    private static Box ToChange(ParseResult parsed, Option<string> path, Option<string?> esp)
    {
        try
        {
            return Box.ToChange(parsed, path, esp, Tolerant);
        }
        catch (NoEspException)
        {
            return Box.ToWrite(parsed.GetValue(path)!, Tolerant);
        }
    }

    private static int Fix(Speaker speaker, BoxDoctor doctor, DoctorReport report, bool yes, CancellationToken cancel)
    {
        RepairPlan plan = report.Plan;
        if (plan.Steps.Count == 0)
        {
            speaker.Note(report.IsHealthy ? "Nothing is to be mended" : $"Nothing of it can be mended by itself. {Summary(report)}");
            return report.IsHealthy ? 0 : 3;
        }

        speaker.Note("What would be done, in this order:");
        foreach (RepairStep step in plan.Steps)
            speaker.Note($"  {step.What}");
        if (!yes && !Confirmed(Word))
        {
            speaker.Note("Nothing was changed");
            Say("planned", plan.Steps, _ => null);
            return 3;
        }

        RepairReport done = doctor.Repair(plan, speaker.Json ? null : new Reporter<RepairStep>(step => speaker.Note($"{step.What} ...")), cancel);
        Say("done", done.Done, _ => null);
        Say("failed", [.. done.Failed.Select(static each => each.Step)], step => done.Failed.First(each => each.Step == step).Reason);
        foreach ((RepairStep step, string reason) in done.Failed)
            speaker.Note($"FAILED: {step.What}: {reason}");
        if (done.Aside is { } aside)
            speaker.Note($"What was taken away is in {aside} on the physical root; sbox doctor --drop-aside deletes it");
        DoctorReport after = doctor.Look(cancel);
        if (!after.IsHealthy)
            Show(speaker, after);
        speaker.Note(Summary(after));
        return after.IsHealthy && done.Failed.Count == 0 ? 0 : 3;

        void Say(string state, IReadOnlyList<RepairStep> steps, Func<RepairStep, string?> reason)
        {
            foreach (RepairStep step in speaker.Json ? steps : [])
            {
                speaker.Answer("", writer =>
                {
                    writer.WriteString("step", step.Kind.ToString());
                    writer.WriteString("state", state);
                    writer.WriteString("path", step.Path);
                    writer.WriteString("what", step.What);
                    if (reason(step) is { } why)
                        writer.WriteString("reason", why);
                });
            }
        }
    }

    private static int Drop(Speaker speaker, BoxDoctor doctor, bool yes)
    {
        IReadOnlyList<string> aside = doctor.Aside();
        foreach (string path in aside)
            speaker.Note($"{path} would be deleted");
        bool done = aside.Count > 0 && (yes || Confirmed(DropWord));
        if (done)
            doctor.DropAside();
        speaker.Answer(aside.Count == 0 ? "Nothing was set aside" : done ? "Deleted" : "Nothing was changed", writer =>
        {
            writer.WriteBoolean("deleted", done);
            writer.WriteNumber("repairs", aside.Count);
        });
        return done || aside.Count == 0 ? 0 : 3;
    }

    private static void Show(Speaker speaker, DoctorReport report)
    {
        foreach (DoctorFinding finding in report.Findings)
        {
            speaker.Answer(Text(finding), writer =>
            {
                writer.WriteString("finding", finding.Name);
                writer.WriteString("grade", finding.Grade.ToString().ToLowerInvariant());
                writer.WriteString("path", finding.Path);
                writer.WriteString("found", finding.Found);
                writer.WriteString("means", finding.Means);
                writer.WriteString("mend", finding.Mend);
                writer.WriteBoolean("fixable", finding.CanBeFixed);
            });
        }
    }

    private static string Text(DoctorFinding finding)
    {
        const string Indent = "           ";
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{(finding.Grade == FindingGrade.Broken ? "BROKEN" : finding.Grade.ToString().ToLowerInvariant()),-9}  {finding.Name}: {finding.Path}\n");
        text.Append(CultureInfo.InvariantCulture, $"{Indent}{finding.Found};\n{Indent}{finding.Means}\n");
        return text.Append(CultureInfo.InvariantCulture, $"{Indent}{(finding.CanBeFixed ? "--fix" : "mend")}: {finding.Mend}").ToString();
    }

    private static string Summary(DoctorReport report)
    {
        int open = report.Findings.Count(static finding => finding.Grade != FindingGrade.Note || finding.CanBeFixed), fixable = report.Findings.Count(static finding => finding.CanBeFixed);
        int broken = report.Findings.Count(static finding => finding.Grade == FindingGrade.Broken);
        return open == 0 ? $"{report.Path}: nothing is to be done"
            : string.Create(CultureInfo.InvariantCulture, $"{report.Path}: {open} {(open == 1 ? "finding" : "findings")}, {broken} of them broken{(fixable == 0 ? "" : $"; sbox doctor --fix mends {(fixable == open ? "all" : fixable)}")}");
    }

    private static bool Confirmed(string word)
    {
        if (Console.IsInputRedirected)
            return false;
        Console.Error.Write($"Type {word} to do it: ");
        return Console.In.ReadLine()?.Trim() == word;
    }
}
