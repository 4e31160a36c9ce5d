using System.Net;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Fetches files below a repository's address, trying again where the network is to blame.</summary>
internal sealed class HttpFetcher : IDisposable
{
    private const int InMemory = 1024 * 1024;
    private readonly PullOptions options;
    private readonly string baseUrl;
    private long bytes;
    private volatile HttpClient client;
    private HttpClient? retired;
    private int old;

    public HttpFetcher(string baseUrl, PullOptions options)
    {
        (this.baseUrl, this.options) = (baseUrl, options);
        client = NewClient(keepsConnections: true);
    }

    public long BytesTransferred => Interlocked.Read(ref bytes);

    public string UrlOf(string path) => $"{baseUrl}/{path}";

    /// <summary>A small file; null where the server has none.</summary>
    /// <exception cref="PullException">It could not be fetched, or is larger.</exception>
    public async Task<byte[]?> TryFetch(string path, long limit, CancellationToken cancel)
    {
        using Fetched? fetched = await Fetch(path, limit, spill: null, cancel).ConfigureAwait(false);
        return fetched?.Memory!.ToArray();
    }

    /// <summary>
    /// A file of any size: in memory up to 1 MiB, else in an unnamed file beside the objects that wait in <paramref name="spill"/>, where it
    /// counts against the repository's reserve of free space from its first byte. Null where there is none.
    /// </summary>
    /// <exception cref="PullException">It could not be fetched.</exception>
    /// <exception cref="NotEnoughSpaceException">The server sends more than there is room for.</exception>
    public Task<Fetched?> TryFetchLarge(string path, Transaction spill, CancellationToken cancel) => Fetch(path, long.MaxValue, spill, cancel);

    public void Dispose()
    {
        client.Dispose();
        retired?.Dispose();
    }

    private async Task<Fetched?> Fetch(string path, long limit, Transaction? spill, CancellationToken cancel)
    {
        string url = UrlOf(path);
        for (int attempt = 1; ; attempt++)
        {
            (string finding, Exception? cause) failure;
            using (var silence = CancellationTokenSource.CreateLinkedTokenSource(cancel))
            {
                try
                {
                    silence.CancelAfter(options.Timeout);
                    return await FetchOnce(url, limit, spill, silence).ConfigureAwait(false);
                }
                catch (HttpRequestException refused) when (IsTransient(refused.StatusCode))
                {
                    failure = (refused.StatusCode is { } status ? $"status {(int)status}" : Reason(refused), refused);
                }
                catch (IOException broken) when (broken is not LinuxException)
                {
                    failure = (broken.Message, broken);
                }
                catch (OperationCanceledException silent) when (!cancel.IsCancellationRequested)
                {
                    failure = ($"nothing for {options.Timeout.TotalSeconds:0} seconds", silent);
                }
            }

            if (attempt >= Math.Max(1, options.Retries))
                throw new PullException(url, "a whole file", failure.finding, failure.cause);
            await Task.Delay(TimeSpan.FromMilliseconds(100 << Math.Min(attempt, 6)), cancel).ConfigureAwait(false);
        }
    }

    private async Task<Fetched?> FetchOnce(string url, long limit, Transaction? spill, CancellationTokenSource silence)
    {
        using HttpResponseMessage response = await client
            .GetAsync(new Uri(url), HttpCompletionOption.ResponseHeadersRead, silence.Token).ConfigureAwait(false);
        NoteVersion(response.Version);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.Gone)
            return null;
        if (IsTransient(response.StatusCode))
            response.EnsureSuccessStatusCode();
        if (response.StatusCode != HttpStatusCode.OK)
            throw new PullException(url, "status 200", $"status {(int)response.StatusCode} {response.ReasonPhrase}");
        if (response.Content.Headers.ContentLength > limit)
            throw new PullException(url, $"at most {limit} bytes", $"{response.Content.Headers.ContentLength}");

        var fetched = new Fetched(spill);
        try
        {
            using Stream body = await response.Content.ReadAsStreamAsync(silence.Token).ConfigureAwait(false);
            await Receive(url, body, limit, fetched, silence).ConfigureAwait(false);
            // The class library notices a body that ends before its Content-Length; a chunked one that is cut is noticed too.
            return fetched;
        }
        catch
        {
            fetched.Dispose();
            throw;
        }
    }

    private HttpClient NewClient(bool keepsConnections)
    {
        HttpMessageHandler handler = options.Handler ?? new SocketsHttpHandler
        {
            MaxConnectionsPerServer = options.Parallel,
            ConnectTimeout = options.Timeout,
            EnableMultipleHttp2Connections = true,
            PooledConnectionLifetime = keepsConnections ? Timeout.InfiniteTimeSpan : TimeSpan.Zero,
        };
        var made = new HttpClient(handler, disposeHandler: options.Handler is null)
        {
            Timeout = Timeout.InfiniteTimeSpan, // a large file may take long; silence is timed instead
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
        };
        made.DefaultRequestHeaders.UserAgent.ParseAdd("sbox-ostree/0.1");
        return made;
    }

    // A server of HTTP/1.0 hangs up after each answer without saying so; the class library would keep the connection and find it dead
    // at the next request. Found out by the first answer, which nobody waits beside.
    private void NoteVersion(Version version)
    {
        if (version >= HttpVersion.Version11 || Interlocked.Exchange(ref old, 1) != 0)
            return;
        retired = client;
        client = NewClient(keepsConnections: false);
    }

    private async Task Receive(string url, Stream body, long limit, Fetched fetched, CancellationTokenSource silence)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(128 * 1024);
        try
        {
            while (true)
            {
                silence.CancelAfter(options.Timeout);
                int read = await body.ReadAsync(buffer, silence.Token).ConfigureAwait(false);
                if (read == 0)
                    break;
                Interlocked.Add(ref bytes, read);
                if (fetched.Length + read > limit)
                    throw new PullException(url, $"at most {limit} bytes", "more");
                fetched.Append(buffer.AsSpan(0, read), InMemory);
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool IsTransient(HttpStatusCode? status) => status is null
        or HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError;

    private static string Reason(Exception failure) => failure.InnerException is { } inner ? inner.Message : failure.Message;
}

/// <summary>What came for one request: in memory, or in a file without a name, whose bytes are counted in the transaction for as long as it is there.</summary>
/// <param name="spill">Where such a file is made; null keeps all in memory.</param>
internal sealed class Fetched(Transaction? spill) : IDisposable
{
    private long reserved;

    public MemoryStream? Memory { get; private set; } = new();

    public SafeFileHandle? File { get; private set; }

    public long Length { get; private set; }

    public void Append(ReadOnlySpan<byte> bytes, int inMemory)
    {
        if (Memory is not null && spill is not null && Length + bytes.Length > inMemory)
        {
            Reserve(Length);
            File = spill.Staging.Dir.CreateUnnamed();
            RandomAccess.Write(File, Memory.GetBuffer().AsSpan(0, (int)Memory.Length), 0);
            Memory = null;
        }

        if (Memory is not null)
        {
            Memory.Write(bytes);
        }
        else
        {
            // Before the bytes are written: nothing is known of them yet, and a server may send without end.
            Reserve(bytes.Length);
            RandomAccess.Write(File!, bytes, Length);
        }

        Length += bytes.Length;
    }

    /// <summary>The file is an object now: its bytes stay counted when this is disposed.</summary>
    public void Keep() => reserved = 0;

    /// <summary>The bytes from the beginning.</summary>
    public Stream Open()
    {
        if (Memory is not null)
            return new MemoryStream(Memory.GetBuffer(), 0, (int)Memory.Length, writable: false);
        return new FileStream(new SafeFileHandle(File!.DangerousGetHandle(), ownsHandle: false), FileAccess.Read, bufferSize: 0) { Position = 0 };
    }

    public void Dispose()
    {
        File?.Dispose();
        spill?.Release(reserved);
        reserved = 0;
    }

    private void Reserve(long bytes)
    {
        spill!.Reserve(bytes);
        reserved += bytes;
    }
}
