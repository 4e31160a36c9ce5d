using System.CommandLine;
using System.CommandLine.Parsing;
using Sbox.Cli.Help;

namespace Sbox.Cli;

/// <summary>One run of a program: parse, act, and say what went wrong in one way.</summary>
internal static class Invocation
{
    /// <summary>The command line was wrong; nothing was done.</summary>
    public const int UsageExitCode = 2;

    /// <summary>Runs a command line.</summary>
    /// <returns>The exit code: 0 done, 1 failed, 2 (sbox) or 1 (ostree) for a wrong command line.</returns>
    public static async Task<int> Run(Command program, string[] args, CancellationToken cancel)
    {
        bool ostree = program.Name == "ostree";
        ParseResult parsed = program.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
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

        string way = $"What may be typed: {Synopsis.Path(command)} --help";
        if (json)
            Remedies.SayJson($"{Synopsis.Path(command)}: {finding}", "Usage", way);
        else
            Console.Error.WriteLine($"{Synopsis.Path(command)}: {finding}\n  {way}");
        return UsageExitCode;
    }

    // A word that nothing takes is the finding; "required command missing" is only what follows from it.
    private static string Finding(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        string kind = command.Parents.Any() ? $"\"{command.Name}\" subcommand" : "command";
        if (parsed.UnmatchedTokens.Count == 0)
            return command.Subcommands.Count > 0 && command.Action is null ? $"No {kind} specified" : parsed.Errors[0].Message;
        string word = parsed.UnmatchedTokens[0];
        return word.StartsWith('-') ? $"Unknown option {word}"
            : command.Subcommands.Count > 0 ? $"Unknown {kind} '{word}'"
            : $"'{word}' is one word too many";
    }
}
