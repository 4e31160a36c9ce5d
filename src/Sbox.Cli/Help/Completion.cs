using System.CommandLine;
using System.CommandLine.Completions;

namespace Sbox.Cli.Help;

/// <summary>Completion for bash, zsh and fish: the shell asks the program's own parser what may come next, so it is never out of date.</summary>
internal static class Completion
{
    private const string Ask = "complete-line";

    /// <summary><c>completion SHELL</c>, and the hidden command that the shell calls.</summary>
    public static IEnumerable<Command> Commands(Command program)
    {
        var shell = new Argument<string>("SHELL") { Description = "The shell: bash, zsh or fish" };
        shell.AcceptOnlyFromAmong([.. Codes.Keys]);
        var completion = new DocumentedCommand("completion", "Print the code that makes a shell complete this program's commands")
        {
            Details = ["A box has it in the directories where bash, zsh and fish look for it."],
            Examples =
            [
                new Example("Complete in this bash or zsh from now on", "eval \"$(sbox completion bash)\""),
                new Example("In fish", "sbox completion fish | source"),
            ],
        };
        completion.Arguments.Add(shell);
        completion.SetAction(parsed => Console.Out.Write(Codes[parsed.GetValue(shell)!]));
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

    // Each asks the program, and offers files where that knows nothing.
    private static readonly Dictionary<string, string> Codes = new() { ["bash"] = Bash, ["zsh"] = Zsh, ["fish"] = Fish };

    private const string Bash = """
        _sbox() {
            local line=${COMP_LINE:0:COMP_POINT} word=${COMP_WORDS[COMP_CWORD]}
            local IFS=$'\n'
            COMPREPLY=($("$1" complete-line "$line" 2>/dev/null))
            [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
        }
        complete -o filenames -F _sbox sbox

        """;

    // As a file of its own it is loaded by its first line, and called when it is wanted first; evaluated it defines itself.
    private const string Zsh = """
        #compdef sbox
        _sbox() {
            local -a found
            found=("${(@f)$("$words[1]" complete-line "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
            if [[ -n $found[1] ]]; then
                compadd -a found
            else
                _files
            fi
        }
        if [[ $funcstack[1] == _sbox ]]; then _sbox "$@"; else compdef _sbox sbox; fi

        """;

    private const string Fish = """
        function __sbox_complete
            set -l found (sbox complete-line (commandline -cp | string collect) 2>/dev/null)
            if set -q found[1]
                printf '%s\n' $found
            else
                __fish_complete_path (commandline -ct)
            end
        end
        complete -c sbox -f -a '(__sbox_complete)'

        """;
}
