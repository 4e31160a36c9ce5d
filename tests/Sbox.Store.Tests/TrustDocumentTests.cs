using System.Text;

namespace Sbox.Store.Tests;

/// <summary>What a trust document may say, and what is refused.</summary>
public sealed class TrustDocumentTests
{
    private const string Alice = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", Bob = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

    private const string Whole = $"""
        repository = "boxes"
        version = 7
        expires = 2027-06-01T00:00:00Z
        summary-age = 1209600

        [keys]
        alice = "{Alice}"
        bob = "{Bob}"

        [document]
        threshold = 2
        signers = ["alice", "bob"]

        [summary]
        threshold = 1
        signers = ["bob"]

        [commits."debian/*"]
        threshold = 2
        signers = ["alice", "bob"]

        [commits."debian/13"]
        threshold = 1
        signers = ["alice"]

        """;

    [Fact]
    public void A_document_is_written_as_it_was_read()
    {
        TrustDocument document = Parse(Whole);
        Assert.Equal((7, "boxes", TimeSpan.FromDays(14)), (document.Version, document.Repository, document.SummaryAge));
        Assert.Equal(Whole, Encoding.UTF8.GetString(document.ToBytes()));
    }

    [Theory, InlineData("debian/13", 1), InlineData("debian/13/x86", 2), InlineData("debian/", 2), InlineData("debian", 0), InlineData("fedora/debian/13", 0)]
    public void A_branch_has_the_rule_of_its_own_name_else_of_the_longest_beginning(string branch, int threshold) => Assert.Equal(threshold, Parse(Whole).RuleFor(branch)?.Threshold ?? 0);

    [Theory]
    [InlineData("version = 7", "version = 0", "line 2: version: expected a number from 1")]
    [InlineData("version = 7", "version = \"7\"", "line 2: version: expected a number")]
    [InlineData("version = 7", "version = 7\nnote = \"hi\"", "line 3: note: unknown; there are expires, repository, summary-age, version here")]
    [InlineData("version = 7\n", "", "version: expected a number from 1 to 2147483647, found nothing")]
    [InlineData("2027-06-01T00:00:00Z", "2027-06-01", "line 3: expires: expected a time in whole seconds and UTC")]
    [InlineData("2027-06-01T00:00:00Z", "2027-06-01T00:00:00+02:00", "expected a time in whole seconds and UTC")]
    [InlineData("1209600", "60", "line 4: summary-age: expected a number from 3600")]
    [InlineData("\"boxes\"", "\"bo\\nxes\"", "line 1: repository: expected a text in quotes of letters, digits")]
    [InlineData($"bob = \"{Bob}\"", $"bob = \"{Alice}\"", "line 8: keys.bob: it is the same key as alice")]
    [InlineData($"bob = \"{Bob}\"", "bob = \"AAAA\"", "keys.bob: expected an Ed25519 public key in base64")]
    [InlineData("[\"bob\"]", "[\"carol\"]", "line 16: summary.signers: [keys] has no 'carol'")]
    [InlineData("threshold = 2\nsigners = [\"alice\", \"bob\"]\n\n[summary]", "threshold = 2\nsigners = [\"alice\", \"alice\"]\n\n[summary]", "line 12: document.signers: expected names of keys, each once")]
    [InlineData("threshold = 2\nsigners = [\"alice\", \"bob\"]\n\n[summary]", "threshold = 3\nsigners = [\"alice\", \"bob\"]\n\n[summary]", "line 11: document.threshold: expected a number from 1 to 2, found 3")]
    [InlineData("threshold = 2\nsigners = [\"alice\", \"bob\"]\n\n[summary]", "threshold = 0\nsigners = [\"alice\", \"bob\"]\n\n[summary]", "expected a number from 1 to 2, found 0")]
    [InlineData("signers = [\"bob\"]", "signers = []", "summary.signers: expected names of keys, each once")]
    [InlineData("signers = [\"bob\"]", "signers = [\"bob\"]\nuntil = 3", "line 17: summary.until: unknown; there are signers, threshold here")]
    [InlineData("[summary]", "[sumary]", "line 14: [sumary]: there are [keys], [document], [summary] and [commits.\"BRANCH\"] here")]
    [InlineData("[summary]", "[[summary]]", "there are [keys]")]
    [InlineData("commits.\"debian/13\"", "commits.\"debian/*/13\"", "'debian/*/13' is neither a branch's name nor the beginning of one and '*'")]
    [InlineData("[commits.\"debian/13\"]", "[commits.debian.13]", "there are [keys]")]
    [InlineData("version = 7", "version = 7 \u0000", "control characters in it")]
    [InlineData("version = 7", "version = ", "line 2: ")]
    [InlineData("version = 7", "version = 7\nversion = 8", "")]
    public void What_it_may_not_say_is_refused_with_the_file_the_line_and_the_finding(string what, string instead, string words)
    {
        Assert.Contains(what, Whole, StringComparison.Ordinal);
        TrustException refused = Assert.Throws<TrustException>(() => Parse(Whole.Replace(what, instead, StringComparison.Ordinal)));
        Assert.Equal(TrustProblem.Malformed, refused.Problem);
        Assert.StartsWith("trust/7.toml: line ", refused.Message, StringComparison.Ordinal);
        Assert.Contains(words, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_no_text_or_too_many_are_refused()
    {
        Assert.Contains("no UTF-8", Assert.Throws<TrustException>(() => TrustDocument.Parse("x", [0xC3, 0x28])).Message, StringComparison.Ordinal);
        Assert.Contains("65537 bytes; 65536 may be", Assert.Throws<TrustException>(() => TrustDocument.Parse("x", new byte[TrustDocument.MaximumSize + 1])).Message, StringComparison.Ordinal);
    }

    private static TrustDocument Parse(string text) => TrustDocument.Parse("trust/7.toml", Encoding.UTF8.GetBytes(text));
}
