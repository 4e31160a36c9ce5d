using CsCheck;
using Sbox.Codecs.Tests.Composefs;
using Sbox.Codecs.Verity;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Verity;

public class VerityHasherTests
{
    // Where the tree changes its shape: a block, a block of 128 digests, and that many of those.
    [Theory]
    [InlineData(0), InlineData(1), InlineData(4095), InlineData(4096), InlineData(4097), InlineData(8192)]
    [InlineData(128 * 4096 - 1), InlineData(128 * 4096), InlineData(128 * 4096 + 1), InlineData(256 * 4096), InlineData(129 * 4096 + 17)]
    [InlineData(128 * 128 * 4096), InlineData(128 * 128 * 4096 + 1)]
    public void A_file_has_the_digest_that_fsverity_gives_it(int size)
    {
        byte[] content = Content(size);
        using var scratch = new Scratch();
        string judged = Judge.OnPath("fsverity").Run("digest", "--compact", scratch.File("file", content)).TrimEnd();
        Assert.Equal(judged, VerityHasher.Of(content).ToString());
    }

    [Fact]
    public void It_is_printed_as_fsverity_prints_it() =>
        Assert.Equal("sha256:3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95", VerityHasher.ToText(VerityHasher.Of([])));

    [Fact]
    public void The_pieces_in_which_the_bytes_come_do_not_matter() =>
        Gen.Select(Gen.Int[0, 2_000_000], Gen.OneOf(Gen.Int[1, 10_000], Gen.OneOf(4096, 8192, 65536)).Array[1, 10]).Sample(static (size, pieces) =>
        {
            byte[] content = Content(size);
            var hasher = new VerityHasher();
            for (int at = 0, i = 0; at < size; i++)
            {
                int piece = Math.Min(pieces[i % pieces.Length], size - at);
                hasher.Append(content.AsSpan(at, piece));
                at += piece;
            }

            return hasher.Finish() == VerityHasher.Of(content);
        }, iter: 100);

    [Fact]
    public void A_hasher_that_gave_its_digest_takes_no_more()
    {
        var hasher = new VerityHasher();
        hasher.Finish();
        Assert.Throws<InvalidOperationException>(() => hasher.Append([1]));
        Assert.Throws<InvalidOperationException>(() => hasher.Finish());
    }

    [Fact]
    public void Hashing_a_block_allocates_nothing()
    {
        byte[] content = Content(128 * 4096);
        var hasher = new VerityHasher();
        hasher.Append(content); // makes the levels
        hasher.Append(content);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 20; i++)
            hasher.Append(content);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static byte[] Content(int size)
    {
        var content = new byte[size];
        new Random(size).NextBytes(content);
        return content;
    }
}
