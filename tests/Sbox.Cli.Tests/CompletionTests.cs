using Sbox.Judges;

namespace Sbox.Cli.Tests;

/// <summary>The shells themselves, told what <c>sbox completion</c> prints.</summary>
public sealed class CompletionTests
{
    private const string Bash = """
        eval "$(sbox completion bash)"
        complete -p sbox >/dev/null
        ask() { COMP_LINE=$1 COMP_POINT=${#1}; read -ra COMP_WORDS <<<"$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sbox sbox; printf '%s\n' "${COMPREPLY[@]}"; }
        """;

    // compadd and _files work within a line editor only: they say what they were given.
    private const string Zsh = """
        compdef() { print -r -- "compdef $*"; }; compadd() { print -rl -- $found; }; _files() { print files; }
        eval "$(sbox completion zsh)"
        ask() { words=(${=1}); CURRENT=$#words; _sbox; }
        """;

    private const string Fish = """
        sbox completion fish | source
        function ask; complete -C $argv[1]; end
        """;

    private static readonly (string Shell, string[] Words, string Code)[] Shells = [("bash", ["--norc", "-c"], Bash), ("zsh", ["-f", "-c"], Zsh), ("fish", ["--no-config", "-c"], Fish)];

    [Theory, InlineData("bash"), InlineData("zsh"), InlineData("fish")]
    public void A_shell_completes_commands_below_commands_and_their_options(string shell)
    {
        string[] said = Ask(shell, "sbox tomb op", "sbox tomb open --a");
        Assert.Contains("open", said);
        Assert.Contains("--at", said);
        Assert.DoesNotContain("close", said);
    }

    [Theory, InlineData("bash"), InlineData("zsh"), InlineData("fish")]
    public void Files_are_offered_where_the_program_knows_nothing(string shell)
    {
        string[] said = Ask(shell, "sbox install --to /etc/pass");
        Assert.Contains(shell == "zsh" ? "files" : "/etc/passwd", said);
    }

    private static string[] Ask(string shell, params string[] lines)
    {
        (_, string[] words, string code) = Shells.Single(each => each.Shell == shell);
        string script = $"{code}\n{string.Join('\n', lines.Select(static line => $"ask '{line}'"))}\n";
        return [.. Judge.OnPath("env").Run([$"PATH={TestedProgram.Directory}:{Environment.GetEnvironmentVariable("PATH")}", "HOME=/nonexistent", shell, .. words, script]).Split('\n').Select(static line => line.Split('\t')[0])];
    }
}
