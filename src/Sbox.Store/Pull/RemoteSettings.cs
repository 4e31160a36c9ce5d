using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A remote as the config, or a file of <c>remotes.d</c>, has it: <c>[remote "NAME"]</c>.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Url">Where it is: an address, or <c>mirrorlist=</c> or <c>metalink=</c> and one; null where the config says nothing.</param>
/// <param name="Branches">What is pulled when nothing is asked for.</param>
/// <param name="GpgVerify">Commits must be signed by GPG; libostree's default is yes.</param>
/// <param name="SignVerify">Commits must be signed otherwise.</param>
/// <remarks>After ostree.repo-config(5).</remarks>
public sealed record RemoteSettings(string Name, string? Url, IReadOnlyList<string> Branches, bool GpgVerify, bool SignVerify)
{
    internal const string Http2CleartextKey = "sbox-http2-cleartext";

    private const string GroupStart = "remote \"";

    internal static string Group(string name) => $"{GroupStart}{name}\"";

    /// <summary>The remote that a group is of; null where it is of none.</summary>
    internal static string? NameOf(string group) =>
        group.Length > GroupStart.Length && group.StartsWith(GroupStart, StringComparison.Ordinal) && group[^1] == '"' ? group[GroupStart.Length..^1] : null;

    /// <summary>Where objects and deltas are, in place of <see cref="Url"/>, which then has the summary, refs and signatures; null for the same place.</summary>
    internal string? ContentUrl { get; init; }

    /// <summary>The collection that its refs belong to; null for none.</summary>
    public string? CollectionId { get; init; }

    /// <summary>The summary must be signed by GPG.</summary>
    public bool GpgVerifySummary { get; init; }

    /// <summary>A proxy's address; null for the one of the environment (<c>http_proxy</c>), if any.</summary>
    internal string? Proxy { get; init; }

    /// <summary>Servers are believed whatever their certificate.</summary>
    internal bool TlsPermissive { get; init; }

    /// <summary>Certificates of authorities that alone are believed (PEM); null for the machine's.</summary>
    internal string? TlsCaPath { get; init; }

    /// <summary>The certificate that is shown to servers (PEM); null for none.</summary>
    internal string? TlsClientCertPath { get; init; }

    /// <summary>Its private key (PEM).</summary>
    internal string? TlsClientKeyPath { get; init; }

    /// <summary>Whether HTTP/2 is spoken where the server does.</summary>
    internal bool Http2 { get; init; } = true;

    /// <summary>
    /// HTTP/2 is spoken to the remote's own addresses also without TLS, from the first byte (<c>sbox-http2-cleartext</c>, which libostree does not know and leaves alone): there, no
    /// server can be asked whether it knows it.
    /// </summary>
    internal bool Http2Cleartext { get; init; }

    /// <summary>Bytes a second that are fetched at most (<c>sbox-rate-limit</c>, which libostree does not know and leaves alone), as it is written; null for no limit.</summary>
    internal string? RateLimit { get; init; }

    /// <summary>Whether the smaller of two deltas is taken, whose outcome must be compressed again (<c>sbox-recompress</c>: <c>auto</c>, <c>always</c> or <c>never</c>; libostree leaves it alone).</summary>
    internal RecompressUse Recompress { get; init; }

    /// <summary>Why nothing may be pulled from it, in words for people; null where it may.</summary>
    internal string? UnconfiguredState { get; init; }

    /// <summary>By which engines commits must be signed; empty for any of them, null for none.</summary>
    internal IReadOnlyList<string>? SignVerifyBy { get; init; }

    /// <summary>As <see cref="SignVerifyBy"/>, for the summary.</summary>
    internal IReadOnlyList<string>? SignVerifySummaryBy { get; init; }

    internal static RemoteSettings? From(KeyFile config, string name)
    {
        string group = Group(name);
        if (!config.Groups.Contains(group))
            return null;
        IReadOnlyList<string>? sign = Engines(config, group, "sign-verify");
        string? certificate = Text(config, group, "tls-client-cert-path"), key = Text(config, group, "tls-client-key-path");
        if (certificate is null != key is null)
            throw new MalformedException("repository config", $"[{group}]", "both tls-client-cert-path and tls-client-key-path, or neither", certificate is null ? "a key without a certificate" : "a certificate without a key");
        // Its content is another program's to fetch: going on without that would be a guess.
        if (Text(config, group, "custom-backend") is { } backend)
            throw new PullException(name, "a remote that is fetched from by this program", $"one of '{backend}'") { Words = $"Cannot fetch via libostree - remote '{name}' uses custom backend '{backend}'" };
        return new RemoteSettings(
            name, config.GetString(group, "url")?.TrimEnd('/'), config.GetList(group, "branches"), config.GetBoolean(group, "gpg-verify", otherwise: true), sign is not null)
        {
            ContentUrl = Text(config, group, "contenturl")?.TrimEnd('/'),
            CollectionId = Text(config, group, "collection-id"),
            GpgVerifySummary = config.GetBoolean(group, "gpg-verify-summary"),
            SignVerifyBy = sign,
            SignVerifySummaryBy = Engines(config, group, "sign-verify-summary"),
            Proxy = Text(config, group, "proxy"),
            TlsPermissive = config.GetBoolean(group, "tls-permissive"),
            TlsCaPath = Text(config, group, "tls-ca-path"),
            TlsClientCertPath = certificate,
            TlsClientKeyPath = key,
            Http2 = config.GetBoolean(group, "http2", otherwise: true),
            Http2Cleartext = config.GetBoolean(group, Http2CleartextKey),
            RateLimit = Text(config, group, "sbox-rate-limit"),
            Recompress = Text(config, group, "sbox-recompress") switch
            {
                null or "auto" => RecompressUse.WhereItIsSooner,
                "always" => RecompressUse.Always,
                "never" => RecompressUse.Never,
                var other => throw new MalformedException("repository config", $"[{group}] sbox-recompress", "auto, always or never", other),
            },
            UnconfiguredState = Text(config, group, "unconfigured-state"),
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

    private static string? Text(KeyFile config, string group, string key) => config.GetString(group, key) is { Length: > 0 } value ? value : null;

    // A boolean, or the names of the engines that may verify.
    private static IReadOnlyList<string>? Engines(KeyFile config, string group, string key) => config.GetString(group, key)?.Trim() switch
    {
        null or "" or "false" or "0" => null,
        "true" or "1" => [],
        _ => config.GetList(group, key),
    };
}
