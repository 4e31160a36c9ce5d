using CsCheck;

namespace Sbox.Boot.Tests;

public sealed class KernelArgumentsTests
{
    [Theory]
    [InlineData("root=LABEL=sbox-root ro quiet", new[] { "root", "ro", "quiet" }, new[] { "LABEL=sbox-root", null, null })]
    [InlineData("opt=\"a b\" \"x y=1 2\"", new[] { "opt", "x y" }, new[] { "a b", "1 2" })]
    [InlineData("a=b\"c d\"e", new[] { "a" }, new[] { "b\"c d\"e" })] // a quote inside of a value keeps blanks together, and stays
    [InlineData("  tab\there \n", new[] { "tab", "here" }, new string?[] { null, null })]
    [InlineData("open=\"to the end", new[] { "open" }, new[] { "to the end" })]
    [InlineData("empty= x", new[] { "empty", "x" }, new[] { "", null })]
    [InlineData("", new string[0], new string?[0])]
    public void Arguments_are_split_and_unquoted_as_the_kernel_does_it(string line, string[] keys, string?[] values)
    {
        KernelArguments arguments = KernelArguments.Parse(line);
        Assert.Equal(keys, arguments.Select(static argument => argument.Key));
        Assert.Equal(values, arguments.Select(static argument => argument.Value));
    }

    [Fact]
    public void A_printed_line_reads_back_as_the_same_arguments() =>
        Gen.String[Gen.Char["ab= \"\t-."], 0, 40].Sample(static line =>
        {
            KernelArguments once = KernelArguments.Parse(line);
            // An open quote swallows what follows, so only the last argument may have one; then the line is the same again.
            return once.Equals(KernelArguments.Parse(once.ToString()));
        });

    [Fact]
    public void A_value_with_blanks_is_quoted_and_comes_back() =>
        Gen.String[Gen.Char["ab= -./"], 0, 12].Sample(static value =>
            KernelArguments.Of(KernelArgument.Of("key", value)) is var made && KernelArguments.Parse(made.ToString()).Get("key") == value);

    [Fact]
    public void What_no_command_line_can_say_is_refused()
    {
        Assert.Throws<ArgumentException>(static () => KernelArgument.Of("a b"));
        Assert.Throws<ArgumentException>(static () => KernelArgument.Of("a", "say \"x\""));
    }

    [Fact]
    public void The_last_of_several_values_counts_and_all_can_be_seen()
    {
        KernelArguments arguments = KernelArguments.Parse("console=tty0 console=ttyS0 quiet");
        Assert.Equal("ttyS0", arguments.Get("console"));
        Assert.Equal(["tty0", "ttyS0"], arguments.GetAll("console"));
        Assert.True(arguments.Contains("quiet"));
        Assert.Null(arguments.Get("quiet"));
    }

    [Fact]
    public void What_follows_two_hyphens_is_for_init_alone()
    {
        KernelArguments arguments = KernelArguments.Parse("quiet -- sbox.deployment=x");
        Assert.False(arguments.Contains("sbox.deployment"));
        Assert.Equal("quiet ro -- sbox.deployment=x", arguments.Append("ro").ToString());
    }

    [Theory]
    [InlineData("a=1 b", "a=2", "a=2 b")]
    [InlineData("a=1 a=2 b", "a=1=3", "a=3 a=2 b")]
    [InlineData("a b", "a=1", "a=1 b")]
    public void A_value_is_replaced_where_it_stands(string line, string change, string expected) =>
        Assert.Equal(expected, KernelArguments.Parse(line).Replace(change).ToString());

    [Theory]
    [InlineData("a=1", "b=2")]
    [InlineData("a=1 a=2", "a=3")]
    [InlineData("a=1", "a=2=3")]
    public void A_replacement_that_does_not_fit_is_refused(string line, string change) =>
        Assert.Throws<KernelArgumentException>(() => KernelArguments.Parse(line).Replace(change));

    [Theory]
    [InlineData("a=1 b", "a", "b")]
    [InlineData("a=1 a=2 b", "a=2", "a=1 b")]
    [InlineData("a a=2 b", "a", "a=2 b")]
    public void An_argument_is_deleted_by_key_or_by_key_and_value(string line, string unwanted, string expected) =>
        Assert.Equal(expected, KernelArguments.Parse(line).Delete(unwanted).ToString());

    [Theory]
    [InlineData("a=1 a=2", "a")]
    [InlineData("a=1", "a=2")]
    [InlineData("a=1", "b")]
    public void A_deletion_that_does_not_fit_is_refused(string line, string unwanted) =>
        Assert.Throws<KernelArgumentException>(() => KernelArguments.Parse(line).Delete(unwanted));

    [Theory]
    [InlineData("a=1 b a=2 c", "a=3", "a=3 b c")]
    [InlineData("b", "a=3", "b a=3")]
    [InlineData("b -- a=1", "a=3", "b a=3 -- a=1")]
    public void A_key_is_set_to_one_value_in_its_first_place(string line, string argument, string expected) =>
        Assert.Equal(expected, KernelArguments.Parse(line).Set(new KernelArgument(argument)).ToString());

    [Fact]
    public void Appending_what_is_there_changes_nothing_when_asked_so() =>
        Assert.Equal("a=1 b c", KernelArguments.Parse("a=1 b").AppendIfMissing("b c a=1").ToString());
}
