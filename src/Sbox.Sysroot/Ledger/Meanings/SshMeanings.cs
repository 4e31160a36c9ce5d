namespace Sbox.Sysroot;

/// <summary>Which hosts ssh knows and which keys may log in: their names, never a key.</summary>
internal static class SshMeanings
{
    /// <summary>known_hosts, line by line (sshd(8)). Of a hashed name only that there is one: that is what hashing is for.</summary>
    public static IEnumerable<string> KnownHosts(string? before, string? now)
    {
        string[] added = [.. KnownHostLines(now).Except(KnownHostLines(before)).Select(Host)], removed = [.. KnownHostLines(before).Except(KnownHostLines(now)).Select(Host)];
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

    // A line without a kind of key in its place may be anything, such as a private key that somebody pasted: nothing of it is told.
    private static IEnumerable<string> KnownHostLines(string? text) => Known(text).Where(static line => Words(line) is [var first, .. var rest] && (first.StartsWith('@') ? rest is [_, var marked, ..] && IsKind(marked) : rest is [var kind, ..] && IsKind(kind)));

    private static string Host(string line) => Words(line) is [var first, .. var rest] && first.StartsWith('@') ? rest[0] : Words(line)[0];

    private static bool IsHashed(string host) => host.StartsWith('|');

    // Options, one word with quotes in it, may come before the kind of key; what comes after the key itself is its comment.
    private static string Key(string line)
    {
        string[] comment = Words(line) switch
        {
            [var kind, _, .. var rest] when IsKind(kind) => rest,
            [_, var kind, _, .. var rest] when IsKind(kind) => rest,
            _ => [],
        };
        string[] told = [.. comment.Where(static word => !word.Contains(KeyStart, StringComparison.Ordinal))];
        return told.Length > 0 ? $"ssh key {string.Join(' ', told)}" : "an ssh key without a comment";
    }

    private const string KeyStart = "AAAA"; // each key's bytes begin with a length below 256

    // Whole words of sshd(8) and ssh-keygen(1), with those of certificates.
    private static bool IsKind(string word)
    {
        string plain = word.Replace("-cert-v01", "", StringComparison.Ordinal).Replace("@openssh.com", "", StringComparison.Ordinal);
        return plain is "ssh-rsa" or "ssh-dss" or "ssh-ed25519" or "ssh-ed448" or "ecdsa-sha2-nistp256" or "ecdsa-sha2-nistp384" or "ecdsa-sha2-nistp521" or "sk-ssh-ed25519" or "sk-ecdsa-sha2-nistp256";
    }

    private static string[] Words(string line)
    {
        var words = new List<string>();
        bool quoted = false;
        int start = 0;
        for (int at = 0; at <= line.Length; at++)
        {
            if (at < line.Length && line[at] == '"' && (at == 0 || line[at - 1] != '\\'))
                quoted = !quoted;
            if (at < line.Length && (quoted || !char.IsWhiteSpace(line[at])))
                continue;
            if (at > start)
                words.Add(line[start..at]);
            start = at + 1;
        }

        return [.. words];
    }
}
