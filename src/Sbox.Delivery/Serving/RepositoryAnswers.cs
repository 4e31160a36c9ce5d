using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Sbox.Linux;

namespace Sbox.Delivery;

/// <summary>Answers each request with a file of a repository, or says why not.</summary>
/// <param name="root">The repository's directory.</param>
/// <param name="patience">How long a client has to take each piece. Kestrel's own limit is of the average, and gives whoever took much a credit of hours.</param>
/// <param name="requests">Told of every answer.</param>
internal sealed class RepositoryAnswers(Dir root, TimeSpan patience, IProgress<ServedRequest>? requests) : IHttpApplication<IFeatureCollection>
{
    /// <summary>Bytes of a file that are in memory for each answer at once, and once more on their way.</summary>
    public const int Piece = 32 * 1024;

    /// <inheritdoc/>
    public IFeatureCollection CreateContext(IFeatureCollection contextFeatures) => contextFeatures;

    /// <inheritdoc/>
    public void DisposeContext(IFeatureCollection context, Exception? exception)
    {
        // It is the server's own, which clears it.
    }

    /// <inheritdoc/>
    public async Task ProcessRequestAsync(IFeatureCollection context)
    {
        IHttpRequestFeature request = context.GetRequiredFeature<IHttpRequestFeature>();
        IHttpResponseFeature answer = context.GetRequiredFeature<IHttpResponseFeature>();
        answer.Headers.Server = "sbox";
        var told = new Told();
        try
        {
            await Answer(request, answer, context, told).ConfigureAwait(false);
        }
        catch (RefusedRequestException refused)
        {
            told.Finding = refused.Hidden;
            await Refuse(refused, request, answer, context).ConfigureAwait(false);
        }
        finally
        {
            IHttpConnectionFeature client = context.GetRequiredFeature<IHttpConnectionFeature>();
            requests?.Report(new ServedRequest($"{client.RemoteIpAddress}:{client.RemotePort}", request.Protocol, request.Path.TrimStart('/'), answer.StatusCode, told.Bytes, told.Finding));
        }
    }

    private async Task Answer(IHttpRequestFeature request, IHttpResponseFeature answer, IFeatureCollection context, Told told)
    {
        if (request.Method is not ("GET" or "HEAD"))
            throw new RefusedRequestException(405, $"{request.Method} is not answered: only GET and HEAD are") { HangsUp = true };
        if (context.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: true })
            throw new RefusedRequestException(413, "a request for a file carries no body") { HangsUp = true };
        ServedFile file = Find(request.Path.TrimStart('/')) ?? throw new RefusedRequestException(404, "there is no such file");
        using (file.Handle)
        {
            if (file.IsKnownTo(request.Headers))
            {
                file.Describe(answer.Headers);
                answer.StatusCode = 304;
                return;
            }

            bool wholly = request.Method == "HEAD" || !file.Continues(request.Headers); // a range is a question of GET alone: RFC 9110, section 14.2
            ByteRange? range = wholly ? null : ByteRange.Parse($"{request.Headers.Range}", file.Size);
            ByteRange part = range ?? new ByteRange(0, file.Size);
            file.Describe(answer.Headers);
            answer.StatusCode = range is null ? 200 : 206;
            if (range is not null)
                answer.Headers.ContentRange = $"bytes {part.From}-{part.From + part.Length - 1}/{file.Size}";
            answer.Headers.ContentType = "application/octet-stream";
            answer.Headers.ContentLength = part.Length;
            if (request.Method != "HEAD")
                await Send(file, part, request.Path, context, told).ConfigureAwait(false);
        }
    }

    private ServedFile? Find(string path)
    {
        try
        {
            return ServedFile.TryOpen(root, path);
        }
        catch (LinuxException refused)
        {
            if (refused.Errno == Errno.ENAMETOOLONG)
                throw new RefusedRequestException(404, "there is no such file");
            bool soon = refused.Errno is Errno.EMFILE or Errno.ENFILE;
            throw new RefusedRequestException(soon ? 503 : 500, soon ? "too many files are asked for just now" : "the server cannot read it") { Hidden = refused.Message };
        }
    }

    private async Task Send(ServedFile file, ByteRange part, string path, IFeatureCollection context, Told told)
    {
        PipeWriter body = context.GetRequiredFeature<IHttpResponseBodyFeature>().Writer;
        CancellationToken gone = context.GetRequiredFeature<IHttpRequestLifetimeFeature>().RequestAborted;
        using var late = CancellationTokenSource.CreateLinkedTokenSource(gone);
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(Piece, Math.Max(part.Length, 1)));
        try
        {
            for (long left = part.Length; left > 0;)
            {
                int read = Files.ReadAt(file.Handle, buffer.AsSpan(0, (int)Math.Min(buffer.Length, left)), part.From + part.Length - left, path);
                if (read == 0)
                {
                    HangUp("it became shorter while it was sent");
                    return;
                }

                late.CancelAfter(patience);
                if ((await body.WriteAsync(buffer.AsMemory(0, read), late.Token).ConfigureAwait(false)).IsCompleted)
                    return; // the client went away
                late.Token.ThrowIfCancellationRequested();
                left -= read;
                told.Bytes += read;
            }
        }
        catch (OperationCanceledException) when (gone.IsCancellationRequested)
        {
            return; // likewise: it asks again over another connection
        }
        catch (OperationCanceledException) when (late.IsCancellationRequested)
        {
            HangUp("it was not taken in time");
        }
        catch (LinuxException unread)
        {
            HangUp(unread.Message);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        // The length was said: nothing else is left to do.
        void HangUp(string finding)
        {
            told.Finding = finding;
            context.GetRequiredFeature<IHttpRequestLifetimeFeature>().Abort();
        }
    }

    private static async Task Refuse(RefusedRequestException refused, IHttpRequestFeature request, IHttpResponseFeature answer, IFeatureCollection context)
    {
        byte[] words = Encoding.UTF8.GetBytes(refused.Message + "\n");
        answer.StatusCode = refused.Status;
        if (refused.ContentRange is { } none)
            answer.Headers.ContentRange = none;
        if (refused.Status == 405)
            answer.Headers.Allow = "GET, HEAD";
        if (refused.HangsUp && request.Protocol.StartsWith("HTTP/1", StringComparison.Ordinal))
            answer.Headers.Connection = "close";
        answer.Headers.ContentType = "text/plain; charset=utf-8";
        answer.Headers.ContentLength = words.Length;
        if (request.Method != "HEAD")
            await context.GetRequiredFeature<IHttpResponseBodyFeature>().Writer.WriteAsync(words).ConfigureAwait(false);
    }

    // What is said of an answer afterwards.
    private sealed class Told
    {
        public long Bytes { get; set; }

        public string? Finding { get; set; }
    }
}
