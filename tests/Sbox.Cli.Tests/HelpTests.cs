using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Judges;

namespace Sbox.Cli.Tests;

public sealed class HelpTests
{
    [Fact]
    public void The_manual_pages_are_those_that_the_parser_makes()
    {
        // out/sbox man-pages docs/man writes them anew.
        string directory = SourceTree.Of("docs", "man");
        foreach ((string file, string text) in Pages())
            Assert.Equal(text, File.Exists(Path.Combine(directory, file)) ? File.ReadAllText(Path.Combine(directory, file)) : $"{file} is missing");
    }

    [Fact]
    public void No_manual_page_tells_of_a_command_that_is_gone()
    {
        string[] made = [.. Pages().Select(static page => page.File)];
        string[] kept = [.. Directory.GetFiles(SourceTree.Of("docs", "man"), "*.1").Select(static path => Path.GetFileName(path))];
        Assert.Empty(kept.Except(made));
    }

    [Fact]
    public void Every_command_option_and_argument_says_what_it_is()
    {
        foreach (Command command in Below(Programs.Sbox()).Concat(Below(Programs.Ostree())).Where(static each => !each.Hidden))
        {
            Assert.False(string.IsNullOrEmpty(command.Description), Synopsis.Path(command));
            foreach (Symbol symbol in command.Options.Cast<Symbol>().Concat(command.Arguments).Where(static symbol => !symbol.Hidden))
                Assert.False(string.IsNullOrEmpty(symbol.Description), $"{Synopsis.Path(command)}: {symbol.Name}");
        }
    }

    [Fact]
    public async Task A_wrong_command_line_has_exit_code_2_and_as_ostree_1()
    {
        Assert.Equal(2, await Invocation.Run(Programs.Sbox(), ["no-such-command"], TestContext.Current.CancellationToken));
        Assert.Equal(1, await Invocation.Run(Programs.Ostree(), ["no-such-command"], TestContext.Current.CancellationToken));
    }

    [Fact]
    public void The_one_command_that_is_made_for_a_run_is_what_it_is_among_all()
    {
        foreach ((Command all, Func<string?, Command> make) in ((Command, Func<string?, Command>)[])[(Programs.Sbox(), Programs.Sbox), (Programs.Ostree(), Programs.Ostree)])
        {
            foreach (Command among in all.Subcommands)
            {
                Command alone = make(among.Name);
                Assert.Equal(Page(among), Page(alone.Subcommands.Single(each => each.Name == among.Name)));
                Assert.Equal(all.Options.Select(static option => option.Name), alone.Options.Select(static option => option.Name));
            }

            Assert.Single(make(all.Name == "sbox" ? "status" : "admin").Subcommands);
            Assert.Equal(all.Subcommands.Count, make("--help").Subcommands.Count);
        }

        static string Page(Command command)
        {
            using var text = new StringWriter();
            foreach (Command each in Below(command))
                HelpPage.Write(each, text);
            return text.ToString();
        }
    }

    private static IEnumerable<(string File, string Text)> Pages() => ManPage.All(Programs.Sbox()).Concat(ManPage.All(Programs.Ostree()));

    internal static IEnumerable<Command> Below(Command command) => command.Subcommands.SelectMany(Below).Prepend(command);
}
