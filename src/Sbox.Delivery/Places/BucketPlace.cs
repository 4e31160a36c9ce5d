using System.Net;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Sbox.Buckets;
using Checksum = Sbox.Codecs.Checksum;

namespace Sbox.Delivery;

/// <summary>A bucket of any S3-compatible store, from which readers take by HTTP, most of them through caches.</summary>
public sealed class BucketPlace : IPlace
{
    /// <summary>What caches are told of files that never change.</summary>
    public const string ForEver = "public, max-age=31536000, immutable";

    private const int Tries = 6;
    private const int AskedOneByOne = 64; // so many names cost no more than the pages of a listing
    private const int SmallFile = 64 << 20; // what is read at once: summaries, indexes
    private const string LockName = ".publish-lock";
    private static readonly TimeSpan LockRenewed = TimeSpan.FromMinutes(2), LockStale = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan Answer = TimeSpan.FromSeconds(60);
    private const long SlowestBytesPerSecond = 32_768;

    private readonly AmazonS3Client client;
    private readonly S3Address address;
    private readonly TimeProvider clock;
    private readonly string publisher;

    /// <param name="address">Where in which bucket.</param>
    /// <param name="credentials">What opens it.</param>
    /// <param name="publisher">Who publishes: the same one takes over a lock that it left itself.</param>
    /// <param name="clock">Where time comes from.</param>
    public BucketPlace(S3Address address, S3Credentials credentials, string publisher, TimeProvider clock) =>
        (this.address, this.publisher, this.clock, client) = (address, Checksum.Of(System.Text.Encoding.UTF8.GetBytes(publisher)).ToString(), clock, address.Connect(credentials));

    /// <inheritdoc/>
    public string Location => $"{address}";

    /// <inheritdoc/>
    public int Connections => 16;

    /// <inheritdoc/>
    public bool KeepsCase => true;

    /// <inheritdoc/>
    public TimeSpan Staleness { get; init; } = TimeSpan.FromSeconds(15);

    /// <inheritdoc/>
    public async Task<IAsyncDisposable> Open(CancellationToken cancel)
    {
        if (!await TryLock(onlyNew: true, cancel).ConfigureAwait(false))
        {
            (string holder, DateTimeOffset since) = await Holder(cancel).ConfigureAwait(false);
            if (holder != publisher && clock.GetUtcNow() - since < LockStale)
                throw new PlaceBusyException(Location, since);
            await TryLock(onlyNew: false, cancel).ConfigureAwait(false);
        }

        return new Held(this);
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<string>> Missing(IReadOnlyCollection<string> paths, CancellationToken cancel)
    {
        var missing = new HashSet<string>(paths);
        if (paths.Count <= AskedOneByOne)
        {
            foreach (string path in paths)
            {
                if (await Exists(path, cancel).ConfigureAwait(false))
                    missing.Remove(path);
            }
        }
        else
        {
            foreach (string directory in paths.Select(static path => path[..(path.IndexOf('/', StringComparison.Ordinal) + 1)]).Distinct())
                await Strike(missing, directory, cancel).ConfigureAwait(false);
        }

        return [.. paths.Where(missing.Contains)];
    }

    /// <inheritdoc/>
    public Task<byte[]?> TryRead(string path, CancellationToken cancel) => OrMissing(path, null, async stop =>
    {
        using GetObjectResponse response = await client.GetObjectAsync(new GetObjectRequest { BucketName = address.Bucket, Key = Key(path) }, stop).ConfigureAwait(false);
        if (response.ContentLength > SmallFile)
            throw new PlaceFailedException($"{Location}/{path}", $"it has {response.ContentLength} bytes; at most {SmallFile} were expected", isTransient: false);
        var bytes = new byte[response.ContentLength];
        await response.ResponseStream.ReadExactlyAsync(bytes, stop).ConfigureAwait(false);
        return (byte[]?)bytes;
    }, cancel);

    /// <inheritdoc/>
    public Task Write(string path, Stream content, Lifetime lifetime, CancellationToken cancel) => Patiently(path, content.Length, async stop =>
    {
        content.Position = 0;
        var request = new PutObjectRequest
        {
            BucketName = address.Bucket, Key = Key(path), InputStream = content, AutoCloseStream = false, UseChunkEncoding = false, ContentType = "application/octet-stream",
        };
        request.Headers.CacheControl = lifetime == Lifetime.Immutable ? ForEver : $"public, max-age={Staleness.TotalSeconds:0}, must-revalidate";
        await client.PutObjectAsync(request, stop).ConfigureAwait(false);
        return true;
    }, cancel);

    /// <inheritdoc/>
    public Task Settle(CancellationToken cancel) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task Delete(string path, CancellationToken cancel) => Patiently(path, 0, async stop =>
    {
        await client.DeleteObjectAsync(address.Bucket, Key(path), stop).ConfigureAwait(false);
        return true;
    }, cancel);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        client.Dispose();
        return ValueTask.CompletedTask;
    }

    private string Key(string path) => address.Prefix + path;

    private Task<bool> Exists(string path, CancellationToken cancel) => OrMissing(path, false, async stop =>
    {
        await client.GetObjectMetadataAsync(address.Bucket, Key(path), stop).ConfigureAwait(false);
        return true;
    }, cancel);

    private async Task Strike(HashSet<string> missing, string directory, CancellationToken cancel)
    {
        string? next = null;
        do
        {
            string? from = next;
            ListObjectsV2Response page = await Patiently(directory, 0, stop => client.ListObjectsV2Async(
                new ListObjectsV2Request { BucketName = address.Bucket, Prefix = Key(directory), ContinuationToken = from }, stop), cancel).ConfigureAwait(false);
            foreach (S3Object found in page.S3Objects ?? [])
                missing.Remove(found.Key[address.Prefix.Length..]);
            next = page.IsTruncated == true ? page.NextContinuationToken : null;
        }
        while (next is not null);
    }

    // Nothing but the time and a hash: whoever reads the bucket reads this too.
    private async Task<bool> TryLock(bool onlyNew, CancellationToken cancel)
    {
        var request = new PutObjectRequest { BucketName = address.Bucket, Key = Key(LockName), ContentBody = publisher, UseChunkEncoding = false };
        request.Headers.CacheControl = "no-store";
        if (onlyNew)
            request.IfNoneMatch = "*";
        return await Patiently(LockName, 0, async stop =>
        {
            try
            {
                await client.PutObjectAsync(request, stop).ConfigureAwait(false);
                return true;
            }
            catch (AmazonS3Exception taken) when (taken.StatusCode is HttpStatusCode.PreconditionFailed or HttpStatusCode.Conflict)
            {
                return false;
            }
        }, cancel).ConfigureAwait(false);
    }

    private Task<(string Holder, DateTimeOffset Since)> Holder(CancellationToken cancel) => OrMissing(LockName, (publisher, clock.GetUtcNow()), async stop =>
    {
        using GetObjectResponse response = await client.GetObjectAsync(address.Bucket, Key(LockName), stop).ConfigureAwait(false);
        using var reader = new StreamReader(response.ResponseStream);
        string holder = await reader.ReadToEndAsync(stop).ConfigureAwait(false);
        return (holder, new DateTimeOffset(response.LastModified?.ToUniversalTime() ?? DateTime.UnixEpoch, TimeSpan.Zero));
    }, cancel);

    private async Task<T> OrMissing<T>(string path, T missing, Func<CancellationToken, Task<T>> work, CancellationToken cancel) => await Patiently(path, 0, async stop =>
    {
        try
        {
            return await work(stop).ConfigureAwait(false);
        }
        catch (AmazonS3Exception none) when (none.StatusCode == HttpStatusCode.NotFound && none.ErrorCode != "NoSuchBucket")
        {
            return missing;
        }
    }, cancel).ConfigureAwait(false);

    // After 0.5, 1, 2, 4 and 8 seconds, each a little longer or shorter.
    private async Task<T> Patiently<T>(string path, long bytes, Func<CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return await Once(path, Answer + TimeSpan.FromSeconds((double)bytes / SlowestBytesPerSecond), work, cancel).ConfigureAwait(false);
            }
            catch (PlaceFailedException failed) when (failed.IsTransient && attempt < Tries)
            {
                double seconds = Math.Pow(2, attempt - 2) * (0.75 + (Random.Shared.NextDouble() / 2));
                await Task.Delay(TimeSpan.FromSeconds(seconds), clock, cancel).ConfigureAwait(false);
            }
        }
    }

    private async Task<T> Once<T>(string path, TimeSpan limit, Func<CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        stop.CancelAfter(limit);
        try
        {
            return await work(stop.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new PlaceFailedException($"{Location}/{path}", $"no answer within {limit.TotalSeconds:0} s", isTransient: true);
        }
        catch (AmazonServiceException refused)
        {
            bool transient = refused.StatusCode is 0 or >= HttpStatusCode.InternalServerError or HttpStatusCode.TooManyRequests;
            throw new PlaceFailedException($"{Location}/{path}", $"the store answers {refused.ErrorCode ?? refused.StatusCode.ToString()}: {refused.Message}", transient, refused);
        }
        catch (Exception broken) when (broken is AmazonClientException or HttpRequestException or (IOException and not DeliveryException))
        {
            throw new PlaceFailedException($"{Location}/{path}", broken.InnerException?.Message ?? broken.Message, isTransient: true, broken);
        }
    }

    /// <summary>The lock, said again every now and then: one that nobody renews is nobody's.</summary>
    private sealed class Held : IAsyncDisposable
    {
        private readonly BucketPlace place;
        private readonly CancellationTokenSource ended = new();
        private readonly Task renewing;

        public Held(BucketPlace place)
        {
            this.place = place;
            renewing = Renew();
        }

        public async ValueTask DisposeAsync()
        {
            await ended.CancelAsync().ConfigureAwait(false);
            await renewing.ConfigureAwait(false);
            await place.Delete(LockName, CancellationToken.None).ConfigureAwait(false);
            ended.Dispose();
        }

        private async Task Renew()
        {
            try
            {
                for (; ; )
                {
                    await Task.Delay(LockRenewed, place.clock, ended.Token).ConfigureAwait(false);
                    await place.TryLock(onlyNew: false, ended.Token).ConfigureAwait(false);
                }
            }
            catch (Exception over) when (over is OperationCanceledException or PlaceFailedException)
            {
                return; // a store that does not answer is met by whoever writes to it
            }
        }
    }
}
