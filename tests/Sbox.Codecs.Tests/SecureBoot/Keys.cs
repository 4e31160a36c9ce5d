using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sbox.Codecs.SecureBoot;

namespace Sbox.Codecs.Tests.SecureBoot;

/// <summary>Keys made for one test.</summary>
internal static class Keys
{
    public static Signer Make(string name)
    {
        var key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using X509Certificate2 certificate = request.CreateSelfSigned(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero), new DateTimeOffset(2056, 1, 1, 0, 0, 0, TimeSpan.Zero));
        return new Signer(X509CertificateLoader.LoadCertificate(certificate.RawData), key);
    }
}
