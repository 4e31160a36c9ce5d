namespace Sbox.Codecs.Verity;

/// <summary>How an fs-verity digest is written for people and other tools.</summary>
public static class VerityDigest
{
    /// <summary>The digest as <c>fsverity digest</c> and <c>fsverity measure</c> print it: <c>sha256:</c> and lower-case hex.</summary>
    /// <param name="digest">32 bytes, as <see cref="VerityHasher"/> gives them.</param>
    /// <exception cref="ArgumentException">It is not 32 bytes long.</exception>
    public static string ToText(ReadOnlySpan<byte> digest) =>
        digest.Length == VerityHasher.DigestSize
            ? $"sha256:{Convert.ToHexStringLower(digest)}"
            : throw new ArgumentException($"A SHA-256 digest has 32 bytes, this has {digest.Length}.", nameof(digest));
}
