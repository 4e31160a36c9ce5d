using System.Globalization;

namespace Sbox.Linux;

/// <summary>A process that uses files below a place.</summary>
/// <param name="Process">Its number.</param>
/// <param name="Program">Its name, as ps(1) shows it.</param>
/// <param name="Uid">Whose it is.</param>
/// <param name="Use">One of the paths that it uses, and how: <c>cwd</c>, <c>root</c>, <c>exe</c>, <c>fd 3</c>, <c>map</c>.</param>
public sealed record MountUser(int Process, string Program, uint Uid, string Use);

/// <summary>Who keeps a mount busy.</summary>
public static class MountUsers
{
    /// <summary>All processes that have something open below one of these places; oneself is left out.</summary>
    /// <param name="places">Absolute paths of mount points.</param>
    public static IReadOnlyList<MountUser> Of(IReadOnlyList<string> places) => Those(process => Use(process, places));

    private static List<MountUser> Those(Func<Dir, string?> look)
    {
        var users = new List<MountUser>();
        using Dir proc = Dir.Open("/proc");
        foreach (DirEntry entry in proc.Entries())
        {
            if (!int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number == Environment.ProcessId)
                continue;
            try
            {
                using Dir process = proc.OpenDir(entry.Name);
                if (look(process) is { } use)
                    users.Add(new MountUser(number, FileName.FromBytes(process.ReadAll("comm")).TrimEnd('\n'), process.Stat().Uid, use));
            }
            catch (LinuxException)
            {
                continue; // it ended while it was looked at, or is another user's; and no single process may keep the others from being found
            }
        }

        return users;
    }

    /// <summary>The numbers of processes that hold a file below one of these places open for writing, or have it mapped so; oneself is left out.</summary>
    /// <param name="places">Absolute paths of mount points.</param>
    public static IReadOnlyList<int> Writers(IReadOnlyList<string> places) => Those(process => Writes(process, places) ? "" : null).ConvertAll(static user => user.Process);

    private static bool Writes(Dir process, IReadOnlyList<string> places)
    {
        using (Dir open = process.OpenDir("fd"))
        {
            // proc_pid_fd(5): the link's permission bits are those of the descriptor.
            if (open.Entries().Any(entry => open.TryStat(entry.Name) is { } link && (link.Permissions & 0x80) != 0 && Target(open, entry.Name) is { } path && Below(path, places)))
                return true;
        }

        return SharedMap.Of(process).Any(map => Below(map.Path, places));
    }

    private static string? Use(Dir process, IReadOnlyList<string> places)
    {
        foreach (string link in (string[])["cwd", "root", "exe"])
        {
            if (Target(process, link) is { } path && Below(path, places))
                return $"{link} {path}";
        }

        using (Dir open = process.OpenDir("fd"))
        {
            foreach (DirEntry entry in open.Entries())
            {
                if (Target(open, entry.Name) is { } path && Below(path, places))
                    return $"fd {entry.Name} {path}";
            }
        }

        foreach (string line in FileName.FromBytes(process.ReadAll("maps")).Split('\n'))
        {
            int slash = line.IndexOf('/', StringComparison.Ordinal);
            if (slash > 0 && Below(line[slash..], places))
                return $"map {line[slash..]}";
        }

        return null;
    }

    // A kernel thread has no exe; a descriptor may be closed meanwhile; a path of more than 4095 bytes, which anybody can make, is not told (ENAMETOOLONG).
    private static string? Target(Dir dir, string name)
    {
        try
        {
            return dir.ReadLink(name);
        }
        catch (LinuxException)
        {
            return null;
        }
    }

    private static bool Below(string path, IReadOnlyList<string> places)
    {
        foreach (string place in places)
        {
            if (path.StartsWith(place, StringComparison.Ordinal) && (path.Length == place.Length || path[place.Length] == '/' || path[place.Length] == ' '))
                return true;
        }

        return false;
    }
}
