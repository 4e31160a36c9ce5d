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
        using var proc = new Borrowed(HeldProc.Directory.Handle);
        fixed (byte* path = CString.Of($"{process}/ns/mnt"))
        {
            nint length = LibC.readlinkat(proc.Number, path, text, 64);
            if (Answer.Of(length) != Errno.None)
                return null;
            string link = System.Text.Encoding.ASCII.GetString(text, (int)length);
            return link.StartsWith("mnt:[", StringComparison.Ordinal) && uint.TryParse(link.AsSpan(5, link.Length - 6), NumberStyles.None, CultureInfo.InvariantCulture, out uint number)
                ? number : null;
        }
    }

    /// <summary>All mount namespaces that processes are in now, with one process of each.</summary>
    public static IReadOnlyDictionary<uint, int> All()
    {
        var found = new Dictionary<uint, int>();
        foreach (int process in HeldProc.Processes())
        {
            if (MountNamespaceOf(process) is { } number)
                found.TryAdd(number, process);
        }

        return found;
    }

    /// <summary>All processes in a mount namespace.</summary>
    /// <param name="number">The namespace.</param>
    public static IReadOnlyList<int> ProcessesIn(uint number) => [.. HeldProc.Processes().Where(process => MountNamespaceOf(process) == number)];

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

        foreach (int process in HeldProc.Processes())
        {
            if (MountNamespaceOf(process) == number)
                return process;
        }

        return null;
    }
}
