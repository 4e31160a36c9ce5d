using System.Diagnostics;
using System.Net;

namespace Sbox.Store;

/// <summary>Fetches files below a repository's address, from one mirror after another, trying again where the network is to blame.</summary>
/// <param name="transport">Connections; shared.</param>
/// <param name="mirrors">Addresses of the same files, without a slash at their ends; one or more.</param>
/// <param name="options">How often, how slow.</param>
internal sealed class HttpFetcher(HttpTransport transport, IReadOnlyList<string> mirrors, PullOptions options)
{
    private const int InMemory = 1024 * 1024;
    private const int Progress = 64 * 1024; // as much as this, and a cut connection is no failed try

    public long BytesTransferred => transport.BytesTransferred;

    public string UrlOf(string path) => HttpTransport.Shown(Join(mirrors[0], path));

    /// <summary>A small file; null where the server has none.</summary>
    /// <exception cref="PullException">It could not be fetched, or is larger.</exception>
    public async Task<byte[]?> TryFetch(string path, long limit, CancellationToken cancel)
    {
        using Fetched? fetched = await Fetch(path, limit, spill: null, known: null, accept: null, cancel).ConfigureAwait(false);
        return fetched?.Memory!.ToArray();
    }

    /// <summary>As the other one; where one mirror's bytes are not accepted, the next one is asked.</summary>
    /// <param name="path">The file.</param>
    /// <param name="limit">The most that it may be.</param>
    /// <param name="accept">Throws <see cref="PullException"/> where the bytes from that address are wrong.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<byte[]?> TryFetch(string path, long limit, Action<byte[], string> accept, CancellationToken cancel)
    {
        byte[]? bytes = null;
        using Fetched? fetched = await Fetch(path, limit, spill: null, known: null, Look, cancel).ConfigureAwait(false);
        return fetched is null ? null : bytes;

        void Look(Fetched found, string url) => accept(bytes = found.Memory!.ToArray(), url);
    }

    /// <summary>A small file, with what the server says of it; <see cref="Fetched.IsUnchanged"/> where it is as it was.</summary>
    public Task<Fetched?> TryFetchIfChanged(string path, long limit, Validators? known, CancellationToken cancel) => Fetch(path, limit, spill: null, known, accept: null, cancel);

    /// <summary>
    /// A file of any size: in memory up to 1 MiB, else in an unnamed file beside the objects that wait in <paramref name="spill"/>, where it
    /// counts against the repository's reserve of free space from its first byte. Null where there is none.
    /// </summary>
    /// <exception cref="PullException">It could not be fetched.</exception>
    /// <exception cref="NotEnoughSpaceException">The server sends more than there is room for.</exception>
    public Task<Fetched?> TryFetchLarge(string path, Transaction spill, CancellationToken cancel) => Fetch(path, long.MaxValue, spill, known: null, accept: null, cancel);

    /// <summary>As the other one; where one mirror's bytes are not accepted (<see cref="PullException"/>), the next one is asked.</summary>
    public Task<Fetched?> TryFetchLarge(string path, Transaction spill, Action<Fetched, string> accept, CancellationToken cancel) =>
        Fetch(path, long.MaxValue, spill, known: null, accept, cancel);

    private async Task<Fetched?> Fetch(string path, long limit, Transaction? spill, Validators? known, Action<Fetched, string>? accept, CancellationToken cancel)
    {
        PullException? failure = null;
        foreach (string mirror in mirrors)
        {
            try
            {
                if (await FetchFrom(Join(mirror, path), limit, spill, known, cancel).ConfigureAwait(false) is { } fetched)
                    return Accepted(fetched, accept, HttpTransport.Shown(Join(mirror, path)));
            }
            catch (PullException failed)
            {
                failure = failed; // the next mirror may do better
            }
        }

        return failure is null ? null : throw failure;
    }

    private static Fetched Accepted(Fetched fetched, Action<Fetched, string>? accept, string url)
    {
        try
        {
            accept?.Invoke(fetched, url);
            return fetched;
        }
        catch
        {
            fetched.Dispose();
            throw;
        }
    }

    // What came before the connection was cut is not fetched again, where the server says that the file is still the same.
    private async Task<Fetched?> FetchFrom(string url, long limit, Transaction? spill, Validators? known, CancellationToken cancel)
    {
        Fetched? begun = null;
        bool done = false;
        try
        {
            for (int attempt = 0; ; attempt++)
            {
                long before = begun?.Length ?? 0;
                begun ??= new Fetched(spill);
                (string Finding, Exception? Cause) failure = await TryOnce(url, limit, begun, known, cancel).ConfigureAwait(false);
                if (failure.Finding.Length == 0)
                {
                    done = !begun.IsMissing;
                    return done ? begun : null;
                }

                if (!begun.CanResume)
                {
                    begun.Dispose();
                    begun = null;
                }
                else if (begun.Length - before >= Progress)
                {
                    attempt = -1; // slow, but it comes
                }

                if (attempt >= options.Retries)
                    throw new PullException(HttpTransport.Shown(url), "a whole file", failure.Finding, failure.Cause);
                await Task.Delay(Pause(attempt), cancel).ConfigureAwait(false);
            }
        }
        finally
        {
            if (!done)
                begun?.Dispose();
        }
    }

    // Longer each time, and never the same: a thousand boxes whose server went away must not all come back in the same moment.
    private static TimeSpan Pause(int attempt) => TimeSpan.FromMilliseconds((100 << Math.Clamp(attempt, 0, 6)) * (0.5 + Random.Shared.NextDouble()));

    // What failed, where the network is to blame; an empty finding where nothing did.
    private async Task<(string Finding, Exception? Cause)> TryOnce(string url, long limit, Fetched into, Validators? known, CancellationToken cancel)
    {
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        try
        {
            silence.CancelAfter(options.Timeout);
            await FetchOnce(url, limit, into, known, silence).ConfigureAwait(false);
            return ("", null);
        }
        catch (HttpRequestException refused) when (IsTransient(refused.StatusCode))
        {
            return (refused.StatusCode is { } status ? $"status {(int)status} {Words(status)}" : Reason(refused), refused);
        }
        catch (IOException broken) when (broken is not Linux.LinuxException)
        {
            return (broken.Message, broken);
        }
        catch (OperationCanceledException silent) when (!cancel.IsCancellationRequested)
        {
            return ($"nothing for {options.Timeout.TotalSeconds:0} seconds", silent);
        }
    }

    private async Task FetchOnce(string url, long limit, Fetched into, Validators? known, CancellationTokenSource silence)
    {
        using HttpResponseMessage response = await transport.Get(url, known, into.CanResume ? into : null, silence.Token).ConfigureAwait(false);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.Gone)
        {
            into.IsMissing = true;
            return;
        }

        if (known is not null && response.StatusCode == HttpStatusCode.NotModified)
        {
            into.IsUnchanged = true;
            return;
        }

        if (IsTransient(response.StatusCode))
            response.EnsureSuccessStatusCode();
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable && into.CanResume)
        {
            into.Clear();
            throw new IOException("status 416: the file is shorter than what came of it");
        }

        bool goesOn = response.StatusCode == HttpStatusCode.PartialContent && into.CanResume && response.Content.Headers.ContentRange?.From == into.Length;
        if (response.StatusCode != HttpStatusCode.OK && !goesOn)
            throw new PullException(HttpTransport.Shown(url), "status 200", $"status {(int)response.StatusCode} {response.ReasonPhrase}");
        if (!goesOn)
            into.Clear(); // the whole of it comes, perhaps of another one
        if (response.Content.Headers.ContentLength > limit - into.Length)
            throw TooLong(url, limit, $"{response.Content.Headers.ContentLength}");
        into.Validators = new Validators(response.Headers.ETag?.ToString(), response.Content.Headers.LastModified);
        using Stream body = await response.Content.ReadAsStreamAsync(silence.Token).ConfigureAwait(false);
        await Receive(url, body, limit, into, silence).ConfigureAwait(false);
        // The class library notices a body that ends before its Content-Length; a chunked one that is cut is noticed too.
    }

    private async Task Receive(string url, Stream body, long limit, Fetched fetched, CancellationTokenSource silence)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(128 * 1024);
        var floor = new SpeedFloor(options.SlowBytes, options.SlowTime);
        try
        {
            while (true)
            {
                silence.CancelAfter(options.Timeout);
                floor.Wait();
                int read = await body.ReadAsync(buffer, silence.Token).ConfigureAwait(false);
                floor.Came(read);
                if (read == 0)
                    break;
                transport.Count(read);
                if (fetched.Length + read > limit)
                    throw TooLong(url, limit, "more");
                fetched.Append(buffer.AsSpan(0, read), InMemory);
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static PullException TooLong(string url, long limit, string found) =>
        new(HttpTransport.Shown(url), $"at most {limit} bytes", found) { Words = $"URI {HttpTransport.Shown(url)} exceeded maximum size of {limit} bytes" };

    private static string Join(string mirror, string path) => path.Length == 0 ? mirror : $"{mirror}/{path}";

    private static string Words(HttpStatusCode status) => status switch
    {
        HttpStatusCode.InternalServerError => "Internal Server Error",
        HttpStatusCode.RequestTimeout => "Request Timeout",
        HttpStatusCode.TooManyRequests => "Too Many Requests",
        HttpStatusCode.ServiceUnavailable => "Service Unavailable",
        _ => $"{status}",
    };

    private static bool IsTransient(HttpStatusCode? status) => status is null
        or HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError;

    private static string Reason(Exception failure) => failure.InnerException is { } inner ? inner.Message : failure.Message;
}

/// <summary>Notices a server that trickles: fewer bytes a second than some, for as long as is borne. What is done with the bytes is not timed.</summary>
/// <param name="limit">Bytes a second; 0 bears all.</param>
/// <param name="borne">For how long.</param>
internal sealed class SpeedFloor(long limit, TimeSpan borne)
{
    private readonly Stopwatch waiting = new();
    private long came;

    public void Wait() => waiting.Start();

    /// <exception cref="IOException">It was too slow for too long.</exception>
    public void Came(int bytes)
    {
        waiting.Stop();
        came += bytes;
        if (limit <= 0 || waiting.Elapsed < borne)
            return;
        if (came < limit * waiting.Elapsed.TotalSeconds)
            throw new IOException($"fewer than {limit} bytes a second for {borne.TotalSeconds:0} seconds");
        waiting.Reset();
        came = 0;
    }
}
