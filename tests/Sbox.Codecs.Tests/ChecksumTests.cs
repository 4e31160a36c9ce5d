namespace Sbox.Codecs.Tests;

public sealed class ChecksumTests
{
    private const string OfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    [Fact]
    public void Text_bytes_and_hash_agree()
    {
        var parsed = Checksum.Parse(OfNothing);
        Assert.Equal(Checksum.Of([]), parsed);
        Assert.Equal(OfNothing, parsed.ToString());
        Assert.Equal(parsed, Checksum.FromBytes(parsed.ToArray()));
        Assert.Equal(parsed.GetHashCode(), Checksum.Of([]).GetHashCode());
        Assert.True(parsed != Checksum.Of([0]));
        Assert.True(Checksum.Parse(new string('0', 64)).CompareTo(parsed) < 0);
    }

    [Theory]
    [InlineData("")]
    [InlineData("e3b0")]
    [InlineData("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855")]
    [InlineData("g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    [InlineData(OfNothing + "0")]
    public void Anything_but_64_lower_case_digits_is_refused(string text)
    {
        Assert.False(Checksum.TryParse(text, out _));
        Assert.Throws<MalformedException>(() => Checksum.Parse(text));
    }

    [Fact]
    public void Anything_but_32_bytes_is_refused()
    {
        Assert.Throws<MalformedException>(() => Checksum.FromBytes(new byte[31]));
        Assert.Throws<MalformedException>(() => Checksum.FromBytes(new byte[33]));
    }
}
