using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>
/// Tells by its processes whether a mount namespace is one that sbox writes in. Of those that were made before the sentinel looked nobody saw who made them, and what is
/// undone there would end an upgrade in the middle.
/// </summary>
internal static class SboxAtWork
{
    /// <summary>Whether sbox is in a namespace, and nobody else but what it started.</summary>
    /// <param name="number">The namespace.</param>
    /// <param name="system">A process that sees the system as everyone does.</param>
    /// <param name="sbox">sbox's path in the system.</param>
    public static bool IsIn(uint number, int system, string sbox)
    {
        // The sentinel is sbox itself, on a box: no mount over the program's name leads astray.
        string program = Path.GetFileName(Environment.ProcessPath) == Path.GetFileName(sbox) ? "/proc/self/exe" : $"/proc/{system}/root{sbox}";
        if (FileOf(program) is not { } file)
            return false;
        IReadOnlyList<int> all = Namespaces.ProcessesIn(number);
        HashSet<int> ours = [.. all.Where(process => FileOf($"/proc/{process}/exe") == file && !Culprit.LoadsOthers(process))];
        return ours.Count > 0 && all.All(process => ours.Contains(process) || ours.Contains(ParentOf(process)));
    }

    private static (ulong Device, ulong Inode)? FileOf(string path)
    {
        try
        {
            using SafeFileHandle file = File.OpenHandle(path);
            FileStat stat = Files.Stat(file, path);
            return (stat.Device, stat.Inode);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null; // it has ended, or is a thread of the kernel
        }
    }

    // PID (NAME) STATE PARENT ...: a name may hold anything, parentheses too. proc_pid_stat(5).
    private static int ParentOf(int process)
    {
        string text = Culprit.TextOf($"/proc/{process}/stat");
        string[] fields = text[(text.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields.Length > 1 && int.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out int parent) ? parent : 0;
    }
}
