using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>How much of processor and disk a thread may take from others.</summary>
public static class Priority
{
    private const int IdleScheduling = 5; // SCHED_IDLE
    private const int ThisThread = 0, Process = 1; // IOPRIO_WHO_PROCESS, which is a thread all the same
    private const int IdleClass = 3 << 13; // IOPRIO_CLASS_IDLE

    /// <summary>
    /// Makes this thread take only what nobody else wants: SCHED_IDLE for the processor, the idle class for the disk. Anyone may do that; a
    /// thread without privileges does not get back from it. Each thread has to ask for itself: the runtime gives new ones its own priority.
    /// </summary>
    /// <returns>Whether the kernel took both; a sandbox may forbid either.</returns>
    /// <remarks>sched_setscheduler(2), ioprio_set(2).</remarks>
    public static unsafe bool BeIdle()
    {
        int priority = 0;
        bool processor = Answer.Of(LibC.sched_setscheduler(ThisThread, IdleScheduling, &priority)) == Errno.None;
        bool disk = Answer.Of((nint)LibC.ioprio(LibC.IoPriorityNumber, Process, ThisThread, IdleClass)) == Errno.None;
        return processor && disk;
    }
}

internal static unsafe partial class LibC
{
    public static long IoPriorityNumber => Arm ? 30 : 251;

    [LibraryImport("libc", SetLastError = true)]
    public static partial int sched_setscheduler(int thread, int policy, int* priority);

    // ioprio_set(2) has no wrapper in the C library.
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    public static partial long ioprio(long number, long which, long who, long priority);
}
