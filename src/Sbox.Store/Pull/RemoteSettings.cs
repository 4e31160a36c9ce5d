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

    /// <summary>Which of its settings ask for a check of signatures: the keys, as the config has them.</summary>
    private IReadOnlyList<(string Key, string Value)> Checks { get; init; } = [];

    /// <summary>Fetching without the check that was asked for would be worse than not fetching.</summary>
    /// <exception cref="UnsupportedRepositoryException">The settings ask for a check of signatures, none of which is made yet.</exception>
    internal void RequireCheckable(string repository)
    {
        foreach ((string key, string value) in Checks)
            throw new UnsupportedRepositoryException(repository, $"[{Group(Name)}] {key}", value);
    }

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
        bool gpg = config.GetBoolean(group, "gpg-verify", otherwise: true);
        // A boolean, or the names of the engines that may verify.
        string? sign = Asked(config, group, "sign-verify");
        var checks = new List<(string, string)>();
        if (gpg)
            checks.Add(("gpg-verify", "true"));
        foreach (string key in (string[])["sign-verify", "gpg-verify-summary", "sign-verify-summary"])
        {
            if (Asked(config, group, key) is { } value)
                checks.Add((key, value));
        }

        return new RemoteSettings(name, config.GetString(group, "url")?.TrimEnd('/'), config.GetList(group, "branches"), gpg, sign is not null)
        {
            Checks = checks,
        };
    }

    private static string? Asked(KeyFile config, string group, string key) =>
        config.GetString(group, key)?.Trim() is { } value && value is not ("false" or "0" or "") ? value : null;
}
