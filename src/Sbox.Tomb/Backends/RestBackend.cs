using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>A tomb on restic's rest-server: plain HTTP requests, one a file.</summary>
/// <remarks>Protocol: restic's documentation, "REST Backend", version 2.</remarks>
public sealed class RestBackend : IBackend
{
    private const string ListingV2 = "application/vnd.x.restic.rest.v2";
    private const int Large = 256 * 1024;
    private readonly HttpClient client;
    private readonly Uri top;

    /// <param name="url">The repository's URL; a user name in it is used, a password in it is refused by who parsed it.</param>
    /// <param name="password">The user's password, borrowed for the call; null for none.</param>
    public RestBackend(Uri url, SecretMemory? password)
    {
        top = new UriBuilder(url) { UserName = "", Password = "", Path = url.AbsolutePath.TrimEnd('/') + "/" }.Uri;
        client = new HttpClient(new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(15), PooledConnectionIdleTimeout = TimeSpan.FromMinutes(2), AllowAutoRedirect = false })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        client.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue(ListingV2));
        if (url.UserInfo.Length > 0)
        {
            byte[] credentials = [.. Encoding.UTF8.GetBytes(Uri.UnescapeDataString(url.UserInfo.Split(':')[0]) + ":"), .. password is null ? [] : password.Span];
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(credentials));
            System.Security.Cryptography.CryptographicOperations.ZeroMemory(credentials);
        }
    }

    /// <summary>How long a request may take.</summary>
    public RequestLimit Limit { get; init; } = RequestLimit.Usual;

    /// <inheritdoc/>
    public string Location => $"rest:{top}";

    /// <inheritdoc/>
    public int Connections => 5;

    /// <inheritdoc/>
    public async Task Create(CancellationToken cancel)
    {
        using HttpResponseMessage response = await Send(new HttpRequestMessage(HttpMethod.Post, new Uri(top, "?create=true")), "", 0, cancel);
        if (!response.IsSuccessStatusCode && response.StatusCode != HttpStatusCode.Forbidden) // forbidden: it is there, or may not be made; what follows says which
            throw Refused("", response);
    }

    /// <inheritdoc/>
    public async Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        // A server that has no room for it says so before it is sent, and closes the connection: who is writing then would only see that.
        HttpResponseMessage answer = await Post(file, bytes, asksFirst: bytes.Length >= Large, cancel);
        if (answer.StatusCode == HttpStatusCode.ExpectationFailed)
        {
            answer.Dispose();
            answer = await Post(file, bytes, asksFirst: false, cancel);
        }

        using HttpResponseMessage response = answer;
        if (response.IsSuccessStatusCode)
            return;
        // The server keeps what is there: it is this very file when an answer was lost on its way.
        if (response.StatusCode == HttpStatusCode.Forbidden && await Size(file, cancel) == bytes.Length)
            return;
        throw Refused(file.Path, response);
    }

    private async Task<HttpResponseMessage> Post(StoredFile file, ReadOnlyMemory<byte> bytes, bool asksFirst, CancellationToken cancel)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, Address(file)) { Content = new ReadOnlyMemoryContent(bytes) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        request.Headers.ExpectContinue = asksFirst;
        try
        {
            return await Send(request, file.Path, bytes.Length, cancel);
        }
        catch (BackendException broken) when (broken.IsTransient && bytes.Length >= Large && broken.InnerException is HttpRequestException { InnerException: IOException })
        {
            // What it answered cannot be read any more.
            throw new BackendException($"{Location}{file.Path}", $"{broken.Finding}; a server whose disk is full breaks off so", isTransient: true, broken);
        }
    }

    /// <inheritdoc/>
    public async Task<byte[]> Load(StoredFile file, CancellationToken cancel)
    {
        using HttpResponseMessage response = await Get(file, range: null, cancel);
        return await Limited(file.Path, response.Content.Headers.ContentLength ?? 0, response.Content.ReadAsByteArrayAsync, cancel);
    }

    /// <inheritdoc/>
    public async Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel)
    {
        using HttpResponseMessage response = await Get(file, new RangeHeaderValue(offset, offset + into.Length - 1), cancel);
        if (response.StatusCode != HttpStatusCode.PartialContent)
            throw new BackendException($"{Location}{file.Path}", "the server does not send ranges", isTransient: false);
        await Limited(file.Path, into.Length, async stop =>
        {
            await using Stream stream = await response.Content.ReadAsStreamAsync(stop);
            int filled = await stream.ReadAtLeastAsync(into, into.Length, throwOnEndOfStream: false, stop);
            return filled == into.Length ? filled : throw new BackendException($"{Location}{file.Path}", $"the answer ended after {filled} bytes of {into.Length}", isTransient: true);
        }, cancel);
    }

    /// <inheritdoc/>
    public async Task<long?> Size(StoredFile file, CancellationToken cancel)
    {
        using HttpResponseMessage response = await Send(new HttpRequestMessage(HttpMethod.Head, Address(file)), file.Path, 0, cancel);
        return response.StatusCode == HttpStatusCode.NotFound ? null
            : response.IsSuccessStatusCode ? response.Content.Headers.ContentLength
            : throw Refused(file.Path, response);
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel)
    {
        string directory = StoredFile.DirectoryOf(type) + "/";
        using HttpResponseMessage response = await Send(new HttpRequestMessage(HttpMethod.Get, new Uri(top, directory)), directory, 0, cancel);
        if (response.StatusCode == HttpStatusCode.NotFound)
            return [];
        if (!response.IsSuccessStatusCode)
            throw Refused(directory, response);
        byte[] json = await Limited(directory, response.Content.Headers.ContentLength ?? 0, response.Content.ReadAsByteArrayAsync, cancel);
        return JsonFields.Read(json, "rest-server listing", static (ref Utf8JsonReader reader) =>
        {
            var files = new List<ListedFile>();
            if (reader.TokenType == JsonTokenType.Null)
                return files;
            while (JsonFields.NextElement(ref reader))
            {
                string name = "";
                long size = -1;
                JsonFields.Object(ref reader);
                while (JsonFields.Next(ref reader))
                {
                    if (reader.ValueTextEquals("name"u8))
                        name = JsonFields.Text(ref reader);
                    else if (reader.ValueTextEquals("size"u8))
                        size = (long)JsonFields.Number(ref reader);
                    else
                        JsonFields.Skip(ref reader);
                }

                files.Add(new ListedFile(name, size));
            }

            return files;
        });
    }

    /// <inheritdoc/>
    public async Task Delete(StoredFile file, CancellationToken cancel)
    {
        using HttpResponseMessage response = await Send(new HttpRequestMessage(HttpMethod.Delete, Address(file)), file.Path, 0, cancel);
        if (!response.IsSuccessStatusCode && response.StatusCode != HttpStatusCode.NotFound)
            throw Refused(file.Path, response);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        client.Dispose();
        return ValueTask.CompletedTask;
    }

    // The server spreads packs over directories itself.
    private Uri Address(StoredFile file) => new(top, file.Type == StoredFileType.Config ? "config" : $"{StoredFile.DirectoryOf(file.Type)}/{file.Name}");

    private async Task<HttpResponseMessage> Get(StoredFile file, RangeHeaderValue? range, CancellationToken cancel)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, Address(file));
        request.Headers.Range = range;
        HttpResponseMessage response = await Send(request, file.Path, 0, cancel);
        if (response.IsSuccessStatusCode)
            return response;
        using (response)
        {
            throw response.StatusCode switch
            {
                HttpStatusCode.NotFound => new StoredFileMissingException(Location, file),
                HttpStatusCode.RequestedRangeNotSatisfiable => new BackendException($"{Location}{file.Path}", "it is shorter than what was asked for", isTransient: false),
                _ => Refused(file.Path, response),
            };
        }
    }

    private Task<HttpResponseMessage> Send(HttpRequestMessage request, string what, long bytes, CancellationToken cancel) =>
        Limited(what, bytes, stop => client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop), cancel);

    private Task<T> Limited<T>(string what, long bytes, Func<CancellationToken, Task<T>> work, CancellationToken cancel) =>
        TimeLimit.Run($"{Location}{what}", Limit.For(bytes), work, cancel);

    private BackendException Refused(string what, HttpResponseMessage response)
    {
        string where = $"{Location}{what}", finding = $"the server answers {(int)response.StatusCode} {response.ReasonPhrase}";
        return response.StatusCode switch
        {
            HttpStatusCode.InsufficientStorage => new PlaceFullException(where, finding),
            HttpStatusCode.RequestEntityTooLarge => new BackendException(where, $"{finding}: it, or a proxy before it, takes no request of that size", isTransient: false),
            HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError => new BackendException(where, finding, isTransient: true),
            _ => new BackendException(where, finding, isTransient: false),
        };
    }
}
