namespace Sbox.Linux;

/// <summary>Calls on the machine as a whole.</summary>
public static class Machine
{
    /// <summary>Writes what is pending and restarts the machine at once; nothing is stopped or unmounted.</summary>
    /// <exception cref="LinuxException">The caller may not.</exception>
    public static void Restart()
    {
        LibC.sync();
        Answer.Check(LibC.reboot(LibC.LINUX_REBOOT_CMD_RESTART), "reboot", "the machine");
    }
}
