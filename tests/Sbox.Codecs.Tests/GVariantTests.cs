using CsCheck;

namespace Sbox.Codecs.Tests;

public sealed class GVariantTests
{
    // The bytes are the specification's own examples ("GVariant Specification", section 2.5).
    [Theory]
    [InlineData("s", "68 65 6c 6c 6f 20 77 6f 72 6c 64 00", "'hello world'")]
    [InlineData("ms", "68 65 6c 6c 6f 20 77 6f 72 6c 64 00 00", "@ms 'hello world'")]
    [InlineData("ab", "01 00 00 01 01", "[true, false, false, true, true]")]
    [InlineData("(si)", "66 6f 6f 00 ff ff ff ff 04", "('foo', -1)")]
    [InlineData("a(si)", "68 69 00 00 fe ff ff ff 03 00 00 00 62 79 65 00 ff ff ff ff 04 09 15", "[('hi', -2), ('bye', -1)]")]
    [InlineData("as", "69 00 63 61 6e 00 68 61 73 00 73 74 72 69 6e 67 73 3f 00 02 06 0a 13", "['i', 'can', 'has', 'strings?']")]
    [InlineData("((ys)as)", "69 63 61 6e 00 68 61 73 00 73 74 72 69 6e 67 73 3f 00 04 0d 05", "((byte 0x69, 'can'), ['has', 'strings?'])")]
    [InlineData("(yy)", "70 80", "(byte 0x70, byte 0x80)")]
    [InlineData("(iy)", "60 00 00 00 70 00 00 00", "(96, byte 0x70)")]
    [InlineData("a(iy)", "60 00 00 00 70 00 00 00 88 02 00 00 f7 00 00 00", "[(96, byte 0x70), (648, 0xf7)]")]
    [InlineData("ai", "04 00 00 00 02 01 00 00", "[4, 258]")]
    [InlineData("a{si}", "61 20 6b 65 79 00 00 00 02 02 00 00 06 0d", "{'a key': 514}")]
    public void The_specifications_examples_read_print_and_write(string type, string hex, string text)
    {
        byte[] bytes = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));
        var value = GVariant.Parse(type, bytes);
        Assert.Equal(text, value.ToString());
        Assert.Equal(hex, string.Join(' ', value.ToBytes().Select(static b => b.ToString("x2"))));
    }

    [Theory]
    [InlineData("ay", "", "@ay []")]
    [InlineData("ay", "6869 00", "b'hi'")]
    [InlineData("ay", "0100", "b'\\001'")]
    [InlineData("ay", "01 02", "[byte 0x01, 0x02]")]
    [InlineData("as", "", "@as []")]
    [InlineData("a{sv}", "", "@a{sv} {}")]
    [InlineData("t", "0100000000000000", "uint64 1")]
    [InlineData("q", "0100", "uint16 1")]
    [InlineData("d", "000000000000f03f", "1.0")]
    [InlineData("d", "9a9999999999b93f", "0.10000000000000001")]
    [InlineData("d", "254c39b58b684754", "1e+98")]
    [InlineData("d", "f168e388b5f8e43e", "1.0000000000000001e-05")]
    [InlineData("d", "355800662deb41fe", "-1.5000000000000001e+300")]
    [InlineData("(s)", "6100", "('a',)")]
    [InlineData("s", "27 00", "\"'\"")]
    [InlineData("s", "220a 09 5c 00", "'\"\\n\\t\\\\'")]
    [InlineData("v", "6100 00 73", "<'a'>")]
    [InlineData("mi", "", "@mi nothing")]
    public void Values_print_as_g_variant_print_writes_them(string type, string hex, string text) =>
        Assert.Equal(text, GVariant.Parse(type, Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))).ToString());

    [Theory]
    [InlineData("s", "")]
    [InlineData("s", "61")]
    [InlineData("s", "6100 6200")]
    [InlineData("s", "ff00")]
    [InlineData("b", "02")]
    [InlineData("u", "010203")]
    [InlineData("ai", "0102030405")]
    [InlineData("(si)", "")]
    [InlineData("(si)", "66 6f 6f 00 ff ff ff ff 09")]
    [InlineData("(si)", "66 6f 00 01 ff ff ff ff 03")]
    [InlineData("as", "6100 05")]
    [InlineData("as", "6100 00")]
    [InlineData("v", "6161")]
    [InlineData("v", "6100 00 7a")]
    [InlineData("v", "6100 00")]
    public void Bytes_that_are_not_in_normal_form_are_refused(string type, string hex) =>
        Assert.Throws<MalformedException>(() => GVariant.Parse(type, Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))));

    [Theory]
    [InlineData("")]
    [InlineData("a")]
    [InlineData("(s")]
    [InlineData("{vs}")]
    [InlineData("{s}")]
    [InlineData("ss")]
    [InlineData("z")]
    public void Signatures_that_are_no_type_are_refused(string signature) => Assert.Throws<MalformedException>(() => GVariantType.Parse(signature));

    [Fact]
    public void A_variant_nested_beyond_all_reason_is_refused_and_not_followed()
    {
        byte[] nested = new byte[3000];
        for (int i = 0; i < nested.Length; i++)
            nested[i] = (byte)(i % 2 == 0 ? 0 : 'v');
        Assert.Throws<MalformedException>(() => GVariant.Parse("v", nested));
        Assert.Throws<MalformedException>(() => GVariantType.Parse(new string('a', 500) + "y"));
    }

    private static readonly Gen<GVariant> AnyLeaf = Gen.OneOf(
        Gen.Bool.Select(GVariant.Of), Gen.Byte.Select(GVariant.Of), Gen.Int.Select(GVariant.Of), Gen.UInt.Select(GVariant.Of), Gen.ULong.Select(GVariant.Of),
        Gen.String[Gen.Char["abc \n'\"é日"], 0, 300].Select(static text => GVariant.Of(text)), Gen.Byte.Array[0, 400].Select(static bytes => GVariant.Of(bytes)));

    private static readonly Gen<GVariant> AnyValue = Gen.Recursive<GVariant>((depth, any) => depth > 3 ? AnyLeaf : Gen.OneOf(
        AnyLeaf,
        any.Select(GVariant.Box),
        any.Array[1, 4].Select(static items => GVariant.Tuple(items)),
        any.Array[0, 5].Select(static items => GVariant.Array(GVariantType.Parse("v"), [.. items.Select(GVariant.Box)])),
        Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 1, 20], any).Array[0, 5].Select(static pairs => GVariant.Array(
            GVariantType.Parse("{sv}"), [.. pairs.Select(static pair => GVariant.Entry(GVariant.Of(pair.Item1), GVariant.Box(pair.Item2)))]))));

    [Fact]
    public void Any_value_reads_back_as_written() => AnyValue.Sample(static value =>
        GVariant.Parse(value.Type, value.ToBytes()) is var back && back.Equals(value) && back.ToString() == value.ToString());

    // Each costs 60 bytes of memory at least, and none of the bytes that are read.
    [Theory, InlineData("a()"), InlineData("aay")]
    public void More_values_than_anything_real_has_are_refused_before_they_fill_the_memory(string type) => Assert.Contains(
        "values", Assert.Throws<MalformedException>(() => GVariant.Parse(GVariantType.Parse(type), new byte[64 << 20])).Message);

    [Fact]
    public void What_fills_a_tuple_up_is_zeros_too() =>
        Assert.Contains("padding", Assert.Throws<MalformedException>(() => GVariant.Parse(GVariantType.Parse("(uy)"), new byte[] { 1, 0, 0, 0, 2, 0, 0xD2, 0 })).Message);

    [Fact]
    public void Any_damage_gives_a_value_or_a_malformed_exception_and_nothing_else() =>
        Gen.Select(AnyValue, Gen.Int[0, int.MaxValue], Gen.Byte).Sample(static (value, where, with) =>
        {
            byte[] bytes = value.ToBytes();
            if (bytes.Length == 0)
                return;
            bytes[where % bytes.Length] ^= with;
            try
            {
                // What is read from damaged bytes is in normal form too: it writes back to the very same bytes.
                Assert.Equal(bytes, GVariant.Parse(value.Type, bytes).ToBytes());
            }
            catch (MalformedException)
            {
            }
        });
}
