using System.Security.Cryptography;
using System.Text;
using Org.BouncyCastle.Crypto.Generators;
using Org.BouncyCastle.Crypto.Parameters;
using Sbox.Linux;
using Sbox.Tomb.Chunking;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb.Tests;

public sealed class CryptoTests
{
    [Fact]
    public void Counter_mode_is_what_the_class_librarys_block_cipher_makes_of_counters()
    {
        foreach (int keySize in (int[])[16, 32])
        {
            byte[] key = RandomNumberGenerator.GetBytes(keySize), iv = RandomNumberGenerator.GetBytes(16);
            iv.AsSpan(8).Fill(0xFF); // the counter's carry goes through all its bytes
            byte[] plain = RandomNumberGenerator.GetBytes(1000), cipher = new byte[1000];
            using var counter = new AesCounter(key);
            counter.Apply(iv, plain, cipher);

            using Aes aes = Aes.Create();
            aes.SetKey(key);
            var expected = new byte[1000];
            var block = new UInt128(System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(iv), ulong.MaxValue);
            for (int at = 0; at < plain.Length; at++)
            {
                var input = new byte[16];
                System.Buffers.Binary.BinaryPrimitives.WriteUInt128BigEndian(input, block + (UInt128)(at / 16));
                expected[at] = (byte)(plain[at] ^ aes.EncryptEcb(input, PaddingMode.None)[at % 16]);
            }

            Assert.Equal(expected, cipher);
        }
    }

    [Fact]
    public void Poly1305_agrees_with_BouncyCastle_for_any_length_and_at_the_edges_of_its_field()
    {
        var random = new Random(7);
        for (int length = 0; length < 300; length++)
        {
            var message = new byte[length];
            var key = new byte[32];
            if (length % 3 == 0)
                message.AsSpan().Fill(0xFF); // carries everywhere
            else
                random.NextBytes(message);
            if (length % 5 == 0)
                key.AsSpan().Fill(0xFF);
            else
                random.NextBytes(key);
            var theirs = new Org.BouncyCastle.Crypto.Macs.Poly1305();
            theirs.Init(new KeyParameter(Clamped(key)));
            theirs.BlockUpdate(message, 0, length);
            byte[] expected = new byte[16], tag = new byte[16];
            theirs.DoFinal(expected, 0);
            Poly1305.Compute(message, key.AsSpan(0, 16), key.AsSpan(16), tag);
            Assert.Equal(expected, tag);
            tag.AsSpan().Clear();
            Poly1305.ComputeHere(message, key.AsSpan(0, 16), key.AsSpan(16), tag);
            Assert.Equal(expected, tag);
        }

        Assert.True(LibCrypto.HasPoly1305); // else the first way was not tried
    }

    [Theory, InlineData(16, 1, 1), InlineData(1024, 8, 3), InlineData(2, 3, 2), InlineData(4096, 8, 4), InlineData(2, 1, 9)]
    public void Scrypt_agrees_with_BouncyCastle(int cost, int blockSize, int lanes)
    {
        byte[] password = Encoding.UTF8.GetBytes("päss"), salt = RandomNumberGenerator.GetBytes(64);
        using SecretMemory key = Scrypt.Derive(password, salt, cost, blockSize, lanes, 64);
        Assert.Equal(SCrypt.Generate(password, salt, cost, blockSize, lanes, 64), key.Span.ToArray());
    }

    [Fact]
    public void What_is_sealed_opens_and_one_changed_bit_anywhere_does_not()
    {
        using var key = SealingKey.Random();
        byte[] plain = RandomNumberGenerator.GetBytes(50), opened = new byte[50];
        byte[] bytes = key.Seal(plain);
        Assert.True(key.TryOpen(bytes, opened));
        Assert.Equal(plain, opened);
        for (int bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(key.TryOpen(bytes, opened));
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        Assert.False(key.TryOpen(bytes.AsSpan(0, 31), opened));
    }

    [Fact]
    public void Secrets_print_stars_and_are_zero_when_they_are_gone()
    {
        var secret = new SecretMemory("hush"u8);
        using var key = SealingKey.Random();
        Assert.Equal("***", $"{secret}");
        Assert.Equal("***", $"{key}");
        secret.Dispose();
        Assert.Throws<ObjectDisposedException>(() => secret.Span.Length);
    }

    [Fact]
    public void New_polynomials_are_irreducible_and_a_product_is_not()
    {
        Assert.True(Polynomial.IsUsable(Polynomial.Random()));
        Assert.True(Polynomial.IsUsable(0x32420da05d6ec1)); // restic 0.18 made it
        Assert.False(Polynomial.IsUsable(0x32420da05d6ec0)); // even: x divides it
        Assert.False(Polynomial.IsUsable(0x25b));
    }

    // BouncyCastle wants the key's bits masked already.
    private static byte[] Clamped(byte[] key)
    {
        byte[] clamped = [.. key];
        foreach (int at in (int[])[3, 7, 11, 15])
            clamped[at] &= 15;
        foreach (int at in (int[])[4, 8, 12])
            clamped[at] &= 252;
        return clamped;
    }
}
