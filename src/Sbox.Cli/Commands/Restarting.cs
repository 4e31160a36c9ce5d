using System.CommandLine;
using Sbox.Boot;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>What follows where a version waits for a restart and its owner wants it now.</summary>
internal static class Restarting
{
    /// <summary><c>--soft-reboot</c>.</summary>
    public static Option<bool> SoftOption() => new("--soft-reboot") { Description = "Where a version waits for a restart, restart all services in it; the kernel goes on" };

    /// <summary>Restarts the machine, or all that runs above the kernel, where that was asked for and a version waits for it.</summary>
    /// <returns>The exit code.</returns>
    /// <exception cref="NoSoftRebootException">A soft reboot was asked for, and does not go there.</exception>
    public static int AsAsked(Box box, Speaker speaker, bool reboot, bool soft)
    {
        if (reboot && soft)
            throw new Finding("--reboot and --soft-reboot: a machine is restarted in one way", "What is deployed stays so. Say one of them");
        if (!reboot && !soft)
            return 0;
        if (!box.IsThisMachine || box.Sysroot.BootedName is not { } booted || booted == box.Sysroot.Deployments[0].Name)
        {
            speaker.Note("Nothing waits for a restart of this machine");
            return 0;
        }

        if (soft)
            new SoftReboot(box.Sysroot, new SoftRoots()).Prepare(box.Sysroot.Deployments[0]);
        speaker.Note(soft ? "Restarting all services in the new version; the kernel goes on" : "Restarting");
        return ChildProcess.Run(new ChildCommand("systemctl", [soft ? "soft-reboot" : "reboot"])).ExitCode;
    }
}
