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
        return new RemoteSettings(
            name, config.GetString(group, "url")?.TrimEnd('/'), config.GetList(group, "branches"),
            config.GetBoolean(group, "gpg-verify", otherwise: true),
            config.GetString(group, "sign-verify") is { } sign && sign is not ("false" or "0" or ""));
    }
}
