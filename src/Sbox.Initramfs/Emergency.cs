using Sbox.Linux;

/// <summary>What stays when there is no root: a shell on each console, where the initrd has one, and a restart after it. The first program may never end.</summary>
internal static class Emergency
{
    private const string Shell = "/usr/bin/sh";

    // The shell takes this program's place and starts others for people: as process 1 it may not end either. The first one to leave
    // restarts the machine, and what was repaired until then is on the disk.
    private const string Sessions = """
        restart() { sync; echo u >/proc/sysrq-trigger; sleep 2; echo b >/proc/sysrq-trigger; }
        for console in $(cat /sys/class/tty/console/active); do
          (setsid -w -c sh -i <>"/dev/$console" >&0 2>&1; restart) &
        done
        wait
        restart
        sleep 60
        """;

    private static readonly TimeSpan TimeToRead = TimeSpan.FromSeconds(60);

    public static void Wait(bool mayOpenShell)
    {
        if (mayOpenShell && File.Exists(Shell))
        {
            ConsoleLine.Say("emergency mode: a shell in the initrd; 'exit' restarts the machine");
            try
            {
                ThisProcess.Execute(Shell, ["sh", "-c", Sessions], ["PATH=/usr/bin", "TERM=linux", "HOME=/"]);
            }
            catch (LinuxException refused)
            {
                ConsoleLine.Say($"no shell: {refused.Message}");
            }
        }

        ConsoleLine.Say($"the machine restarts in {TimeToRead.TotalSeconds:0} s");
        Thread.Sleep(TimeToRead);
        Machine.Restart();
    }
}
