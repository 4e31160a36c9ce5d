using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;

namespace Sbox.Cli;

/// <summary>One run of a program: parse, act, and say what went wrong in one way.</summary>
internal static partial class Invocation
{
    /// <summary>The command line was wrong; nothing was done.</summary>
    public const int UsageExitCode = 2;

    /// <summary>Runs a command line.</summary>
    /// <returns>The exit code: 0 done, 1 failed, 2 (sbox) or 1 (ostree) for a wrong command line.</returns>
    public static async Task<int> Run(Command program, string[] args, CancellationToken cancel)
    {
        bool ostree = program.Name == "ostree";
        if (ostree && Extension(program, args) is { } extension)
            return await RunExtension(extension, args[1..], cancel);
        if (ostree)
            args = CommandFirst(program, args);
        var configuration = new ParserConfiguration { ResponseFileTokenReplacer = null };
        ParseResult parsed = program.Parse(args, configuration);
        if (ostree && LastOfEach(parsed.CommandResult.Command, args) is { } fewer)
            parsed = program.Parse(fewer, configuration);
        if (UnknownOption(parsed) is { } unknown && parsed.Action is not (HelpPage or System.CommandLine.Help.HelpAction))
            return Misused(parsed, ostree, json: args.Contains("--json"), unknown);
        if (parsed.Errors.Count > 0 && parsed.Action is not (HelpPage or System.CommandLine.Help.HelpAction))
            return Misused(parsed, ostree, json: args.Contains("--json"));
        try
        {
            return await parsed.InvokeAsync(
                new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, cancel);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            if (!ostree && args.Contains("--json"))
                Remedies.SayJson("stopped, as asked", "Cancelled", way: null);
            else
                Console.Error.WriteLine(ostree ? "error: Operation was cancelled" : "sbox: stopped, as asked");
            return 1;
        }
        catch (Exception failure) when (Remedies.Explains(failure))
        {
            Remedies.Say(failure, ostree, json: args.Contains("--json"));
            return 1;
        }
        catch (Exception defect)
        {
            // Nobody at a console is helped by a stack trace; whoever mends it asks for one.
            Remedies.Say(
                new Finding($"unexpected: {defect.Message} ({defect.GetType().Name})", "This is a defect of sbox. SBOX_TRACE=1 before the same command shows where"),
                ostree, json: args.Contains("--json"));
            if (Environment.GetEnvironmentVariable("SBOX_TRACE") is not null)
                Console.Error.WriteLine(defect);
            return 1;
        }
    }

    // ostree takes a command's options before its name too: ostree --repo=R remote --set=K=V add NAME URL.
    private static string[] CommandFirst(Command program, string[] args)
    {
        var names = new List<string>();
        var rest = new List<string>(args);
        for (Command at = program; at.Subcommands.Count > 0;)
        {
            int word = rest.FindIndex(static each => !each.StartsWith('-'));
            if (word < 0 || at.Subcommands.FirstOrDefault(each => each.Name == rest[word]) is not { } next)
                break;
            names.Add(rest[word]);
            rest.RemoveAt(word);
            at = next;
        }

        return [.. names, .. rest];
    }

    // A command that nobody knows is another program's: ostree NAME runs ostree-NAME, as git does. Null where there is none.
    private static string? Extension(Command program, string[] args)
    {
        if (args is not [var name, ..] || name.StartsWith('-') || name.Contains('/', StringComparison.Ordinal) || program.Subcommands.Any(each => each.Name == name))
            return null;
        return (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Where(static directory => directory.Length > 0)
            .Select(directory => Path.Combine(directory, $"ostree-{name}")).FirstOrDefault(File.Exists);
    }

    private static async Task<int> RunExtension(string path, string[] args, CancellationToken cancel)
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(path, args) { UseShellExecute = false })!;
        await process.WaitForExitAsync(cancel);
        return process.ExitCode;
    }

    // To ostree the last of an option that is given twice is the one that counts. Null where none is.
    private static string[]? LastOfEach(Command command, string[] args)
    {
        Option[] single = [.. command.Options.Where(static option => option.Arity.MaximumNumberOfValues == 1 && option.ValueType != typeof(bool))];
        var kept = new List<string>(args);
        bool changed = false;
        foreach (Option option in single)
        {
            string[] names = [option.Name, .. option.Aliases];
            int last = kept.FindLastIndex(IsIt);
            for (int at = kept.FindIndex(IsIt); at >= 0 && at < last; at = kept.FindIndex(IsIt), last = kept.FindLastIndex(IsIt))
            {
                kept.RemoveRange(at, names.Contains(kept[at]) ? Math.Min(2, last - at) : 1);
                changed = true;
            }

            bool IsIt(string word) => names.Any(name => word == name || (name.StartsWith("--", StringComparison.Ordinal) && word.StartsWith(name + "=", StringComparison.Ordinal)));
        }

        return changed ? [.. kept] : null;
    }

    // The parser takes an option that nobody knows for an argument, where one may stand; it must never be read as a path.
    private static string? UnknownOption(ParseResult parsed)
    {
        string[] words = [.. parsed.Tokens.TakeWhile(static token => token.Type != TokenType.DoubleDash).Select(static token => token.Value)];
        string? option = parsed.CommandResult.Command.Arguments
            .SelectMany(argument => parsed.GetResult(argument)?.Tokens ?? [])
            .Select(static token => token.Value)
            .FirstOrDefault(word => word.Length > 1 && word[0] == '-' && words.Contains(word));
        return option is null ? null : $"Unknown option {option}";
    }

    private static int Misused(ParseResult parsed, bool ostree, bool json, string? known = null)
    {
        Command command = parsed.CommandResult.Command;
        string finding = known ?? Finding(parsed);
        if (ostree)
        {
            HelpPage.Write(command, Console.Error);
            Console.Error.WriteLine($"error: {finding}");
            return 1;
        }

        finding += finding.StartsWith("Unknown ", StringComparison.Ordinal) ? NearMiss.Asked(command, finding.Split(' ')[^1].Trim('\'')) : "";
        string way = $"What may be typed: {Synopsis.Path(command)} --help";
        if (json)
            Remedies.SayJson($"{Synopsis.Path(command)}: {finding}", "Usage", way);
        else
            Console.Error.WriteLine(PlainText.ForError($"{Synopsis.Path(command)}: {finding}\n  {way}"));
        return UsageExitCode;
    }

    // The parser names .NET's type.
    [GeneratedRegex(@"^Cannot parse argument '(.*)' for (?:option|command) '(.*)' as expected type 'System\.(?:Nullable`1\[System\.)?U?Int(?:16|32|64)\]?'\.?$", RegexOptions.Singleline)]
    private static partial Regex NotANumber();

    // A word that nothing takes is the finding; "required command missing" is only what follows from it.
    private static string Finding(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        string kind = command.Parents.Any() ? $"\"{command.Name}\" subcommand" : "command";
        if (parsed.UnmatchedTokens.Count == 0)
            return command.Subcommands.Count > 0 && command.Action is null ? $"No {kind} specified" : NotANumber().Replace(parsed.Errors[0].Message, "$2: '$1' is no number, or too large a one");
        string word = parsed.UnmatchedTokens[0];
        return word.StartsWith('-') ? $"Unknown option {word}"
            : command.Subcommands.Count > 0 ? $"Unknown {kind} '{word}'"
            : $"'{word}' is one word too many";
    }
}
