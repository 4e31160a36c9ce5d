using System.CommandLine;
using Sbox.Boot;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox next-root</c>: what sbox-next-root.service does so that systemd's soft reboot finds the next version's root; no command for people.</summary>
internal static class NextRootCommand
{
    public static Command Make()
    {
        var command = new Command("next-root", "Make the root that a soft reboot goes to (sbox-next-root.service)") { Hidden = true };
        command.Subcommands.Add(AtBoot());
        command.Subcommands.Add(AtShutdown());
        return command;
    }

    private static Command AtBoot()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Command command = new Command("at-boot", "Say which version runs now") { Hidden = true }.With(sysroot);
        command.SetAction(parsed =>
        {
            new SoftRoots().Arrive(parsed.GetValue(sysroot)!);
            // Memory outlives a soft reboot: what was told of the version before is no news of this one.
            new FailedChecks().Write([]);
            foreach (string about in (string[])[HealthText.Trial, HealthText.FailedChecks, EtcCommand.Merge])
                LoginMessage.Withdraw(about);
            return 0;
        });
        return command;
    }

    // Not in a mount namespace of this process's own: systemd itself has to find what is mounted.
    private static Command AtShutdown()
    {
        Option<string> sysroot = SharedOptions.Sysroot();
        Command command = new Command("at-shutdown", "Make the root of the version that a soft reboot goes to") { Hidden = true }.With(sysroot);
        command.SetAction(parsed =>
        {
            var roots = new SoftRoots();
            if (roots.Next is null || !IsSoftReboot())
                return 0;
            RootPlan? plan = roots.MakeNext(parsed.GetValue(sysroot)!);
            Console.Error.WriteLine($"sbox: the soft reboot goes to {plan?.Deployment.Short}");
            return 0;
        });
        return command;
    }

    // Any other way down, or somebody who stops the unit, needs no root.
    private static bool IsSoftReboot()
    {
        ChildResult jobs = ChildProcess.Run(new ChildCommand("systemctl", ["list-jobs", "--no-legend", "--no-pager", "soft-reboot.target"]));
        return jobs.LastLines.Any(static line => line.Contains("soft-reboot.target", StringComparison.Ordinal));
    }
}
