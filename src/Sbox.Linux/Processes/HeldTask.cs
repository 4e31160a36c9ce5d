using System.Globalization;

namespace Sbox.Linux;

/// <summary>One task of a process that stands still. Only the thread that seized it may ask anything of it.</summary>
internal sealed class HeldTask
{
    private const int TriesOfLettingGo = 100;
    private int signal;

    private HeldTask(int number) => Number = number;

    /// <summary>Its number.</summary>
    public int Number { get; }

    /// <summary>Whether it stands still.</summary>
    public bool Stands { get; private set; }

    /// <summary>Whether it has ended.</summary>
    public bool Ended { get; private set; }

    /// <summary>
    /// Takes hold of a task and has it stop where it next comes out of the kernel; null where it cannot be had: a debugger has it, it may not be touched, or it is
    /// our own child, whose stop the class library would take for its end.
    /// </summary>
    public static HeldTask? Seize(int number)
    {
        if (Stat(number) is [_, var parent, ..] && int.Parse(parent, CultureInfo.InvariantCulture) == Environment.ProcessId)
            return null;
        var task = new HeldTask(number);
        Errno errno = Answer.Of(LibC.ptrace(LibC.PTRACE_SEIZE, number, 0, 0));
        if (errno == Errno.None)
            LibC.ptrace(LibC.PTRACE_INTERRUPT, number, 0, 0);
        else if (errno != Errno.ESRCH && Stat(number) is [not ("Z" or "X"), ..])
            return null; // one that has ended and was not waited for cannot be had either, and writes nothing
        else
            task.Ended = true;
        return task;
    }

    /// <summary>Looks whether it has come to stand still, or has ended; does not wait.</summary>
    public unsafe void Look()
    {
        int status = 0;
        int found = LibC.waitpid(Number, &status, LibC.WNOHANG | LibC.WALL);
        if (found == 0)
            return;
        if (found < 0 || (status & 0xFF) != 0x7F)
        {
            Ended = true;
            return;
        }

        // It may have stopped because a signal came just then; that is handed on when it goes on.
        Stands = true;
        signal = status >> 16 == LibC.PTRACE_EVENT_STOP ? 0 : (status >> 8) & 0xFF;
    }

    /// <summary>Lets it go on as if nothing had been.</summary>
    /// <remarks>One that does not stand still cannot be let go: the kernel does so when the thread that seized it ends.</remarks>
    public void LetGo()
    {
        if (!Stands && !Ended)
            Look();
        for (int tries = 0; Stands && !Ended && tries < TriesOfLettingGo; tries++)
        {
            if (Answer.Of(LibC.ptrace(LibC.PTRACE_DETACH, Number, 0, signal)) == Errno.None)
                return;
            Look(); // a SIGCONT that came meanwhile has it stop once more
            Thread.Sleep(0);
        }
    }

    // proc_pid_stat(5), from the state on: behind the program's name, which may hold anything. Null where there is none.
    private static string[]? Stat(int task)
    {
        try
        {
            string stat = FileName.FromBytes(File.ReadAllBytes(string.Create(CultureInfo.InvariantCulture, $"/proc/{task}/stat")));
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }
}
