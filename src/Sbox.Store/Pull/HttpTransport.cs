using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Sbox.Store;

/// <summary>Connections to servers, made as a remote's settings and the options of a pull ask: proxy, certificates, cookies, headers, HTTP version.</summary>
internal sealed class HttpTransport : IDisposable
{
    // Servers that know ostree's clients by their name shall know this one for what it can.
    private const string Agent = "libostree/2026.4";
    private const int MaximumRedirects = 20;

    private readonly PullOptions options;
    private readonly RemoteSettings? remote;
    private readonly CookieContainer? cookies;
    private readonly HashSet<string> named; // where the owner's own headers go: what the owner named, and no place that a server names
    private long bytes;
    private volatile HttpClient client;
    private HttpClient? retired;
    private int old;
    private readonly ConcurrentDictionary<string, bool> multiplexing = new(); // by place: whether its last answer was by HTTP/2

    /// <exception cref="PullException">A setting names a certificate that cannot be read, or a proxy that is none.</exception>
    public HttpTransport(Repository repository, RemoteSettings? remote, PullOptions options)
    {
        (this.remote, this.options) = (remote, options);
        cookies = remote is null ? null : CookieFile.Container(CookieFile.Read(repository, remote.Name), DateTimeOffset.UtcNow);
        named = [.. new[] { options.Url ?? remote?.Url, remote?.ContentUrl }
            .Select(static url => Uri.TryCreate(Mirrors.AddressIn(url ?? ""), UriKind.Absolute, out Uri? address) ? PlaceOf(address) : null)
            .OfType<string>()];
        Rate = new RateLimit(options.BytesPerSecond ?? (remote?.RateLimit is { } text ? RateLimit.Parse(text, $"[{RemoteSettings.Group(remote.Name)}] sbox-rate-limit") : 0), TimeProvider.System);
        client = NewClient(keepsConnections: true);
    }

    /// <summary>How fast it may be.</summary>
    public RateLimit Rate { get; }

    /// <summary>Whether servers have answered by HTTP/2, where one connection has room for many requests: one of these or more has, and none in another way.</summary>
    public bool Multiplexes(IEnumerable<string> urls)
    {
        bool[] answers = [.. urls.SelectMany(url => Uri.TryCreate(url, UriKind.Absolute, out Uri? address) && multiplexing.TryGetValue(PlaceOf(address), out bool multiplexed) ? (bool[])[multiplexed] : [])];
        return answers.Length > 0 && answers.All(static each => each);
    }

    /// <summary>Bytes that came so far.</summary>
    public long BytesTransferred => Interlocked.Read(ref bytes);

    /// <summary>Counts what came, and waits where it came faster than is wanted.</summary>
    public ValueTask Count(int read, CancellationToken cancel)
    {
        Interlocked.Add(ref bytes, read);
        return Rate.Take(read, cancel);
    }

    /// <summary>An address as it may be shown: without a name and password in it.</summary>
    public static string Shown(string url)
    {
        int begin = url.IndexOf("://", StringComparison.Ordinal);
        if (begin < 0)
            return url;
        begin += 3;
        ReadOnlySpan<char> authority = url.AsSpan(begin);
        // What is no address may be none for what its password has in it.
        if (Uri.TryCreate(Mirrors.AddressIn(url), UriKind.Absolute, out _) && authority.IndexOfAny("/\\?#") is >= 0 and var end)
            authority = authority[..end];
        int at = authority.LastIndexOf('@');
        return at < 0 ? url : url.Remove(begin, at + 1);
    }

    /// <summary>Asks, and answers as soon as there are headers. Redirects are followed; a name and password, and the owner's headers, stay with their host.</summary>
    /// <param name="url">What for.</param>
    /// <param name="known">What the server said of the one that is here: it need not send that again.</param>
    /// <param name="part">Only this of it, if it is still the same; null for all.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<HttpResponseMessage> Get(string url, Validators? known, ByteRange? part, CancellationToken cancel)
    {
        var address = new Uri(url);
        string? login = address.UserInfo is { Length: > 0 } user ? Convert.ToBase64String(Encoding.UTF8.GetBytes(Uri.UnescapeDataString(user))) : null;
        for (int redirects = 0; ; redirects++)
        {
            HttpResponseMessage response = await Send(WithoutUser(address), login, known, part, cancel).ConfigureAwait(false);
            if (redirects == MaximumRedirects || Redirect(response, address) is not { } next)
                return response;
            response.Dispose();
            if (PlaceOf(next) != PlaceOf(address))
                login = null;
            address = next;
        }
    }

    private async Task<HttpResponseMessage> Send(Uri address, string? login, Validators? known, ByteRange? part, CancellationToken cancel)
    {
        bool isNamed = named.Contains(PlaceOf(address)), knows = KnowsHttp2(address, isNamed);
        using var request = new HttpRequestMessage(HttpMethod.Get, address) { Version = client.DefaultRequestVersion, VersionPolicy = knows ? HttpVersionPolicy.RequestVersionExact : client.DefaultVersionPolicy };
        foreach ((string name, string value) in isNamed ? options.Headers : [])
            request.Headers.TryAddWithoutValidation(name, value);
        if (login is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Basic", login);
        if (known?.ETag is { } tag)
            request.Headers.TryAddWithoutValidation("If-None-Match", tag);
        if (known?.LastModified is { } since)
            request.Headers.IfModifiedSince = since;
        if (part is { Said: var said })
        {
            request.Headers.Range = new RangeHeaderValue(part.From, part.To);
            // A weak tag promises no equal bytes; a server that is asked by one sends the whole of it.
            request.Headers.TryAddWithoutValidation("If-Range", said.ETag ?? said.LastModified!.Value.ToString("R", System.Globalization.CultureInfo.InvariantCulture));
        }

        try
        {
            HttpResponseMessage response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel).ConfigureAwait(false);
            NoteVersion(address, response.Version);
            return response;
        }
        catch (HttpRequestException other) when (knows && !Multiplexes([address.AbsoluteUri])
            && other.HttpRequestError is HttpRequestError.HttpProtocolError or HttpRequestError.InvalidResponse or HttpRequestError.VersionNegotiationError)
        {
            // A line that is cut at this moment looks the same: it is tried again, as after any cut.
            string key = $"{RemoteSettings.Http2CleartextKey} of [{RemoteSettings.Group(remote!.Name)}]";
            throw new IOException($"no answer by HTTP/2 without TLS, for which {key} asks; where the server, or a proxy, does not know it, HTTP/1.1 is spoken without that line", other);
        }
    }

    // Over TLS the server says whether it knows HTTP/2; without, the owner of the config does. What an owner knows of a server is said of no mirror, and of nothing that it leads to.
    private bool KnowsHttp2(Uri address, bool isNamed) => isNamed && remote is { Http2: true, Http2Cleartext: true } && address.Scheme == Uri.UriSchemeHttp;

    // Where an answer leads; never from TLS to plain HTTP, and to nothing that is not HTTP.
    private static Uri? Redirect(HttpResponseMessage response, Uri from)
    {
        bool leads = response.StatusCode is HttpStatusCode.MovedPermanently or HttpStatusCode.Found or HttpStatusCode.SeeOther
            or HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect;
        return leads && response.Headers.Location is { } location && Uri.TryCreate(from, location.OriginalString, out Uri? next)
            && (next.Scheme == Uri.UriSchemeHttps || (next.Scheme == Uri.UriSchemeHttp && from.Scheme == Uri.UriSchemeHttp)) ? next : null;
    }

    private static string PlaceOf(Uri address) => address.GetComponents(UriComponents.SchemeAndServer, UriFormat.UriEscaped);

    private static Uri WithoutUser(Uri address) => address.UserInfo.Length == 0 ? address : new UriBuilder(address) { UserName = "", Password = "" }.Uri;

    public void Dispose()
    {
        client.Dispose();
        retired?.Dispose();
    }

    // A server of HTTP/1.0 hangs up after each answer without saying so; the class library would keep the connection and find it dead
    // at the next request. Found out by the first answer, which nobody waits beside.
    private void NoteVersion(Uri address, Version version)
    {
        multiplexing[PlaceOf(address)] = version.Major >= 2;
        if (version >= HttpVersion.Version11 || Interlocked.Exchange(ref old, 1) != 0)
            return;
        retired = client;
        client = NewClient(keepsConnections: false);
    }

    private HttpClient NewClient(bool keepsConnections)
    {
        HttpMessageHandler handler = options.Handler ?? Sockets(keepsConnections);
        var made = new HttpClient(handler, disposeHandler: options.Handler is null)
        {
            Timeout = Timeout.InfiniteTimeSpan, // a large file may take long; silence is timed instead
            DefaultRequestVersion = remote?.Http2 == false ? HttpVersion.Version11 : HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
        };
        made.DefaultRequestHeaders.TryAddWithoutValidation("User-Agent", options.AppendUserAgent is { Length: > 0 } more ? $"{Agent} {more}" : Agent);
        return made;
    }

    private SocketsHttpHandler Sockets(bool keepsConnections)
    {
        var handler = new SocketsHttpHandler
        {
            MaxConnectionsPerServer = 2 * options.Parallel, // requests for parts may be there besides, and nobody is to wait for a connection as for a silent server
            ConnectTimeout = options.Timeout,
            EnableMultipleHttp2Connections = true,
            MaxResponseDrainSize = 16 * 1024, // of a request that others go on with, the rest is not waited for
            PooledConnectionLifetime = keepsConnections ? Timeout.InfiniteTimeSpan : TimeSpan.Zero,
            UseCookies = cookies is not null,
            AllowAutoRedirect = false, // the class library would take the owner's headers along to any host
        };
        if (cookies is not null)
            handler.CookieContainer = cookies;
        if (remote?.Proxy is { Length: > 0 } proxy)
        {
            handler.Proxy = Uri.TryCreate(proxy.Contains("://", StringComparison.Ordinal) ? proxy : $"http://{proxy}", UriKind.Absolute, out Uri? address)
                ? new WebProxy(address) { Credentials = CredentialsOf(address) }
                : throw new PullException(proxy, "a proxy's address", "none");
        }

        Secure(handler.SslOptions);
        return handler;
    }

    private void Secure(SslClientAuthenticationOptions tls)
    {
        if (remote is null)
            return;
        if (remote.TlsPermissive)
            tls.RemoteCertificateValidationCallback = static (_, _, _, _) => true; // the owner of the config asked for that
        else if (remote.TlsCaPath is { Length: > 0 } authorities)
            tls.CertificateChainPolicy = ChainOf(authorities);
        if (remote.TlsClientCertPath is { Length: > 0 } certificate)
            tls.ClientCertificates = [Read(certificate, () => X509Certificate2.CreateFromPemFile(certificate, remote.TlsClientKeyPath))];
    }

    private static X509ChainPolicy ChainOf(string path)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        Read(path, () =>
        {
            policy.CustomTrustStore.ImportFromPemFile(path);
            return policy;
        });
        return policy.CustomTrustStore.Count > 0 ? policy : throw new PullException(path, "certificates (PEM)", "none");
    }

    private static T Read<T>(string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception unusable) when (unusable is IOException or UnauthorizedAccessException or System.Security.Cryptography.CryptographicException)
        {
            throw new PullException(path, "a certificate (PEM)", unusable.Message, unusable);
        }
    }

    private static NetworkCredential? CredentialsOf(Uri address) => address.UserInfo.Split(':', 2) switch
    {
        [{ Length: > 0 } user, var password] => new NetworkCredential(Uri.UnescapeDataString(user), Uri.UnescapeDataString(password)),
        [{ Length: > 0 } user] => new NetworkCredential(Uri.UnescapeDataString(user), ""),
        _ => null,
    };
}

/// <summary>What a server said of a file, by which it says later that it is still the same.</summary>
/// <param name="ETag">The header <c>ETag</c>; null where there was none.</param>
/// <param name="LastModified">The header <c>Last-Modified</c>; null where there was none.</param>
internal sealed record Validators(string? ETag, DateTimeOffset? LastModified);
