using Sbox.Buckets;
using Sbox.Linux;

namespace Sbox.Delivery;

/// <summary>What opening a place takes beside its address. Secrets come from files.</summary>
public sealed record PlaceSettings
{
    /// <summary>A file of S3 credentials, as Amazon's tools have it.</summary>
    public string? S3CredentialsFile { get; init; }

    /// <summary>The profile in it.</summary>
    public string S3Profile { get; init; } = "default";

    /// <summary>The region to sign for.</summary>
    public string S3Region { get; init; } = S3Address.UsualRegion;

    /// <summary>Who publishes, by which a bucket's lock is known again: the machine and the repository.</summary>
    public string Publisher { get; init; } = "";
}

/// <summary>A place to publish to, as a person writes it: a directory, <c>usb:PATH</c>, <c>s3:https://HOST/BUCKET[/PATH]</c>.</summary>
public static class PlaceAddress
{
    /// <summary>Where on a stick the repository lies; there <c>ostree find-remotes --finders=mount</c> looks too.</summary>
    public const string OnStick = ".ostree/repo";

    private const string Stick = "usb:";

    /// <summary>
    /// What a text begins with that looks like an address of some kind: <c>sftp:</c> of <c>sftp:me@host:/srv</c>. Null where it is a path: nothing with a slash before its first colon,
    /// and no single letter, is such.
    /// </summary>
    /// <remarks>RFC 3986, 3.1: a letter, then letters, digits, '+', '-' and '.'.</remarks>
    public static string? SchemeOf(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon > 1 && char.IsAsciiLetter(text[0]) && text[..colon].All(static letter => char.IsAsciiLetterOrDigit(letter) || letter is '+' or '-' or '.') ? text[..(colon + 1)] : null;
    }

    /// <summary>Makes what reaches it. Nothing is asked of the place yet.</summary>
    /// <exception cref="FormatException">It is no address, or one of a kind that is not known, or something of it is missing.</exception>
    /// <exception cref="PlaceUnfitException">No stick is mounted there.</exception>
    public static IPlace Open(string text, PlaceSettings settings, TimeProvider clock)
    {
        if (text.StartsWith(S3Address.Scheme, StringComparison.Ordinal))
        {
            var address = S3Address.Parse(text, settings.S3Region);
            string file = settings.S3CredentialsFile ?? throw new FormatException($"{text}: a bucket needs a file of credentials");
            return new BucketPlace(address, S3Credentials.Read(file, settings.S3Profile), settings.Publisher, clock);
        }

        // A directory of that name would be filled, and nobody's server: an hour's work that ends well, and at the wrong place.
        if (SchemeOf(text) is { } scheme and not Stick)
            throw new FormatException($"{text}: nothing is known of {scheme}; a place is a directory, usb:PATH or s3:https://HOST/BUCKET[/PATH]. ./{text} is a directory of that name");
        if (!text.StartsWith(Stick, StringComparison.Ordinal))
            return text.Length > 0 ? new DirectoryPlace(text) : throw new FormatException("a place is a directory, usb:PATH or s3:https://HOST/BUCKET[/PATH]");
        string path = text[Stick.Length..];
        if (!Directory.Exists(path))
            throw new PlaceUnfitException(path, "there is no such directory: is the stick mounted?");
        return new DirectoryPlace(Path.Combine(path, OnStick)) { Staleness = TimeSpan.Zero };
    }

    /// <summary>The path of a stick's address where no stick can be: it is on a file system of this machine's own. Null for every other address, and where it cannot be told.</summary>
    public static string? UnmountedStick(string text)
    {
        if (!text.StartsWith(Stick, StringComparison.Ordinal) || text[Stick.Length..] is not { Length: > 0 } path || !Directory.Exists(path))
            return null;
        using Dir there = Dir.Open(path);
        ulong device = there.Stat().Device;
        // On a box / is an image, and /media and /run/media lie in one of the others.
        return Array.Exists(["/", "/var", "/run", "/home", "/tmp"], each => IsOn(each, device)) ? path : null;
    }

    private static bool IsOn(string directory, ulong device)
    {
        if (!Directory.Exists(directory))
            return false;
        using Dir there = Dir.Open(directory);
        return there.Stat().Device == device;
    }

    /// <summary>The repository on a stick, or in the directory itself.</summary>
    /// <exception cref="PlaceUnfitException">There is none.</exception>
    public static string FindOnStick(string path)
    {
        foreach (string candidate in (string[])[path, Path.Combine(path, OnStick), Path.Combine(path, "ostree/repo")])
        {
            if (File.Exists(Path.Combine(candidate, "config")) && Directory.Exists(Path.Combine(candidate, "objects")))
                return Path.GetFullPath(candidate);
        }

        throw new PlaceUnfitException(path, Directory.Exists(path) ? $"there is no repository, and none in {OnStick}" : "there is no such directory");
    }
}
