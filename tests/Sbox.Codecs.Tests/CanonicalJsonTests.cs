using System.Text;
using System.Text.Json;
using CsCheck;

namespace Sbox.Codecs.Tests;

public sealed class CanonicalJsonTests
{
    [Theory]
    // RFC 8785, 3.2.3: names in the order of their UTF-16 units.
    [InlineData("{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":6,\"\\u00f6\":7}", "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}")]
    [InlineData(" { \"b\" : [ true , null , \"\\u0041\\/\\u000f\\n\" ] , \"a\" : { } } ", "{\"a\":{},\"b\":[true,null,\"A/\\u000f\\n\"]}")]
    [InlineData("[]", "[]")]
    [InlineData("-9007199254740991", "-9007199254740991")]
    public void A_value_has_one_spelling(string json, string canonical)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        Assert.Equal(canonical, Encoding.UTF8.GetString(CanonicalJson.Of(document.RootElement)));
    }

    [Theory]
    [InlineData("1.5")]
    [InlineData("1e400")]
    [InlineData("9007199254740993")]
    [InlineData("{\"a\":1,\"a\":2}")]
    public void What_programs_read_differently_has_none(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        Assert.Throws<MalformedException>(() => CanonicalJson.Of(document.RootElement));
    }

    [Fact]
    public void A_name_can_be_left_out_at_the_top_only()
    {
        using JsonDocument document = JsonDocument.Parse("{\"quote\":1,\"a\":{\"quote\":2},\"z\":3}");
        Assert.Equal("{\"a\":{\"quote\":2},\"z\":3}", Encoding.UTF8.GetString(CanonicalJson.Of(document.RootElement, without: "quote")));
    }

    [Fact]
    public void Any_text_reads_back_as_it_was() => Gen.String.Sample(text =>
    {
        if (text.Any(char.IsSurrogate))
            return; // halves of a pair have no UTF-8
        using JsonDocument document = JsonDocument.Parse(JsonSerializer.Serialize(text));
        using JsonDocument again = JsonDocument.Parse(CanonicalJson.Of(document.RootElement));
        Assert.Equal(text, again.RootElement.GetString());
    });
}
