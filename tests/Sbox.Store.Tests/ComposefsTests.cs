using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

public sealed class ComposefsTests
{
    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public void The_image_of_a_commit_is_byte_for_byte_what_ostree_makes(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], mode);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        foreach (bool withVerity in new[] { true, false })
        {
            using var image = new MemoryStream();
            ComposefsResult result = ours.WriteComposefs(commit, image, withVerity: withVerity);
            string name = $"theirs-{withVerity}.cfs";
            Verdict verdict = Judge.Ostree.Ask(
                scratch.Root, null, ["checkout", "--repo=repo", withVerity ? "--composefs" : "--composefs-noverity", "main", name]);
            Assert.True(verdict.ExitCode == 0, verdict.Error);
            Assert.Equal(image.Length, result.Size);
            Assert.Equal(Convert.ToHexString(System.IO.File.ReadAllBytes(scratch[name])), Convert.ToHexString(image.ToArray()));
        }
    }

    [Fact]
    public void A_digest_in_the_commit_must_be_the_images()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum wrong = Checksum.Of([1]);
        var options = new CommitOptions { Metadata = VariantDictionary.Empty.With("ostree.composefs.digest.v0", GVariant.Of(wrong.ToArray())) };
        Checksum commit = ours.CommitDirectory(scratch.Tree(), options);
        Assert.Equal(wrong, Assert.Throws<ComposefsDigestException>(() => ours.WriteComposefs(commit, Stream.Null)).Expected);
    }

    [Fact]
    public void What_another_image_tells_is_not_read_again_and_not_believed_where_it_is_wrong()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        string tree = scratch.Tree();
        byte[] before = Image(ours.CommitDirectory(tree, new CommitOptions { ComposefsDigest = true }), []);
        System.IO.File.WriteAllText($"{tree}/of the next version", "new");
        Checksum next = ours.CommitDirectory(tree, new CommitOptions { ComposefsDigest = true });
        byte[] whole = Image(next, []);
        Assert.Equal(whole, Image(next, [before]));
        Assert.Equal(whole, Image(next, [new byte[100], before]));

        // One that says of a content what is not so.
        byte[] liar = [.. before];
        ReadOnlyMemory<byte> digest = Codecs.Composefs.ComposefsImage.ReadDigests(before)[0].Digest.ToArray();
        liar[before.AsSpan().IndexOf(digest.Span)] ^= 1;
        Assert.Equal(whole, Image(next, [liar]));

        // A content that is not as it was: whoever reads it sees that, and the other image knows it.
        string path = scratch[$"repo/objects/{System.Text.Encoding.ASCII.GetString(Codecs.Composefs.ComposefsImage.ReadDigests(before).First(static each => each.File is not null).BackingPath.Span)}"];
        System.IO.File.WriteAllBytes(path, [.. System.IO.File.ReadAllBytes(path).Select(static each => (byte)~each)]);
        Assert.Throws<ComposefsDigestException>(() => Image(next, []));
        Assert.Equal(whole, Image(next, [before]));

        // Nor is it opened: the other image also knows whose it is, and how large.
        System.IO.File.Delete(path);
        Assert.Throws<ObjectMissingException>(() => Image(next, []));
        Assert.Equal(whole, Image(next, [before]));

        byte[] Image(Checksum commit, IEnumerable<byte[]> others)
        {
            using var image = new MemoryStream();
            image.Write("head"u8);
            ComposefsResult result = ours.WriteComposefs(commit, image, others.Select(static each => (ReadOnlyMemory<byte>)each));
            Assert.Equal(image.Length - 4, result.Size);
            return image.ToArray()[4..];
        }
    }
}
