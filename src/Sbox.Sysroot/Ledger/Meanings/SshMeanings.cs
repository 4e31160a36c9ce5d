namespace Sbox.Sysroot;

/// <summary>Which hosts ssh knows and which keys may log in: their names, never a key.</summary>
internal static class SshMeanings
{
    /// <summary>known_hosts, line by line (sshd(8)). Of a hashed name only that there is one: that is what hashing is for.</summary>
    public static IEnumerable<string> KnownHosts(string? before, string? now)
    {
        string[] added = [.. Known(now).Except(Known(before)).Select(Host)], removed = [.. Known(before).Except(Known(now)).Select(Host)];
        foreach (string host in added.Concat(removed).Where(static host => !IsHashed(host)).Distinct(StringComparer.Ordinal))
            yield return !removed.Contains(host) ? $"ssh host {host} added" : !added.Contains(host) ? $"ssh host {host} removed" : $"key of ssh host {host} changed";
        if (added.Where(IsHashed).Distinct(StringComparer.Ordinal).Count() is > 0 and var more)
            yield return $"{more} ssh {(more == 1 ? "host" : "hosts")} with a hashed name added";
        if (removed.Where(IsHashed).Distinct(StringComparer.Ordinal).Count() is > 0 and var less)
            yield return $"{less} ssh {(less == 1 ? "host" : "hosts")} with a hashed name removed";
    }

    /// <summary>authorized_keys, by the keys' comments.</summary>
    public static IEnumerable<string> AuthorizedKeys(string path, string? before, string? now)
    {
        string user = path.Split('/') is [_, "var", "home", var name, ..] ? name : "root";
        return [.. Known(now).Except(Known(before)).Select(line => $"{Key(line)} may log in as {user}"), .. Known(before).Except(Known(now)).Select(line => $"{Key(line)} may log in as {user} no more")];
    }

    public static IEnumerable<string> HostKeys(string path, string? before, string? now) =>
        Path.GetFileName(path) is ['s', 's', 'h', '_', 'h', 'o', 's', 't', '_', .. var kind] && kind.EndsWith("_key", StringComparison.Ordinal) ? [$"this box's ssh key ({kind[..^"_key".Length]}) {LedgerMeaning.Verb(before, now)}"] : [];

    private static IEnumerable<string> Known(string? text) => LedgerMeaning.Lines(text).Where(static line => !line.StartsWith('#'));

    private static string Host(string line) => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is [var first, .. var rest] && first.StartsWith('@') && rest.Length > 0 ? rest[0] : line.Split(' ', '\t')[0];

    private static bool IsHashed(string host) => host.StartsWith('|');

    // Options may come before the kind of key; what comes after the key itself is its comment.
    private static string Key(string line)
    {
        string[] words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        int kind = Array.FindIndex(words, static word => word.StartsWith("ssh-", StringComparison.Ordinal) || word.StartsWith("ecdsa-", StringComparison.Ordinal) || word.StartsWith("sk-", StringComparison.Ordinal));
        return kind >= 0 && words.Length > kind + 2 ? $"ssh key {string.Join(' ', words[(kind + 2)..])}" : "an ssh key without a comment";
    }
}
