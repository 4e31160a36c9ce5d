using System.Text;

namespace Sbox.Image;

/// <summary>
/// Users that a new version brings. On a box whose owner added a user, /etc/passwd is the owner's and stays theirs on upgrade; what the
/// new version's packages expect in it is added at boot by systemd-sysusers, from a list made here.
/// </summary>
internal static class TreeUsers
{
    public static void Describe(TreeRoot tree, TreeNames names)
    {
        IReadOnlySet<string> declared = DeclaredByPackages(tree);
        var lines = new StringBuilder("# Users and groups that no package declares, for boxes that have an /etc/passwd of their own.\n");
        foreach (string[] group in names.Groups.Where(group => !declared.Contains(group[0])))
            lines.Append($"g {group[0]} {group[2]} -\n");
        foreach (string[] user in names.Users.Where(user => !declared.Contains(user[0])))
            lines.Append($"u {user[0]} {user[2]}:{names.GroupName(names.Gid(user[3]) ?? 0)} {Quoted(user[4])} {Or(user[5])} {Or(user[6])}\n");
        foreach (string[] group in names.Groups)
        {
            foreach (string member in group[3].Split(',', StringSplitOptions.RemoveEmptyEntries))
                lines.Append($"m {member} {group[0]}\n");
        }

        tree.Write("usr/lib/sysusers.d/sbox-tree.conf", lines.ToString());

        // The unit's own condition looks at the time of /usr, which is the same in every commit.
        tree.Write("usr/lib/systemd/system/systemd-sysusers.service.d/50-sbox.conf", "[Unit]\nConditionNeedsUpdate=\nConditionCredential=\n");

        // ld.so.cache is part of the tree; made again on the box it would count as the owner's change and outlive its libraries.
        tree.Link("usr/lib/systemd/system/ldconfig.service", "/dev/null");
    }

    // Two lines about one name that differ are a warning at every boot.
    private static HashSet<string> DeclaredByPackages(TreeRoot tree)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (string file in tree.Names("usr/lib/sysusers.d"))
        {
            foreach (string line in tree.ReadTextOrEmpty($"usr/lib/sysusers.d/{file}").Split('\n'))
            {
                if (line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is [['u' or 'g', ..], { } name, ..])
                    names.Add(name);
            }
        }

        return names;
    }

    private static string Or(string field) => field.Length > 0 ? field : "-";

    private static string Quoted(string field) => field.Length > 0 ? $"\"{field.Replace("%", "%%", StringComparison.Ordinal)}\"" : "-";
}
