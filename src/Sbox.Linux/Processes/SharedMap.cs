using System.Globalization;

namespace Sbox.Linux;

/// <summary>A file that a process has mapped shared and may write through the mapping, as proc_pid_maps(5) tells it.</summary>
/// <param name="Device">Major and minor, as mountinfo has them: <c>0:47</c>.</param>
/// <param name="Inode">The number that the file system shows for it; an overlay may show another one than the layer that holds the file.</param>
/// <param name="Path">Where it was when it was mapped.</param>
public sealed record SharedMap(string Device, ulong Inode, string Path)
{
    /// <summary>Who has it mapped; 0 where a single line was read.</summary>
    public int Process { get; init; }

    private const string DeletedSuffix = " (deleted)";

    /// <summary>Whether its name is gone.</summary>
    public bool IsDeleted => Path.EndsWith(DeletedSuffix, StringComparison.Ordinal);

    /// <summary>All such mappings of files on certain devices, of every process that can be looked at.</summary>
    /// <param name="devices">Major and minor: <c>0:47</c>.</param>
    public static IReadOnlyList<SharedMap> On(IReadOnlyCollection<string> devices)
    {
        using Dir proc = Dir.Open("/proc");
        return On(devices, proc.Entries().Select(static entry => int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : 0).Where(static number => number > 0));
    }

    /// <summary>Those of some processes.</summary>
    /// <param name="devices">Major and minor: <c>0:47</c>.</param>
    /// <param name="processes">Their numbers; what has ended or may not be looked at has none.</param>
    public static IReadOnlyList<SharedMap> On(IReadOnlyCollection<string> devices, IEnumerable<int> processes)
    {
        var maps = new List<SharedMap>();
        using Dir proc = Dir.Open("/proc");
        foreach (int number in processes)
        {
            try
            {
                using Dir process = proc.OpenDir(number.ToString(CultureInfo.InvariantCulture));
                maps.AddRange(Of(process).Where(map => devices.Contains(map.Device)).Select(map => map with { Process = number }));
            }
            catch (LinuxException unseen) when (unseen.Errno is Errno.ENOENT or Errno.ESRCH or Errno.EACCES or Errno.EPERM)
            {
                continue; // it ended while it was looked at, or is another user's
            }
        }

        return maps;
    }

    /// <summary>All of one process, by its directory in /proc.</summary>
    internal static IEnumerable<SharedMap> Of(Dir process)
    {
        // Thousands of lines, and in most processes none that is writable and shared.
        byte[] maps = process.ReadAll("maps");
        return maps.AsSpan().IndexOf("w-s "u8) < 0 && maps.AsSpan().IndexOf("wxs "u8) < 0
            ? [] : FileName.FromBytes(maps).Split('\n').Select(Parse).OfType<SharedMap>();
    }

    /// <summary>Reads one line of <c>maps</c>; null where it is no file that is mapped shared and writable.</summary>
    public static SharedMap? Parse(string line)
    {
        // address perms offset dev inode path, the path as it is, spaces and all
        string[] fields = line.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length < 6 || fields[1].Length < 4 || fields[1][1] != 'w' || fields[1][3] != 's' || !fields[5].StartsWith('/'))
            return null;
        string[] device = fields[3].Split(':');
        return device.Length == 2 && Hex(device[0], out uint major) && Hex(device[1], out uint minor) && ulong.TryParse(fields[4], NumberStyles.None, CultureInfo.InvariantCulture, out ulong inode)
            ? new SharedMap(string.Create(CultureInfo.InvariantCulture, $"{major}:{minor}"), inode, fields[5])
            : null;
    }

    private static bool Hex(string text, out uint number) => uint.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out number);
}
