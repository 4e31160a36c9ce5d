using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>What a descriptor is waited for.</summary>
[Flags]
public enum Readiness : uint
{
    /// <summary>Something to read, or the process behind a process descriptor ended.</summary>
    Readable = 1,
    /// <summary>Something changed: of /proc/PID/mountinfo, the mounts.</summary>
    Changed = 2 | 8,
}

/// <summary>Waits for many descriptors at once, by epoll(7). Each has a number of the caller's choice.</summary>
public sealed unsafe class Poller : IDisposable
{
    private const int AtMost = 32;
    private readonly SafeFileHandle epoll;
    private readonly int stride = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;
    private readonly byte[] events;

    /// <summary>A poller that waits for nothing yet.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public Poller()
    {
        int fd = LibC.epoll_create1(LibC.EPOLL_CLOEXEC);
        Answer.Check(fd, "epoll_create1", "poller");
        epoll = new SafeFileHandle(fd, ownsHandle: true);
        events = new byte[AtMost * stride];
    }

    /// <summary>Waits for a descriptor too. It must be removed before it is closed.</summary>
    /// <exception cref="LinuxException">It cannot be waited for.</exception>
    public void Add(SafeFileHandle handle, Readiness readiness, long number) => Control(LibC.EPOLL_CTL_ADD, handle, (uint)readiness, number);

    /// <summary>Waits for it no more.</summary>
    /// <exception cref="LinuxException">It was not waited for.</exception>
    public void Remove(SafeFileHandle handle) => Control(LibC.EPOLL_CTL_DEL, handle, 0, 0);

    /// <summary>Waits.</summary>
    /// <param name="ready">Receives the numbers of what is ready.</param>
    /// <param name="milliseconds">How long at most; -1 for ever.</param>
    /// <returns>How many are ready; 0 when the time was over or a signal came.</returns>
    /// <exception cref="LinuxException">Refused.</exception>
    public int Wait(Span<long> ready, int milliseconds)
    {
        int count;
        using var fd = new Borrowed(epoll);
        fixed (byte* into = events)
        {
            count = LibC.epoll_wait(fd.Number, into, Math.Min(AtMost, ready.Length), milliseconds);
            Errno errno = Answer.Of(count);
            if (errno == Errno.EINTR)
                return 0;
            if (errno != Errno.None)
                throw new LinuxException(errno, "epoll_wait", "poller");
            for (int at = 0; at < count; at++)
                ready[at] = *(long*)(into + (at * stride) + stride - 8);
        }

        return count;
    }

    /// <inheritdoc/>
    public void Dispose() => epoll.Dispose();

    private void Control(int operation, SafeFileHandle handle, uint readiness, long number)
    {
        byte* change = stackalloc byte[16];
        *(uint*)change = readiness;
        *(long*)(change + stride - 8) = number;
        using var fd = new Borrowed(epoll);
        using var watched = new Borrowed(handle);
        Answer.Check(LibC.epoll_ctl(fd.Number, operation, watched.Number, change), "epoll_ctl", "poller");
    }
}
