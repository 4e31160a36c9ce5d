using Sbox.Codecs;

namespace Sbox.Integrity.Tests;

public sealed class ImageJudgeTests
{
    private static readonly Checksum A = Checksum.Parse(new string('a', 64)), B = Checksum.Parse(new string('b', 64));

    [Theory]
    [InlineData('a', null, null, Verdict.Unchecked, "nothing says what it should be")]
    [InlineData('a', 'a', null, Verdict.Ok, "as the commit's files say")]
    [InlineData('a', null, 'a', Verdict.Ok, "as the seal says")]
    [InlineData('a', 'a', 'a', Verdict.Ok, "as the seal and the commit's files say")]
    [InlineData('a', 'b', null, Verdict.Wrong, "and the commit's files give b")]
    [InlineData('a', 'a', 'b', Verdict.Wrong, "and the seal says b")]
    [InlineData('a', 'b', 'a', Verdict.Wrong, "and the commit's files give b")]
    [InlineData(null, 'a', 'a', Verdict.Wrong, "it is not there")]
    public void Every_word_on_an_image_must_agree_and_no_word_is_unchecked(char? found, char? made, char? seal, Verdict verdict, string says)
    {
        var evidence = new ImageEvidence(Digest(found), Digest(made), seal is null ? [] : [("the seal", Digest(seal)!.Value)]);
        (Verdict judged, string sentence) = ImageJudge.Judge(evidence);
        Assert.Equal(verdict, judged);
        Assert.Contains(says, sentence, StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_not_those_that_the_kernel_holds_a_file_to_are_wrong() =>
        Assert.Equal(Verdict.Wrong, ImageJudge.Judge(new ImageEvidence(A, A, [("the seal", A)]) { Held = B }).Verdict);

    [Fact]
    public void An_image_that_cannot_be_read_is_wrong_and_the_reason_is_told() =>
        Assert.Equal((Verdict.Wrong, "it cannot be read: Input/output error"), ImageJudge.Judge(new ImageEvidence(null, A, []) { Unreadable = "Input/output error" }));

    [Fact]
    public void The_worst_verdict_counts_and_nothing_at_all_is_not_fine()
    {
        Assert.Equal(Verdict.Unchecked, Array.Empty<Verdict>().Worst());
        Assert.Equal(Verdict.Wrong, new[] { Verdict.Unchecked, Verdict.Wrong, Verdict.Ok }.Worst());
        Assert.Equal((0, 3, 1), (Verdict.Ok.ExitCode(), Verdict.Unchecked.ExitCode(), Verdict.Wrong.ExitCode()));
    }

    private static Checksum? Digest(char? letter) => letter switch { null => null, 'a' => A, _ => B };
}
