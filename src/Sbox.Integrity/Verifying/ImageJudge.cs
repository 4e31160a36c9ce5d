using Sbox.Codecs;

namespace Sbox.Integrity;

/// <summary>What is known of a deployment's composefs image.</summary>
/// <param name="Found">The fs-verity digest of its bytes; null where it is not there, or could not be read.</param>
/// <param name="Made">The digest of the image that the commit's own files give; null where not all of their digests are known.</param>
/// <param name="Expected">Who says which digest it should have: the seal, the commit, the kernel's command line.</param>
public sealed record ImageEvidence(Checksum? Found, Checksum? Made, IReadOnlyList<(string By, Checksum Digest)> Expected)
{
    /// <summary>Why it could not be read; null where it could, or is not there.</summary>
    public string? Unreadable { get; init; }

    /// <summary>The digest that the kernel holds the file to; null where it holds it to none.</summary>
    public Checksum? Held { get; init; }
}

/// <summary>Judges composefs images by digests alone.</summary>
public static class ImageJudge
{
    /// <summary>Whether an image is the one that it should be, and one sentence on it.</summary>
    public static (Verdict Verdict, string Says) Judge(ImageEvidence image)
    {
        if (image.Unreadable is { } why)
            return (Verdict.Wrong, $"it cannot be read: {why}");
        if (image.Found is not { } found)
            return (Verdict.Wrong, "it is not there");
        if (image.Held is { } held && held != found)
            return (Verdict.Wrong, $"its bytes have the digest {found}, and the kernel holds it to {held}");
        foreach ((string by, Checksum digest) in image.Expected)
        {
            if (digest != found)
                return (Verdict.Wrong, $"its digest is {found}, and {by} says {digest}");
        }

        if (image.Made is { } made && made != found)
            return (Verdict.Wrong, $"its digest is {found}, and the commit's files give {made}");
        if (image.Made is null && image.Expected.Count == 0)
            return (Verdict.Unchecked, $"its digest is {found}, and nothing says what it should be: neither seal nor commit name one, and not every file's digest is known");
        List<string> sources = [.. image.Expected.Select(static each => each.By)];
        if (image.Made is not null)
            sources.Add("the commit's files");
        return (Verdict.Ok, $"its digest is {found}, as {string.Join(" and ", sources)} say{(sources.Count == 1 && image.Made is null ? "s" : "")}");
    }
}
