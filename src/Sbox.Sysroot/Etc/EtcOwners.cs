using System.Globalization;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A number that means one account in the new tree and another one here.</summary>
/// <param name="IsGroup">Whether it is a group's.</param>
/// <param name="Id">The number.</param>
/// <param name="Theirs">Whose it is in the new tree.</param>
/// <param name="Here">Whose it is here.</param>
public sealed record ForeignId(bool IsGroup, uint Id, string Theirs, string Here)
{
    /// <summary>As a person reads it.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(IsGroup ? "group" : "user")} {Id} is '{Theirs}' in the new tree and '{Here}' here");
}

/// <summary>
/// Gives the new tree's files in /etc to the accounts that they are meant for. Files have numbers and not names: where an account has another number here, its files get
/// that; where it is not here and somebody else has its number, they are root's, and neither user nor group runs with them.
/// </summary>
/// <remarks>docs/decisions/0011-etc-is-merged-twice.md.</remarks>
internal sealed class EtcOwners
{
    private readonly (AccountFile After, AccountFile Next) users, groups;
    private readonly List<EtcStep> steps = [];
    private readonly HashSet<ForeignId> foreign = [];

    /// <param name="after">The account files as they will be, by name.</param>
    /// <param name="next">The new tree's.</param>
    public EtcOwners(Func<string, byte[]?> after, Func<string, byte[]?> next)
    {
        (AccountFile, AccountFile) Of(string file) => (AccountFile.Parse(after(file), repeats: false), AccountFile.Parse(next(file), repeats: false));
        (users, groups) = (Of("passwd"), Of("group"));
        // Also of accounts that own nothing in /etc: what is in /usr cannot be given to anybody.
        foreach ((bool isGroup, AccountFile theirs) in (ReadOnlySpan<(bool, AccountFile)>)[(false, users.Next), (true, groups.Next)])
        {
            foreach (AccountRecord record in theirs.Records.Values)
                _ = record.Id(2) is { } id ? Meant(isGroup, id) : default;
        }
    }

    /// <summary>What gives files of the new tree to others.</summary>
    public IReadOnlyList<EtcStep> Steps => steps;

    /// <summary>Numbers that mean somebody else here.</summary>
    public IReadOnlyList<ForeignId> Foreign => [.. foreign.OrderBy(static each => each.IsGroup).ThenBy(static each => each.Id)];

    /// <summary>The new tree's /etc as it is here; <see cref="Steps"/> says what is other.</summary>
    public EtcNode Translate(EtcNode next) => new(next.Entry, Children("", next));

    /// <summary>
    /// A tree's defaults as they are in an /etc that was made from them: what was given to another there is no change of the owner's. Where somebody else has the file
    /// by now, or the account came later, the default is as it is in the tree, and the owner's version differs from it.
    /// </summary>
    /// <param name="defaults">The tree's.</param>
    /// <param name="local">The /etc.</param>
    /// <param name="before">Reads a file of the defaults; null where there is no regular file.</param>
    /// <param name="mine">Reads a file of the /etc, likewise.</param>
    public static EtcNode AsGiven(EtcNode defaults, EtcNode local, Func<string, byte[]?> before, Func<string, byte[]?> mine)
    {
        bool differ = ((string[])["passwd", "group"]).Any(file => before(file) is { } theirs && mine(file) is { } here && !theirs.AsSpan().SequenceEqual(here));
        return differ ? Given(defaults, new EtcOwners(mine, before).Translate(defaults), local) : defaults;
    }

    private static EtcNode Given(EtcNode raw, EtcNode given, EtcNode? local)
    {
        bool wasGiven = local is not null && local.Entry.Kind == raw.Entry.Kind
            && (local.Entry.Uid, local.Entry.Gid, local.Entry.Permissions) == (given.Entry.Uid, given.Entry.Gid, given.Entry.Permissions);
        return new EtcNode(wasGiven ? given.Entry : raw.Entry, raw.Children.ToDictionary(
            static each => each.Key, each => Given(each.Value, given.Children[each.Key], local?.Children.GetValueOrDefault(each.Key))));
    }

    private Dictionary<string, EtcNode> Children(string path, EtcNode node) => node.Children.ToDictionary(static each => each.Key, each =>
    {
        string inner = EtcDiff.Join(path, each.Key);
        EtcEntry entry = One(inner, each.Value.Entry);
        return new EtcNode(entry, Children(inner, each.Value));
    });

    private EtcEntry One(string path, EtcEntry entry)
    {
        (uint uid, ForeignId? user) = Meant(isGroup: false, entry.Uid);
        (uint gid, ForeignId? group) = Meant(isGroup: true, entry.Gid);
        if (uid == entry.Uid && gid == entry.Gid)
            return entry;
        uint permissions = entry.Permissions & ~((user is not null ? 0x800u : 0) | (group is not null ? 0x400u : 0)); // set-user-id, set-group-id
        EtcEntry owned = entry with { Uid = uid, Gid = gid, Permissions = entry.Kind == FileKind.Directory ? entry.Permissions : permissions };
        string[] findings =
        [
            .. user is not null ? new[] { $"{user}: it is root's" } : uid != entry.Uid ? [Moved("user", entry.Uid, uid)] : [],
            .. group is not null ? new[] { $"{group}: its group is root's" } : gid != entry.Gid ? [Moved("group", entry.Gid, gid)] : [],
        ];
        steps.Add(new EtcStep(EtcAction.Own, path, user is not null || group is not null) { Result = owned, Findings = findings });
        return owned;

        static string Moved(string kind, uint from, uint to) => string.Create(CultureInfo.InvariantCulture, $"its {kind} has the number {to} here, and {from} in the new tree: it has {to}");
    }

    private (uint Id, ForeignId? Foreign) Meant(bool isGroup, uint id)
    {
        (AccountFile after, AccountFile next) = isGroup ? groups : users;
        AccountRecord[] theirs = [.. next.Records.Values.Where(record => record.Id(2) == id)];
        if (id == 0 || theirs.Length == 0)
            return (id, null);
        uint[] here = [.. theirs.Select(record => after.Find(record.Name)?.Id(2)).OfType<uint>()];
        if (here.Length > 0)
            return (here.Contains(id) ? id : here[0], null);
        if (after.Records.Values.FirstOrDefault(record => record.Id(2) == id) is not { } holder)
            return (id, null); // systemd-sysusers makes the account at boot, and the number is free for it
        var found = new ForeignId(isGroup, id, theirs[0].Name, holder.Name);
        foreign.Add(found);
        return (0, found);
    }
}
