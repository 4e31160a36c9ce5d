using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Sbox.Codecs.SecureBoot;

/// <summary>A certificate and the private key that belongs to it, wherever the key is kept (memory, or a token behind OpenSSL).</summary>
/// <param name="Certificate">What others know the key by; owned.</param>
/// <param name="Key">The RSA key; owned. PKCS#1 signatures by it are the same every time.</param>
public sealed record Signer(X509Certificate2 Certificate, RSA Key) : IDisposable
{
    /// <summary>Signs bytes: SHA-256, PKCS#1 version 1.5.</summary>
    public byte[] Sign(ReadOnlySpan<byte> bytes) => Key.SignData(bytes, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);

    /// <summary>Says whose it is, and never the key.</summary>
    public override string ToString() => $"{Certificate.Subject} ***";

    /// <inheritdoc/>
    public void Dispose()
    {
        Certificate.Dispose();
        Key.Dispose();
    }
}
