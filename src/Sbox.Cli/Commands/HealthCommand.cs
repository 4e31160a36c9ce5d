using System.CommandLine;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox health</c>: whether the version that runs is good, and what becomes of one that is not.</summary>
internal static class HealthCommand
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);

    public static Command Make()
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        var atBoot = new Option<bool>("--at-boot") { Description = "Let the result count, and restart the machine where a version on trial failed (sbox-health.service)" };
        var deadline = new Option<bool>("--deadline") { Description = "Restart the machine where a version on trial has not been found good yet (sbox-health-deadline.service)" };
        Command command = new DocumentedCommand("health", "Ask the health checks whether the version that runs is good")
        {
            Details =
            [
                "Checks are programs in /usr/lib/sbox/health.d and /etc/sbox/health.d: those in required decide, those in wanted are only told. A file of /etc takes the place of one with its name in /usr/lib; a link to "
                + "/dev/null takes it away. Exit status 0 is good; one that takes more than 120 s is not.",
                "A new version is on trial: the firmware is told to start it once, and the default stays the version before until every required check has passed. When one fails, or the machine has not come so far after 15 minutes, "
                + "it is restarted and tried again, whoever asks that it is not; the rescue entry of the boot menu is not. A version that hangs or panics is followed by the version before at the next start, by itself, and gets its next try with the boot after that. After three tries "
                + "(sysroot.boot-counting-tries in the repository's config; 0 for no trial) the version before stays: sbox status and the login message say so, and sbox upgrade does not take the same version again unless told to "
                + "(--retry). The first version of a box, one without sbox-health.service, and any on a machine whose firmware keeps no variables, is the default at once.",
            ],
            ExitCodes = [(3, "A required check failed.")],
            Examples = [new Example("Would this version be found good?", "sbox health"), new Example("A check of one's own", "ln -s /usr/local/bin/check-database /etc/sbox/health.d/required/")],
        }.With(atBoot, deadline, path, esp, json);
        command.SetAction((parsed, cancel) => Task.Run(() => Run(parsed, new Speaker(parsed.GetValue(json)), (atBoot, deadline, path, esp), cancel), cancel));
        return command;
    }

    private static int Run(
        ParseResult parsed, Speaker speaker, (Option<bool> AtBoot, Option<bool> Deadline, Option<string> Path, Option<string?> Esp) options, CancellationToken cancel)
    {
        bool counts = parsed.GetValue(options.AtBoot) || parsed.GetValue(options.Deadline);
        using Box? box = counts ? ToChange(parsed, options.Path, options.Esp, speaker) : null;
        using Deployer? deployer = box is null ? null : new Deployer(box.Sysroot, box.Esp, box.Seal);
        BootHealth? health = deployer?.Esp is { } partition ? new BootHealth(box!.Sysroot, partition) : null;
        BootVerdict? verdict = health?.Look();
        if (parsed.GetValue(options.Deadline))
            return verdict is { IsOnTrial: true } ? Restart(box!, speaker, health!, verdict, "it was not found good in time") : 0;
        if (verdict is { Waiting: { } waiting })
            Tell(speaker, $"{DeploymentSelector.Describe(box!.Sysroot, waiting)} did not come up, or was not chosen in the menu; {DeploymentSelector.Describe(box.Sysroot, verdict.Running)} runs in its place. The next boot tries it once more (sbox rollback: not again).");
        if (verdict is { FellBackFrom.Count: > 0 })
            FallBack(box!, deployer!, health!, verdict, speaker);
        bool good = HealthChecks.Run(HealthChecks.Directories, Limit, finding => Say(speaker, finding), cancel).All(static finding => finding.Failure is null || !finding.IsRequired);
        if (!counts)
        {
            speaker.Note(good ? "Every required check passed" : "A required check failed");
            return good ? 0 : 3;
        }

        if (good)
            health?.MarkGood();
        else if (verdict is { IsOnTrial: true })
            return Restart(box!, speaker, health!, verdict, "a required health check failed");
        return good ? 0 : 3;
    }

    // Without an EFI partition nothing is counted, which is said, and the checks are asked all the same.
    private static Box ToChange(ParseResult parsed, Option<string> path, Option<string?> esp, Speaker speaker)
    {
        try
        {
            return Box.ToChange(parsed, path, esp);
        }
        catch (NoEspException unseen)
        {
            speaker.Note($"{unseen.Message}: no trial begins or ends");
            return Box.ToWrite(parsed.GetValue(path)!);
        }
    }

    private static void Say(Speaker speaker, HealthFinding finding) => speaker.Answer(
        $"{(finding.Failure is null ? "good" : finding.IsRequired ? "BAD " : "bad ")}  {finding.Path}{(finding.Failure is null ? "" : $": {finding.Failure}")}",
        writer =>
        {
            writer.WriteString("check", finding.Path);
            writer.WriteBoolean("required", finding.IsRequired);
            writer.WriteString("failure", finding.Failure);
        });

    private static void FallBack(Box box, Deployer deployer, BootHealth health, BootVerdict verdict, Speaker speaker)
    {
        deployer.Rollback(verdict.Running);
        health.NoteFallback(verdict);
        string running = DeploymentSelector.Describe(box.Sysroot, verdict.Running);
        string names = string.Join(" and ", verdict.FellBackFrom.Select(name =>
            name.Commit == verdict.Running.Commit ? $"{running} as {name.Short}, deployed anew with other kernel arguments or settings," : DeploymentSelector.Describe(box.Sysroot, name)));
        string anew = verdict.FellBackFrom is [var only] && only.Commit == verdict.Running.Commit ? $"sbox rollback --to {only.Short}" : "sbox upgrade --retry";
        Tell(speaker, $"This box went back to {running} by itself: {names} did not come up. It is not tried again ({anew} does); journalctl --list-boots shows its boots.");
    }

    private static void Tell(Speaker speaker, string said)
    {
        speaker.Note(said);
        LoginMessage.Show("health", said);
    }

    private static int Restart(Box box, Speaker speaker, BootHealth health, BootVerdict verdict, string why)
    {
        string name = DeploymentSelector.Describe(box.Sysroot, verdict.Running);
        if (health.MarkFailed(why) is not { } left)
        {
            speaker.Note($"{name}: {why}; it goes on running: a restart would bring nothing better");
            return 3;
        }

        speaker.Note($"{name}: {why}; restarting, with {left} {(left == 1 ? "try" : "tries")} left");
        if (box.IsThisMachine)
            RestartMachine(speaker);
        return 3;
    }

    // Whoever asks that the machine is not restarted cannot keep a bad version running; and where systemd does not do it in good order, it does it at once.
    private static void RestartMachine(Speaker speaker)
    {
        foreach (string[] how in (string[][])[["reboot", "--no-block", "--check-inhibitors=no"], ["reboot", "--force"]])
        {
            string why;
            try
            {
                ChildResult result = ChildProcess.Run(new ChildCommand("systemctl", how));
                if (result.ExitCode == 0)
                    return;
                why = result.LastLines.LastOrDefault() ?? $"exit status {result.ExitCode}";
            }
            catch (ChildFailedException refused)
            {
                why = refused.Message;
            }

            speaker.Note($"systemctl {string.Join(' ', how)}: {why}");
        }
    }
}
