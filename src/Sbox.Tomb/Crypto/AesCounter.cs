using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Sbox.Linux;
using X86Aes = System.Runtime.Intrinsics.X86.Aes;

namespace Sbox.Tomb.Crypto;

/// <summary>
/// AES in counter mode, the counter being the whole 16-byte block, most significant byte first. The round keys live in secret memory;
/// processors with AES instructions are used directly (eight blocks at a time), others by the class library. Safe on several threads.
/// </summary>
internal sealed class AesCounter : IDisposable
{
    /// <summary>Bytes in a block, and in an initialisation vector.</summary>
    public const int BlockSize = 16;

    private const int AtOnce = 8;
    private readonly SecretMemory schedule;
    private readonly int rounds;
    private readonly System.Security.Cryptography.Aes? library;

    /// <param name="key">16 or 32 bytes; copied.</param>
    public AesCounter(ReadOnlySpan<byte> key)
    {
        rounds = key.Length switch { 16 => 10, 32 => 14, _ => throw new ArgumentException("an AES key has 16 or 32 bytes here", nameof(key)) };
        schedule = new SecretMemory((rounds + 1) * BlockSize);
        if (X86Aes.IsSupported)
        {
            Expand(key, MemoryMarshal.Cast<byte, uint>(schedule.Span));
            return;
        }

        library = System.Security.Cryptography.Aes.Create();
        library.SetKey(key);
    }

    /// <summary>Encrypts one block.</summary>
    public void EncryptBlock(ReadOnlySpan<byte> block, Span<byte> into)
    {
        if (library is not null)
        {
            lock (library)
                library.EncryptEcb(block, into, System.Security.Cryptography.PaddingMode.None);
            return;
        }

        Encrypt(Vector128.Create(block), MemoryMarshal.Cast<byte, Vector128<byte>>(schedule.Span)).CopyTo(into);
    }

    /// <summary>Adds the key stream that begins at <paramref name="iv"/>: encrypts and decrypts. Both spans may be the same.</summary>
    public void Apply(ReadOnlySpan<byte> iv, ReadOnlySpan<byte> input, Span<byte> output)
    {
        var counter = new UInt128(BinaryPrimitives.ReadUInt64BigEndian(iv), BinaryPrimitives.ReadUInt64BigEndian(iv[8..]));
        if (library is not null)
        {
            ApplyByLibrary(counter, input, output);
            return;
        }

        ReadOnlySpan<Vector128<byte>> keys = MemoryMarshal.Cast<byte, Vector128<byte>>(schedule.Span);
        int at = 0;
        for (; input.Length - at >= AtOnce * BlockSize; at += AtOnce * BlockSize, counter += AtOnce)
            EightBlocks(counter, keys, ref MemoryMarshal.GetReference(input[at..]), ref MemoryMarshal.GetReference(output[at..]));
        Span<byte> stream = stackalloc byte[BlockSize];
        for (; at < input.Length; at += BlockSize, counter++)
        {
            Encrypt(Block(counter), keys).CopyTo(stream);
            int count = Math.Min(BlockSize, input.Length - at);
            for (int i = 0; i < count; i++)
                output[at + i] = (byte)(input[at + i] ^ stream[i]);
        }

        stream.Clear();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        schedule.Dispose();
        library?.Dispose();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightBlocks(UInt128 counter, ReadOnlySpan<Vector128<byte>> keys, ref byte input, ref byte output)
    {
        Vector128<byte> key = keys[0];
        Vector128<byte> b0 = Block(counter) ^ key, b1 = Block(counter + 1) ^ key, b2 = Block(counter + 2) ^ key, b3 = Block(counter + 3) ^ key;
        Vector128<byte> b4 = Block(counter + 4) ^ key, b5 = Block(counter + 5) ^ key, b6 = Block(counter + 6) ^ key, b7 = Block(counter + 7) ^ key;
        int last = keys.Length - 1;
        for (int round = 1; round < last; round++)
        {
            key = keys[round];
            b0 = X86Aes.Encrypt(b0, key);
            b1 = X86Aes.Encrypt(b1, key);
            b2 = X86Aes.Encrypt(b2, key);
            b3 = X86Aes.Encrypt(b3, key);
            b4 = X86Aes.Encrypt(b4, key);
            b5 = X86Aes.Encrypt(b5, key);
            b6 = X86Aes.Encrypt(b6, key);
            b7 = X86Aes.Encrypt(b7, key);
        }

        key = keys[last];
        Put(X86Aes.EncryptLast(b0, key), ref input, ref output, 0);
        Put(X86Aes.EncryptLast(b1, key), ref input, ref output, 16);
        Put(X86Aes.EncryptLast(b2, key), ref input, ref output, 32);
        Put(X86Aes.EncryptLast(b3, key), ref input, ref output, 48);
        Put(X86Aes.EncryptLast(b4, key), ref input, ref output, 64);
        Put(X86Aes.EncryptLast(b5, key), ref input, ref output, 80);
        Put(X86Aes.EncryptLast(b6, key), ref input, ref output, 96);
        Put(X86Aes.EncryptLast(b7, key), ref input, ref output, 112);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(Vector128<byte> stream, ref byte input, ref byte output, nuint at) =>
        (Vector128.LoadUnsafe(ref input, at) ^ stream).StoreUnsafe(ref output, at);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Block(UInt128 counter) => Vector128.Create(
        BinaryPrimitives.ReverseEndianness((ulong)(counter >> 64)), BinaryPrimitives.ReverseEndianness((ulong)counter)).AsByte();

    private static Vector128<byte> Encrypt(Vector128<byte> block, ReadOnlySpan<Vector128<byte>> keys)
    {
        block ^= keys[0];
        for (int round = 1; round < keys.Length - 1; round++)
            block = X86Aes.Encrypt(block, keys[round]);
        return X86Aes.EncryptLast(block, keys[^1]);
    }

    // FIPS 197, 5.2. The S-box is the processor's: no table is looked up by secret bytes.
    private static void Expand(ReadOnlySpan<byte> key, Span<uint> words)
    {
        int keyWords = key.Length / 4;
        MemoryMarshal.Cast<byte, uint>(key).CopyTo(words);
        uint constant = 1;
        for (int at = keyWords; at < words.Length; at++)
        {
            uint word = words[at - 1];
            if (at % keyWords == 0)
            {
                word = Substitute(System.Numerics.BitOperations.RotateRight(word, 8)) ^ constant;
                constant = (constant << 1) ^ ((constant >> 7) * 0x11B);
            }
            else if (keyWords > 6 && at % keyWords == 4)
            {
                word = Substitute(word);
            }

            words[at] = words[at - keyWords] ^ word;
        }
    }

    // With four equal columns the row shift of the last round changes nothing, and what is left of it is the S-box.
    private static uint Substitute(uint word) => X86Aes.EncryptLast(Vector128.Create(word).AsByte(), Vector128<byte>.Zero).AsUInt32()[0];

    private void ApplyByLibrary(UInt128 counter, ReadOnlySpan<byte> input, Span<byte> output)
    {
        const int Piece = 4096;
        Span<byte> counters = stackalloc byte[Piece], stream = stackalloc byte[Piece];
        for (int at = 0; at < input.Length; at += Piece)
        {
            int count = Math.Min(Piece, input.Length - at);
            int blocks = (count + BlockSize - 1) / BlockSize;
            for (int block = 0; block < blocks; block++, counter++)
            {
                BinaryPrimitives.WriteUInt64BigEndian(counters[(block * BlockSize)..], (ulong)(counter >> 64));
                BinaryPrimitives.WriteUInt64BigEndian(counters[((block * BlockSize) + 8)..], (ulong)counter);
            }

            lock (library!)
                library.EncryptEcb(counters[..(blocks * BlockSize)], stream, System.Security.Cryptography.PaddingMode.None);
            for (int i = 0; i < count; i++)
                output[at + i] = (byte)(input[at + i] ^ stream[i]);
        }
    }
}
