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
/// <param name="IsWhole">Whether the owner's files stand whole, because the new tree's ids and theirs do not fit.</param>
public sealed record MergedAccounts(IReadOnlyDictionary<string, byte[]> Texts, IReadOnlyList<AccountNote> Notes, bool IsWhole);

/// <summary>
/// Merges passwd, group, shadow, gshadow, subuid and subgid record by record and field by field; pure, and never fails. Accounts that a new tree brings
/// arrive; what the owner changed stays. No id is ever given anew: files on the disk have their owner's number and not the name, so an account that moves takes
/// others' files or leaves its own to others. Where an id of the new tree means another account here, the owner's files stand whole, and that is a conflict.
/// </summary>
/// <remarks>docs/decisions/0011-etc-is-merged-twice.md. After passwd(5), group(5), shadow(5), gshadow(5), subuid(5), subgid(5).</remarks>
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
        NoteClashes();
        if (notes.Count > 0)
            return Whole();
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
        return new MergedAccounts(texts, notes, IsWhole: false);

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

    // The owner's number stands, also where the tree has another one: they fit, or it would not have come so far.
    private Dictionary<string, uint> AssignIds(string file, HashSet<string> names)
    {
        (_, AccountFile ours, AccountFile theirs) = files[file];
        Dictionary<string, uint> ids = [];
        foreach (string name in names)
        {
            if ((ours.Find(name)?.Id(2) ?? theirs.Find(name)?.Id(2)) is { } id)
                ids[name] = id;
        }

        return ids;
    }

    private void NoteClashes()
    {
        foreach (string file in (string[])["passwd", "group"])
        {
            (AccountFile old, AccountFile ours, AccountFile theirs) = files[file];
            foreach ((string name, AccountRecord theirRecord) in theirs.Records)
            {
                if (theirRecord.Id(2) is not { } wanted)
                    continue;
                (AccountRecord? b, AccountRecord? m) = (old.Find(name), ours.Find(name));
                // What the owner alone gave another id keeps that: the new tree says nothing new about it.
                if (m?.Id(2) is { } id && id != wanted && b?.Id(2) != wanted)
                    Clash(file, name, $"the new tree gives it id {wanted}; here it has {id}, and so have its files");
                else if (m is null && b is null && Holder(file, name, wanted) is { } holder)
                    Clash(file, name, $"the new tree brings it with id {wanted}, which is {holder}'s here");
            }
        }

        foreach ((string name, AccountRecord arriving) in files["passwd"].Next.Records)
        {
            if (files["passwd"].Mine.Find(name) is null && files["passwd"].Before.Find(name) is null && arriving.Id(3) is { } gid
                && !files["group"].Next.Records.Values.Any(group => group.Id(2) == gid) && Holder("group", "", gid) is { } holder)
                Clash("passwd", name, $"the new tree brings it with group {gid}, which is {holder} here");
        }

        void Clash(string file, string name, string what) => notes.Add(new AccountNote(file, name, what, IsConflict: true));
    }

    // Who has an id here, or had it in the old tree (files in /var may still have it), and does not have it in the new tree.
    private string? Holder(string file, string name, uint id)
    {
        (AccountFile old, AccountFile ours, AccountFile theirs) = files[file];
        return ours.Records.Concat(old.Records).FirstOrDefault(other => other.Key != name && other.Value.Id(2) == id && theirs.Find(other.Key)?.Id(2) != id).Key;
    }

    private MergedAccounts Whole()
    {
        var texts = new Dictionary<string, byte[]>();
        foreach (string file in Files)
        {
            if (mine(file) is not { } bytes)
                continue;
            texts[file] = bytes;
            byte[] theirs = next(file) ?? [];
            if (!theirs.AsSpan().SequenceEqual(bytes) && !theirs.AsSpan().SequenceEqual(before(file) ?? []))
                notes.Add(new AccountNote(file, file, "yours is kept whole, without what the new tree brings: its ids do not fit those here", IsConflict: true));
        }

        return new MergedAccounts(texts, notes, IsWhole: true);
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
