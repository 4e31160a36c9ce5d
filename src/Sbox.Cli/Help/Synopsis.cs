using System.CommandLine;
using System.CommandLine.Help;

namespace Sbox.Cli.Help;

/// <summary>How the parser's own model reads: shared by <c>--help</c> and the manual pages, so that they cannot disagree.</summary>
internal static class Synopsis
{
    /// <summary>The words that lead to a command: <c>sbox store commit</c>.</summary>
    public static string Path(Command command)
    {
        var words = new Stack<string>();
        for (Symbol? at = command; at is Command each; at = each.Parents.OfType<Command>().FirstOrDefault())
            words.Push(each.Name);
        return string.Join(' ', words);
    }

    /// <summary>The arguments: <c>RECIPE [PATH...]</c>.</summary>
    public static string Arguments(Command command) => string.Join(' ', command.Arguments.Where(static argument => !argument.Hidden).Select(static argument =>
    {
        string name = argument.HelpName ?? argument.Name;
        if (argument.Arity.MaximumNumberOfValues > 1)
            name += "...";
        return argument.Arity.MinimumNumberOfValues == 0 ? $"[{name}]" : name;
    }));

    /// <summary>An option as it is typed: <c>-b, --branch=BRANCH</c>.</summary>
    public static string Of(Option option)
    {
        string names = string.Join(", ", option.Aliases.Append(option.Name).Distinct().OrderBy(static name => name.Length).Where(static name => name != "-?" && name != "/?" && name != "/h"));
        return TakesValue(option) ? $"{names}={option.HelpName ?? option.Name.TrimStart('-').ToUpperInvariant()}" : names;
    }

    /// <summary>The options of a command, the inherited ones last.</summary>
    public static IEnumerable<Option> Options(Command command)
    {
        IEnumerable<Option> own = command.Options;
        IEnumerable<Option> inherited = command.Parents.OfType<Command>().SelectMany(static parent => Recursive(parent));
        return own.Concat(inherited).Where(static option => !option.Hidden).DistinctBy(static option => option.Name);
    }

    private static IEnumerable<Option> Recursive(Command command) =>
        command.Options.Where(static option => option.Recursive)
            .Concat(command.Parents.OfType<Command>().SelectMany(Recursive));

    private static bool TakesValue(Option option) => option.Arity.MaximumNumberOfValues > 0 && option.ValueType != typeof(bool);
}
