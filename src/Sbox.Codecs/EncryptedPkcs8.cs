using System.Formats.Asn1;
using System.Security.Cryptography;

namespace Sbox.Codecs;

/// <summary>A passphrase; prints as ***.</summary>
/// <param name="text">What the owner typed.</param>
public sealed class Passphrase(string text)
{
    /// <summary>The characters, for the call that needs them.</summary>
    public ReadOnlySpan<char> Characters => text;

    /// <inheritdoc/>
    public override string ToString() => "***";
}

/// <summary>A passphrase does not open a key.</summary>
/// <param name="key">The key's name or path.</param>
public sealed class WrongPassphraseException(string key) : IOException($"{key}: the passphrase does not open it")
{
    /// <summary>The key's name or path.</summary>
    public string Key { get; } = key;
}

/// <summary>Private keys that .NET does not know (Ed25519), in the PEM that OpenSSL reads: PKCS#8, PBES2 with PBKDF2 and AES-256.</summary>
/// <remarks>docs/formats/secure-boot.md, after RFC 5958, RFC 8018 and RFC 8410. Judge: <c>openssl pkey</c>.</remarks>
public static class EncryptedPkcs8
{
    /// <summary>How often PBKDF2 hashes: what OWASP advised for SHA-256 in 2023.</summary>
    public const int Iterations = 600_000;

    /// <summary>The PEM label.</summary>
    public const string Label = "ENCRYPTED PRIVATE KEY";

    private const string Ed25519 = "1.3.101.112", Pbes2 = "1.2.840.113549.1.5.13", Pbkdf2 = "1.2.840.113549.1.5.12";
    private const string HmacSha256 = "1.2.840.113549.2.9", Aes256Cbc = "2.16.840.1.101.3.4.1.42";

    /// <summary>Encrypts an Ed25519 key's 32 bytes.</summary>
    public static string EncryptEd25519(ReadOnlySpan<byte> seed, Passphrase passphrase)
    {
        byte[] plain = PrivateKeyInfo(seed);
        byte[] salt = RandomNumberGenerator.GetBytes(16), iv = RandomNumberGenerator.GetBytes(16);
        using var aes = Aes.Create();
        aes.Key = Rfc2898DeriveBytes.Pbkdf2(passphrase.Characters, salt, Iterations, HashAlgorithmName.SHA256, 32);
        byte[] encrypted = aes.EncryptCbc(plain, iv);
        CryptographicOperations.ZeroMemory(plain);

        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(Pbes2);
                using (writer.PushSequence())
                {
                    using (writer.PushSequence())
                    {
                        writer.WriteObjectIdentifier(Pbkdf2);
                        using (writer.PushSequence())
                        {
                            writer.WriteOctetString(salt);
                            writer.WriteInteger(Iterations);
                            using (writer.PushSequence())
                            {
                                writer.WriteObjectIdentifier(HmacSha256);
                                writer.WriteNull();
                            }
                        }
                    }

                    using (writer.PushSequence())
                    {
                        writer.WriteObjectIdentifier(Aes256Cbc);
                        writer.WriteOctetString(iv);
                    }
                }
            }

            writer.WriteOctetString(encrypted);
        }

        return PemEncoding.WriteString(Label, writer.Encode()) + "\n";
    }

    /// <summary>Decrypts what <see cref="EncryptEd25519"/>, or OpenSSL with the same methods, wrote.</summary>
    /// <param name="pem">The file's text.</param>
    /// <param name="passphrase">The passphrase.</param>
    /// <param name="path">For errors.</param>
    /// <returns>The key's 32 bytes.</returns>
    /// <exception cref="WrongPassphraseException">The passphrase is another one.</exception>
    /// <exception cref="MalformedException">It is no such file.</exception>
    public static byte[] DecryptEd25519(string pem, Passphrase passphrase, string path)
    {
        if (!PemEncoding.TryFind(pem, out PemFields fields) || !pem.AsSpan()[fields.Label].SequenceEqual(Label))
            throw new MalformedException("key file", path, $"-----BEGIN {Label}-----", "something else");
        try
        {
            AsnReader outer = new AsnReader(Convert.FromBase64String(pem[fields.Base64Data]), AsnEncodingRules.DER).ReadSequence();
            (byte[] key, byte[] iv) = Derive(outer.ReadSequence(), passphrase, path);
            using var aes = Aes.Create();
            aes.Key = key;
            byte[] plain = aes.DecryptCbc(outer.ReadOctetString(), iv);
            AsnReader info = new AsnReader(plain, AsnEncodingRules.DER).ReadSequence();
            info.ReadInteger();
            Expect(path, Ed25519, info.ReadSequence().ReadObjectIdentifier());
            return new AsnReader(info.ReadOctetString(), AsnEncodingRules.DER).ReadOctetString();
        }
        catch (CryptographicException)
        {
            throw new WrongPassphraseException(path);
        }
        catch (AsnContentException broken)
        {
            throw new MalformedException("key file", path, "an encrypted PKCS#8 key", broken.Message);
        }
    }

    private static (byte[] Key, byte[] Iv) Derive(AsnReader algorithm, Passphrase passphrase, string path)
    {
        Expect(path, Pbes2, algorithm.ReadObjectIdentifier());
        AsnReader parameters = algorithm.ReadSequence(), kdf = parameters.ReadSequence(), cipher = parameters.ReadSequence();
        Expect(path, Pbkdf2, kdf.ReadObjectIdentifier());
        AsnReader derivation = kdf.ReadSequence();
        byte[] salt = derivation.ReadOctetString();
        if (!derivation.TryReadInt32(out int iterations) || iterations is < 1 or > 100_000_000)
            throw new MalformedException("key file", path, "1 to 100,000,000 iterations", "another number");
        if (derivation.HasData && derivation.PeekTag().HasSameClassAndValue(Asn1Tag.Integer))
            derivation.ReadInteger();
        Expect(path, HmacSha256, derivation.ReadSequence().ReadObjectIdentifier());
        Expect(path, Aes256Cbc, cipher.ReadObjectIdentifier());
        return (Rfc2898DeriveBytes.Pbkdf2(passphrase.Characters, salt, iterations, HashAlgorithmName.SHA256, 32), cipher.ReadOctetString());
    }

    private static byte[] PrivateKeyInfo(ReadOnlySpan<byte> seed)
    {
        var inner = new AsnWriter(AsnEncodingRules.DER);
        inner.WriteOctetString(seed);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteInteger(0);
            using (writer.PushSequence())
                writer.WriteObjectIdentifier(Ed25519);
            writer.WriteOctetString(inner.Encode());
        }

        return writer.Encode();
    }

    private static void Expect(string path, string expected, string found)
    {
        if (found != expected)
            throw new MalformedException("key file", path, $"the algorithm {expected}", found);
    }
}
