namespace Sbox.Linux;

/// <summary>Signals to other processes.</summary>
public static class Signals
{
    /// <summary>SIGHUP.</summary>
    public const int HangUp = 1;

    /// <summary>SIGKILL.</summary>
    public const int Kill = 9;

    /// <summary>SIGTERM.</summary>
    public const int Terminate = 15;

    /// <summary>SIGSTOP.</summary>
    public const int Stop = 19;

    /// <summary>SIGCONT.</summary>
    public const int Continue = 18;

    /// <summary>Sends one to a process that may be gone already; false then, or when it may not be signalled.</summary>
    public static bool TrySend(int process, int signal) => Answer.Of(LibC.kill(process, signal)) == Errno.None;

    /// <summary>Sends one.</summary>
    /// <exception cref="LinuxException">There is no such process (ESRCH), or it may not be signalled.</exception>
    public static void Send(int process, int signal) => Answer.Check(LibC.kill(process, signal), "kill", $"process {process}");
}
