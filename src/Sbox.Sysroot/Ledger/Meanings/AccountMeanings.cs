namespace Sbox.Sysroot;

/// <summary>What changed in passwd(5), shadow(5), group(5) and gshadow(5), record by record. Of passwords only that they are others.</summary>
internal static class AccountMeanings
{
    private static readonly string?[] UserFields = [null, null, "number", "group", "full name", "home", "shell"];

    public static IEnumerable<string> Users(string? before, string? now) => Compare(before, now, static name => $"user {name} added", static name => $"user {name} removed",
        static (name, old, @new) => Enumerable.Range(1, Math.Min(old.Length, @new.Length) - 1).Where(at => old[at] != @new[at])
            .Select(at => at == 1 ? $"password of {name} changed" : $"user {name}: {(at < UserFields.Length ? UserFields[at] : "another field")} changed"));

    public static IEnumerable<string> Passwords(string? before, string? now)
    {
        Dictionary<string, string[]> old = Records(before), @new = Records(now);
        foreach ((string name, string[] fields) in @new.OrderBy(static each => each.Key, StringComparer.Ordinal))
        {
            string hash = fields[1];
            if (!old.TryGetValue(name, out string[]? known))
            {
                if (!IsLocked(hash))
                    yield return hash.Length == 0 ? Open(name) : $"password of {name} set";
            }
            else if (hash != known[1])
                yield return hash.Length == 0 ? Open(name)
                    : hash == "!" + known[1] ? $"password of {name} locked"
                    : "!" + hash == known[1] ? $"password of {name} unlocked"
                    : IsLocked(hash) ? $"password of {name} removed: nobody logs in by it"
                    : IsLocked(known[1]) ? $"password of {name} set" : $"password of {name} changed";
            else if (!fields.AsSpan(2).SequenceEqual(known.AsSpan(2)))
                yield return $"password of {name}: how long it is valid changed";
        }
    }

    public static IEnumerable<string> Groups(string? before, string? now) => Compare(before, now, static name => $"group {name} added", static name => $"group {name} removed",
        static (name, old, @new) => [.. old[2] != @new[2] ? new[] { $"group {name}: number changed" } : [],
            .. LedgerMeaning.Sets(Members(old), Members(@new), member => $"user {member} added to group {name}", member => $"user {member} taken out of group {name}")], fields: 4);

    public static IEnumerable<string> GroupPasswords(string? before, string? now) =>
        Compare(before, now, static _ => null, static _ => null, static (name, old, @new) => old[1] != @new[1] ? [$"password of group {name} changed"] : []);

    private static string Open(string name) => $"password of {name} is empty: it is asked for none";

    private static bool IsLocked(string hash) => hash is ['!' or '*', ..];

    private static string[] Members(string[] fields) => fields[3].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static IEnumerable<string> Compare(string? before, string? now, Func<string, string?> added, Func<string, string?> removed, Func<string, string[], string[], IEnumerable<string>> changed, int fields = 3)
    {
        Dictionary<string, string[]> old = Records(before, fields), @new = Records(now, fields);
        foreach (string name in old.Keys.Union(@new.Keys).Order(StringComparer.Ordinal))
        {
            if (!old.TryGetValue(name, out string[]? was))
            {
                if (added(name) is { } text)
                    yield return text;
            }
            else if (!@new.TryGetValue(name, out string[]? isNow))
            {
                if (removed(name) is { } text)
                    yield return text;
            }
            else if (!was.AsSpan().SequenceEqual(isNow))
            {
                foreach (string text in changed(name, was, isNow))
                    yield return text;
            }
        }
    }

    private static Dictionary<string, string[]> Records(string? text, int fields = 3)
    {
        var records = new Dictionary<string, string[]>(StringComparer.Ordinal);
        foreach (string line in LedgerMeaning.Lines(text))
        {
            string[] all = line.Split(':');
            if (all.Length >= fields && all[0].Length > 0)
                records.TryAdd(all[0], all); // of two the first counts, as for the C library
        }

        return records;
    }
}
