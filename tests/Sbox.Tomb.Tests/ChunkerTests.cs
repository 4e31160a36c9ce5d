using Sbox.Tomb.Chunking;

namespace Sbox.Tomb.Tests;

public sealed class ChunkerTests
{
    private const int Window = 64;

    [Fact]
    public void Cuts_are_where_the_fingerprint_of_the_last_64_bytes_says_and_nowhere_before()
    {
        const ulong polynomial = 0x3DA3358B4DC173; // any irreducible one of degree 53, and always the same
        var chunker = new Chunker(polynomial);
        var random = new Random(4);
        var bytes = new byte[4_000_000];
        random.NextBytes(bytes);
        bytes.AsSpan(1_400_000, 300_000).Fill((byte)'x');
        int cuts = 0;
        for (int at = 0, length; at < bytes.Length; at += length, cuts++)
        {
            length = chunker.Length(bytes.AsSpan(at));
            int expected = Expected(bytes.AsSpan(at), polynomial);
            Assert.Equal(expected, length);
        }

        Assert.InRange(cuts, 2, 8);
    }

    [Fact]
    public void A_cut_is_found_at_every_place_of_the_stretches_that_are_searched_together()
    {
        const ulong polynomial = 0x3DA3358B4DC173; // any irreducible one of degree 53, and always the same
        var chunker = new Chunker(polynomial);
        var bytes = new byte[Chunker.MinimumSize + 70_000];
        Array.Fill(bytes, (byte)1);
        Assert.Equal(bytes.Length, chunker.Length(bytes));

        // 64 zeros have the fingerprint zero: the cut is behind the last of them.
        foreach (int place in (int[])[0, 1, 63, 64, 4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 12_287, 12_288, 12_289, 16_319, 16_320, 16_321, 16_383, 16_384, 16_385, 32_768, 65_000, 69_936])
        {
            byte[] cut = [.. bytes];
            cut.AsSpan(Chunker.MinimumSize + place, Window).Clear();
            Assert.Equal(Chunker.MinimumSize + place + Window, chunker.Length(cut));
        }
    }

    // A fingerprint byte by byte with a division each, where nothing is remembered.
    private static int Expected(ReadOnlySpan<byte> bytes, ulong polynomial)
    {
        var leaving = new ulong[256];
        for (uint value = 0; value < 256; value++)
        {
            ulong hash = value;
            for (int i = 1; i < Window; i++)
                hash = Polynomial.Modulo(hash << 8, polynomial);
            leaving[value] = Polynomial.Modulo(hash, polynomial);
        }

        int end = Math.Min(bytes.Length, Chunker.MaximumSize);
        ulong fingerprint = 0;
        for (int at = Math.Max(0, Chunker.MinimumSize - Window); at < end; at++)
        {
            if (at >= Chunker.MinimumSize)
                fingerprint ^= leaving[bytes[at - Window]];
            fingerprint = Polynomial.Modulo((fingerprint << 8) | bytes[at], polynomial);
            if (at + 1 >= Chunker.MinimumSize && (fingerprint & ((1 << 20) - 1)) == 0)
                return at + 1;
        }

        return end;
    }
}
