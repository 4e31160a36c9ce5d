using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Terminals of other people, which may be stopped, hung up or busy: whoever tells them something waits long for none.</summary>
public static unsafe class Terminals
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10); // for all of it, or who reads byte by byte keeps everybody waiting

    /// <summary>All that somebody may sit at: virtual consoles in use, pseudo terminals, and what the kernel speaks to. Nothing is read from a disk for it.</summary>
    /// <param name="dev">Where devices are.</param>
    /// <param name="sys">Where sysfs is.</param>
    public static IReadOnlyList<string> All(string dev = "/dev", string sys = "/sys")
    {
        string active = $"{sys}/class/tty/console/active";
        string[] consoles = File.Exists(active) ? File.ReadAllText(active).Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries) : [];
        return [.. Numbered(dev, "vcs").Select(number => $"{dev}/tty{number}")
            .Concat(Numbered($"{dev}/pts", "").Select(number => $"{dev}/pts/{number}"))
            .Concat(consoles.Where(static name => name != "tty0").Select(name => $"{dev}/{name}")) // tty0 is whichever is in front, told already
            .Where(File.Exists).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>Writes to a terminal what it takes in a few seconds; it never becomes this process' own.</summary>
    /// <param name="path">A terminal.</param>
    /// <param name="text">Lines.</param>
    /// <returns>Whether it took all of it.</returns>
    public static bool TryTell(string path, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text.ReplaceLineEndings("\r\n")); // also right where a program has it raw
        fixed (byte* name = CString.Of(path), start = bytes)
        {
            int fd = LibC.openat(LibC.AT_FDCWD, name, LibC.O_WRONLY | LibC.O_NOCTTY | LibC.O_NONBLOCK | LibC.O_CLOEXEC, 0);
            if (Answer.Of(fd) != Errno.None)
                return false;
            using var terminal = new SafeFileHandle(fd, ownsHandle: true);
            int told = 0;
            for (long started = Stopwatch.GetTimestamp(); told < bytes.Length;)
            {
                nint written = LibC.write(fd, start + told, bytes.Length - told);
                Errno errno = Answer.Of(written);
                if (errno == Errno.None)
                    told += (int)written;
                else if (errno is not (Errno.EAGAIN or Errno.EINTR) || Stopwatch.GetElapsedTime(started) > Patience)
                    break;
                else
                    Thread.Sleep(20); // a serial line is slow, and others write to it, too
            }

            return told == bytes.Length;
        }
    }

    /// <summary>Writes to all of them at once: a slow one keeps no other waiting.</summary>
    /// <param name="paths">Terminals.</param>
    /// <param name="text">Lines.</param>
    public static void TellAll(IEnumerable<string> paths, string text)
    {
        Thread[] tellers = [.. paths.Select(path => new Thread(() => TryTell(path, text)))]; // one that takes nothing now has nobody who reads
        foreach (Thread teller in tellers)
            teller.Start();
        foreach (Thread teller in tellers)
            teller.Join();
    }

    private static IEnumerable<int> Numbered(string directory, string prefix) => !Directory.Exists(directory) ? []
        : Directory.EnumerateFileSystemEntries(directory).Select(Path.GetFileName).Where(name => name!.StartsWith(prefix, StringComparison.Ordinal))
            .Select(name => int.TryParse(name![prefix.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : -1).Where(static number => number >= 0).Order();
}
