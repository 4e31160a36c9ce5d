using Amazon.Runtime;
using Amazon.S3;

namespace Sbox.Buckets;

/// <summary>Where in which bucket of which S3-compatible store: <c>s3:https://HOST[:PORT]/BUCKET[/PATH]</c>.</summary>
/// <param name="Endpoint">The store.</param>
/// <param name="Bucket">The bucket.</param>
/// <param name="Prefix">What the names of all objects there begin with: empty, or ending in a slash.</param>
/// <param name="Region">The region to sign for; many stores take any.</param>
public sealed record S3Address(Uri Endpoint, string Bucket, string Prefix, string Region)
{
    /// <summary>What an address begins with.</summary>
    public const string Scheme = "s3:";

    /// <summary>The region where none is said.</summary>
    public const string UsualRegion = "us-east-1";

    /// <summary>Reads an address; without <c>http</c> or <c>https</c> it is the latter.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    public static S3Address Parse(string text, string region = UsualRegion)
    {
        string url = text.StartsWith(Scheme, StringComparison.Ordinal) ? text[Scheme.Length..] : text;
        string full = url.Contains("://", StringComparison.Ordinal) ? url : $"https://{url}";
        if (!Uri.TryCreate(full, UriKind.Absolute, out Uri? parsed) || parsed.Scheme is not ("http" or "https") || parsed.AbsolutePath.Trim('/').Length == 0)
            throw new FormatException($"'{Scheme}{url}' is not s3:http(s)://HOST[:PORT]/BUCKET[/PATH]");
        string[] parts = parsed.AbsolutePath.Trim('/').Split('/', 2);
        return new S3Address(new Uri(parsed.GetLeftPart(UriPartial.Authority)), parts[0], parts.Length > 1 ? $"{parts[1].Trim('/')}/" : "", region);
    }

    /// <summary>A client for the store. It tries nothing again: who asks knows what may be.</summary>
    public AmazonS3Client Connect(S3Credentials credentials) => new(new BasicAWSCredentials(credentials.AccessKey, credentials.SecretKey), new AmazonS3Config
    {
        ServiceURL = Endpoint.ToString(), ForcePathStyle = true, AuthenticationRegion = Region, MaxErrorRetry = 0, Timeout = TimeSpan.FromMinutes(10),
        // Other stores than Amazon's know no trailing checksums.
        RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED, ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
    });

    /// <inheritdoc/>
    public override string ToString() => $"{Scheme}{Endpoint.ToString().TrimEnd('/')}/{Bucket}{(Prefix.Length > 0 ? "/" + Prefix.TrimEnd('/') : "")}";
}
