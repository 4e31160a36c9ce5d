using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Mount namespaces of other processes.</summary>
public static unsafe class Namespaces
{
    /// <summary>The number of the mount namespace that a process or thread is in, as in <c>mnt:[…]</c>; null when it has ended.</summary>
    public static uint? MountNamespaceOf(int process)
    {
        byte* text = stackalloc byte[64];
        fixed (byte* path = CString.Of($"/proc/{process}/ns/mnt"))
        {
            nint length = LibC.readlinkat(LibC.AT_FDCWD, path, text, 64);
            if (Answer.Of(length) != Errno.None)
                return null;
            string link = System.Text.Encoding.ASCII.GetString(text, (int)length);
            return link.StartsWith("mnt:[", StringComparison.Ordinal) && uint.TryParse(link.AsSpan(5, link.Length - 6), NumberStyles.None, CultureInfo.InvariantCulture, out uint number)
                ? number : null;
        }
    }

    /// <summary>A process in a mount namespace; null when none is.</summary>
    /// <param name="number">The namespace.</param>
    /// <param name="likely">Processes that may be in it; only when none of them is, all are looked through.</param>
    public static int? ProcessIn(uint number, IEnumerable<int> likely)
    {
        foreach (int process in likely)
        {
            if (process > 0 && MountNamespaceOf(process) == number)
                return process;
        }

        foreach (string directory in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out int process) && MountNamespaceOf(process) == number)
                return process;
        }

        return null;
    }

    /// <summary>Runs something in the mount namespace of a process, on a thread that ends with it.</summary>
    /// <param name="process">A process in it.</param>
    /// <param name="number">The namespace that it has to be: the process may have been replaced by another of its number.</param>
    /// <param name="action">What to do there; paths are those of that namespace.</param>
    /// <exception cref="IOException">The namespace is gone, or what was done there failed.</exception>
    public static void RunIn(int process, uint number, Action action)
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                using SafeFileHandle target = Open($"/proc/{process}/ns/mnt");
                if (Files.Stat(target, "mount namespace").Inode != number)
                    throw new LinuxException(Errno.ESRCH, "setns", $"mount namespace {number}");
                // Entering a mount namespace is allowed only with a root and working directory of the thread's own.
                Answer.Check(LibC.unshare(LibC.CLONE_FS), "unshare", "file system state");
                using var fd = new Borrowed(target);
                Answer.Check(LibC.setns(fd.Number, LibC.CLONE_NEWNS), "setns", $"mount namespace {number}");
                action();
            }
            catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
            {
                failure = refused;
            }
        }, maxStackSize: 256 * 1024);
        thread.Start();
        thread.Join();
        if (failure is not null)
            throw new IOException(failure.Message, failure);
    }

    private static SafeFileHandle Open(string path)
    {
        fixed (byte* name = CString.Of(path))
        {
            int fd = LibC.openat(LibC.AT_FDCWD, name, LibC.O_RDONLY | LibC.O_CLOEXEC, 0);
            Answer.Check(fd, "open", path);
            return new SafeFileHandle(fd, ownsHandle: true);
        }
    }
}
