using System.CommandLine;
using System.Text;

namespace Sbox.Cli.Help;

/// <summary>Manual pages in man(7), made from the parser's model, so that a page cannot promise what the program does not take.</summary>
internal static class ManPage
{
    /// <summary>All pages below a program: file name and text.</summary>
    public static IEnumerable<(string File, string Text)> All(Command program)
    {
        yield return ($"{Title(program)}.1", Of(program));
        foreach (Command command in program.Subcommands.Where(static each => !each.Hidden))
        {
            foreach ((string File, string Text) page in All(command))
                yield return page;
        }
    }

    private static string Title(Command command) => Synopsis.Path(command).Replace(' ', '-');

    private static string Of(Command command)
    {
        var page = new StringBuilder();
        string path = Synopsis.Path(command);
        page.Append($".TH \"{Title(command).ToUpperInvariant()}\" 1 \"\" \"sbox {ProgramVersion.Text}\" \"Schroedinger Box\"\n");
        page.Append($".SH NAME\n{Escape(Title(command))} \\- {Escape(Lower(command.Description ?? ""))}\n");
        page.Append($".SH SYNOPSIS\n.B {Escape(path)}\n{Escape($"[OPTION...] {(command.Subcommands.Count > 0 ? "COMMAND " : "")}{Synopsis.Arguments(command)}".TrimEnd())}\n");
        page.Append($".SH DESCRIPTION\n{Escape(command.Description ?? "")}.\n");
        foreach (string paragraph in (command as DocumentedCommand)?.Details ?? [])
            page.Append($".PP\n{Escape(paragraph)}\n");
        Rows(page, "COMMANDS", command.Subcommands.Where(static each => !each.Hidden).OrderBy(static each => each.Name, StringComparer.Ordinal)
            .Select(each => ($"{Title(each)}(1)", each.Description ?? "")));
        Rows(page, "ARGUMENTS", command.Arguments.Where(static each => !each.Hidden).Select(static each => (each.HelpName ?? each.Name, each.Description ?? "")));
        Rows(page, "OPTIONS", Synopsis.Options(command).Select(static each => (Synopsis.Of(each), each.Description ?? "")));
        Rows(page, "EXAMPLES", ((command as DocumentedCommand)?.Examples ?? []).Select(static each => (each.Typed, each.What)));
        bool ostree = path.Split(' ')[0] == "ostree";
        page.Append(ExitStatus((command as DocumentedCommand)?.ExitCodes ?? [], ostree));
        page.Append(".SH SEE ALSO\n").Append(Escape(SeeAlso(path))).Append('\n');
        return page.ToString();
    }

    private static string ExitStatus(IReadOnlyList<(int Code, string Meaning)> own, bool ostree)
    {
        var codes = new SortedDictionary<int, string> { [0] = "Done.", [1] = "It failed; the message names the path, the finding and the way out." };
        if (!ostree)
            codes[2] = "The command line was wrong; nothing was done.";
        foreach ((int code, string meaning) in own)
            codes[code] = Escape(meaning);
        return $".SH EXIT STATUS\n{string.Concat(codes.Select(static each => $".TP\n{each.Key}\n{each.Value}\n"))}{(ostree ? "A wrong command line is a failure too.\n" : "")}";
    }

    private static void Rows(StringBuilder page, string title, IEnumerable<(string Left, string Right)> rows)
    {
        bool first = true;
        foreach ((string left, string right) in rows)
        {
            if (first)
                page.Append($".SH {title}\n");
            first = false;
            page.Append($".TP\n.B {Escape(left)}\n{Escape(right)}\n");
        }
    }

    private static string SeeAlso(string path) => path switch
    {
        "sbox" => "sbox-recipe(5), sbox-sentinel.d(5), sbox-approval.toml(5), sbox-root(8), ostree(1)",
        "ostree" => "sbox(1)",
        _ => $"{path.Split(' ')[0]}(1)",
    };

    private static string Lower(string text) => text.Length > 1 && char.IsUpper(text[0]) && !char.IsUpper(text[1]) ? char.ToLowerInvariant(text[0]) + text[1..] : text;

    private static string Escape(string text)
    {
        string escaped = text.Replace("\\", "\\e", StringComparison.Ordinal).Replace("-", "\\-", StringComparison.Ordinal);
        return escaped.Length > 0 && escaped[0] is '.' or '\'' ? "\\&" + escaped : escaped;
    }
}
