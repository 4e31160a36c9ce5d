using System.Globalization;

namespace Sbox.Image;

/// <summary>The users and groups of a tree, by its own /etc/passwd and /etc/group; never the builder's.</summary>
internal sealed class TreeNames(TreeRoot tree)
{
    /// <summary>Lines of /etc/passwd, split at the colons: name, -, uid, gid, description, home, shell.</summary>
    public IReadOnlyList<string[]> Users { get; } = Lines(tree.ReadTextOrEmpty("etc/passwd"), fields: 7);

    /// <summary>Lines of /etc/group: name, -, gid, members.</summary>
    public IReadOnlyList<string[]> Groups { get; } = Lines(tree.ReadTextOrEmpty("etc/group"), fields: 4);

    /// <summary>A user's name, or the number when nobody has it.</summary>
    public string UserName(uint uid) => NameOf(Users, uid);

    /// <summary>A group's name, or the number when none has it.</summary>
    public string GroupName(uint gid) => NameOf(Groups, gid);

    /// <summary>The number of a user, by name or number; null when there is none of that name.</summary>
    public uint? Uid(string user) => NumberOf(Users, user);

    /// <summary>The number of a group, by name or number; null when there is none of that name.</summary>
    public uint? Gid(string group) => NumberOf(Groups, group);

    private static string[][] Lines(string text, int fields) =>
        [.. text.Split('\n').Select(line => line.Split(':')).Where(parts => parts.Length == fields)];

    private static string NameOf(IReadOnlyList<string[]> lines, uint id) =>
        lines.FirstOrDefault(line => line[2] == id.ToString(CultureInfo.InvariantCulture))?[0] ?? id.ToString(CultureInfo.InvariantCulture);

    private static uint? NumberOf(IReadOnlyList<string[]> lines, string name)
    {
        string number = lines.FirstOrDefault(line => line[0] == name)?[2] ?? name;
        return uint.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out uint id) ? id : null;
    }
}
