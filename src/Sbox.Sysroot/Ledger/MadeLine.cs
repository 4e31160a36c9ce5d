using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A line of tmpfiles.d(5) that makes something.</summary>
/// <param name="Type">Its first letter: <c>d</c>, <c>L</c>, <c>C</c> ...</param>
/// <param name="Argument">What it writes, links to or copies; null where it does not say.</param>
/// <param name="Owner">Whose it makes it.</param>
internal sealed record MadeLine(char Type, string? Argument, MadeOwner Owner);

/// <summary>Owner and mode that a line gives; null for what it does not say.</summary>
/// <param name="Mode">The twelve permission bits.</param>
/// <param name="Uid">The user.</param>
/// <param name="Gid">The group.</param>
internal sealed record MadeOwner(uint? Mode, uint? Uid, uint? Gid)
{
    /// <summary>The same, where nothing is left unsaid.</summary>
    public MadeOwner Or(uint mode, uint uid, uint gid) => new(Mode ?? mode, Uid ?? uid, Gid ?? gid);
}

/// <summary>Reads a line's third to fifth fields; names are looked up in the tree's /etc.</summary>
/// <param name="tree">The tree's root; borrowed.</param>
internal sealed class MadeOwners(Dir tree)
{
    private const uint Nobody = uint.MaxValue; // no file has it: what cannot be looked up is never "as made", and so never called noise
    private readonly Lazy<Dictionary<string, uint>> users = new(() => Ids(tree, "passwd")), groups = new(() => Ids(tree, "group"));

    /// <summary>Mode, user and group of a line's fields.</summary>
    /// <param name="fields">Type, path, mode, user, group ...</param>
    public MadeOwner Of(string[] fields) => new(
        Said(fields, 2) is { } mode ? Mode(mode.TrimStart('~', ':')) : null, // masked by what is there, or for new ones alone: what is made is new
        Said(fields, 3) is { } user ? Id(user.TrimStart(':'), users) : null,
        Said(fields, 4) is { } group ? Id(group.TrimStart(':'), groups) : null);

    private static string? Said(string[] fields, int at) => fields.Length > at && fields[at] != "-" ? fields[at] : null;

    private static uint Mode(string octal)
    {
        uint mode = 0;
        foreach (char digit in octal)
        {
            if (digit is < '0' or > '7')
                return Nobody;
            mode = (mode << 3) | (uint)(digit - '0');
        }

        return mode;
    }

    private static uint Id(string name, Lazy<Dictionary<string, uint>> known) =>
        name == "root" ? 0 : uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out uint id) ? id : known.Value.GetValueOrDefault(name, Nobody);

    private static Dictionary<string, uint> Ids(Dir tree, string file)
    {
        var ids = new Dictionary<string, uint>(StringComparer.Ordinal);
        using Dir? etc = tree.TryOpenDir("etc");
        foreach (string line in etc?.TryReadAll(file) is { } bytes ? Encoding.UTF8.GetString(bytes).Split('\n') : [])
        {
            if (line.Split(':') is [var name, _, var id, ..] && uint.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out uint number))
                ids.TryAdd(name, number);
        }

        return ids;
    }
}
