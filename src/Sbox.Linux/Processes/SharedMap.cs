using System.Globalization;

namespace Sbox.Linux;

/// <summary>A file that a process has mapped shared and may write through the mapping, as proc_pid_maps(5) tells it.</summary>
/// <param name="Device">Major and minor, as mountinfo has them: <c>0:47</c>.</param>
/// <param name="Inode">The number that the file system shows for it; an overlay may show another one than the layer that holds the file.</param>
/// <param name="Path">Where it was when it was mapped.</param>
public sealed record SharedMap(string Device, ulong Inode, string Path)
{
    private const string DeletedSuffix = " (deleted)";

    /// <summary>Whether its name is gone.</summary>
    public bool IsDeleted => Path.EndsWith(DeletedSuffix, StringComparison.Ordinal);

    /// <summary>All such mappings of files on certain devices, of every process that can be looked at.</summary>
    /// <param name="devices">Major and minor: <c>0:47</c>.</param>
    public static IReadOnlyList<SharedMap> On(IReadOnlyCollection<string> devices)
    {
        var maps = new List<SharedMap>();
        using Dir proc = Dir.Open("/proc");
        foreach (DirEntry entry in proc.Entries())
        {
            if (!int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out _))
                continue;
            try
            {
                using Dir process = proc.OpenDir(entry.Name);
                foreach (string line in FileName.FromBytes(process.ReadAll("maps")).Split('\n'))
                {
                    if (Parse(line) is { } map && devices.Contains(map.Device))
                        maps.Add(map);
                }
            }
            catch (LinuxException unseen) when (unseen.Errno is Errno.ENOENT or Errno.ESRCH or Errno.EACCES or Errno.EPERM)
            {
                continue; // it ended while it was looked at, or is another user's
            }
        }

        return maps;
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
