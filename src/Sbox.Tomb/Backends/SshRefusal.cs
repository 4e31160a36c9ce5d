namespace Sbox.Tomb;

/// <summary>What keeps ssh from its host, and does not change by itself within the seconds that a retry waits.</summary>
public enum SshRefusal
{
    /// <summary>Nobody has said yet that the host's key is its own.</summary>
    UnknownHostKey,
    /// <summary>The host has another key than the one that is known of it.</summary>
    ChangedHostKey,
    /// <summary>The host takes none of the keys that ssh has, nor a password.</summary>
    PermissionDenied,
    /// <summary>No host has this name, as far as can be told from here.</summary>
    NoSuchHost,
    /// <summary>There is no such program as ssh.</summary>
    NoProgram,
}

/// <summary>ssh does not come through to the host, and another try would end likewise. The tomb is away all the same: what is pinned can be opened.</summary>
/// <param name="location">The tomb.</param>
/// <param name="host">The host, with the user where one is named.</param>
/// <param name="refusal">What keeps ssh from it.</param>
/// <param name="words">What ssh said of it.</param>
public sealed class SshRefusedException(string location, string host, SshRefusal refusal, string words)
    : BackendException(location, $"ssh does not come through: {words}", isTransient: true)
{
    /// <summary>The host, with the user where one is named.</summary>
    public string Host { get; } = host;

    /// <summary>What keeps ssh from it.</summary>
    public SshRefusal Refusal { get; } = refusal;

    /// <summary>What ssh said of it.</summary>
    public string Words { get; } = words;

    /// <inheritdoc/>
    public override bool PassesByItself => false;
}

/// <summary>ssh ended before the server on the other side said a word.</summary>
internal sealed class SshEndedException(IReadOnlyList<string> words, string? otherwise) : IOException((Last(words) ?? otherwise) is { } last ? $"ssh ended: {last}" : "ssh ended")
{
    /// <summary>What is said of it that does not pass by itself, by the words of OpenSSH's ssh, which has no other language; null for what may.</summary>
    public (SshRefusal Refusal, string Words)? Refusal { get; } =
        words.Any(static line => line.Contains("REMOTE HOST IDENTIFICATION HAS CHANGED", StringComparison.Ordinal)) ? (SshRefusal.ChangedHostKey, "the host's key is not the one that is known of it")
        : Find(words, "Host key verification failed", "host key is known for") is not null ? (SshRefusal.UnknownHostKey, "nobody has said yet that the host's key is its own")
        : Find(words, "Permission denied (", "Too many authentication failures") is { } denied ? (SshRefusal.PermissionDenied, denied)
        : Find(words, "Could not resolve hostname") is { } unknown && !unknown.Contains("Temporary", StringComparison.OrdinalIgnoreCase) ? (SshRefusal.NoSuchHost, unknown)
        : null;

    private static string? Last(IReadOnlyList<string> words) => words.LastOrDefault(static line => line.Trim().Length > 0)?.Trim();

    private static string? Find(IReadOnlyList<string> words, params string[] texts) => words.LastOrDefault(line => texts.Any(text => line.Contains(text, StringComparison.Ordinal)))?.Trim();
}
