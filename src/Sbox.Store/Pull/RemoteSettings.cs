using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A remote as the config has it: <c>[remote "NAME"]</c>.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Url">Where it is; null where the config says nothing.</param>
/// <param name="Branches">What is pulled when nothing is asked for.</param>
/// <param name="GpgVerify">Commits must be signed by GPG; libostree's default is yes.</param>
/// <param name="SignVerify">Commits must be signed otherwise.</param>
public sealed record RemoteSettings(string Name, string? Url, IReadOnlyList<string> Branches, bool GpgVerify, bool SignVerify)
{
    // What would change how bytes are fetched or trusted; going on without it would be a guess.
    private static readonly string[] Unhandled =
        ["proxy", "tls-client-cert-path", "tls-client-key-path", "tls-ca-path", "contenturl", "metalink"];

    internal static string Group(string name) => $"remote \"{name}\"";

    /// <summary>The summary must be signed by GPG.</summary>
    public bool GpgVerifySummary { get; init; }

    /// <summary>By which engines commits must be signed; empty for any of them, null for none.</summary>
    internal IReadOnlyList<string>? SignVerifyBy { get; init; }

    /// <summary>As <see cref="SignVerifyBy"/>, for the summary.</summary>
    internal IReadOnlyList<string>? SignVerifySummaryBy { get; init; }

    internal static RemoteSettings? From(string repository, KeyFile config, string name)
    {
        string group = Group(name);
        if (!config.Groups.Contains(group))
            return null;
        foreach (string key in Unhandled)
        {
            if (config.GetString(group, key) is { Length: > 0 } value)
                throw new UnsupportedRepositoryException(repository, $"[{group}] {key}", value);
        }

        if (config.GetBoolean(group, "tls-permissive"))
            throw new UnsupportedRepositoryException(repository, $"[{group}] tls-permissive", "true");
        IReadOnlyList<string>? sign = Engines(config, group, "sign-verify");
        return new RemoteSettings(
            name, config.GetString(group, "url")?.TrimEnd('/'), config.GetList(group, "branches"), config.GetBoolean(group, "gpg-verify", otherwise: true), sign is not null)
        {
            GpgVerifySummary = config.GetBoolean(group, "gpg-verify-summary"),
            SignVerifyBy = sign,
            SignVerifySummaryBy = Engines(config, group, "sign-verify-summary"),
        };
    }

    /// <summary>A list of paths, between semicolons or commas; not both.</summary>
    /// <exception cref="MalformedException">Both are there.</exception>
    internal static IReadOnlyList<string> Paths(string? value)
    {
        if (value is null)
            return [];
        if (value.Contains(';', StringComparison.Ordinal) && value.Contains(',', StringComparison.Ordinal))
            throw new MalformedException("repository config", "gpgkeypath", "one kind of separator", $"key value list contains more than one separator: '{value}'");
        string[] paths = value.Split(';', ',');
        return paths[^1].Length == 0 ? paths[..^1] : paths;
    }

    // A boolean, or the names of the engines that may verify.
    private static IReadOnlyList<string>? Engines(KeyFile config, string group, string key) => config.GetString(group, key)?.Trim() switch
    {
        null or "" or "false" or "0" => null,
        "true" or "1" => [],
        _ => config.GetList(group, key),
    };
}
