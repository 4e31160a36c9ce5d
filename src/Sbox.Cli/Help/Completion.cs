using System.CommandLine;
using System.CommandLine.Completions;

namespace Sbox.Cli.Help;

/// <summary>Completion for bash: the shell asks the program's own parser what may come next, so it is never out of date.</summary>
internal static class Completion
{
    private const string Ask = "complete-line";

    /// <summary><c>completion bash</c>, and the hidden command that the shell calls.</summary>
    public static IEnumerable<Command> Commands(Command program)
    {
        var shell = new Argument<string>("SHELL") { Description = "The shell: bash" };
        shell.AcceptOnlyFromAmong("bash");
        var completion = new DocumentedCommand("completion", "Print the code that makes a shell complete this program's commands")
        {
            Examples = [new Example("Complete in this shell from now on", "eval \"$(sbox completion bash)\"")],
        };
        completion.Arguments.Add(shell);
        completion.SetAction(_ => Console.Out.Write(Bash));
        yield return completion;

        var line = new Argument<string>("LINE");
        var ask = new Command(Ask, "What may come next on a command line") { Hidden = true };
        ask.Arguments.Add(line);
        ask.SetAction(parsed =>
        {
            string typed = parsed.GetValue(line)!;
            string[] words = typed.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            string word = typed.EndsWith(' ') || words.Length == 0 ? "" : words[^1];
            IEnumerable<string> before = word.Length > 0 ? words[1..^1] : words[1..];
            ParseResult soFar = program.Parse([.. before, .. word.Length > 0 ? [word] : Array.Empty<string>()]);
            foreach (CompletionItem item in soFar.GetCompletions())
            {
                if (item.Label.StartsWith(word, StringComparison.Ordinal) && item.Label is not ("-?" or "/?" or "/h"))
                    Console.Out.WriteLine(item.Label);
            }
        });
        yield return ask;
    }

    private const string Bash = """
        _sbox() {
            local line=${COMP_LINE:0:COMP_POINT} word=${COMP_WORDS[COMP_CWORD]}
            local IFS=$'\n'
            COMPREPLY=($("$1" complete-line "$line" 2>/dev/null))
            [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
        }
        complete -o filenames -F _sbox sbox

        """;
}
