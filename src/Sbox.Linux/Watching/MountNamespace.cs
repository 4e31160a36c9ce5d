using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>A mount namespace that is held: it lives on and can be entered, though every process that was in it has ended.</summary>
public sealed unsafe class MountNamespace : IDisposable
{
    private readonly SafeFileHandle handle;

    private MountNamespace(SafeFileHandle handle, uint number) => (this.handle, Number) = (handle, number);

    /// <summary>Its number, as in <c>mnt:[…]</c>.</summary>
    public uint Number { get; }

    /// <summary>Takes hold of a namespace; null when no process is in it any more.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="likely">Processes that may be in it; only when none of them is, all are looked through.</param>
    public static MountNamespace? Find(uint number, IEnumerable<int> likely)
    {
        foreach (int process in likely.Where(static each => each > 0).Concat(HeldProc.Processes()))
        {
            // Held first and asked for its number then: a process can end, or be another, between two looks at its number.
            if (TryOpen($"{process}/ns/mnt") is not { } handle)
                continue;
            if (Files.Stat(handle, "mount namespace").Inode == number)
                return new MountNamespace(handle, number);
            handle.Dispose();
        }

        return null;
    }

    /// <summary>Runs something in it, on a thread that ends with it.</summary>
    /// <param name="action">What to do there, given its mounts; paths are those of that namespace.</param>
    /// <param name="limit">How long to wait: a path may lead through a file system whose server does not answer.</param>
    /// <exception cref="HangingException">It goes on, on its thread, which ends when it does.</exception>
    /// <exception cref="IOException">What was done there failed, or the kernel refuses the way in.</exception>
    public void Run(Action<MountInfoFile> action, TimeSpan limit)
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                // This one's /proc tells of every namespace; that one may have none.
                Dir proc = HeldProc.Directory;
                Enter();
                using MountInfoFile mounts = MountInfoFile.OfThread(proc);
                action(mounts);
            }
            catch (Exception refused) when (refused is IOException or UnauthorizedAccessException or ObjectDisposedException)
            {
                failure = refused; // disposed: nobody waits any more
            }
        }, maxStackSize: 256 * 1024) { IsBackground = true };
        thread.Start();
        if (!thread.Join(limit))
            throw new HangingException(Number, limit);
        if (failure is not null)
            throw new IOException(failure.Message, failure);
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

    private void Enter()
    {
        // Entering a mount namespace is allowed only with a root and working directory of the thread's own.
        Answer.Check(LibC.unshare(LibC.CLONE_FS), "unshare", "file system state");
        using var fd = new Borrowed(handle);
        Answer.Check(LibC.setns(fd.Number, LibC.CLONE_NEWNS), "setns", $"mount namespace {Number}");
    }

    private static SafeFileHandle? TryOpen(string path)
    {
        using var proc = new Borrowed(HeldProc.Directory.Handle);
        fixed (byte* name = CString.Of(path))
        {
            int fd = LibC.openat(proc.Number, name, LibC.O_RDONLY | LibC.O_CLOEXEC, 0);
            return Answer.Of(fd) == Errno.None ? new SafeFileHandle(fd, ownsHandle: true) : null;
        }
    }
}

/// <summary>What was to be done in a mount namespace is not done yet, and is no longer waited for.</summary>
/// <param name="number">The namespace's number.</param>
/// <param name="limit">How long it was waited for.</param>
public sealed class HangingException(uint number, TimeSpan limit) : IOException($"it hangs in mount namespace {number}, after {limit.TotalSeconds:0.#} s")
{
    /// <summary>The namespace's number.</summary>
    public uint Number { get; } = number;
}
