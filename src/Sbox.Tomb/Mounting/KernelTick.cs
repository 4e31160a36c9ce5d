using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>How coarse the clock is by which the kernel stamps files.</summary>
/// <remarks>One tick, of 1 to 10 ms (CONFIG_HZ); only Linux 6.13 and later stamp finer, and not on every file system.</remarks>
internal static class KernelTick
{
    /// <summary>Longer than a tick: within one a second change leaves no trace in the times.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromMilliseconds(20);

    /// <summary>Whether every change of a file from <paramref name="at"/> on shows in its times.</summary>
    public static bool HasPassed(in FileStat stat, DateTimeOffset at) => HasPassed(stat.ChangedSeconds + (stat.ChangedNanoseconds / 1e9), at);

    /// <summary>The same of many, of which the last changed at <paramref name="newest"/>, in seconds since 1970.</summary>
    public static bool HasPassed(double newest, DateTimeOffset at) => newest < Seconds(at) - Longest.TotalSeconds || IsAhead(newest);

    /// <summary>Whether a time lies ahead of the clock, which was ahead itself then: every change from now on has another one.</summary>
    public static bool IsAhead(double time) => time > Seconds(DateTimeOffset.UtcNow) + Longest.TotalSeconds;

    private static double Seconds(DateTimeOffset time) => time.ToUnixTimeMilliseconds() / 1000.0;
}
