using System.Globalization;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>How full the memory is that holds a ghost's changes, and the machine's.</summary>
/// <param name="Limit">Bytes that the changes may take.</param>
/// <param name="Used">Bytes that they take.</param>
/// <param name="Machine">Bytes of memory of the machine.</param>
/// <param name="Available">Bytes of it that programs could still have.</param>
public readonly record struct GhostMemory(long Limit, long Used, long Machine, long Available)
{
    /// <summary>How much of the limit is used, in percent.</summary>
    public int Percent => Limit > 0 ? (int)(Used * 100 / Limit) : 0;

    /// <summary>How much of the machine's memory nobody can have any more, in percent.</summary>
    public int MachinePercent => Machine > 0 ? (int)((Machine - Available) * 100 / Machine) : 0;

    /// <summary>The fuller of the two: either is an end of the session.</summary>
    public int Fullest => Math.Max(Percent, MachinePercent);

    /// <summary>Looks.</summary>
    /// <param name="run">The directory below which a ghost's memory is.</param>
    /// <param name="proc">Where procfs is.</param>
    /// <exception cref="LinuxException">This boot is no ghost.</exception>
    public static GhostMemory Look(string run = "/run", string proc = "/proc")
    {
        using Dir memory = Dir.Open($"{run}/{RootPlan.GhostMemory}");
        DiskSpace space = DiskSpace.Of(memory);
        Dictionary<string, long> lines = File.ReadLines($"{proc}/meminfo").Select(static line => line.Split((char[])[':', ' '], StringSplitOptions.RemoveEmptyEntries))
            .Where(static words => words.Length >= 2).ToDictionary(static words => words[0], static words => long.Parse(words[1], CultureInfo.InvariantCulture) * 1024);
        return new GhostMemory(space.TotalBytes, space.TotalBytes - space.FreeBytes, lines["MemTotal"], lines["MemAvailable"]);
    }
}

/// <summary>Decides when people are told that a ghost's memory fills: at the first level, halfway from there to full, and shortly before; once each, until it was emptier again.</summary>
/// <param name="first">The first level, in percent.</param>
public sealed class GhostMemoryAlarm(int first)
{
    private const int Relief = 5;
    private readonly int[] levels = [first, (first + 100) / 2, Math.Max(first, 97)];
    private int told;

    /// <summary>The level that has been reached since the last call; null where there is nothing new to tell.</summary>
    public int? Look(int percent)
    {
        while (told > 0 && percent < levels[told - 1] - Relief)
            told--;
        int reached = levels.Count(level => percent >= level);
        if (reached <= told)
            return null;
        told = reached;
        return levels[reached - 1];
    }
}
