using System.Security.Cryptography;

namespace Sbox.Codecs;

/// <summary>Ed25519 keys in the PEM that OpenSSL reads, not encrypted: PKCS#8 for private ones, SubjectPublicKeyInfo for public ones.</summary>
/// <remarks>docs/formats/receipt.md, after RFC 8410. All such keys have the same bytes in front. Judge: <c>openssl pkey</c>.</remarks>
public static class Ed25519Pem
{
    private const string PrivateLabel = "PRIVATE KEY", PublicLabel = "PUBLIC KEY", Format = "Ed25519 key";
    private const int KeySize = 32;

    private static ReadOnlySpan<byte> PrivatePrefix => [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

    private static ReadOnlySpan<byte> PublicPrefix => [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

    /// <summary>The text of a private key.</summary>
    /// <param name="seed">Its 32 bytes.</param>
    public static string Private(ReadOnlySpan<byte> seed) => PemEncoding.WriteString(PrivateLabel, [.. PrivatePrefix, .. seed]) + "\n";

    /// <summary>The text of a public key.</summary>
    /// <param name="key">Its 32 bytes.</param>
    public static string Public(ReadOnlySpan<byte> key) => PemEncoding.WriteString(PublicLabel, [.. PublicPrefix, .. key]) + "\n";

    /// <summary>The 32 bytes of a private key.</summary>
    /// <exception cref="MalformedException">The text is no such key.</exception>
    public static byte[] ReadPrivate(ReadOnlySpan<char> text)
    {
        if (!PemEncoding.TryFind(text, out PemFields fields) || !text[fields.Label].SequenceEqual(PrivateLabel))
            throw new MalformedException(Format, "PEM", $"-----BEGIN {PrivateLabel}-----", "other text");
        byte[] der = Convert.FromBase64String(text[fields.Base64Data].ToString());
        bool whole = der.Length == PrivatePrefix.Length + KeySize && der.AsSpan().StartsWith(PrivatePrefix);
        byte[] seed = whole ? der[PrivatePrefix.Length..] : [];
        CryptographicOperations.ZeroMemory(der);
        return whole ? seed : throw new MalformedException(Format, "PKCS#8", "an Ed25519 key of 32 bytes", "another key");
    }
}
