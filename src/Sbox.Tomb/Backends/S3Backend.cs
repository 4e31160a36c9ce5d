using System.Net;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Sbox.Buckets;

namespace Sbox.Tomb;

/// <summary>A tomb in a bucket of any S3-compatible store.</summary>
public sealed class S3Backend : IBackend
{
    private readonly AmazonS3Client client;
    private readonly string bucket, prefix;

    /// <param name="address">Where in which bucket.</param>
    /// <param name="credentials">What opens it.</param>
    public S3Backend(S3Address address, S3Credentials credentials) =>
        (Location, bucket, prefix, client) = ($"{address}", address.Bucket, address.Prefix, address.Connect(credentials));

    /// <summary>How long a request may take.</summary>
    public RequestLimit Limit { get; init; } = RequestLimit.Usual;

    /// <inheritdoc/>
    public string Location { get; }

    /// <inheritdoc/>
    public int Connections => 5;

    /// <inheritdoc/>
    public Task Create(CancellationToken cancel) => Limited(new StoredFile(StoredFileType.Config, ""), 0, async stop =>
    {
        try
        {
            await client.PutBucketAsync(new PutBucketRequest { BucketName = bucket }, stop);
        }
        catch (AmazonS3Exception taken) when (taken.ErrorCode is "BucketAlreadyOwnedByYou" or "BucketAlreadyExists" or "AccessDenied")
        {
            return false; // there is one: whether it may be written to, the first file tells
        }

        return true;
    }, cancel);

    /// <inheritdoc/>
    public Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel) => Limited(file, bytes.Length, async stop =>
    {
        using var stream = new MemoryStream(bytes.ToArray(), writable: false);
        await client.PutObjectAsync(new PutObjectRequest { BucketName = bucket, Key = prefix + file.Path, InputStream = stream, UseChunkEncoding = false, AutoCloseStream = false }, stop);
        return true;
    }, cancel);

    /// <inheritdoc/>
    public Task<byte[]> Load(StoredFile file, CancellationToken cancel) => Limited(file, 0, async stop =>
    {
        using GetObjectResponse response = await client.GetObjectAsync(new GetObjectRequest { BucketName = bucket, Key = prefix + file.Path }, stop);
        var bytes = new byte[response.ContentLength];
        await response.ResponseStream.ReadExactlyAsync(bytes, stop);
        return bytes;
    }, cancel);

    /// <inheritdoc/>
    public Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel) => Limited(file, into.Length, async stop =>
    {
        using GetObjectResponse response = await client.GetObjectAsync(
            new GetObjectRequest { BucketName = bucket, Key = prefix + file.Path, ByteRange = new ByteRange(offset, offset + into.Length - 1) }, stop);
        if (response.ContentLength != into.Length)
            throw new BackendException($"{Location}/{file.Path}", $"it is shorter than {offset + into.Length} bytes", isTransient: false);
        await response.ResponseStream.ReadExactlyAsync(into, stop);
        return true;
    }, cancel);

    /// <inheritdoc/>
    public async Task<long?> Size(StoredFile file, CancellationToken cancel)
    {
        try
        {
            return await Limited(file, 0, async stop => (await client.GetObjectMetadataAsync(bucket, prefix + file.Path, stop)).ContentLength, cancel);
        }
        catch (StoredFileMissingException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel)
    {
        var files = new List<ListedFile>();
        string? next = null;
        do
        {
            string? from = next;
            ListObjectsV2Response page = await Limited(new StoredFile(type, "--"), 0, stop => client.ListObjectsV2Async(
                new ListObjectsV2Request { BucketName = bucket, Prefix = $"{prefix}{StoredFile.DirectoryOf(type)}/", ContinuationToken = from }, stop), cancel);
            foreach (S3Object found in page.S3Objects ?? [])
                files.Add(new ListedFile(found.Key[(found.Key.LastIndexOf('/') + 1)..], found.Size ?? -1));
            next = page.IsTruncated == true ? page.NextContinuationToken : null;
        }
        while (next is not null);
        return files;
    }

    /// <inheritdoc/>
    public Task Delete(StoredFile file, CancellationToken cancel) => Limited(file, 0, async stop =>
    {
        await client.DeleteObjectAsync(bucket, prefix + file.Path, stop);
        return true;
    }, cancel);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        client.Dispose();
        return ValueTask.CompletedTask;
    }

    private Task<T> Limited<T>(StoredFile file, long bytes, Func<CancellationToken, Task<T>> work, CancellationToken cancel) =>
        TimeLimit.Run($"{Location}/{file.Path}", Limit.For(bytes), async stop =>
        {
            try
            {
                return await work(stop);
            }
            catch (AmazonS3Exception missing) when (missing.StatusCode == HttpStatusCode.NotFound && missing.ErrorCode != "NoSuchBucket")
            {
                throw new StoredFileMissingException(Location, file);
            }
            catch (AmazonS3Exception short_) when (short_.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
            {
                throw new BackendException($"{Location}/{file.Path}", "it is shorter than what was asked for", isTransient: false, short_);
            }
            catch (AmazonServiceException full) when (full.StatusCode is HttpStatusCode.InsufficientStorage || full.ErrorCode is "QuotaExceeded" or "XMinioStorageFull" or "XMinioAdminBucketQuotaExceeded")
            {
                throw new PlaceFullException($"{Location}/{file.Path}", $"the store answers {full.ErrorCode ?? full.StatusCode.ToString()}: {full.Message}", full);
            }
            catch (AmazonServiceException refused)
            {
                throw new BackendException(
                    $"{Location}/{file.Path}", $"the store answers {refused.ErrorCode ?? refused.StatusCode.ToString()}: {refused.Message}", isTransient: refused.StatusCode is 0 or >= HttpStatusCode.InternalServerError or HttpStatusCode.TooManyRequests, refused);
            }
            catch (AmazonClientException broken)
            {
                throw new BackendException($"{Location}/{file.Path}", broken.Message, isTransient: true, broken);
            }
        }, cancel);
}
