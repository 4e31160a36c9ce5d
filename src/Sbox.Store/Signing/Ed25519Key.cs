using System.Security.Cryptography;
using Org.BouncyCastle.Math.EC.Rfc8032;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A public Ed25519 key by which commits are believed; printed as libostree's key files have it, in base64.</summary>
/// <remarks>docs/formats/commit-signature.md, after libostree's ostree-sign-ed25519.c and RFC 8032.</remarks>
public sealed class Ed25519PublicKey
{
    private readonly byte[] bytes;

    /// <summary>The key that these 32 bytes are.</summary>
    /// <exception cref="MalformedException">There are not exactly 32.</exception>
    public Ed25519PublicKey(ReadOnlySpan<byte> bytes) => this.bytes = bytes.Length == Ed25519.PublicKeySize
        ? bytes.ToArray()
        : throw new MalformedException("Ed25519 key", "length", $"{Ed25519.PublicKeySize} bytes", $"{bytes.Length}");

    /// <summary>Whether a signature is this key's over these bytes.</summary>
    public bool Verify(ReadOnlySpan<byte> content, ReadOnlySpan<byte> signature) => signature.Length == Ed25519.SignatureSize
        && Ed25519.Verify(signature.ToArray(), 0, bytes, 0, content.ToArray(), 0, content.Length);

    /// <summary>The 32 bytes in base64.</summary>
    public override string ToString() => Convert.ToBase64String(bytes);
}

/// <summary>A private Ed25519 key: 32 random bytes, or one that is kept elsewhere and signs there. Prints as ***.</summary>
public sealed class Ed25519Key : IDisposable
{
    private readonly byte[] seed;
    private readonly Func<byte[], byte[]>? elsewhere;

    private Ed25519Key(Ed25519PublicKey open, Func<byte[], byte[]> sign) => (seed, elsewhere, Public) = ([], sign, open);

    private Ed25519Key(byte[] seed)
    {
        this.seed = seed;
        var open = new byte[Ed25519.PublicKeySize];
        Ed25519.GeneratePublicKey(seed, 0, open, 0);
        Public = new Ed25519PublicKey(open);
    }

    /// <summary>What others know it by.</summary>
    public Ed25519PublicKey Public { get; }

    /// <summary>A new key.</summary>
    public static Ed25519Key Generate() => new(RandomNumberGenerator.GetBytes(Ed25519.SecretKeySize));

    /// <summary>The key of these 32 bytes, as RFC 8032 calls the private key.</summary>
    /// <exception cref="MalformedException">There are not exactly 32.</exception>
    public static Ed25519Key Of(ReadOnlySpan<byte> seed) => seed.Length == Ed25519.SecretKeySize
        ? new Ed25519Key(seed.ToArray())
        : throw new MalformedException("Ed25519 key", "length", $"{Ed25519.SecretKeySize} bytes", $"{seed.Length}");

    /// <summary>A key that never leaves where it is, a token: <paramref name="sign"/> has it sign there.</summary>
    public static Ed25519Key Elsewhere(Ed25519PublicKey open, Func<byte[], byte[]> sign) => new(open, sign);

    /// <summary>The 64 bytes of a signature; the same every time.</summary>
    public byte[] Sign(ReadOnlySpan<byte> content)
    {
        if (elsewhere is not null)
            return elsewhere(content.ToArray());
        var signature = new byte[Ed25519.SignatureSize];
        Ed25519.Sign(seed, 0, content.ToArray(), 0, content.Length, signature, 0);
        return signature;
    }

    /// <summary>The 32 bytes, to be encrypted and kept.</summary>
    /// <exception cref="InvalidOperationException">They are elsewhere, and stay there.</exception>
    public byte[] ToSeed() => elsewhere is null ? [.. seed] : throw new InvalidOperationException("the private part of this key is not here");

    /// <inheritdoc/>
    public override string ToString() => "***";

    /// <inheritdoc/>
    public void Dispose() => CryptographicOperations.ZeroMemory(seed);
}
