using System.CommandLine;
using System.CommandLine.Invocation;

namespace Sbox.Cli.Help;

/// <summary><c>--help</c>: usage, what it is, its commands, its options, and how to learn more.</summary>
internal sealed class HelpPage : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        Write(parseResult.CommandResult.Command, parseResult.InvocationConfiguration.Output);
        return 0;
    }

    /// <summary>Writes a command's page.</summary>
    public static void Write(Command command, TextWriter output)
    {
        List<Command> commands = [.. command.Subcommands.Where(static each => !each.Hidden).OrderBy(static each => each.Name, StringComparer.Ordinal)];
        string path = Synopsis.Path(command);
        string arguments = Synopsis.Arguments(command);
        output.WriteLine($"Usage:\n  {path} [OPTION…]{(commands.Count > 0 ? " COMMAND" : "")}{(arguments.Length > 0 ? " " + arguments : "")}\n");
        output.WriteLine($"{command.Description}\n");
        Section(output, commands.Count == 0 || path.Split(' ')[0] != "ostree" ? "Commands:" : path == "ostree" ? "Builtin Commands:" : $"Builtin \"{command.Name}\" Commands:", commands.Select(static each => (each.Name, each.Description ?? "")));
        Section(output, "Arguments:", command.Arguments.Where(static each => !each.Hidden && each.Description is { Length: > 0 })
            .Select(static each => (each.HelpName ?? each.Name, each.Description!)));
        Section(output, "Options:", Synopsis.Options(command).Select(static each => (Synopsis.Of(each), each.Description ?? "")));
        if (command is DocumentedCommand { Examples: { Count: > 0 } examples })
            Section(output, "Examples:", examples.Select(static each => (each.Typed, each.What)));
    }

    private static void Section(TextWriter output, string title, IEnumerable<(string Left, string Right)> rows)
    {
        List<(string Left, string Right)> all = [.. rows];
        if (all.Count == 0)
            return;
        int width = Math.Min(36, all.Max(static row => row.Left.Length)) + 3;
        output.WriteLine(title);
        foreach ((string left, string right) in all)
            output.WriteLine(left.Length < width ? $"  {left.PadRight(width)}{right}" : $"  {left}\n  {new string(' ', width)}{right}");
        output.WriteLine();
    }
}

/// <summary><c>--version</c>: the program's, and that of the formats it speaks.</summary>
internal sealed class VersionPage : SynchronousCommandLineAction
{
    // libostree's names, which scripts ask for, of what is there.
    private static readonly string[] Features = ["initial-var", "gpgme", "sign-ed25519", "sign-spki", "composefs", "libarchive"];

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        TextWriter output = parseResult.InvocationConfiguration.Output;
        if (parseResult.RootCommandResult.Command.Name == "ostree")
            output.Write($"libostree:\n Version: '2026.4'\n Implementation: 'sbox {ProgramVersion.Text}'\n Features:\n{string.Concat(Features.Select(static name => $"  - {name}\n"))}");
        else
            output.WriteLine($"sbox {ProgramVersion.Text}");
        return 0;
    }
}
