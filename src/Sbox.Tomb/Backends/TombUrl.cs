using System.Globalization;
using Sbox.Buckets;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>What opening a far tomb takes beside its URL. Secrets come from files.</summary>
public sealed record BackendSettings
{
    /// <summary>A file whose first line is the rest-server's password.</summary>
    public string? RestPasswordFile { get; init; }

    /// <summary>A file of S3 credentials, as Amazon's tools have it: <c>aws_access_key_id = ...</c>, <c>aws_secret_access_key = ...</c>.</summary>
    public string? S3CredentialsFile { get; init; }

    /// <summary>The profile in it.</summary>
    public string S3Profile { get; init; } = "default";

    /// <summary>The region to sign for.</summary>
    public string S3Region { get; init; } = S3Address.UsualRegion;

    /// <summary>Words before the host when ssh is called, <c>ssh</c> first.</summary>
    public IReadOnlyList<string> SshCommand { get; init; } = ["ssh"];

    /// <summary>How long a request may take.</summary>
    public RequestLimit Limit { get; init; } = RequestLimit.Usual;

    /// <summary>Where index files of far tombs are kept; null for nowhere.</summary>
    public string? CacheDirectory { get; init; }
}

/// <summary>A place for a tomb, as a person writes it: a directory, <c>sftp:</c>, <c>rest:</c>, <c>s3:</c>.</summary>
public sealed class TombUrl
{
    private readonly string text;

    private TombUrl(string text) => this.text = text;

    /// <summary>Reads it.</summary>
    /// <exception cref="FormatException">It is none, or holds a password.</exception>
    public static TombUrl Parse(string text)
    {
        if (text.Length == 0)
            throw new FormatException("a tomb is a directory, sftp:USER@HOST:/PATH, rest:http(s)://HOST/PATH or s3:http(s)://HOST/BUCKET/PATH");
        if (text.StartsWith("rest:", StringComparison.Ordinal) && Uri.TryCreate(text[5..], UriKind.Absolute, out Uri? url) && url.UserInfo.Contains(':', StringComparison.Ordinal))
            throw new FormatException("the URL holds a password, which everyone on the machine can read there");
        return new TombUrl(text);
    }

    /// <summary>Makes what reaches it. Nothing is asked of the place yet.</summary>
    /// <exception cref="FormatException">Something of it is missing.</exception>
    public IBackend Open(BackendSettings settings, TimeProvider clock)
    {
        if (text.StartsWith("rest:", StringComparison.Ordinal))
            return Far(Rest(text[5..], settings), settings, clock);
        if (text.StartsWith("s3:", StringComparison.Ordinal))
            return Far(S3(text[3..], settings), settings, clock);
        if (text.StartsWith("sftp:", StringComparison.Ordinal))
            return Far(Sftp(text[5..], settings), settings, clock);
        return new DirectoryBackend(text.StartsWith("local:", StringComparison.Ordinal) ? text[6..] : text);
    }

    /// <inheritdoc/>
    public override string ToString() => text;

    private static IBackend Far(IBackend backend, BackendSettings settings, TimeProvider clock)
    {
        IBackend patient = new RetryingBackend(backend, clock);
        if (settings.CacheDirectory is null)
            return patient;
        string name = Codecs.Checksum.Of(System.Text.Encoding.UTF8.GetBytes(backend.Location)).ToString()[..16];
        string own = Path.Combine(settings.CacheDirectory, name);
        return new CachingBackend(new PinnedBackend(patient, Path.GetFullPath($"{own}/pinned"), clock), own);
    }

    private static RestBackend Rest(string url, BackendSettings settings)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? parsed) || parsed.Scheme is not ("http" or "https"))
            throw new FormatException($"'rest:{url}' is not rest:http(s)://HOST[:PORT]/PATH");
        using SecretMemory? password = settings.RestPasswordFile is { } file ? SecretFile.FirstLine(file) : null;
        return new RestBackend(parsed, password) { Limit = settings.Limit };
    }

    private static S3Backend S3(string url, BackendSettings settings)
    {
        var address = S3Address.Parse(url, settings.S3Region);
        string file = settings.S3CredentialsFile ?? throw new FormatException("an S3 tomb needs a file of credentials (s3-credentials-file)");
        return new S3Backend(address, S3Credentials.Read(file, settings.S3Profile)) { Limit = settings.Limit };
    }

    private SftpBackend Sftp(string url, BackendSettings settings)
    {
        string host, path;
        string[] port = [];
        if (url.StartsWith("//", StringComparison.Ordinal))
        {
            if (!Uri.TryCreate("ssh:" + url, UriKind.Absolute, out Uri? parsed))
                throw new FormatException($"'sftp:{url}' is not sftp://USER@HOST[:PORT]/PATH");
            host = parsed.UserInfo.Length > 0 ? $"{parsed.UserInfo}@{parsed.Host}" : parsed.Host;
            port = parsed.Port > 0 ? ["-p", parsed.Port.ToString(CultureInfo.InvariantCulture)] : [];
            path = Uri.UnescapeDataString(parsed.AbsolutePath)[1..]; // as restic: relative to the login's directory, with // from the top
        }
        else
        {
            int colon = url.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0)
                throw new FormatException($"'sftp:{url}' is not sftp:USER@HOST:/PATH");
            (host, path) = (url[..colon], url[(colon + 1)..]);
        }

        // A host that begins with a dash would be an option to ssh.
        if (host.Length == 0 || host.StartsWith('-') || path.Length == 0)
            throw new FormatException($"'sftp:{url}' names no host and path");
        ChildCommand Words(params string[] more) => new(
            settings.SshCommand[0], [.. settings.SshCommand.Skip(1), "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=15", .. more, .. port, "-s", "--", host, "sftp"]);
        return new SftpBackend(text, Words(), path) { Limit = settings.Limit, Host = string.Join(' ', [.. port, host]), Unasking = Words("-o", "BatchMode=yes") };
    }
}

/// <summary>Secrets that are a file's first line.</summary>
public static class SecretFile
{
    private const int LengthAtMost = 4096;

    /// <summary>The first line, without its end. Pipes work too.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static SecretMemory FirstLine(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        return FirstLine(stream);
    }

    /// <summary>The first line of an open descriptor, which stays open.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static SecretMemory FirstLine(int descriptor)
    {
        using var handle = new Microsoft.Win32.SafeHandles.SafeFileHandle(descriptor, ownsHandle: false);
        using var stream = new FileStream(handle, FileAccess.Read, bufferSize: 0);
        return FirstLine(stream);
    }

    private static SecretMemory FirstLine(Stream stream)
    {
        using var bytes = new SecretMemory(LengthAtMost);
        int filled = 0;
        for (int read; filled < LengthAtMost && !bytes.Span[..filled].Contains((byte)'\n') && (read = stream.Read(bytes.Span[filled..])) > 0;)
            filled += read; // and no further than the line: a pipe may stay open behind it
        ReadOnlySpan<byte> line = bytes.Span[..filled];
        int end = line.IndexOf((byte)'\n');
        return new SecretMemory((end < 0 ? line : line[..end]).TrimEnd((byte)'\r'));
    }
}
