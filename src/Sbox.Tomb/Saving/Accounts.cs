using System.Globalization;

namespace Sbox.Tomb;

/// <summary>Names of users and groups, from /etc/passwd and /etc/group, as restic keeps them beside the numbers.</summary>
internal sealed class Accounts
{
    private readonly Dictionary<uint, string> users = Read("/etc/passwd"), groups = Read("/etc/group");

    public string User(uint uid) => users.GetValueOrDefault(uid, "");

    public string Group(uint gid) => groups.GetValueOrDefault(gid, "");

    /// <summary>This process's effective user and group, from /proc/self/status.</summary>
    public static (uint Uid, uint Gid) Own()
    {
        uint uid = 0, gid = 0;
        foreach (string line in File.ReadLines("/proc/self/status"))
        {
            if (line.StartsWith("Uid:", StringComparison.Ordinal))
                uid = uint.Parse(line.Split('\t')[2], CultureInfo.InvariantCulture);
            else if (line.StartsWith("Gid:", StringComparison.Ordinal))
                gid = uint.Parse(line.Split('\t')[2], CultureInfo.InvariantCulture);
        }

        return (uid, gid);
    }

    private static Dictionary<uint, string> Read(string path)
    {
        var names = new Dictionary<uint, string>();
        if (!File.Exists(path))
            return names;
        foreach (string line in File.ReadLines(path))
        {
            string[] fields = line.Split(':');
            if (fields.Length >= 3 && uint.TryParse(fields[2], NumberStyles.None, CultureInfo.InvariantCulture, out uint number))
                names.TryAdd(number, fields[0]);
        }

        return names;
    }
}
