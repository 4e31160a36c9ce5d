using System.Text;
using Org.BouncyCastle.Asn1;
using Org.BouncyCastle.Asn1.Pkcs;
using Org.BouncyCastle.Asn1.Sec;
using Org.BouncyCastle.Asn1.X509;
using Org.BouncyCastle.Asn1.X9;
using Org.BouncyCastle.Crypto;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Security;

namespace Sbox.Store;

/// <summary>One of the ways to sign that libostree has beside GPG: how keys are written, and what a signature is.</summary>
/// <remarks>docs/formats/commit-signature.md, after ostree-sign(1) and what libostree's engines do.</remarks>
public abstract class SignatureEngine
{
    /// <summary>Its name in <c>--sign-type</c> and <c>sign-verify</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Where signatures lie in detached metadata, type <c>aay</c>.</summary>
    public string MetadataKey => $"ostree.sign.{Name}";

    /// <summary>All of them, in the order in which they are asked.</summary>
    public static IReadOnlyList<SignatureEngine> All { get; } = [new Ed25519Engine(), new SpkiEngine(), new DummyEngine()];

    /// <summary>The engine by its name.</summary>
    /// <exception cref="SignatureException">There is none.</exception>
    public static SignatureEngine Of(string name) => All.FirstOrDefault(engine => engine.Name == name)
        ?? throw new SignatureException(null, $"Requested signature type is not implemented: '{name}'");

    /// <summary>Signs.</summary>
    /// <param name="data">What is signed.</param>
    /// <param name="secretKey">The private key as text: base64.</param>
    /// <exception cref="SignatureException">The text is no private key of this engine.</exception>
    public abstract byte[] Sign(ReadOnlySpan<byte> data, string secretKey);

    /// <summary>The bytes of a public key that was written as text.</summary>
    /// <exception cref="SignatureException">The text is no public key of this engine.</exception>
    internal abstract byte[] ReadPublicKey(string text);

    /// <summary>Whether a signature is a key's.</summary>
    /// <param name="data">What was signed.</param>
    /// <param name="signature">The bytes that should be a signature; from anywhere.</param>
    /// <param name="publicKey">From <see cref="ReadPublicKey"/>.</param>
    internal abstract bool Verify(ReadOnlySpan<byte> data, byte[] signature, byte[] publicKey);

    /// <summary>The keys in a file's text: one a line, or as the engine has them.</summary>
    public IEnumerable<string> ReadKeys(string text) => KeysIn(text);

    /// <summary>How a key is named to people.</summary>
    internal virtual string Describe(byte[] publicKey) => Convert.ToHexStringLower(publicKey);

    /// <summary>The keys in a file's text: one a line, unless the engine has another way.</summary>
    internal virtual IEnumerable<string> KeysIn(string text) =>
        text.Split('\n').Select(static line => line.Trim()).Where(static line => line.Length > 0);

    private protected static byte[] FromBase64(string text, string what)
    {
        var bytes = new byte[text.Length];
        return Convert.TryFromBase64String(text, bytes, out int written)
            ? bytes[..written]
            : throw new SignatureException(null, $"{what} is no base64");
    }

    /// <summary>Ed25519 as RFC 8032: public keys of 32 bytes; private ones of 64, the seed and the public key.</summary>
    private sealed class Ed25519Engine : SignatureEngine
    {
        private const int SecretKeySize = 64;

        public override string Name => "ed25519";

        public override byte[] Sign(ReadOnlySpan<byte> data, string secretKey)
        {
            byte[] secret = FromBase64(secretKey, "the ed25519 secret key");
            if (secret.Length != SecretKeySize)
                throw new SignatureException(null, $"Incorrect ed25519 secret key: expected {SecretKeySize} bytes, found {secret.Length}");
            using Ed25519Key key = Ed25519Key.Of(secret.AsSpan(0, 32));
            return key.Public.ToString() == Convert.ToBase64String(secret.AsSpan(32))
                ? key.Sign(data)
                : throw new SignatureException(null, "Incorrect ed25519 secret key: its second half is not the public key of its first");
        }

        internal override byte[] ReadPublicKey(string text)
        {
            byte[] key = FromBase64(text, $"the ed25519 public key '{text}'");
            return key.Length == 32 ? key : throw new SignatureException(null, $"Incorrect ed25519 public key '{text}': expected 32 bytes, found {key.Length}");
        }

        internal override bool Verify(ReadOnlySpan<byte> data, byte[] signature, byte[] publicKey) =>
            new Ed25519PublicKey(publicKey).Verify(data, signature);
    }

    /// <summary>
    /// Keys as X.509 writes them (SubjectPublicKeyInfo, PKCS #8) in base64 or PEM: Ed25519, Ed448, and RSA and ECDSA with SHA-256, which is
    /// what OpenSSL takes for them by itself.
    /// </summary>
    private sealed class SpkiEngine : SignatureEngine
    {
        public override string Name => "spki";

        public override byte[] Sign(ReadOnlySpan<byte> data, string secretKey)
        {
            AsymmetricKeyParameter key = Parsed(() => PrivateKey(FromBase64(Unwrapped(secretKey), "the spki secret key")), "secret");
            ISigner signer = SignerFor(key);
            signer.Init(true, key);
            signer.BlockUpdate(data);
            return signer.GenerateSignature();
        }

        internal override byte[] ReadPublicKey(string text)
        {
            byte[] key = FromBase64(Unwrapped(text), $"the spki public key '{text}'");
            SignerFor(Parsed(() => PublicKeyFactory.CreateKey(key), "public"));
            return key;
        }

        internal override bool Verify(ReadOnlySpan<byte> data, byte[] signature, byte[] publicKey)
        {
            AsymmetricKeyParameter key = Parsed(() => PublicKeyFactory.CreateKey(publicKey), "public");
            ISigner signer = SignerFor(key);
            signer.Init(false, key);
            signer.BlockUpdate(data);
            try
            {
                return signer.VerifySignature(signature);
            }
            catch (Exception malformed) when (malformed is CryptoException or ArgumentException or IOException or InvalidOperationException)
            {
                return false; // bytes that are no signature at all are not this key's either
            }
        }

        // A file may hold several PEM blocks; one without any is read as lines of base64.
        internal override IEnumerable<string> KeysIn(string text)
        {
            if (!text.Contains("-----BEGIN", StringComparison.Ordinal))
                return base.KeysIn(text);
            var keys = new List<string>();
            for (ReadOnlySpan<char> rest = text; System.Security.Cryptography.PemEncoding.TryFind(rest, out System.Security.Cryptography.PemFields found); rest = rest[found.Location.End..])
                keys.Add(string.Concat(rest[found.Base64Data].ToString().Where(static c => !char.IsWhiteSpace(c))));
            return keys;
        }

        private string Unwrapped(string text) => string.Concat(KeysIn(text).Take(1));

        private static ISigner SignerFor(AsymmetricKeyParameter key) => key switch
        {
            Ed25519PublicKeyParameters or Ed25519PrivateKeyParameters => new Org.BouncyCastle.Crypto.Signers.Ed25519Signer(),
            Ed448PublicKeyParameters or Ed448PrivateKeyParameters => new Org.BouncyCastle.Crypto.Signers.Ed448Signer([]),
            RsaKeyParameters => new Org.BouncyCastle.Crypto.Signers.RsaDigestSigner(new Org.BouncyCastle.Crypto.Digests.Sha256Digest()),
            ECKeyParameters => new Org.BouncyCastle.Crypto.Signers.DsaDigestSigner(
                new Org.BouncyCastle.Crypto.Signers.ECDsaSigner(), new Org.BouncyCastle.Crypto.Digests.Sha256Digest()),
            _ => throw new SignatureException(null, $"spki keys of kind {key.GetType().Name} are not handled: Ed25519, Ed448, RSA and ECDSA are"),
        };

        // PKCS #8, or what OpenSSL wrote before it: PKCS #1 for RSA (nine numbers), SEC 1 for elliptic curves (1, the key, the curve).
        private static AsymmetricKeyParameter PrivateKey(byte[] der) => Asn1Object.FromByteArray(der) switch
        {
            Asn1Sequence { Count: 9 } rsa when RsaPrivateKeyStructure.GetInstance(rsa) is var key => new RsaPrivateCrtKeyParameters(key),
            Asn1Sequence { Count: > 2 } curve when curve[1] is Asn1OctetString && ECPrivateKeyStructure.GetInstance(curve) is var key => PrivateKeyFactory.CreateKey(
                new PrivateKeyInfo(new AlgorithmIdentifier(X9ObjectIdentifiers.IdECPublicKey, key.Parameters), curve)),
            _ => PrivateKeyFactory.CreateKey(der),
        };

        private static AsymmetricKeyParameter Parsed(Func<AsymmetricKeyParameter> parse, string which)
        {
            try
            {
                return parse();
            }
            catch (Exception malformed) when (malformed is ArgumentException or IOException or InvalidOperationException or InvalidCastException or CryptoException or GeneralSecurityException)
            {
                throw new SignatureException(null, $"Incorrect spki {which} key: {malformed.Message}", malformed);
            }
        }
    }

    /// <summary>No signature at all: the key itself. For libostree's tests only, and only where <c>OSTREE_DUMMY_SIGN_ENABLED</c> asks for it.</summary>
    private sealed class DummyEngine : SignatureEngine
    {
        public override string Name => "dummy";

        private static bool IsEnabled => Environment.GetEnvironmentVariable("OSTREE_DUMMY_SIGN_ENABLED") is { Length: > 0 };

        public override byte[] Sign(ReadOnlySpan<byte> data, string secretKey) => IsEnabled ? Encoding.UTF8.GetBytes(secretKey) : throw NotEnabled();

        internal override byte[] ReadPublicKey(string text) => Encoding.UTF8.GetBytes(text);

        internal override bool Verify(ReadOnlySpan<byte> data, byte[] signature, byte[] publicKey) =>
            IsEnabled ? signature.AsSpan().SequenceEqual(publicKey) : throw NotEnabled();

        internal override string Describe(byte[] publicKey) => Encoding.UTF8.GetString(publicKey);

        private static SignatureException NotEnabled() => new(null, "dummy signature type is only for ostree testing");
    }
}
