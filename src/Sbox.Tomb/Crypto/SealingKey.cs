using System.Security.Cryptography;
using Sbox.Linux;

namespace Sbox.Tomb.Crypto;

/// <summary>
/// The keys that seal everything in a repository: AES-256 in counter mode, then Poly1305-AES over the ciphertext. What is sealed is
/// <c>IV (16 bytes), ciphertext, tag (16 bytes)</c>. Prints as <c>***</c>; the keys are in secret memory.
/// </summary>
/// <remarks>docs/formats/restic-repository.md. Safe on several threads.</remarks>
public sealed class SealingKey : IDisposable
{
    /// <summary>What sealing adds, in bytes.</summary>
    public const int Overhead = AesCounter.BlockSize + Poly1305.TagSize;

    /// <summary>Bytes of key: 32 to encrypt, 16 for the nonce of the authenticator, 16 for the authenticator.</summary>
    public const int Size = 64;

    private readonly SecretMemory secret;
    private readonly AesCounter encryption, nonces;

    /// <param name="secret">64 bytes; belongs to this object from here on.</param>
    internal SealingKey(SecretMemory secret)
    {
        this.secret = secret;
        encryption = new AesCounter(secret.Span[..32]);
        nonces = new AesCounter(secret.Span[32..48]);
    }

    /// <summary>A new random key.</summary>
    internal static SealingKey Random()
    {
        var secret = new SecretMemory(Size);
        RandomNumberGenerator.Fill(secret.Span);
        return new SealingKey(secret);
    }

    /// <summary>The 64 bytes, for wrapping them under a password.</summary>
    internal ReadOnlySpan<byte> Secret => secret.Span;

    /// <summary>Seals some bytes under a new random IV.</summary>
    /// <param name="plain">What is sealed.</param>
    /// <param name="into">Room for <see cref="Overhead"/> more bytes; may not overlap.</param>
    public void Seal(ReadOnlySpan<byte> plain, Span<byte> into)
    {
        Span<byte> iv = into[..AesCounter.BlockSize];
        RandomNumberGenerator.Fill(iv);
        Span<byte> cipher = into.Slice(AesCounter.BlockSize, plain.Length);
        encryption.Apply(iv, plain, cipher);
        Tag(iv, cipher, into.Slice(AesCounter.BlockSize + plain.Length, Poly1305.TagSize));
    }

    /// <summary>Seals some bytes into an array of its own.</summary>
    public byte[] Seal(ReadOnlySpan<byte> plain)
    {
        var into = new byte[plain.Length + Overhead];
        Seal(plain, into);
        return into;
    }

    /// <summary>Opens what is sealed; false when it is too short or its tag is not right, and then nothing was written.</summary>
    /// <param name="bytes">IV, ciphertext, tag.</param>
    /// <param name="into">Room for <see cref="Overhead"/> fewer bytes; may be the very place of the ciphertext.</param>
    public bool TryOpen(ReadOnlySpan<byte> bytes, Span<byte> into)
    {
        if (bytes.Length < Overhead)
            return false;
        ReadOnlySpan<byte> iv = bytes[..AesCounter.BlockSize], cipher = bytes[AesCounter.BlockSize..^Poly1305.TagSize];
        Span<byte> tag = stackalloc byte[Poly1305.TagSize];
        Tag(iv, cipher, tag);
        if (!CryptographicOperations.FixedTimeEquals(tag, bytes[^Poly1305.TagSize..]))
            return false;
        encryption.Apply(iv, cipher, into);
        return true;
    }

    /// <inheritdoc/>
    public override string ToString() => "***";

    /// <inheritdoc/>
    public void Dispose()
    {
        encryption.Dispose();
        nonces.Dispose();
        secret.Dispose();
    }

    private void Tag(ReadOnlySpan<byte> iv, ReadOnlySpan<byte> cipher, Span<byte> tag)
    {
        Span<byte> once = stackalloc byte[Poly1305.TagSize];
        nonces.EncryptBlock(iv, once);
        Poly1305.Compute(cipher, secret.Span[48..64], once, tag);
        once.Clear();
    }
}
