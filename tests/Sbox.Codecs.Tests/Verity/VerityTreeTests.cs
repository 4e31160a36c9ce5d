using Sbox.Codecs.Tests.Composefs;
using Sbox.Codecs.Verity;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Verity;

public sealed class VerityTreeTests
{
    [Theory]
    [InlineData(0), InlineData(1), InlineData(4096), InlineData(4097), InlineData(128 * 4096), InlineData((128 * 4096) + 1), InlineData((128 * 128 * 4096) + 5)]
    public void Tree_descriptor_and_digest_are_those_of_fsverity(int size)
    {
        using var scratch = new Scratch();
        var content = new byte[size];
        new Random(size).NextBytes(content);
        string file = scratch.File("content", content), tree = Path.Combine(scratch.Path, "tree"), descriptor = Path.Combine(scratch.Path, "descriptor");
        string said = Judge.OnPath("fsverity").Run("digest", "--compact", $"--out-merkle-tree={tree}", $"--out-descriptor={descriptor}", file);
        VerityTree ours = VerityTree.Of(new MemoryStream(content));
        Assert.Equal(File.ReadAllBytes(tree), ours.Tree);
        Assert.Equal(File.ReadAllBytes(descriptor), ours.Descriptor);
        Assert.Equal(said.Trim(), $"{ours.Digest}");
        Assert.Equal(VerityHasher.Of(content), ours.Digest);
    }
}
