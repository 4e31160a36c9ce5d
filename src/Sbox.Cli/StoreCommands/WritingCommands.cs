using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that make something: init and checkout.</summary>
internal static class WritingCommands
{
    public static Command Init()
    {
        var mode = new Option<string>("--mode") { Description = "bare (files as they are, the default), archive (for serving), bare-user or bare-user-only (for users other than root)", HelpName = "MODE", DefaultValueFactory = static _ => "bare" };
        var collection = new Option<string?>("--collection-id") { Description = "The collection that the repository's branches belong to", HelpName = "COLLECTION-ID" };
        var more = new Argument<string[]>("MORE") { Description = "Nothing: ostree takes more words here and heeds none", Arity = ArgumentArity.ZeroOrMore, Hidden = true };
        Command command = new DocumentedCommand("init", "Make an empty repository").With(mode, collection, more);
        command.WithVerbose();
        command.SetAction(parsed =>
        {
            string name = parsed.GetValue(mode)!;
            if (RepositoryModes.TryParse(name) is not { } asked)
                throw new Finding($"Invalid mode '{name}' in repository configuration", "bare, archive, bare-user and bare-user-only are the modes that are handled");
            string path = RepositoryCommand.Named(parsed) ?? throw new Finding("Command requires a --repo argument", "--repo=. makes one of the current directory");
            // As libostree: a parent that is not there is more often mistyped than wanted.
            if (Path.GetDirectoryName(Path.GetFullPath(path).TrimEnd('/')) is { } parent && !Directory.Exists(parent))
                throw new Finding($"Creating repo: {path}: No such file or directory", $"mkdir -p {parent}, then this again");
            using Repository repository = Repository.Create(path, asked, parsed.GetValue(collection));
            if (parsed.AsJson())
            {
                Console.Out.WriteLine(Terminal.Speaker.JsonLine(writer =>
                {
                    writer.WriteString("repository", repository.Path);
                    writer.WriteString("mode", repository.Mode.Name());
                }));
            }

            return 0;
        });
        return command;
    }
}
