using System.Buffers.Binary;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>AES-XTS over sectors of 512 bytes, each under its own number: IEEE 1619, dm-crypt's <c>aes-xts-plain64</c>. One thread at a time.</summary>
internal sealed class SectorCipher : IDisposable
{
    private const int SectorSize = Luks1Header.SectorSize, BlockSize = 16;
    private readonly Aes content = Aes.Create(), tweaks = Aes.Create();

    /// <param name="key">32 or 64 bytes: one half for the contents, one for the numbers.</param>
    public SectorCipher(ReadOnlySpan<byte> key)
    {
        content.SetKey(key[..(key.Length / 2)]);
        tweaks.SetKey(key[(key.Length / 2)..]);
    }

    /// <summary>Deciphers whole sectors in their place.</summary>
    /// <param name="sectors">The sectors.</param>
    /// <param name="number">The first one's number.</param>
    public void Decrypt(Span<byte> sectors, long number)
    {
        Span<byte> masks = stackalloc byte[SectorSize], tweak = stackalloc byte[BlockSize];
        for (int at = 0; at < sectors.Length; at += SectorSize, number++)
        {
            tweak.Clear();
            BinaryPrimitives.WriteInt64LittleEndian(tweak, number);
            tweaks.EncryptEcb(tweak, tweak, PaddingMode.None);
            Spread(BinaryPrimitives.ReadUInt128LittleEndian(tweak), masks);
            Span<byte> sector = sectors.Slice(at, SectorSize);
            Xor(sector, masks);
            content.DecryptEcb(sector, sector, PaddingMode.None);
            Xor(sector, masks);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        content.Dispose();
        tweaks.Dispose();
    }

    // Each block's mask is the one before, times x in GF(2^128).
    private static void Spread(UInt128 mask, Span<byte> masks)
    {
        for (int at = 0; at < masks.Length; at += BlockSize)
        {
            BinaryPrimitives.WriteUInt128LittleEndian(masks[at..], mask);
            bool over = mask >> 127 != 0;
            mask = (mask << 1) ^ (over ? 0x87u : 0u);
        }
    }

    private static void Xor(Span<byte> into, ReadOnlySpan<byte> other)
    {
        for (int at = 0; at < into.Length; at += sizeof(ulong))
            BinaryPrimitives.WriteUInt64LittleEndian(into[at..], BinaryPrimitives.ReadUInt64LittleEndian(into[at..]) ^ BinaryPrimitives.ReadUInt64LittleEndian(other[at..]));
    }
}
