using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Image;

/// <summary>A key of the owner's, as it is shown.</summary>
/// <param name="Name">PK, KEK, db or tree.</param>
/// <param name="Purpose">What it is for, in a few words.</param>
/// <param name="Id">A certificate's SHA-256, or an Ed25519 public key in base64.</param>
/// <param name="Until">Until when the certificate says it is good; firmware does not look.</param>
public sealed record OwnerKey(string Name, string Purpose, string Id, DateTimeOffset? Until);

/// <summary>
/// A directory with the owner's keys: <c>PK</c>, <c>KEK</c> and <c>db</c> for the firmware (<c>.crt</c>, <c>.key</c>, <c>.auth</c> each), and
/// <c>tree.key</c>, <c>tree.pub</c> for commits, <c>pcr.key</c>, <c>pcr.pub</c> for what a TPM has measured. Private keys are PEM, encrypted with one passphrase.
/// </summary>
/// <param name="directory">The directory.</param>
public sealed partial class OwnerKeys(string directory)
{
    /// <summary>Bits of the RSA keys: all that some firmware takes.</summary>
    public const int RsaBits = 2048;

    private const string Pk = "PK", Kek = "KEK", Db = "db", Tree = "tree", Pcr = "pcr";
    private const uint PrivateMode = 0x180; // 0600
    private static readonly PbeParameters Encryption = new(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, EncryptedPkcs8.Iterations);

    /// <summary>Where they are.</summary>
    public string Directory { get; } = directory;

    /// <summary>The files that firmware enrolls, by their names on the EFI partition.</summary>
    public static IReadOnlyList<string> EnrollmentFiles { get; } = [$"{Pk}.auth", $"{Kek}.auth", $"{Db}.auth"];

    /// <summary>Makes new keys. Nothing is written over.</summary>
    /// <param name="directory">Where; made if missing, readable by its owner alone.</param>
    /// <param name="owner">A name for the certificates.</param>
    /// <param name="passphrase">Encrypts the private keys.</param>
    /// <param name="clock">Says from when the certificates are good.</param>
    /// <param name="dbToken">The URI of an RSA key on a PKCS#11 token that is to be db; null makes one. Its PIN is the passphrase, unless the URI says where it is.</param>
    /// <param name="treeToken">The URI of an Ed25519 key on a token that is to be tree; null makes one.</param>
    /// <exception cref="LinuxException">A key is there already (EEXIST), or cannot be written.</exception>
    /// <exception cref="TokenException">The token's key cannot be used.</exception>
    public static OwnerKeys Create(string directory, string owner, Passphrase passphrase, TimeProvider clock, string? dbToken = null, string? treeToken = null)
    {
        using Dir dir = MakeDirectory(Path.GetFullPath(directory));
        // Seconds are all that certificates and firmware keep.
        DateTimeOffset now = DateTimeOffset.FromUnixTimeSeconds(clock.GetUtcNow().ToUnixTimeSeconds());
        using Signer pk = NewSigner($"{owner} PK", now), kek = NewSigner($"{owner} KEK", now);
        using Signer db = NewSigner($"{owner} db", now, dbToken is null ? null : TokenKey.Open(dbToken, passphrase));
        using Ed25519Key tree = treeToken is null ? Ed25519Key.Generate() : TokenTree.Open(treeToken, TokenTree.Public(treeToken, passphrase), passphrase);
        // Whoever makes a key of these is the owner in the firmware's lists: no name to be invented.
        var id = new Guid(pk.Certificate.GetCertHash(HashAlgorithmName.SHA256).AsSpan(0, 16));
        foreach ((string name, Signer key, EfiVariable variable, Signer above) in ((string, Signer, EfiVariable, Signer)[])
            [(Pk, pk, EfiVariable.Pk, pk), (Kek, kek, EfiVariable.Kek, pk), (Db, db, EfiVariable.Db, kek)])
        {
            WritePrivate(dir, name, key, passphrase, key == db ? dbToken : null);
            Write(dir, $"{name}.crt", Encoding.ASCII.GetBytes(key.Certificate.ExportCertificatePem() + "\n"));
            Write(dir, $"{name}.auth", EfiAuthenticatedVariable.Sign(variable, EfiSignatureList.Of(key.Certificate, id), now, above));
        }

        using (RSA pcr = RSA.Create(RsaBits))
        {
            Write(dir, $"{Pcr}.key", Encoding.ASCII.GetBytes(pcr.ExportEncryptedPkcs8PrivateKeyPem(passphrase.Characters, Encryption) + "\n"), PrivateMode);
            Write(dir, $"{Pcr}.pub", Encoding.ASCII.GetBytes(PcrPolicy.PublicPem(pcr)));
        }

        if (treeToken is null)
            Write(dir, $"{Tree}.key", Encoding.ASCII.GetBytes(EncryptedPkcs8.EncryptEd25519(tree.ToSeed(), passphrase)), PrivateMode);
        else
            Write(dir, $"{Tree}.uri", Encoding.UTF8.GetBytes(treeToken + "\n"), PrivateMode);
        Write(dir, $"{Tree}.pub", Encoding.ASCII.GetBytes($"{tree.Public}\n"));
        Durable.Sync(dir);
        return new OwnerKeys(directory);
    }

    /// <summary>All keys, without opening any.</summary>
    /// <exception cref="LinuxException">A file is missing.</exception>
    public IReadOnlyList<OwnerKey> List()
    {
        using Dir dir = Dir.Open(Directory);
        var keys = new List<OwnerKey>();
        foreach ((string name, string purpose) in ((string, string)[])[(Pk, "owns the machine"), (Kek, "may change db"), (Db, "signs what boots")])
        {
            using X509Certificate2 certificate = Certificate(dir, name);
            keys.Add(new OwnerKey(name, purpose, certificate.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant(), certificate.NotAfter.ToUniversalTime()));
        }

        if (dir.TryReadAll($"{Pcr}.pub") is { } pcr)
            keys.Add(new OwnerKey(Pcr, "signs what boots open disks", PublicId(pcr), null));
        foreach (string old in Older(dir))
        {
            using X509Certificate2 certificate = Certificate(dir, old);
            keys.Add(new OwnerKey(old, "signed before, still does", certificate.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant(), certificate.NotAfter.ToUniversalTime()));
        }

        keys.Add(new OwnerKey(Tree, "signs commits", Encoding.ASCII.GetString(dir.ReadAll($"{Tree}.pub")).Trim(), null));
        return keys;
    }

    /// <summary>Opens the key that signs boot files.</summary>
    /// <exception cref="WrongPassphraseException">The passphrase is another one.</exception>
    public Signer OpenDb(Passphrase passphrase)
    {
        using Dir dir = Dir.Open(Directory);
        return new Signer(Certificate(dir, Db), OpenRsa(dir, Db, passphrase));
    }

    /// <summary>Opens every key whose signature boxes may still ask for: the newest first, then those before it that are not revoked.</summary>
    /// <exception cref="WrongPassphraseException">The passphrase is another one.</exception>
    public IReadOnlyList<Signer> OpenAllDb(Passphrase passphrase)
    {
        using Dir dir = Dir.Open(Directory);
        var signers = new List<Signer> { OpenDb(passphrase) };
        foreach (string old in Older(dir).Reverse())
            signers.Add(new Signer(Certificate(dir, old), OpenRsa(dir, old, passphrase)));
        return signers;
    }

    /// <summary>Opens the key that signs the states in which a TPM may give a disk's key out; null where the owner has none.</summary>
    /// <exception cref="WrongPassphraseException">The passphrase is another one.</exception>
    public RSA? OpenPcr(Passphrase passphrase)
    {
        using Dir dir = Dir.Open(Directory);
        return dir.Exists($"{Pcr}.key") ? OpenRsa(dir, Pcr, passphrase) : null;
    }

    /// <summary>Opens the key that signs commits; one on a token is asked when it signs.</summary>
    /// <exception cref="WrongPassphraseException">The passphrase is another one.</exception>
    public Ed25519Key OpenTree(Passphrase passphrase)
    {
        using Dir dir = Dir.Open(Directory);
        if (dir.TryReadAll($"{Tree}.uri") is { } uri)
            return TokenTree.Open(Encoding.UTF8.GetString(uri).Trim(), new Ed25519PublicKey(Convert.FromBase64String(Encoding.ASCII.GetString(dir.ReadAll($"{Tree}.pub")).Trim())), passphrase);
        string name = $"{Tree}.key";
        return Ed25519Key.Of(EncryptedPkcs8.DecryptEd25519(Encoding.ASCII.GetString(dir.ReadAll(name)), passphrase, dir.Of(name)));
    }

    // NAME.uri in place of NAME.key: the private part is on a token.
    private static void WritePrivate(Dir dir, string name, Signer key, Passphrase passphrase, string? token)
    {
        if (token is null)
            Write(dir, $"{name}.key", Encoding.ASCII.GetBytes(key.Key.ExportEncryptedPkcs8PrivateKeyPem(passphrase.Characters, Encryption) + "\n"), PrivateMode);
        else
            Write(dir, $"{name}.uri", Encoding.UTF8.GetBytes(token + "\n"), PrivateMode);
    }

    private static RSA OpenRsa(Dir dir, string owner, Passphrase passphrase)
    {
        if (dir.TryReadAll($"{owner}.uri") is { } uri)
            return TokenKey.Open(Encoding.UTF8.GetString(uri).Trim(), passphrase);
        string name = $"{owner}.key";
        var key = RSA.Create();
        try
        {
            key.ImportFromEncryptedPem(Encoding.ASCII.GetString(dir.ReadAll(name)), passphrase.Characters);
            return key;
        }
        catch (CryptographicException)
        {
            key.Dispose();
            throw new WrongPassphraseException(dir.Of(name));
        }
    }

    // As systemd's signatures name it.
    private static string PublicId(byte[] pem)
    {
        using RSA key = RSA.Create();
        key.ImportFromPem(Encoding.ASCII.GetString(pem));
        return Convert.ToHexStringLower(SHA256.HashData(key.ExportRSAPublicKey()));
    }

    private static Dir MakeDirectory(string path)
    {
        using Dir parent = Dir.Open(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(path)) ?? "/");
        return parent.MakeAndOpenDir(Path.GetFileName(Path.TrimEndingDirectorySeparator(path)), Permission.Private);
    }

    private static X509Certificate2 Certificate(Dir dir, string name) =>
        X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(dir.ReadAll($"{name}.crt")));

    // Thirty years: firmware ignores the end, and a tool that does not would lock the owner out.
    private static Signer NewSigner(string name, DateTimeOffset from, RSA? existing = null)
    {
        RSA key = existing ?? RSA.Create(RsaBits);
        var subject = new X500DistinguishedNameBuilder();
        subject.AddCommonName(name);
        var request = new CertificateRequest(subject.Build(), key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        using X509Certificate2 certificate = request.CreateSelfSigned(from, from.AddYears(30));
        return new Signer(X509CertificateLoader.LoadCertificate(certificate.RawData), key);
    }

    private static void Write(Dir dir, string name, byte[] content, uint mode = 0x1A4)
    {
        using SafeFileHandle file = dir.CreateFile(name, mode);
        RandomAccess.Write(file, content, fileOffset: 0);
        Durable.Sync(file, dir.Of(name));
    }
}
