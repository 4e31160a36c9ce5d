using System.CommandLine;
using System.Text.RegularExpressions;
using Sbox.Judges;

namespace Sbox.Cli.Tests;

/// <summary>Called as ostree, the program has what real ostree says of itself: every command, and every option of each.</summary>
public sealed partial class DropInTests
{
    private static readonly string[] Groups = ["remote", "static-delta", "admin", "admin instutil", "admin kargs"];

    public static TheoryData<string> Commands
    {
        get
        {
            var all = new TheoryData<string>();
            foreach (string command in CommandsOf(Judge.Ostree.Run("--help")).SelectMany(Leaves).Concat(Untold))
                all.Add(command);
            return all;
        }
    }

    // Commands that its help does not list, for others' scripts and units.
    private static readonly string[] Untold = ["admin state-overlay"];

    private static IEnumerable<string> Leaves(string command) =>
        Groups.Contains(command) ? CommandsOf(Judge.Ostree.Run([.. command.Split(' '), "--help"])).Select(each => $"{command} {each}").SelectMany(Leaves) : [command];

    [Theory, MemberData(nameof(Commands))]
    public void Every_option_that_ostree_tells_of_is_one_of_ours(string command)
    {
        string[] words = command.Split(' ');
        Command? ours = Programs.Ostree();
        var known = new HashSet<string>(Names(ours.Options));
        foreach (string word in words)
        {
            ours = ours.Subcommands.FirstOrDefault(each => each.Name == word);
            Assert.True(ours is not null, $"there is no command {command}");
            known.UnionWith(Names(ours.Options));
        }

        string[] theirs = [.. Option().Matches(Judge.Ostree.Run([.. words, "--help"])).SelectMany(static match => match.Groups.Values.Skip(1)).Select(static group => group.Value).Where(static name => name.Length > 0).Distinct()];
        Assert.NotEmpty(theirs);
        Assert.Empty(theirs.Except(known));
    }

    [Fact]
    public async Task What_cannot_be_done_here_says_so_instead_of_being_ignored()
    {
        // SELinux's labels need a policy, which is compiled nowhere here; Avahi is not spoken.
        foreach (string option in (string[])["--selinux-policy=/", "--selinux-prefix=/x"])
        {
            using var error = new StringWriter();
            TextWriter before = Console.Error;
            string repository = Path.Combine(Path.GetTempPath(), $"sbox-dropin-{Guid.NewGuid():N}");
            Judge.Ostree.Run("init", $"--repo={repository}", "--mode=archive");
            Console.SetError(error);
            try
            {
                Assert.Equal(1, await Invocation.Run(Programs.Ostree(), ["checkout", $"--repo={repository}", option, "main", "out"], TestContext.Current.CancellationToken));
            }
            finally
            {
                Console.SetError(before);
                Directory.Delete(repository, recursive: true);
            }

            Assert.Contains("SELinux labels are not made", error.ToString());
        }
    }

    private static IEnumerable<string> Names(IEnumerable<Option> options) => options.SelectMany(static option => option.Aliases.Append(option.Name));

    // Between its title and the next empty line.
    private static IEnumerable<string> CommandsOf(string help)
    {
        string listed = help[help.IndexOf("Commands:", StringComparison.Ordinal)..];
        int end = listed.IndexOf("\n\n", StringComparison.Ordinal);
        return Listed().Matches(end < 0 ? listed : listed[..end]).Select(static match => match.Groups[1].Value);
    }

    // "  -b, --branch=BRANCH    words", "  --repo=PATH    words"
    [GeneratedRegex(@"^  (-\w)?(?:, )?(--[a-z][a-z0-9-]*)?", RegexOptions.Multiline)]
    private static partial Regex Option();

    [GeneratedRegex(@"^  ([a-z][a-z0-9-]*) +\S", RegexOptions.Multiline)]
    private static partial Regex Listed();
}
