using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// Empties /var. What packages put there becomes lines of tmpfiles.d(5), which make it at boot where it is missing, and files under
/// /usr/share/factory, from which those lines copy: an upgrade brings what is new and never touches what the box has.
/// </summary>
internal static class VarState
{
    private const string Factory = "usr/share/factory";
    private const string Made = "usr/lib/tmpfiles.d/sbox-var.conf";

    public static void MoveToUsr(TreeRoot tree, TreeNames names, TmpPlace tmp)
    {
        TmpfilesLines.Retarget(tree, tmp == TmpPlace.Disk ? [.. TopLevel.Homes, TopLevel.TmpOnDisk] : TopLevel.Homes);
        IReadOnlySet<string> alreadyMade = TmpfilesLines.PathsMade(tree);
        var lines = new StringBuilder("# What Debian's packages expect in /var; made by the build of this tree.\n");
        foreach ((string path, FileStat stat) in tree.Below("var").ToArray())
        {
            // Two lines for one path are a warning at every boot, and the packages know better.
            if (!alreadyMade.Contains("/" + path) && Line(tree, path, stat, names) is { } line)
                lines.Append(line).Append('\n');
            if (stat.IsRegular && !alreadyMade.Contains("/" + path))
                tree.Move(path, $"{Factory}/{path}");
        }

        tree.Write(Made, lines.ToString());
        tree.Empty("var");
    }

    private static string? Line(TreeRoot tree, string path, FileStat stat, TreeNames names)
    {
        string owned = $"{Convert.ToString(stat.Permissions, 8).PadLeft(4, '0')} {names.UserName(stat.Uid)} {names.GroupName(stat.Gid)}";
        string name = TmpfilesLines.Escape("/" + path);
        return stat.Kind switch
        {
            FileKind.Directory => $"d {name} {owned} - -",
            FileKind.Symlink => $"L {name} - - - - {TmpfilesLines.Escape(tree.Dir.ReadLink(path))}",
            FileKind.Regular => $"C {name} {owned} - {TmpfilesLines.Escape($"/{Factory}/{path}")}",
            _ => null, // a socket or device is its program's to make
        };
    }
}

/// <summary>The lines of tmpfiles.d(5) in a tree: type, path, mode, user, group, age, argument.</summary>
internal static class TmpfilesLines
{
    private static readonly string[] Directories = ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"];

    /// <summary>Absolute paths that some line makes: d, D, q, Q, v, f, F, L, C and p do, others only look after what is there.</summary>
    public static IReadOnlySet<string> PathsMade(TreeRoot tree)
    {
        var paths = new HashSet<string>(StringComparer.Ordinal);
        foreach (string file in Configurations(tree))
        {
            foreach (string line in tree.ReadText(file).Split('\n'))
            {
                string[] fields = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
                if (fields.Length > 1 && "dDqQvfFLCp".Contains(fields[0][0], StringComparison.Ordinal))
                    paths.Add(fields[1].TrimEnd('/'));
            }
        }

        return paths;
    }

    /// <summary>
    /// Lines about /home, /root and the other links are made to name where the links lead: systemd-tmpfiles does not make directories
    /// through them, and says so at every boot.
    /// </summary>
    public static void Retarget(TreeRoot tree, IReadOnlyList<(string Path, string Target)> links)
    {
        foreach (string file in Configurations(tree))
        {
            string text = tree.ReadText(file);
            string changed = string.Join('\n', text.Split('\n').Select(line => Retarget(line, links)));
            if (changed != text)
                tree.Rewrite(file, changed);
        }
    }

    /// <summary>A path as a field: no white space, and no specifier where there is only a percent sign.</summary>
    public static string Escape(string path)
    {
        var text = new StringBuilder(path.Length);
        foreach (char c in path)
        {
            _ = c switch
            {
                '%' => text.Append("%%"),
                '\\' or ' ' or '"' or '\'' or < ' ' => text.Append(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}"),
                _ => text.Append(c),
            };
        }

        return text.ToString();
    }

    private static string Retarget(string line, IReadOnlyList<(string Path, string Target)> links)
    {
        string[] fields = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length < 2 || fields[0][0] == '#')
            return line;
        foreach ((string path, string target) in links)
        {
            if (fields[1] != $"/{path}" && !fields[1].StartsWith($"/{path}/", StringComparison.Ordinal))
                continue;
            int at = line.IndexOf(fields[1], StringComparison.Ordinal);
            return string.Concat(line.AsSpan(0, at), $"/{target}", line.AsSpan(at + path.Length + 1));
        }

        return line;
    }

    private static IEnumerable<string> Configurations(TreeRoot tree) =>
        from directory in Directories
        from name in tree.Names(directory)
        where name.EndsWith(".conf", StringComparison.Ordinal) && tree.Stat($"{directory}/{name}") is { IsRegular: true }
        select $"{directory}/{name}";
}
