using Sbox.Cli.Terminal;
using Sbox.Linux;

namespace Sbox.Cli.Tests;

public sealed class InterviewTests
{
    [Fact]
    public void Enter_takes_what_stands_in_brackets_a_dash_leaves_out_and_a_mistake_is_asked_again()
    {
        var said = new StringWriter();
        Interview interview = With(said, "\n-\nUPPER\nlower\n");
        Assert.Equal("us", interview.Ask("Keyboard", "us"));
        Assert.Null(interview.Ask("Network", null));
        Assert.Equal("lower", interview.Ask("Name", null, static typed => typed == "UPPER" ? "small letters" : null));
        Assert.Contains("Keyboard [us]: ", said.ToString(), StringComparison.Ordinal);
        Assert.Contains("small letters", said.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_choice_is_a_number_of_the_list()
    {
        Interview interview = With(new StringWriter(), "7\nx\n2\n\n");
        Assert.Equal(1, interview.Choose(["one", "two", "three"], 0));
        Assert.Equal(2, interview.Choose(["one", "two", "three"], 2));
    }

    [Theory, InlineData("yes\n", true), InlineData("N\n", false), InlineData("\n", true), InlineData("perhaps\nno\n", false), InlineData("-\n", false)]
    public void Yes_and_no_are_both_understood(string typed, bool yes) => Assert.Equal(yes, With(new StringWriter(), typed).IsYes("Is that right", otherwise: true));

    [Fact]
    public void A_terminal_that_is_closed_ends_the_questions() =>
        Assert.Contains("closed", Assert.Throws<Finding>(() => With(new StringWriter(), "").Ask("Name", null)).Message, StringComparison.Ordinal);

    [Fact]
    public void Going_back_is_an_answer_only_where_there_is_a_way_back()
    {
        Assert.Equal("<", With(new StringWriter(), "<\n").Ask("Name", null));
        Interview interview = new(new StringReader(" < \n"), new StringWriter(), static (_, _) => new SecretMemory("<"u8), colors: false) { GoesBack = true };
        Assert.Throws<WentBackException>(() => interview.Ask("Name", null));
        Assert.Throws<WentBackException>(() => interview.AskSecret("Password", twice: true));
    }

    private static Interview With(StringWriter said, string typed) => new(new StringReader(typed), said, static (_, _) => new SecretMemory("secret"u8), colors: false);
}
