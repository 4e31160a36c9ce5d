using System.CommandLine;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.StoreCommands;

/// <summary>The commands of <c>ostree admin</c> about the system that runs, and about what is staged for its shutdown, which nothing is here.</summary>
internal static class AdminRunning
{
    public static IEnumerable<Command> All() => [PrepareSoftReboot(), StateOverlays(), LockFinalization(), FinalizeStaged(), BootComplete(), Unlock()];

    private static Command PrepareSoftReboot()
    {
        Option<string?> path = AdminCommands.Sysroot();
        var index = new Argument<string?>("INDEX") { Description = "Its place in ostree admin status, from 0", Arity = ArgumentArity.ZeroOrOne };
        var reboot = new Option<bool>("--reboot") { Description = "Go there now" };
        var reset = new Option<bool>("--reset") { Description = "Have the next soft reboot stay with what runs" };
        Command command = new DocumentedCommand("prepare-soft-reboot", "Have the next soft reboot go to a deployment").With(path, reboot, reset, index);
        command.SetAction(parsed =>
        {
            using OstreeSysroot sysroot = AdminCommands.Open(parsed, path);
            var roots = new SoftRoots();
            if (parsed.GetValue(reset))
            {
                roots.Next = null;
                return 0;
            }

            if (parsed.GetValue(index) is not { } text)
                return Misused(command, "INDEX must be specified");
            Deployment target = AdminCommands.At(sysroot, text);
            if (sysroot.IsBooted(target))
                throw new IOException($"Cannot prepare for soft-reboot currently booted deployment {text}");
            Prepare(sysroot, target, roots);
            return parsed.GetValue(reboot) ? ChildProcess.Run(new ChildCommand("systemctl", ["soft-reboot"])).ExitCode : 0;
        });
        return command;
    }

    private static void Prepare(OstreeSysroot sysroot, Deployment target, SoftRoots roots)
    {
        try
        {
            new SoftReboot(sysroot, roots).Prepare(target);
        }
        catch (NoSoftRebootException refused) when (refused.KernelDiffers || sysroot.Booted is null)
        {
            throw new IOException("Preparing /run/nextroot for a soft-reboot: Cannot soft-reboot to deployment with different kernel state", refused);
        }
    }

    private static Command StateOverlays()
    {
        Option<string?> path = AdminCommands.Sysroot();
        var words = new Argument<string[]>("NAME MOUNTPATH") { Description = "What the changes are kept under in /var, and the directory that may be changed", Arity = ArgumentArity.ZeroOrMore };
        Command command = new DocumentedCommand("state-overlay", "Let a directory of the system be changed, and keep the changes in /var").With(path, words);
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(words) is not [var name, var mountPoint])
                return Misused(command, "Missing NAME or MOUNTPATH");
            using OstreeSysroot sysroot = AdminCommands.Open(parsed, path);
            Deployment running = sysroot.Booted ?? throw new IOException("Must be booted into an OSTree deployment");
            new StateOverlay(name, Path.GetFullPath(mountPoint)).Mount(running.Name.Commit);
            return 0;
        });
        return command;
    }

    // A deployment is never staged here: there is none to lock or to finish.
    private static Command LockFinalization()
    {
        var unlock = new Option<bool>("--unlock", "-u") { Description = "Let it be finalized" };
        return AdminKeeping.On("lock-finalization", "Change whether the staged deployment is finalized at shutdown", static (_, _) => throw new IOException("No staged deployment"), unlock);
    }

    private static Command FinalizeStaged() => AdminKeeping.On("finalize-staged", "Finish a staged deployment", static (_, _) => { });

    private static Command BootComplete() => Hidden(AdminKeeping.On("boot-complete", "Say what became of a staged deployment", static (_, _) => { }));

    private static Command Unlock()
    {
        var hotfix = new Option<bool>("--hotfix") { Description = "Keep the changes through reboots" };
        var transient = new Option<bool>("--transient") { Description = "Mount what may be changed read-only at first" };
        return AdminKeeping.On("unlock", "Make the current deployment mutable; refused: no sysroot that is changed here runs", static (_, _) => throw new IOException("Not currently booted into an OSTree system"), hotfix, transient);
    }

    private static Command Hidden(Command command)
    {
        command.Hidden = true;
        return command;
    }

    private static int Misused(Command command, string finding)
    {
        HelpPage.Write(command, Console.Error);
        Console.Error.WriteLine($"error: {finding}");
        return 1;
    }
}
