using System.Globalization;
using System.Text;

namespace Sbox.Sysroot;

/// <summary>Something about an account that a merge decided, which its owner should know of.</summary>
/// <param name="File">passwd, group, shadow, gshadow, subuid or subgid.</param>
/// <param name="Name">The account.</param>
/// <param name="What">What was decided, for people.</param>
/// <param name="IsConflict">Whether both sides wanted something else.</param>
public sealed record AccountNote(string File, string Name, string What, bool IsConflict);

/// <summary>The account files of /etc, merged.</summary>
/// <param name="Texts">By name; a file that neither side has is not there.</param>
/// <param name="Notes">What was decided.</param>
public sealed record MergedAccounts(IReadOnlyDictionary<string, byte[]> Texts, IReadOnlyList<AccountNote> Notes);

/// <summary>
/// Merges passwd, group, shadow, gshadow, subuid and subgid record by record and field by field; pure, and never fails. Accounts that a new tree brings
/// arrive; what the owner changed stays; no two names come out with one id that did not go in with it.
/// </summary>
/// <remarks>docs/formats/sysroot.md has the rules. After passwd(5), group(5), shadow(5), gshadow(5), subuid(5), subgid(5).</remarks>
public sealed class AccountMerge
{
    private readonly Func<string, byte[]?> before, mine, next;
    private readonly Dictionary<string, (AccountFile Before, AccountFile Mine, AccountFile Next)> files = [];
    private readonly List<AccountNote> notes = [];

    private AccountMerge(Func<string, byte[]?> before, Func<string, byte[]?> mine, Func<string, byte[]?> next)
    {
        (this.before, this.mine, this.next) = (before, mine, next);
        foreach (string file in Files)
            files[file] = (Parse(file, before), Parse(file, mine), Parse(file, next));
    }

    /// <summary>The files that are merged so.</summary>
    public static IReadOnlyList<string> Files { get; } = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];

    /// <summary>Merges.</summary>
    /// <param name="before">The bytes of a file as the old tree has it, by name; null where it has none.</param>
    /// <param name="mine">As the owner has it.</param>
    /// <param name="next">As the new tree has it.</param>
    public static MergedAccounts Merge(Func<string, byte[]?> before, Func<string, byte[]?> mine, Func<string, byte[]?> next) =>
        new AccountMerge(before, mine, next).Run();

    private MergedAccounts Run()
    {
        HashSet<string> users = Stay("passwd", "shadow", static _ => false), groups = [];
        // A group is needed for as long as one of its users is there.
        HashSet<uint> primary = [.. users.Select(name => files["passwd"].Mine.Find(name)?.Id(3)).OfType<uint>()];
        groups = Stay("group", "gshadow", record => record.Id(2) is { } gid && primary.Contains(gid));
        Dictionary<string, uint> gids = AssignIds("group", groups), uids = AssignIds("passwd", users);
        var texts = new Dictionary<string, byte[]>();
        Write("group", groups, (record, from) => WithId(record, gids));
        Write("passwd", users, (record, from) => WithGroup(WithId(record, uids), from, gids));
        Write("shadow", users, static (record, _) => record);
        Write("gshadow", groups, static (record, _) => record);
        foreach (string file in (string[])["subuid", "subgid"])
            Write(file, null, static (record, _) => record);
        return new MergedAccounts(texts, notes);

        void Write(string file, HashSet<string>? staying, Func<AccountRecord, AccountFile, AccountRecord> finish)
        {
            if (mine(file) is not null || next(file) is not null)
                texts[file] = Encoding.Latin1.GetBytes(Text(file, staying, finish));
        }
    }

    private static AccountFile Parse(string file, Func<string, byte[]?> side) => AccountFile.Parse(side(file), repeats: file is "subuid" or "subgid");

    // The names that are there afterwards, decided for a file and the one with its passwords as one.
    private HashSet<string> Stay(string file, string secrets, Func<AccountRecord, bool> needed)
    {
        (AccountFile old, AccountFile ours, AccountFile theirs) = files[file];
        (AccountFile oldSecrets, AccountFile ourSecrets, _) = files[secrets];
        HashSet<string> staying = [];
        foreach (string name in ours.Records.Keys.Union(theirs.Records.Keys))
        {
            (AccountRecord? b, AccountRecord? m, AccountRecord? n) = (old.Find(name), ours.Find(name), theirs.Find(name));
            bool touched = m != b || ourSecrets.Find(name) != oldSecrets.Find(name);
            bool dropped = m is not null && n is null && b is not null;
            if (m is null && b is not null)
            {
                if (n != b)
                    notes.Add(new AccountNote(file, name, "you removed it and the new tree changed it; it stays removed", IsConflict: true));
            }
            else if (dropped && !touched && !needed(m!))
                notes.Add(new AccountNote(file, name, "the new tree has it no more", IsConflict: false));
            else
                staying.Add(name);
            if (dropped && touched)
                notes.Add(new AccountNote(file, name, "the new tree has it no more, and you changed it; it stays", IsConflict: true));
        }

        return staying;
    }

    private Dictionary<string, uint> AssignIds(string file, HashSet<string> names)
    {
        (AccountFile old, AccountFile ours, AccountFile theirs) = files[file];
        Dictionary<string, uint> ids = [], moving = [];
        foreach (string name in names)
        {
            if (ours.Find(name)?.Id(2) is not { } id)
                continue;
            ids[name] = id;
            if (theirs.Find(name)?.Id(2) is { } wanted && wanted != id)
            {
                if (old.Find(name)?.Id(2) == id)
                    moving[name] = wanted;
                else if (old.Find(name)?.Id(2) != wanted)
                    notes.Add(new AccountNote(file, name, $"the new tree gives it id {wanted}; it keeps yours, {id}", IsConflict: true));
            }
        }

        Move(file, ids, moving, theirs);
        Arrive(file, names, ids);
        return ids;
    }

    // The new tree counts otherwise than the old. All move at once; one that would meet another stays, and then the next may be in its way.
    private void Move(string file, Dictionary<string, uint> ids, Dictionary<string, uint> moving, AccountFile theirs)
    {
        while (moving.Keys.FirstOrDefault(name => Holder(name, moving[name]) is not null) is { } blocked)
        {
            notes.Add(new AccountNote(
                file, blocked, $"the new tree gives it id {moving[blocked]}, which is {Holder(blocked, moving[blocked])}'s; it keeps {ids[blocked]}", IsConflict: true));
            moving.Remove(blocked);
        }

        foreach ((string name, uint id) in moving)
        {
            notes.Add(new AccountNote(file, name, $"the new tree gives it id {id}; it had {ids[name]}, and files in /var may still have that", IsConflict: false));
            ids[name] = id;
        }

        string? Holder(string name, uint id) =>
            ids.Keys.FirstOrDefault(other => other != name && (moving.TryGetValue(other, out uint moved) ? moved : ids[other]) == id && theirs.Find(other)?.Id(2) != id);
    }

    private void Arrive(string file, HashSet<string> names, Dictionary<string, uint> ids)
    {
        (AccountFile old, AccountFile ours, AccountFile theirs) = files[file];
        Dictionary<uint, string> holders = ids.GroupBy(static each => each.Value).ToDictionary(static each => each.Key, static each => each.First().Key);
        HashSet<uint> used = [.. holders.Keys, .. Ids(old), .. Ids(ours), .. Ids(theirs)];
        foreach ((_, string? name) in theirs.Lines)
        {
            if (name is null || ids.ContainsKey(name) || !names.Contains(name) || theirs.Find(name)!.Id(2) is not { } wanted)
                continue;
            uint id = wanted;
            // root and toor: two names that the tree itself gives one id.
            if (holders.TryGetValue(wanted, out string? holder) && theirs.Find(holder)?.Id(2) != wanted)
            {
                id = Free(wanted, used);
                notes.Add(new AccountNote(file, name, $"it is new and should have id {wanted}, which is {holder}'s; it has {id}", IsConflict: true));
            }

            ids[name] = id;
            holders.TryAdd(id, name);
            used.Add(id);
        }

        static IEnumerable<uint> Ids(AccountFile of) => of.Records.Values.Select(static record => record.Id(2)).OfType<uint>();
    }

    // System ids from the top, as systemd-sysusers and adduser give them; people's from the bottom.
    private static uint Free(uint wanted, HashSet<uint> used)
    {
        if (wanted < 1000)
        {
            for (uint id = 999; id >= 100; id--)
            {
                if (!used.Contains(id))
                    return id;
            }
        }

        uint free = 1000;
        while (used.Contains(free) || free is 65534 or 65535)
            free++;
        return free;
    }

    private static AccountRecord WithId(AccountRecord record, Dictionary<string, uint> ids) =>
        ids.TryGetValue(record.Name, out uint id) ? record.With(2, id.ToString(CultureInfo.InvariantCulture)) : record;

    // A user's group is meant by its name: the number may have become another.
    private AccountRecord WithGroup(AccountRecord record, AccountFile from, Dictionary<string, uint> gids)
    {
        AccountFile groups = ReferenceEquals(from, files["passwd"].Next) ? files["group"].Next : files["group"].Mine;
        string? name = record.Id(3) is { } gid ? groups.Records.Values.FirstOrDefault(group => group.Id(2) == gid)?.Name : null;
        return name is not null && gids.TryGetValue(name, out uint now) ? record.With(3, now.ToString(CultureInfo.InvariantCulture)) : record;
    }

    // The owner's order; what arrives comes last, but before lines that hand over to NIS.
    private string Text(string file, HashSet<string>? staying, Func<AccountRecord, AccountFile, AccountRecord> finish)
    {
        (AccountFile old, AccountFile ours, AccountFile theirs) = files[file];
        var lines = new List<string>();
        var ranges = new Ranges();
        foreach ((string line, string? key) in ours.Lines)
        {
            if (key is null)
            {
                if (theirs.Lines.Any(each => each.Line == line) || !old.Lines.Any(each => each.Line == line))
                    lines.Add(line);
                continue;
            }

            (AccountRecord? b, AccountRecord? m, AccountRecord? n) = (old.Find(key), ours.Find(key), theirs.Find(key));
            if (!(staying?.Contains(key) ?? (n is not null || m != b)) && !(staying is not null && ForeignSecret(file, key)))
                continue;
            AccountRecord merged = n is null ? finish(m!, ours) : Fields(file, key, b, m!, n, finish, ours, theirs);
            ranges.Add(merged);
            lines.Add(merged.ToString());
        }

        int end = lines.FindIndex(static line => line[0] is '+' or '-') is var nis and >= 0 ? nis : lines.Count;
        foreach ((string line, string? key) in theirs.Lines)
        {
            bool arrives = key is null ? !ours.Lines.Any(each => each.Line == line) && !old.Lines.Any(each => each.Line == line)
                : ours.Find(key) is null && old.Find(key) is null && (staying?.Contains(key) ?? true);
            if (!arrives)
                continue;
            AccountRecord? arrived = key is null ? null : finish(theirs.Find(key)!, theirs);
            if (arrived is not null && staying is null && ranges.Clear(arrived) is { } moved)
            {
                notes.Add(new AccountNote(file, arrived.Name, $"its range {arrived[1]} is partly another's; it has {moved[1]}", IsConflict: true));
                arrived = moved;
            }

            if (arrived is not null)
                ranges.Add(arrived);
            lines.Insert(end++, arrived?.ToString() ?? line);
        }

        return string.Concat(lines.Select(static line => line + "\n"));
    }

    // A line in shadow of a name that passwd does not have is nobody's to remove.
    private bool ForeignSecret(string file, string key)
    {
        string of = file switch { "shadow" => "passwd", "gshadow" => "group", _ => file };
        return of != file && files[of].Mine.Find(key) is null && files[of].Before.Find(key) is null;
    }

    private AccountRecord Fields(
        string file, string key, AccountRecord? b, AccountRecord m, AccountRecord n, Func<AccountRecord, AccountFile, AccountRecord> finish, AccountFile ours, AccountFile theirs)
    {
        // Ids and groups are decided, and the same on both sides by now where they mean the same.
        (AccountRecord mineNow, AccountRecord nextNow) = (finish(m, ours), finish(n, theirs));
        int count = Math.Max(m.Fields.Count, n.Fields.Count);
        var fields = new string[count];
        for (int at = 0; at < count; at++)
        {
            string was = b?[at] ?? "";
            bool isId = at == 0 || (at == 2 && file is "passwd" or "group") || (at == 3 && file == "passwd" && mineNow[3] == nextNow[3]);
            // When a password was changed goes with the password: a rebuilt tree has another day and the same password.
            int decides = file == "shadow" && at == 2 ? 1 : at;
            if (isId)
                fields[at] = mineNow[at];
            else if (IsList(file, at))
                fields[at] = MergeLists(was, m[at], n[at]);
            else if (b is not null && m[at] == was && m[decides] == (b[decides]))
                fields[at] = nextNow[at];
            else
            {
                fields[at] = mineNow[at];
                if (m[decides] != n[decides] && (b is null || n[decides] != b[decides]) && decides == at)
                    notes.Add(new AccountNote(file, m.Name, $"{FieldName(file, at)} was changed on both sides; yours is kept", IsConflict: true));
            }
        }

        return new AccountRecord(fields);
    }

    private static bool IsList(string file, int at) => (file == "group" && at == 3) || (file == "gshadow" && at is 2 or 3);

    private static string MergeLists(string before, string mine, string next)
    {
        string[] old = Split(before), ours = Split(mine), theirs = Split(next);
        return string.Join(',', ours.Where(name => theirs.Contains(name) || !old.Contains(name)).Concat(theirs.Except(old).Except(ours)));

        static string[] Split(string list) => list.Split(',', StringSplitOptions.RemoveEmptyEntries);
    }

    private static string FieldName(string file, int at) => (file, at) switch
    {
        ("passwd", 4) => "the comment",
        ("passwd", 5) => "the home directory",
        ("passwd", 6) => "the shell",
        ("passwd", 3) => "the group",
        (_, 1) when file is "subuid" or "subgid" => "the range",
        (_, 1) => "the password",
        _ => string.Create(CultureInfo.InvariantCulture, $"field {at + 1}"),
    };

    // Ranges of subordinate ids: two users must not share one.
    private sealed class Ranges
    {
        private readonly List<(ulong Start, ulong End)> taken = [];

        public void Add(AccountRecord record)
        {
            if (Of(record) is { } range)
                taken.Add(range);
        }

        // The record with another start where its range meets one that is taken; null where it is clear, or no range.
        public AccountRecord? Clear(AccountRecord record)
        {
            if (Of(record) is not { } range || !taken.Exists(other => range.Start < other.End && other.Start < range.End))
                return null;
            ulong start = (taken.Max(static each => each.End) + 0xFFFF) / 0x10000 * 0x10000;
            return start + (range.End - range.Start) <= uint.MaxValue ? record.With(1, start.ToString(CultureInfo.InvariantCulture)) : null;
        }

        private static (ulong Start, ulong End)? Of(AccountRecord record) =>
            record.Id(1) is { } start && record.Id(2) is { } count ? (start, (ulong)start + count) : null;
    }
}
