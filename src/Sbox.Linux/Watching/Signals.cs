namespace Sbox.Linux;

/// <summary>Signals to other processes.</summary>
public static class Signals
{
    /// <summary>SIGKILL.</summary>
    public const int Kill = 9;

    /// <summary>SIGTERM.</summary>
    public const int Terminate = 15;

    /// <summary>SIGSTOP.</summary>
    public const int Stop = 19;

    /// <summary>Sends one.</summary>
    /// <exception cref="LinuxException">There is no such process (ESRCH), or it may not be signalled.</exception>
    public static void Send(int process, int signal) => Answer.Check(LibC.kill(process, signal), "kill", $"process {process}");
}
