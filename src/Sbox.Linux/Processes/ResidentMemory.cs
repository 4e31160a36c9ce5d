using System.Globalization;

namespace Sbox.Linux;

/// <summary>Gives back memory that a program needed once: what a long-lived, mostly sleeping one should do before it sleeps.</summary>
public static unsafe class ResidentMemory
{
    /// <summary>
    /// Gives back what the collector and the C library keep free, and forgets the pages of programs and libraries that are mapped here:
    /// they are the page cache's, unchanged, and come back one by one when they are run again. Costs some milliseconds.
    /// </summary>
    public static void GiveBack()
    {
        (nint Start, nint Length)[] files = [.. UnchangedFiles(File.ReadLines("/proc/self/smaps"))];
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        _ = LibC.malloc_trim(0);
        foreach ((nint start, nint length) in files) // last: all of the above runs code
            _ = LibC.madvise((void*)start, length, LibC.MADV_DONTNEED); // refused: then they stay
    }

    /// <summary>The mappings of files that nobody here may write, and of which no page was copied (as relocations do).</summary>
    /// <param name="lines">/proc/PID/smaps; proc_pid_smaps(5).</param>
    internal static IEnumerable<(nint Start, nint Length)> UnchangedFiles(IEnumerable<string> lines)
    {
        (nint Start, nint Length)? file = null;
        foreach (string line in lines)
        {
            if (line.Length > 0 && char.IsAsciiHexDigitLower(line[0]))
                file = FileIn(line);
            else if (file is { } found && line.StartsWith("Anonymous:", StringComparison.Ordinal) && line.AsSpan()["Anonymous:".Length..].Trim() is "0 kB")
                yield return found;
        }
    }

    // "55771a471000-55771aaca000 r-xp 004c0000 fd:00 1234    /usr/bin/sbox"
    private static (nint Start, nint Length)? FileIn(string line)
    {
        string[] words = line.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries);
        if (words.Length < 6 || words[1] is not ("r-xp" or "r--p") || !words[5].StartsWith('/') || words[0].Split('-') is not [var from, var to])
            return null;
        return nint.TryParse(from, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out nint start)
            && nint.TryParse(to, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out nint end) && end > start ? (start, end - start) : null;
    }
}
