namespace Sbox.Codecs.Tests;

/// <summary>Values from their text form, as GLib's documentation of it has them.</summary>
public sealed class GVariantParsingTests
{
    [Theory]
    [InlineData("'text'", "s", "'text'")]
    [InlineData("\"it's\"", "s", "\"it's\"")]
    [InlineData("5", "i", "5")]
    [InlineData("-0x10", "i", "-16")]
    [InlineData("010", "i", "8")]
    [InlineData("uint64 42", "t", "uint64 42")]
    [InlineData("@t 123", "t", "uint64 123")]
    [InlineData("byte 0x13", "y", "byte 0x13")]
    [InlineData("true", "b", "true")]
    [InlineData("1.5", "d", "1.5")]
    [InlineData("[1, 2, 3]", "ai", "[1, 2, 3]")]
    [InlineData("[1, uint64 2]", "at", "[uint64 1, 2]")]
    [InlineData("[byte 0x13, 0xae]", "ay", "[byte 0x13, 0xae]")]
    [InlineData("@as []", "as", "@as []")]
    [InlineData("['a', 'b']", "as", "['a', 'b']")]
    [InlineData("('a', 5, <true>)", "(siv)", "('a', 5, <true>)")]
    [InlineData("()", "()", "()")]
    [InlineData("{'a': 1, 'b': uint64 2}", "a{st}", "{'a': uint64 1, 'b': 2}")]
    [InlineData("@a{sv} {}", "a{sv}", "@a{sv} {}")]
    [InlineData("{'k': <'v'>}", "a{sv}", "{'k': <'v'>}")]
    [InlineData("{1, 'one'}", "{is}", "{1, 'one'}")]
    [InlineData("b'bytes'", "ay", "b'bytes'")]
    [InlineData("just 5", "mi", "@mi 5")]
    [InlineData("@mi nothing", "mi", "@mi nothing")]
    [InlineData("[[], [1]]", "aai", "[@ai [], [1]]")]
    [InlineData("'\\u00e9\\n'", "s", "'é\\n'")]
    public void Text_reads_as_the_value_that_glib_makes_of_it(string text, string type, string printed)
    {
        GVariant value = GVariant.ParseText(text);
        Assert.Equal(type, value.Type.Signature);
        Assert.Equal(printed, value.ToString());
        Assert.Equal(value, GVariant.ParseText(value.ToString()));
        Assert.Equal(value, GVariant.Parse(value.Type, value.ToBytes()));
    }

    [Theory]
    [InlineData("")]
    [InlineData("foo")]
    [InlineData("[]")]
    [InlineData("[1, 'a']")]
    [InlineData("byte 256")]
    [InlineData("uint32 -1")]
    [InlineData("'open")]
    [InlineData("(1,")]
    [InlineData("{'a' 1}")]
    [InlineData("5 5")]
    [InlineData("@q")]
    [InlineData("@zz 5")]
    [InlineData("nothing")]
    [InlineData("'\\u12'")]
    [InlineData("uint64 'x'")]
    public void What_is_no_value_says_so(string text) => Assert.Throws<MalformedException>(() => GVariant.ParseText(text));

    [Fact]
    public void Random_text_is_a_value_or_an_error_and_never_anything_else()
    {
        const string letters = "[](){}<>'\"@abiusvt0123456789x.-, :=\\naytuint64bytejustnothing";
        var random = new Random(5);
        int values = 0;
        for (int i = 0; i < 50_000; i++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(1, 24)).Select(_ => letters[random.Next(letters.Length)]));
            try
            {
                GVariant.Parse(GVariant.ParseText(text).Type, GVariant.ParseText(text).ToBytes());
                values++;
            }
            catch (MalformedException)
            {
                // what most of it should be
            }
        }

        Assert.True(values > 100, $"{values}");
        Assert.Throws<MalformedException>(() => GVariant.ParseText(new string('[', 100_000)));
        Assert.Throws<MalformedException>(() => GVariant.ParseText(string.Concat(Enumerable.Repeat("just ", 100_000)) + "1"));
    }
}
