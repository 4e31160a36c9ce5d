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
        command.SetAction(parsed =>
        {
            string name = parsed.GetValue(mode)!;
            if (RepositoryModes.TryParse(name) is not { } asked)
                throw new Finding($"Invalid mode '{name}' in repository configuration", "bare, archive, bare-user and bare-user-only are the modes that are handled");
            using Repository repository = Repository.Create(RepositoryCommand.Named(parsed) ?? ".", asked, parsed.GetValue(collection));
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
        var whiteouts = new Option<bool>("--whiteouts") { Description = "With --union: names beginning with .wh. delete what is there" };
        var passthrough = new Option<bool>("--process-passthrough-whiteouts") { Description = "Names beginning with .ostree-wh. become overlayfs's whiteouts" };
        var selinux = new Option<string?>("--selinux-policy") { Description = "Refused: SELinux labels are not made here", HelpName = "PATH" };
        var selinuxPrefix = new Option<string?>("--selinux-prefix") { Description = "Refused: SELinux labels are not made here", HelpName = "PREFIX" };
        var fromFile = new Option<string?>("--from-file") { Description = "Check out many: pairs of revision and subpath, each ended by NUL, all into DESTINATION", HelpName = "FILE" };
        var fromInput = new Option<bool>("--from-stdin") { Description = "As --from-file, from standard input" };
        var allowNoEnt = new Option<bool>("--allow-noent") { Description = "Do nothing where the subpath is not in the tree" };
        var plain = new Option<bool>("--bareuseronly-dirs", "-M") { Description = "Directories get no permissions beyond 0775" };
        var skipList = new Option<string?>("--skip-list") { Description = "Paths to leave out, one a line", HelpName = "FILE" };
        var noCache = new Option<bool>("--disable-cache") { Description = "Do not keep uncompressed copies of an archive's objects" };
        var fsync = new Option<bool?>("--fsync") { Description = "Whether to sync the file system when all is written", HelpName = "BOOLEAN" };
        var noEmpty = new Option<bool>("--force-copy-zerosized", "-z") { Description = "Nothing to change: empty files are never hardlinked", Hidden = true };
        var composefs = new Option<bool>("--composefs") { Description = "Write only the composefs image of the tree" };
        var noVerity = new Option<bool>("--composefs-noverity") { Description = "As --composefs, without the fs-verity digests" };
        return new DocumentedCommand("checkout", "Write a commit's tree into a directory").With(revision, destination, user, hard, copy, subpath, union, add, identical, whiteouts, allowNoEnt, plain, skipList, noCache, fsync, noEmpty, composefs, noVerity, passthrough, selinux, selinuxPrefix, fromFile, fromInput)
            .OnRepository((parsed, repository, cancel) =>
            {
                if (parsed.GetValue(selinux) is not null || parsed.GetValue(selinuxPrefix) is not null)
                    throw new Finding("SELinux labels are not made: there is no policy compiler here", "label the tree before it is committed; its xattrs are kept");
                if (parsed.GetValue(fromFile) is not null || parsed.GetValue(fromInput))
                    throw new Finding("--from-file and --from-stdin are not handled", "check out each with --union and --subpath");
                if (parsed.GetValue(identical) && !parsed.GetValue(hard))
                    throw new Finding("--union-identical requires --require-hardlinks", "checkout -H --union-identical");
                string typed = parsed.GetValue(revision)!;
                string target = Path.GetFullPath(parsed.GetValue(destination) ?? typed);
                Checksum commit = repository.Resolve(typed);
                using Dir parent = Dir.Open(Path.GetDirectoryName(target) ?? "/");
                if (parsed.GetValue(composefs) || parsed.GetValue(noVerity))
                {
                    using var image = new FileStream(target, FileMode.CreateNew, FileAccess.ReadWrite);
                    repository.WriteComposefs(commit, image, cancel, withVerity: !parsed.GetValue(noVerity));
                    return 0;
                }

                if (parsed.GetValue(allowNoEnt) && repository.TryFind(commit, parsed.GetValue(subpath)!) is null)
                    return 0;
                HashSet<string>? skipped = parsed.GetValue(skipList) is { } file
                    ? [.. Encoding.UTF8.GetString(RepositoryCommand.ReadFile(file)).Split('\n')]
                    : null;

                var options = new CheckoutOptions
                {
                    UserMode = parsed.GetValue(user),
                    RequireHardlinks = parsed.GetValue(hard),
                    ForceCopy = parsed.GetValue(copy),
                    Subpath = parsed.GetValue(subpath)!,
                    Whiteouts = parsed.GetValue(whiteouts),
                    PassthroughWhiteouts = parsed.GetValue(passthrough),
                    PlainDirectories = parsed.GetValue(plain),
                    Filter = skipped is null ? null : (path, _) => !skipped.Contains(path),
                    CacheUncompressed = !parsed.GetValue(noCache) && repository.Config.GetBoolean("core", "enable-uncompressed-cache", otherwise: true),
                    Durable = parsed.GetValue(fsync) == true,
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
