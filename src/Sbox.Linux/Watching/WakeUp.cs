using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Wakes a <see cref="Poller"/> from another thread: its descriptor becomes readable, and stays so.</summary>
public sealed unsafe class WakeUp : IDisposable
{
    private const int Cloexec = 0x80000;

    /// <summary>One that has not been used.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public WakeUp()
    {
        int fd = LibC.eventfd(0, Cloexec);
        Answer.Check(fd, "eventfd", "wake-up");
        Handle = new SafeFileHandle(fd, ownsHandle: true);
    }

    /// <summary>What to wait for.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>Wakes.</summary>
    public void Now()
    {
        ulong one = 1;
        using var fd = new Borrowed(Handle);
        Answer.Check(LibC.write(fd.Number, (byte*)&one, sizeof(ulong)), "write", "wake-up");
    }

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();
}
