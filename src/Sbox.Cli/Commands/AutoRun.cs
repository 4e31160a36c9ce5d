using Sbox.Boot;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>One run of automatic updates: look at box and machine, decide, act, and look again, as long as something was done.</summary>
internal static class AutoRun
{
    private const string Sysroot = "/sysroot";

    // Check, deploy and restart follow each other; more than that is a mistake that must not go round for ever.
    private const int MostActions = 3;

    public static async Task<int> Do(Speaker speaker, CancellationToken cancel)
    {
        AutoSettings settings = AutoSettings.Read(AutoSettings.Files);
        if (!settings.Enabled)
        {
            speaker.Answer("Automatic updates are off", static writer => writer.WriteString("did", "nothing"));
            return 0;
        }

        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may change what this box boots", "sudo sbox ...");
        Box.RequireSysroot(Sysroot);
        for (int done = 0; done < MostActions; done++)
        {
            (AutoFacts facts, AutoDecision decision) = Look(settings);
            if (facts.RunsUnnoted)
                NoteRunning();
            speaker.Answer(AutoCommand.WhyText(facts, decision), writer =>
            {
                writer.WriteString("did", decision.Action.ToString().ToLowerInvariant());
                AutoCommand.Write(writer, facts, decision);
            });
            switch (decision.Action)
            {
                case AutoAction.Check when await Check(speaker, cancel):
                case AutoAction.Deploy when Deploy(speaker, cancel):
                    continue;
                case AutoAction.Check or AutoAction.Deploy:
                    return 1;
                case AutoAction.Reboot:
                    return Restart(speaker, cancel) ? 0 : 1;
                default:
                    return 0;
            }
        }

        return 0;
    }

    // Read-only: a look every quarter of an hour must not mark the EFI partition as in use.
    private static (AutoFacts Facts, AutoDecision Decision) Look(AutoSettings settings)
    {
        using Box box = Box.ToLook(Sysroot);
        using var deployer = new Deployer(box.Sysroot, box.Esp);
        AutoFacts facts = new AutoUpdater(box.Sysroot, deployer, MachineProbe.This).Facts();
        return (facts, AutoDecision.Of(settings, facts));
    }

    private static void NoteRunning()
    {
        using Box box = Box.ToWrite(Sysroot);
        using var deployer = new Deployer(box.Sysroot, null);
        new AutoUpdater(box.Sysroot, deployer, MachineProbe.This).NoteRunning();
    }

    private static async Task<bool> Check(Speaker speaker, CancellationToken cancel)
    {
        using Box box = Box.ToWrite(Sysroot);
        using var deployer = new Deployer(box.Sysroot, null);
        var updater = new AutoUpdater(box.Sysroot, deployer, MachineProbe.This);
        try
        {
            await updater.Check(cancel);
            return true;
        }
        catch (Exception failed) when (failed is PullException or RepositoryException or SysrootException or IOException or MalformedException or HttpRequestException)
        {
            return Failed(speaker, updater, failed.Message);
        }
    }

    // As a person would: with approval, seal, the disk's keys and all else that belongs to it.
    private static bool Deploy(Speaker speaker, CancellationToken cancel)
    {
        var lines = new List<string>();
        ChildResult result = ChildProcess.Run(new ChildCommand(Environment.ProcessPath!, ["upgrade", "--json"]) { Title = "sbox upgrade" }, lines.Add, cancel);
        UpgradeAnswer answer = UpgradeAnswer.Of(lines);
        foreach (string note in answer.Notes)
            speaker.Note(note);
        using Box box = Box.ToWrite(Sysroot);
        using var deployer = new Deployer(box.Sysroot, null);
        var updater = new AutoUpdater(box.Sysroot, deployer, MachineProbe.This);
        if (result.ExitCode is not (0 or 4))
            return Failed(speaker, updater, answer.Error ?? $"sbox upgrade ended with {result.ExitCode}{(result.LastLines is [.., var last] ? $": {last}" : "")}");
        updater.NoteUpgrade(answer.State == "deployed" ? answer.Commit : null);
        return true;
    }

    // What asks for more time (a tomb that is saved, a package that is written) was an obstacle by now. systemctl's own question would also refuse where anybody is logged in,
    // and "always" means them too; logind tells them, and waits for those who ask for a delay.
    private static bool Restart(Speaker speaker, CancellationToken cancel)
    {
        string why;
        try
        {
            ChildResult result = ChildProcess.Run(new ChildCommand("systemctl", ["reboot", "--check-inhibitors=no"]), null, cancel);
            if (result.ExitCode == 0)
                return true;
            why = $"systemctl reboot: {result.LastLines.LastOrDefault() ?? $"exit status {result.ExitCode}"}";
        }
        catch (ChildFailedException refused)
        {
            why = refused.Message;
        }

        using Box box = Box.ToWrite(Sysroot);
        using var deployer = new Deployer(box.Sysroot, null);
        return Failed(speaker, new AutoUpdater(box.Sysroot, deployer, MachineProbe.This), why);
    }

    private static bool Failed(Speaker speaker, AutoUpdater updater, string why)
    {
        updater.NoteFailure(why);
        speaker.Note($"FAILED: {why}");
        return false;
    }
}
