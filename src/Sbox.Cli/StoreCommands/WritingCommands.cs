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
        Command command = new DocumentedCommand("init", "Make an empty repository").With(mode);
        command.SetAction(parsed =>
        {
            string name = parsed.GetValue(mode)!;
            if (RepositoryModes.TryParse(name) is not { } asked)
                throw new Finding($"Invalid mode '{name}' in repository configuration", "bare, archive, bare-user and bare-user-only are the modes that are handled");
            using Repository repository = Repository.Create(parsed.GetValue(RepositoryCommand.Path) ?? ".", asked);
            return 0;
        });
        return command;
    }

    public static Command Checkout()
    {
        Argument<string> revision = RepositoryCommand.Revision("COMMIT");
        var destination = new Argument<string?>("DESTINATION") { Description = "The directory to make; named as COMMIT where none is given", Arity = ArgumentArity.ZeroOrOne };
        var user = new Option<bool>("--user-mode", "-U") { Description = "Do not set owners or extended attributes" };
        var hard = new Option<bool>("--require-hardlinks", "-H") { Description = "Fail where a hardlink cannot be made" };
        var copy = new Option<bool>("--force-copy", "-C") { Description = "Copy every file, so that it can be changed" };
        var subpath = new Option<string>("--subpath") { Description = "Only this part of the tree", HelpName = "PATH", DefaultValueFactory = static _ => "/" };
        var union = new Option<bool>("--union") { Description = "Into a directory that is there: replace files" };
        var add = new Option<bool>("--union-add") { Description = "Into a directory that is there: keep its files" };
        var identical = new Option<bool>("--union-identical") { Description = "Into a directory that is there: its files must be the same" };
        var composefs = new Option<bool>("--composefs") { Description = "Write only the composefs image of the tree" };
        return new DocumentedCommand("checkout", "Write a commit's tree into a directory").With(revision, destination, user, hard, copy, subpath, union, add, identical, composefs)
            .OnRepository((parsed, repository, cancel) =>
            {
                string typed = parsed.GetValue(revision)!;
                string target = Path.GetFullPath(parsed.GetValue(destination) ?? typed);
                Checksum commit = repository.Resolve(typed);
                using Dir parent = Dir.Open(Path.GetDirectoryName(target) ?? "/");
                if (parsed.GetValue(composefs))
                {
                    using var image = new FileStream(target, FileMode.CreateNew, FileAccess.ReadWrite);
                    repository.WriteComposefs(commit, image, cancel);
                    return 0;
                }

                var options = new CheckoutOptions
                {
                    UserMode = parsed.GetValue(user),
                    RequireHardlinks = parsed.GetValue(hard),
                    ForceCopy = parsed.GetValue(copy),
                    Subpath = parsed.GetValue(subpath)!,
                    Overwrite = parsed.GetValue(union) ? CheckoutOverwrite.UnionFiles
                        : parsed.GetValue(add) ? CheckoutOverwrite.AddFiles
                        : parsed.GetValue(identical) ? CheckoutOverwrite.UnionIdentical
                        : CheckoutOverwrite.None,
                };
                using var line = new ProgressLine(new Speaker(json: false));
                var progress = new Reporter<CheckoutProgress>(at => line.Update($"{at.Files} files, {at.Directories} directories"));
                repository.Checkout(commit, parent, Path.GetFileName(target), options, progress, cancel);
                return 0;
            });
    }
}
