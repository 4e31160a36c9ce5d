using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>What all commands on a repository share: where it is, and opening it for the length of the command.</summary>
internal static class RepositoryCommand
{
    private const string SystemRepository = "/sysroot/ostree/repo";

    /// <summary>Runs the action with the repository of <see cref="Path"/> open.</summary>
    public static Command OnRepository(this Command command, Func<ParseResult, Repository, CancellationToken, int> act) =>
        command.OnRepository((parsed, repository, cancel) => Task.FromResult(act(parsed, repository, cancel)));

    /// <summary>As the other, for commands that wait for the network.</summary>
    public static Command OnRepository(this Command command, Func<ParseResult, Repository, CancellationToken, Task<int>> act)
    {
        Option<bool> verbose = command.WithVerbose();
        command.SetAction(async (parsed, cancel) =>
        {
            using Repository repository = Repository.Open(Named(parsed) ?? DefaultPath(), RemotesOf(parsed));
            if (parsed.GetValue(verbose))
                Console.Error.WriteLine($"OT: repository {repository.Path}, mode {repository.Mode.Name()}");
            if (!parsed.AsJson())
                return await act(parsed, repository, cancel);
            using var answers = new JsonAnswers();
            int code = await act(parsed, repository, cancel);
            if (code == 0)
                answers.Finish(command.Name);
            return code;
        });
        return command;
    }

    /// <summary><c>--json</c>, of <c>sbox store</c> alone: what <c>ostree</c> answers is what libostree's answers.</summary>
    public static Option<bool> Json { get; } = new("--json") { Description = "Answer with one JSON object a line", Recursive = true };

    /// <summary>Whether answers are to be JSON.</summary>
    public static bool AsJson(this ParseResult parsed) => parsed.GetResult(Json) is not null && parsed.GetValue(Json);

    /// <summary><c>--verbose</c>, which every command of ostree takes.</summary>
    public static Option<bool> WithVerbose(this Command command)
    {
        // -v where it is not taken: of summary it is --view.
        var verbose = command.Options.Any(static option => option.Aliases.Contains("-v"))
            ? new Option<bool>("--verbose")
            : new Option<bool>("--verbose", "-v");
        verbose.Description = "Say on stderr which repository is worked on";
        command.Options.Add(verbose);
        return verbose;
    }

    /// <summary><c>--repo=PATH</c>, before the command's name or after it: it belongs to the program.</summary>
    public static Option<string[]> Path { get; } = new("--repo")
    {
        Description = $"Path to the repository (the current directory where it is one, else {SystemRepository})",
        HelpName = "PATH",
        Recursive = true,
    };

    /// <summary>The repository that the command line names; the last one, where it names several. One of a sysroot before all.</summary>
    public static string? Named(ParseResult parsed) =>
        SysrootOf(parsed) is { } root ? $"{root}/ostree/repo" : parsed.GetValue(Path)?.LastOrDefault();

    // As libostree: a root that has its sysroot inside has remotes of its own in /etc; a physical one has no /etc, and its config has them all.
    private static string? RemotesOf(ParseResult parsed) =>
        SysrootOf(parsed) is not { } root ? null : Directory.Exists($"{root}/sysroot") ? System.IO.Path.GetFullPath($"{root}/etc/ostree/remotes.d") : "";

    private static string? SysrootOf(ParseResult parsed)
    {
        if (parsed.GetResult(Sysroot) is null || parsed.GetValue(Sysroot) is not { } root)
            return null;
        return Directory.Exists($"{root}/ostree/deploy") ? root
            : throw new Finding($"{root}: no sysroot: ostree/deploy is not there", $"ostree admin init-fs {root} makes one; --repo={root}/ostree/repo names a repository alone");
    }

    private static Option<string?> Sysroot { get; } = new("--sysroot") { Description = "Work on the repository of this sysroot, in place of --repo", HelpName = "PATH" };

    /// <summary>The command also takes <c>--sysroot=PATH</c>.</summary>
    public static Command OnSystem(this Command command) => command.With(Sysroot);

    /// <summary>The current directory where it is a repository, else the box's.</summary>
    public static string DefaultPath() => IsRepository(".") ? "."
        : Environment.GetEnvironmentVariable("OSTREE_SYSROOT") is { Length: > 0 } sysroot && IsRepository($"{sysroot}/ostree/repo") ? $"{sysroot}/ostree/repo" : SystemRepository;

    /// <summary>A command with its arguments and options.</summary>
    public static Command With(this Command command, params Symbol[] symbols)
    {
        foreach (Symbol symbol in symbols)
        {
            switch (symbol)
            {
                case Option option:
                    command.Options.Add(option);
                    break;
                case Argument argument:
                    command.Arguments.Add(argument);
                    break;
                default:
                    throw new ArgumentException($"{symbol.Name} is neither option nor argument", nameof(symbols));
            }
        }

        return command;
    }

    /// <summary><c>ostree</c>'s <c>COMMIT</c> or <c>REV</c> argument.</summary>
    public static Argument<string> Revision(string name = "REV") =>
        new(name) { Description = "A ref, REMOTE:REF, a checksum or the beginning of one; with ^ its parent" };

    /// <summary>A file's content and where it came from, for errors of its reading.</summary>
    public static byte[] ReadFile(string path)
    {
        string full = System.IO.Path.GetFullPath(path);
        using Dir dir = Dir.Open(System.IO.Path.GetDirectoryName(full) ?? "/");
        return dir.ReadAll(System.IO.Path.GetFileName(full));
    }

    /// <summary>A yes or no as ostree writes it; null where nothing was said.</summary>
    /// <exception cref="Finding">It is neither.</exception>
    public static bool? Boolean(string? text) => text?.ToLowerInvariant() switch
    {
        null => null,
        "true" or "yes" or "1" => true,
        "false" or "no" or "0" or "none" => false,
        _ => throw new Finding($"Invalid boolean argument '{text}'", "yes or no, true or false, 1 or 0"),
    };

    private static bool IsRepository(string path) => File.Exists($"{path}/config") && Directory.Exists($"{path}/objects");
}
