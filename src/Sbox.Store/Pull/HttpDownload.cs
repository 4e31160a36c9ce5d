using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.ExceptionServices;

namespace Sbox.Store;

/// <summary>
/// One try to get a file, or what is missing of it. A file that takes long while others have nothing to do is cut into pieces that come side by side: where packets get
/// lost, a connection carries little, and many carry more. All pieces are of one file by the server's word, which a request for one names (If-Range).
/// </summary>
/// <param name="transport">Connections; shared.</param>
/// <param name="options">How slow.</param>
/// <param name="url">What for.</param>
/// <param name="limit">The most that it may be, bytes.</param>
/// <param name="into">Where to, with what came of it already.</param>
/// <param name="spare">Requests for pieces; null for none.</param>
internal sealed class HttpDownload(HttpTransport transport, PullOptions options, string url, long limit, Fetched into, ISpareRequests? spare)
{
    private const int InMemory = 256 * 1024;
    private const long LeastPiece = 256 * 1024;
    private const int SharesAboveFloor = 4;
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1), WorthIt = TimeSpan.FromSeconds(1);
    private readonly ConcurrentQueue<Task> helpers = new();
    private string? helperFailure;
    private ExceptionDispatchInfo? helperEnd; // what no other try mends

    /// <summary>Whether status 403 says that there is none: buckets that may not be listed answer so for what they lack.</summary>
    public bool ForbiddenIsNone { get; init; }

    /// <summary>Tells from the first bytes how long the whole may be; null where they are not enough for that.</summary>
    /// <remarks>May throw <see cref="PullException"/>, where nothing begins so or nothing so large would fit.</remarks>
    public Func<Fetched, long?>? Measure { get; init; }

    /// <summary>Gets it, whole or up to where it broke.</summary>
    /// <param name="known">What the server said of the one that is here; null asks for it in any case.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="IOException">The network broke.</exception>
    /// <exception cref="HttpRequestException">The network, or the server by a status that may pass.</exception>
    /// <exception cref="OperationCanceledException">Nothing came for a time, or cancelled.</exception>
    /// <exception cref="PullException">Another status, or too long.</exception>
    public async Task Get(Validators? known, CancellationToken cancel)
    {
        using var helping = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        silence.CancelAfter(options.Timeout);
        try
        {
            if (await Ask(known, silence).ConfigureAwait(false) is not { } response)
                return;
            using (response)
            {
                var piece = new Piece(into.Length, into.NextPiece ?? into.Total ?? long.MaxValue, IsDivisible(response));
                using Stream body = await response.Content.ReadAsStreamAsync(silence.Token).ConfigureAwait(false);
                long begun = Stopwatch.GetTimestamp();
                await Receive(body, piece, Append, silence, helping.Token).ConfigureAwait(false);
                into.Took = Stopwatch.GetElapsedTime(begun);
            }
        }
        catch (Exception failed) when (!IsOfTheNetwork(failed))
        {
            await helping.CancelAsync().ConfigureAwait(false);
            throw;
        }
        finally
        {
            // What others bring ahead is kept also where this one broke.
            while (helpers.TryDequeue(out Task? helper))
                await helper.ConfigureAwait(false);
            into.Join();
        }

        cancel.ThrowIfCancellationRequested();
        helperEnd?.Throw();
        if (into.Length < into.Total)
            throw new IOException(helperFailure ?? "a part of it is missing yet");
    }

    /// <summary>Whether another try may go better.</summary>
    public static bool IsOfTheNetwork(Exception failed) => failed switch
    {
        HttpRequestException refused => HttpFetcher.IsTransient(refused.StatusCode),
        OperationCanceledException => true,
        IOException => failed is not Linux.LinuxException,
        _ => false,
    };

    // Null: there is none, or it is as it was.
    private async Task<HttpResponseMessage?> Ask(Validators? known, CancellationTokenSource silence)
    {
        ByteRange? rest = into.CanResume ? new ByteRange(into.Length, into.NextPiece - 1, into.Validators!) : null;
        HttpResponseMessage response = await transport.Get(url, known, rest, silence.Token).ConfigureAwait(false);
        try
        {
            if (Take(response, known, rest))
                return response;
        }
        catch
        {
            response.Dispose();
            throw;
        }

        response.Dispose();
        return null;
    }

    private bool Take(HttpResponseMessage response, Validators? known, ByteRange? rest)
    {
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.Gone || (ForbiddenIsNone && response.StatusCode == HttpStatusCode.Forbidden))
            return !(into.IsMissing = true);
        if (known is not null && response.StatusCode == HttpStatusCode.NotModified)
            return !(into.IsUnchanged = true);
        if (HttpFetcher.IsTransient(response.StatusCode))
            response.EnsureSuccessStatusCode();
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable && rest is not null)
        {
            into.Clear();
            throw new IOException("status 416: the file is shorter than what came of it");
        }

        bool goesOn = rest is not null && IsPart(response, rest.From);
        if (rest is not null && !goesOn && response.StatusCode == HttpStatusCode.PartialContent)
        {
            into.ComesInOne = true;
            into.Clear();
            throw new IOException("status 206, and another part than was asked for");
        }

        if (response.StatusCode != HttpStatusCode.OK && !goesOn)
            throw new PullException(HttpTransport.Shown(url), "status 200", Status(response));
        if (!goesOn)
            into.Clear(); // the whole of it comes, perhaps of another one
        if (response.Content.Headers.ContentLength > limit - into.Length)
            throw TooLong($"{response.Content.Headers.ContentLength}");
        if (goesOn)
            return true; // of a part, the server need not say it all again
        into.Total = response.Content.Headers.ContentLength;
        into.Validators = new Validators(response.Headers.ETag?.ToString(), response.Content.Headers.LastModified);
        return true;
    }

    private string Status(HttpResponseMessage response) => $"status {(int)response.StatusCode} {response.ReasonPhrase}"
        + (response.Headers.Location is { } elsewhere ? $", which leads to {Leads(response.RequestMessage?.RequestUri, elsewhere)} and is not followed: it leads away from HTTPS, to no server, or too far" : "");

    // Without what follows the path: what lets one in for a time is often there.
    private string Leads(Uri? from, Uri to) =>
        Uri.TryCreate(from ?? new Uri(url), to, out Uri? whole) ? HttpTransport.Shown(whole.GetLeftPart(UriPartial.Path)) : "no address";

    // Where it says nothing of the whole's length or its tag, it may leave them out.
    private bool IsPart(HttpResponseMessage response, long from) =>
        response.StatusCode == HttpStatusCode.PartialContent && response.Content.Headers.ContentRange is { From: { } begin, Length: var whole } && begin == from
        && (into.Total is null || whole is null || whole == into.Total)
        && (response.Headers.ETag is null || response.Headers.ETag.ToString() == into.Validators?.ETag);

    // A weak tag promises no equal bytes. Where requests share a connection, one carries no less than several.
    private bool IsDivisible(HttpResponseMessage response) => spare is not null && into.Total is not null && response.Version.Major < 2 && !transport.Rate.IsSet
        && into.Validators is { ETag: null or ['"', ..] } and not { ETag: null, LastModified: null }
        && (response.StatusCode == HttpStatusCode.PartialContent || response.Headers.AcceptRanges.Contains("bytes"));

    private void Append(Piece piece, ReadOnlySpan<byte> bytes)
    {
        if (into.Length + bytes.Length > (into.Most ?? limit))
            throw TooLong("more");
        into.Append(bytes, InMemory);
        if (Measure is null || into.Most is not null || !into.IsInMemory)
            return;
        into.Most = Measure(into);
        if (into.Total > into.Most || into.Length > into.Most)
            throw TooLong($"{into.Total ?? into.Length}");
    }

    private async Task Receive(Stream body, Piece piece, Taker take, CancellationTokenSource silence, CancellationToken helping)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(64 * 1024);
        int most = transport.Rate.Piece(buffer.Length);
        var floor = new SpeedFloor(options.SlowBytes, options.SlowTime);
        var look = new LastLook(piece.At, transport.BytesTransferred);
        try
        {
            // At the very end once more: a stream is done when it says so.
            while (piece.At < piece.End || piece.At == into.Total)
            {
                silence.CancelAfter(options.Timeout);
                floor.Wait();
                int read = await body.ReadAsync(buffer.AsMemory(0, (int)Math.Clamp(piece.End - piece.At, 1, most)), silence.Token).ConfigureAwait(false);
                floor.Came(read);
                if (read == 0)
                    break; // the class library notices a body that ends before its Content-Length; a chunked one that is cut is noticed too
                silence.CancelAfter(Timeout.Infinite); // who waits here, for the disk or for what the rate allows, is not the server
                take(piece, buffer.AsSpan(0, read));
                piece.At += read;
                await transport.Count(read, silence.Token).ConfigureAwait(false);
                if (piece.IsDivisible && Stopwatch.GetElapsedTime(look.Time) >= Look)
                {
                    Divide(piece, look, helping);
                    look = new LastLook(piece.At, transport.BytesTransferred);
                }
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // The first of equal parts is what this request goes on with; the others are asked for.
    private void Divide(Piece piece, LastLook look, CancellationToken helping)
    {
        long left = piece.End - piece.At;
        double seconds = Stopwatch.GetElapsedTime(look.Time).TotalSeconds, rate = (piece.At - look.At) / seconds, lineRate = (transport.BytesTransferred - look.Line) / seconds;
        if (into.File is null || into.ComesInOne || left < 2 * LeastPiece || left < rate * WorthIt.TotalSeconds)
            return;
        // Each gets a share of the line only, and must not look like a server that trickles.
        double bearable = options.SlowBytes > 0 ? lineRate / (SharesAboveFloor * options.SlowBytes) : int.MaxValue;
        int wanted = (int)Math.Min((left / LeastPiece) - 1, bearable - spare!.UnderWay), more = wanted > 0 ? spare.Take(wanted) : 0;
        if (more == 0)
            return;
        long size = left / (more + 1), end = piece.End;
        piece.End = piece.At + size;
        for (int n = 1; n <= more; n++)
        {
            var part = new Piece(piece.At + (size * n), n == more ? end : piece.At + (size * (n + 1)), isDivisible: true);
            helpers.Enqueue(Task.Run(() => Help(part, helping), CancellationToken.None));
        }
    }

    private async Task Help(Piece piece, CancellationToken cancel)
    {
        try
        {
            using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            silence.CancelAfter(options.Timeout);
            long begin = piece.At;
            using HttpResponseMessage response = await transport.Get(url, known: null, new ByteRange(begin, piece.End - 1, into.Validators!), silence.Token).ConfigureAwait(false);
            if (!IsPart(response, begin))
            {
                // Several servers behind one name may each have a tag of their own for the same file; others bear no more requests at once.
                into.ComesInOne = true;
                throw new IOException($"status {(int)response.StatusCode} to a request for a part");
            }

            using Stream body = await response.Content.ReadAsStreamAsync(silence.Token).ConfigureAwait(false);
            await Receive(body, piece, (part, bytes) => into.AppendAhead(begin, part.At, bytes), silence, cancel).ConfigureAwait(false);
        }
        catch (Exception broken) when (IsOfTheNetwork(broken))
        {
            helperFailure ??= broken.Message; // the request that began it finds the hole, and asks for it
        }
        catch (Exception end)
        {
            helperEnd ??= ExceptionDispatchInfo.Capture(end);
        }
        finally
        {
            spare!.GiveBack();
        }
    }

    private PullException TooLong(string found) => into.Most is { } most
        ? new(HttpTransport.Shown(url), $"at most {most} bytes, as it begins", found) { IsTooLarge = true, IsOfBytes = true }
        : new(HttpTransport.Shown(url), $"at most {limit} bytes", found) { IsTooLarge = true, Words = $"URI {HttpTransport.Shown(url)} exceeded maximum size of {limit} bytes" };

    private delegate void Taker(Piece piece, ReadOnlySpan<byte> bytes);

    /// <summary>When it was last looked how fast it is.</summary>
    /// <param name="At">How far the piece was.</param>
    /// <param name="Line">How much had come by all requests.</param>
    private readonly record struct LastLook(long At, long Line)
    {
        public long Time { get; } = Stopwatch.GetTimestamp();
    }

    /// <summary>What one request brings: from where it has come to, up to its end, which moves nearer when it is divided.</summary>
    private sealed class Piece(long begin, long end, bool isDivisible)
    {
        public long At { get; set; } = begin;

        public long End { get; set; } = end;

        public bool IsDivisible => isDivisible;
    }
}

/// <summary>A part of a file that is asked for, if it is still the same file.</summary>
/// <param name="From">The first byte's place.</param>
/// <param name="To">The last one's; null for the rest.</param>
/// <param name="Said">What the server said of it.</param>
internal sealed record ByteRange(long From, long? To, Validators Said);
