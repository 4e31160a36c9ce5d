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
}
