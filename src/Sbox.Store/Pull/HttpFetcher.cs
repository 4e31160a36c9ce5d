using System.Diagnostics;
using System.Net;

namespace Sbox.Store;

/// <summary>Fetches files below a repository's address, from one mirror or another, trying again where the network is to blame.</summary>
/// <param name="transport">Connections; shared.</param>
/// <param name="mirrors">Who is asked.</param>
/// <param name="options">How often, how slow.</param>
/// <param name="inOrder">Whether mirrors are asked in their order: so it is with files that change, of which two that belong together should be from one place.</param>
internal sealed class HttpFetcher(HttpTransport transport, MirrorRace mirrors, PullOptions options, bool inOrder = true)
{
    private readonly PullOptions hasty = Hasty(options);

    private static readonly TimeSpan HastyTimeout = TimeSpan.FromSeconds(10);
    private const int Progress = 64 * 1024; // as much as this, and a cut connection is no failed try

    /// <param name="transport">Connections; shared.</param>
    /// <param name="url">The repository's address, without a slash at its end.</param>
    /// <param name="options">How often, how slow.</param>
    public HttpFetcher(HttpTransport transport, string url, PullOptions options)
        : this(transport, new MirrorRace([url]), options)
    {
    }

    public long BytesTransferred => transport.BytesTransferred;

    /// <summary>Whether those that are asked, as far as they have answered, have room for many requests in one connection.</summary>
    public bool Multiplexes => transport.Multiplexes(mirrors.Urls);

    /// <summary>For whom there are others: to wait for that one, and to ask it again and again, would be to wait for the worst.</summary>
    public static PullOptions Hasty(PullOptions options) => options with
    {
        Retries = Math.Min(options.Retries, 1), Timeout = Least(options.Timeout, HastyTimeout), SlowTime = Least(options.SlowTime, HastyTimeout),
    };

    public string UrlOf(string path) => HttpTransport.Shown(Join(mirrors.First, path));

    /// <summary>A small file; null where the server has none.</summary>
    /// <exception cref="PullException">It could not be fetched, or is larger.</exception>
    public async Task<byte[]?> TryFetch(string path, long limit, CancellationToken cancel)
    {
        using Fetched? fetched = await Fetch(path, new Wish(limit), cancel).ConfigureAwait(false);
        return fetched?.Bytes.ToArray();
    }

    /// <summary>As the other one; where one mirror's bytes are not accepted, the next one is asked.</summary>
    /// <param name="path">The file.</param>
    /// <param name="limit">The most that it may be.</param>
    /// <param name="accept">Throws <see cref="PullException"/> where the bytes from that address are wrong.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<byte[]?> TryFetch(string path, long limit, Action<byte[], string> accept, CancellationToken cancel)
    {
        byte[]? bytes = null;
        using Fetched? fetched = await Fetch(path, new Wish(limit) { Accept = Look }, cancel).ConfigureAwait(false);
        return fetched is null ? null : bytes;

        void Look(Fetched found, string url) => accept(bytes = found.Bytes.ToArray(), url);
    }

    /// <summary>
    /// A small file that is in all likelihood not there, of which something else tells where it should be: "forbidden" is none too, as buckets that may not be listed say it, and
    /// so is what is larger, a page of the server's own; and one mirror's word that there is none is enough where others cannot be asked.
    /// </summary>
    /// <exception cref="PullException">No mirror could be asked.</exception>
    public async Task<byte[]?> TryFetchUnlikely(string path, long limit, CancellationToken cancel)
    {
        using Fetched? fetched = await Fetch(path, new Wish(limit) { IsUnlikely = true }, cancel).ConfigureAwait(false);
        return fetched?.Bytes.ToArray();
    }

    /// <summary>A small file, with what the server says of it; <see cref="Fetched.IsUnchanged"/> where it is as it was.</summary>
    public Task<Fetched?> TryFetchIfChanged(string path, long limit, Validators? known, CancellationToken cancel) => Fetch(path, new Wish(limit) { Known = known }, cancel);

    /// <summary>
    /// A file of any size: in memory up to 256 KiB, else in an unnamed file beside the objects that wait in <paramref name="spill"/>, where it
    /// counts against the repository's reserve of free space from its first byte. Null where there is none.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="limit">The most that it may be.</param>
    /// <param name="spill">Whose it will be.</param>
    /// <param name="spare">Requests by which it may come in pieces, side by side.</param>
    /// <param name="accept">Throws <see cref="PullException"/> where the bytes from that address are wrong.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="PullException">It could not be fetched.</exception>
    /// <exception cref="NotEnoughSpaceException">The server sends more than there is room for.</exception>
    public Task<Fetched?> TryFetchLarge(string path, long limit, Transaction spill, ISpareRequests spare, Action<Fetched, string> accept, CancellationToken cancel) =>
        Fetch(path, new Wish(limit) { Spill = spill, Spare = spare, Accept = accept }, cancel);

    /// <summary>As the other one, of what tells itself how long it may be; where one mirror's bytes are not accepted (<see cref="PullException"/>), the next one is asked.</summary>
    public Task<Fetched?> TryFetchLarge(string path, Func<Fetched, string, long?> measure, Transaction spill, ISpareRequests spare, Action<Fetched, string> accept, CancellationToken cancel) =>
        Fetch(path, new Wish(long.MaxValue) { Spill = spill, Spare = spare, Accept = accept, Measure = measure }, cancel);

    /// <summary>How a file is wanted.</summary>
    /// <param name="Limit">The most that it may be.</param>
    private sealed record Wish(long Limit)
    {
        /// <summary>Where a large one is kept; null keeps all in memory.</summary>
        public Transaction? Spill { get; init; }

        /// <summary>Requests for pieces.</summary>
        public ISpareRequests? Spare { get; init; }

        /// <summary>What the server said of the one that is here.</summary>
        public Validators? Known { get; init; }

        /// <summary>That there is none is no failure, and known from something else where it is one.</summary>
        public bool IsUnlikely { get; init; }

        /// <summary>Tells from the first bytes, and their address, how long the whole may be.</summary>
        public Func<Fetched, string, long?>? Measure { get; init; }

        /// <summary>Throws where the bytes are wrong.</summary>
        public Action<Fetched, string>? Accept { get; init; }
    }

    private async Task<Fetched?> Fetch(string path, Wish wish, CancellationToken cancel)
    {
        var failed = new Dictionary<MirrorRace.Mirror, MirrorRace.Failure>();
        var lacked = new List<MirrorRace.Mirror>();
        PullException? last = null;
        // What changes is not hurried: after a moment's trouble of the first mirror, a summary would be from another one than its signature, or an older one.
        foreach (PullOptions how in mirrors.IsOne || inOrder ? [options] : new[] { hasty, options })
        {
            // With more patience, those are asked again that the line was to blame for; that they failed in haste is then no word against them.
            foreach (MirrorRace.Mirror unlucky in failed.Keys.Where(each => failed[each].Error.IsOfTheNetwork).ToArray())
                failed.Remove(unlucky);
            List<MirrorRace.Mirror> asked = [.. lacked, .. failed.Keys];
            while (mirrors.Next(asked, inOrder) is { } mirror)
            {
                asked.Add(mirror);
                long began = mirrors.Now;
                bool came = false;
                try
                {
                    // Where one has none of what is unlikely, the others are not waited for: their failing would change nothing.
                    if (await FetchFrom(mirror, path, wish, wish.IsUnlikely && lacked.Count > 0 ? hasty : how, cancel).ConfigureAwait(false) is { } fetched)
                    {
                        came = true;
                        Fetched accepted = await Accepted(fetched, mirror, path, wish, how, cancel).ConfigureAwait(false);
                        mirrors.Came(mirror, failed, lacked);
                        return accepted;
                    }

                    lacked.Add(mirror);
                }
                catch (PullException page) when (page.IsTooLarge && wish.IsUnlikely)
                {
                    lacked.Add(mirror);
                }
                catch (PullException failure)
                {
                    last = failure; // another one may do better
                    failed[mirror] = new MirrorRace.Failure(failure, began, IsOfBytes: came || failure.IsOfBytes);
                }
            }

            if (failed.Count == 0 || (lacked.Count > 0 && wish.IsUnlikely))
                return null;
        }

        // One mirror's word that a file is larger than the disk is that mirror's failure; it is believed where each says so.
        NotEnoughSpaceException[] large = [.. failed.Values.Select(static each => each.Error.InnerException).OfType<NotEnoughSpaceException>()];
        throw large.Length == failed.Count ? large[0] : last!;
    }

    private async Task<Fetched?> FetchFrom(MirrorRace.Mirror mirror, string path, Wish wish, PullOptions how, CancellationToken cancel)
    {
        long began = Stopwatch.GetTimestamp(), bytes = 0;
        bool failed = false;
        try
        {
            Fetched? fetched = await FetchFrom(Join(mirror.Url, path), wish, how, cancel).ConfigureAwait(false);
            bytes = fetched is { GoesOn: false } ? fetched.Length : 0; // what lay here says nothing of its speed
            return fetched;
        }
        catch (PullException failure)
        {
            failed = failure.IsOfTheNetwork;
            throw;
        }
        finally
        {
            // A short answer without bytes says nothing of speed, and no more does a request that was given up for a reason of our own.
            mirrors.Ended(mirror, bytes, Stopwatch.GetElapsedTime(began), isMeasure: !inOrder && (bytes > 0 || failed));
        }
    }

    // What began to come by another process is no word against the server where it is wrong: then it is fetched from its beginning.
    private async Task<Fetched> Accepted(Fetched fetched, MirrorRace.Mirror mirror, string path, Wish wish, PullOptions how, CancellationToken cancel)
    {
        string url = HttpTransport.Shown(Join(mirror.Url, path));
        try
        {
            Accept(fetched, wish, url);
            return fetched;
        }
        catch (PullException) when (fetched.GoesOn)
        {
        }

        Fetched again = await FetchFrom(mirror, path, wish, how, cancel).ConfigureAwait(false) ?? throw new PullException(url, "the file that had begun to come", "none");
        Accept(again, wish, url);
        return again;
    }

    private static TimeSpan Least(TimeSpan one, TimeSpan other) => one < other ? one : other;

    private static void Accept(Fetched fetched, Wish wish, string url)
    {
        try
        {
            wish.Accept?.Invoke(fetched, url);
        }
        catch
        {
            fetched.DropName();
            fetched.Dispose();
            throw;
        }
    }

    // What came before the connection was cut is not fetched again, where the server says that the file is still the same.
    private async Task<Fetched?> FetchFrom(string url, Wish wish, PullOptions how, CancellationToken cancel)
    {
        var begun = Fetched.Of(url, wish.Spill);
        bool done = begun.IsWhole;
        if (done)
            return begun;
        long start = begun.Length;
        try
        {
            long farthest = start;
            for (int attempt = 0; ; attempt++)
            {
                (string Finding, Exception? Cause) failure = await TryOnce(url, wish, Patience(), begun, cancel).ConfigureAwait(false);
                if (failure.Finding.Length == 0)
                {
                    done = !begun.IsMissing;
                    begun.Total ??= begun.Length; // a server need not say it
                    return done ? begun : null;
                }

                if (!begun.CanResume)
                    begun.Clear();
                start = Math.Min(start, begun.Length);
                if (begun.Length - farthest >= Progress)
                    (attempt, farthest) = (-1, begun.Length); // slow, but it comes

                // Where there is another to ask, a server that says nothing is not asked twice.
                if (attempt >= Patience().Retries || (ReferenceEquals(Patience(), hasty) && failure.Cause is OperationCanceledException))
                    throw new PullException(HttpTransport.Shown(url), "a whole file", failure.Finding, failure.Cause) { IsOfTheNetwork = true };
                await Task.Delay(Pause(attempt), cancel).ConfigureAwait(false);
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or PullException { IsOfTheNetwork: true })
        {
            begun.MayGoOn = true;
            throw;
        }
        finally
        {
            if (!done)
                begun.Dispose();
        }

        // Another one would begin anew: for the rest of what has begun to come, this one is waited for as if it were alone.
        PullOptions Patience() => begun.Length - start >= Progress && begun.CanResume ? options : how;
    }

    // Longer each time, and never the same: a thousand boxes whose server went away must not all come back in the same moment.
    internal static TimeSpan Pause(int attempt) => TimeSpan.FromMilliseconds((100 << Math.Clamp(attempt, 0, 6)) * (0.5 + Random.Shared.NextDouble()));

    // What failed, where the network is to blame; an empty finding where nothing did.
    private async Task<(string Finding, Exception? Cause)> TryOnce(string url, Wish wish, PullOptions how, Fetched into, CancellationToken cancel)
    {
        try
        {
            await new HttpDownload(transport, how, url, wish.Limit, into, wish.Spare) 
            {
                ForbiddenIsNone = wish.IsUnlikely, Measure = wish.Measure is { } measure ? begun => measure(begun, HttpTransport.Shown(url)) : null,
            }.Get(wish.Known, cancel).ConfigureAwait(false);
            return ("", null);
        }
        catch (NotEnoughSpaceException full) when (full.Url is null)
        {
            throw new NotEnoughSpaceException(wish.Spill!.Repository.Path, full.Needed, full.Available, HttpTransport.Shown(url));
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
            return ($"nothing for {how.Timeout.TotalSeconds:0} seconds", silent);
        }
    }

    private static string Join(string mirror, string path) => path.Length == 0 ? mirror : $"{mirror}/{path}";

    private static string Words(HttpStatusCode status) => status switch
    {
        HttpStatusCode.InternalServerError => "Internal Server Error",
        HttpStatusCode.RequestTimeout => "Request Timeout",
        HttpStatusCode.TooManyRequests => "Too Many Requests",
        HttpStatusCode.ServiceUnavailable => "Service Unavailable",
        _ => $"{status}",
    };

    internal static bool IsTransient(HttpStatusCode? status) => status is null
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
