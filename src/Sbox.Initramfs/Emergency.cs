using Sbox.Linux;

/// <summary>What stays when there is no root: a shell where the initrd has one, and a restart after it. The first program may never end.</summary>
internal static class Emergency
{
    // The shell takes this program's place and starts another one for the person: as process 1 it may not end either.
    private const string Shell = "/usr/bin/sh", Session = "sh -i; echo s >/proc/sysrq-trigger; echo b >/proc/sysrq-trigger; sleep 60";
    private static readonly TimeSpan TimeToRead = TimeSpan.FromSeconds(60);

    public static void Wait(bool mayOpenShell)
    {
        if (mayOpenShell && File.Exists(Shell))
        {
            Console.Error.WriteLine("sbox-root: emergency mode: a shell in the initrd; 'exit' restarts the machine");
            ThisProcess.Execute(Shell, ["sh", "-c", Session], ["PATH=/usr/bin", "TERM=linux", "HOME=/"]);
        }

        Console.Error.WriteLine($"sbox-root: the machine restarts in {TimeToRead.TotalSeconds:0} s");
        Thread.Sleep(TimeToRead);
        Machine.Restart();
    }
}
