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
    // An upgrade that somebody typed at once is waited for: without a verdict the machine would be restarted.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120), Patience = TimeSpan.FromMinutes(30);

    public static Command Make()
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        var atBoot = new Option<bool>("--at-boot") { Description = "Let the result count, and restart the machine where a version on trial failed (sbox-health.service)" };
        var deadline = new Option<bool>("--deadline") { Description = "Restart the machine where a version on trial has not been found good yet (sbox-health-deadline.service)" };
        Command command = new DocumentedCommand("health", "Ask the health checks whether the version that runs is good")
        {
            Details =
            [
                "Checks are programs in /usr/lib/sbox/health.d and /etc/sbox/health.d: those in required decide, those in wanted are only told: by sbox status and the login message, until they pass. A file of /etc takes the place of one with its name in /usr/lib; a link to "
                + "/dev/null takes it away. Exit status 0 is good; one that takes more than 120 s is not.",
                "A new version is on trial: the firmware is told to start it once, and the default stays the version before until every required check has passed. When one fails, or the machine has not come so far after 15 minutes, "
                + "it is restarted and tried again, whoever asks that it is not; the rescue entry of the boot menu is not. A box that starts as a ghost tries it as one, and its verdict is all that is written to the disk; a ghost of which nothing is on trial writes nothing. A version that hangs or panics is followed by the version before at the next start, by itself, and gets its next try with the boot after that. After three tries "
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
        bool deadline = parsed.GetValue(options.Deadline);
        bool counts = (parsed.GetValue(options.AtBoot) || deadline) && IsAwaited(parsed, options.Path, options.Esp, canBeGood: !deadline, speaker);
        BootVerdict? verdict = null;
        if (counts)
        {
            using Trialled box = Open(parsed, options.Path, options.Esp, speaker);
            verdict = box.Health?.Look();
            if (deadline)
                return verdict is { IsOnTrial: true } ? Restart(box, speaker, verdict, "it was not found good in time") : 0;
            if (verdict is { Waiting: { } waiting })
                Tell(speaker, $"{DeploymentSelector.Describe(box.Box.Sysroot, waiting)} did not come up, or was not chosen in the menu; {DeploymentSelector.Describe(box.Box.Sysroot, verdict.Running)} runs in its place. The next boot tries it once more (sbox rollback: not again).");
            if (verdict is { FellBackFrom.Count: > 0 })
                FallBack(box, verdict, speaker);
        }

        if (deadline)
            return 0;
        // Nothing of the box is open meanwhile: a check may take its time, and a ghost's disk is nobody's to write to then.
        IReadOnlyList<HealthFinding> findings = HealthChecks.Run(HealthChecks.Directories, Limit, finding => Say(speaker, finding), cancel);
        Remember(parsed.GetValue(options.Path)!, findings, speaker);
        bool good = findings.All(static finding => finding.Failure is null || !finding.IsRequired);
        if (!counts)
        {
            speaker.Note(good ? "Every required check passed" : "A required check failed");
            return good ? 0 : 3;
        }

        return Judge(parsed, options.Path, options.Esp, speaker, verdict, good);
    }

    private static int Judge(ParseResult parsed, Option<string> path, Option<string?> esp, Speaker speaker, BootVerdict? verdict, bool good)
    {
        // A ghost's disk changes for the end of a trial, and for nothing else.
        if (verdict is not null && (verdict.Awaits(good) || (good && !KeepsNothing(parsed, path))))
        {
            using Trialled box = Open(parsed, path, esp, speaker);
            if (good)
                box.Health?.MarkGood();
            else
                return Restart(box, speaker, verdict, "a required health check failed");
        }

        return good ? 0 : 3;
    }

    private static bool KeepsNothing(ParseResult parsed, Option<string> path) => Box.IsRunning(parsed.GetValue(path)!) && Box.IsGhost;

    // A ghost looks first, and where nothing is to be counted or ended it leaves the disk alone. One from memory has none: the version is tried by a ghost from the medium.
    private static bool IsAwaited(ParseResult parsed, Option<string> path, Option<string?> esp, bool canBeGood, Speaker speaker)
    {
        if (!KeepsNothing(parsed, path))
            return true;
        if (MemoryDisk.IsUsed())
            return false;
        using Box box = Box.ToGlance(parsed, path, esp);
        using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal);
        if (deployer.Esp is { } partition)
            return BootHealth.IsAwaited(box.Sysroot, partition, canBeGood);
        if (!box.HasNoEsp)
            throw new Finding($"whether this version is on trial is not known: {box.EspUnseen}", "When that is mended: systemctl restart sbox-health.service");
        speaker.Note($"{box.EspUnseen}: no trial begins or ends");
        return false;
    }

    // Without an EFI partition nothing is counted, which is said, and the checks are asked all the same.
    private static Trialled Open(ParseResult parsed, Option<string> path, Option<string?> esp, Speaker speaker)
    {
        try
        {
            return new Trialled(Box.ToChange(parsed, path, esp, patience: Patience));
        }
        catch (NoEspException unseen)
        {
            speaker.Note($"{unseen.Message}: no trial begins or ends");
            return new Trialled(Box.ToWrite(parsed.GetValue(path)!));
        }
    }

    private static void Say(Speaker speaker, HealthFinding finding) => speaker.Answer(
        $"{(finding.Failure is null ? "good" : finding.IsRequired ? "BAD " : "bad ")}  {finding.Path}{(finding.Failure is null ? "" : $": {finding.Failure}")}",
        writer => HealthText.Write(writer, finding));

    // For sbox status and whoever logs in: a check that takes no version back would else be seen by nobody. No verdict depends on it.
    private static void Remember(string path, IReadOnlyList<HealthFinding> findings, Speaker speaker)
    {
        if (!Environment.IsPrivilegedProcess || !Directory.Exists($"{path}/ostree/deploy") || !Box.IsRunning(path))
            return;
        try
        {
            new FailedChecks().Write(findings);
            if (HealthText.Line([.. findings.Where(static finding => finding.Failure is not null)]) is { } failed)
                LoginMessage.Show(HealthText.FailedChecks, $"Health: {failed}");
            else
                LoginMessage.Withdraw(HealthText.FailedChecks);
        }
        catch (Exception unwritten) when (unwritten is IOException or LinuxException or UnauthorizedAccessException)
        {
            speaker.Note($"sbox status and the login message do not tell of this: {unwritten.Message}");
        }
    }

    private static void FallBack(Trialled trialled, BootVerdict verdict, Speaker speaker)
    {
        Box box = trialled.Box;
        trialled.Deployer.Rollback(verdict.Running);
        trialled.Health!.NoteFallback(verdict);
        string running = DeploymentSelector.Describe(box.Sysroot, verdict.Running);
        string names = string.Join(" and ", verdict.FellBackFrom.Select(name =>
            name.Commit == verdict.Running.Commit ? $"{running} as {name.Short}, deployed anew with other kernel arguments or settings," : DeploymentSelector.Describe(box.Sysroot, name)));
        string anew = verdict.FellBackFrom is [var only] && only.Commit == verdict.Running.Commit ? $"sbox rollback --to {only.Short}" : "sbox upgrade --retry";
        Tell(speaker, $"This box went back to {running} by itself: {names} did not come up. It is not tried again ({anew} does); journalctl --list-boots shows its boots.");
    }

    private static void Tell(Speaker speaker, string said)
    {
        speaker.Note(said);
        LoginMessage.Show(HealthText.Trial, said);
    }

    private static int Restart(Trialled trialled, Speaker speaker, BootVerdict verdict, string why)
    {
        Box box = trialled.Box;
        string name = DeploymentSelector.Describe(box.Sysroot, verdict.Running);
        if (trialled.Health!.MarkFailed(why) is not { } left)
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

    // A box that is open to be changed, and what ends its trials; without an EFI partition nothing does.
    private sealed class Trialled : IDisposable
    {
        public Trialled(Box box)
        {
            (Box, Deployer) = (box, new Deployer(box.Sysroot, box.Esp, box.Seal));
            Health = Deployer.Esp is { } partition ? new BootHealth(box.Sysroot, partition) : null;
        }

        public Box Box { get; }

        public Deployer Deployer { get; }

        public BootHealth? Health { get; }

        public void Dispose()
        {
            Deployer.Dispose();
            Box.Dispose();
        }
    }
}
