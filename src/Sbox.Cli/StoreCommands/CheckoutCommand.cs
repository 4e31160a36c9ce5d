using System.CommandLine;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>checkout</c>: writes trees into a directory.</summary>
internal sealed class CheckoutCommand
{
    private readonly Argument<string> revision = new("COMMIT") { Description = "A ref, REMOTE:REF, a checksum or the beginning of one; with ^ its parent. With --from-file or --from-stdin, the DESTINATION" };
    private readonly Argument<string?> destination = new("DESTINATION") { Description = "The directory to make; named as COMMIT where none is given", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<bool> user = new("--user-mode", "-U") { Description = "Do not set owners or extended attributes" };
    private readonly Option<bool> hard = new("--require-hardlinks", "-H") { Description = "Fail where a hardlink cannot be made" };
    private readonly Option<bool> copy = new("--force-copy", "-C") { Description = "Copy every file, so that it can be changed" };
    private readonly Option<string> subpath = new("--subpath") { Description = "Only this part of the tree", HelpName = "PATH", DefaultValueFactory = static _ => "/" };
    private readonly Option<bool> union = new("--union") { Description = "Into a directory that is there: replace files" };
    private readonly Option<bool> add = new("--union-add") { Description = "Into a directory that is there: keep its files" };
    private readonly Option<bool> identical = new("--union-identical") { Description = "Into a directory that is there: its files must be the same" };
    private readonly Option<bool> whiteouts = new("--whiteouts") { Description = "With --union: names beginning with .wh. delete what is there" };
    private readonly Option<bool> passthrough = new("--process-passthrough-whiteouts") { Description = "Names beginning with .ostree-wh. become overlayfs's whiteouts" };
    private readonly Option<string?> selinux = new("--selinux-policy") { Description = "Refused: SELinux labels are not made here", HelpName = "PATH" };
    private readonly Option<string?> selinuxPrefix = new("--selinux-prefix") { Description = "Refused: SELinux labels are not made here", HelpName = "PREFIX" };
    private readonly Option<string?> fromFile = new("--from-file") { Description = "Check out many: pairs of revision and subpath, each ended by NUL, all into DESTINATION", HelpName = "FILE" };
    private readonly Option<bool> fromInput = new("--from-stdin") { Description = "As --from-file, from standard input" };
    private readonly Option<bool> allowNoEnt = new("--allow-noent") { Description = "Do nothing where the subpath is not in the tree" };
    private readonly Option<bool> plain = new("--bareuseronly-dirs", "-M") { Description = "Directories get no permissions beyond 0775" };
    private readonly Option<string?> skipList = new("--skip-list") { Description = "Paths to leave out, one a line; a directory's ends with a slash", HelpName = "FILE" };
    private readonly Option<bool> noCache = new("--disable-cache") { Description = "Do not keep uncompressed copies of an archive's objects" };
    private readonly Option<string?> fsync = new("--fsync") { Description = "Whether to sync the file system when all is written", HelpName = "BOOLEAN" };
    private readonly Option<bool> noEmpty = new("--force-copy-zerosized", "-z") { Description = "Nothing to change: empty files are never hardlinked", Hidden = true };
    private readonly Option<bool> composefs = new("--composefs") { Description = "Write only the composefs image of the tree" };
    private readonly Option<bool> noVerity = new("--composefs-noverity") { Description = "As --composefs, without the fs-verity digests" };

    public static Command Make()
    {
        var made = new CheckoutCommand();
        return new DocumentedCommand("checkout", "Write a commit's tree into a directory").With(
            made.revision, made.destination, made.user, made.hard, made.copy, made.subpath, made.union, made.add, made.identical, made.whiteouts, made.allowNoEnt, made.plain,
            made.skipList, made.noCache, made.fsync, made.noEmpty, made.composefs, made.noVerity, made.passthrough, made.selinux, made.selinuxPrefix, made.fromFile, made.fromInput)
            .OnRepository(made.Run);
    }

    private int Run(ParseResult parsed, Repository repository, CancellationToken cancel)
    {
        if (parsed.GetValue(selinux) is not null || parsed.GetValue(selinuxPrefix) is not null)
            throw new Finding("SELinux labels are not made: there is no policy compiler here", "label the tree before it is committed; its xattrs are kept");
        if (parsed.GetValue(identical) && !parsed.GetValue(hard))
            throw new Finding("--union-identical requires --require-hardlinks", "checkout -H --union-identical");
        string[] unions = [.. ((Option<bool>[])[union, add, identical]).Where(parsed.GetValue).Select(static option => option.Name)];
        if (unions.Length > 1)
            throw new Finding($"Cannot specify both {unions[0]} and {unions[1]}", "one of them");
        bool many = parsed.GetValue(fromInput) || parsed.GetValue(fromFile) is not null;
        string typed = parsed.GetValue(revision)!;
        string target = Path.GetFullPath(many ? typed : parsed.GetValue(destination) ?? typed);
        using Dir parent = Dir.Open(Path.GetDirectoryName(target) ?? "/");
        using var line = new ProgressLine(new Speaker(json: false));
        var progress = new Reporter<CheckoutProgress>(at => line.Update($"{at.Files} files, {at.Directories} directories"));
        if (many && parsed.GetValue(destination) is not null)
            throw new Finding("--from-file and --from-stdin take the DESTINATION alone", "checkout --from-stdin DESTINATION");
        foreach ((string commit, string path) in many ? Listed(parsed) : [(typed, parsed.GetValue(subpath)!)])
            CheckOut(parsed, repository, repository.Resolve(commit), path, parent, target, progress, cancel);
        return 0;
    }

    private void CheckOut(
        ParseResult parsed, Repository repository, Checksum commit, string path, Dir parent, string target, IProgress<CheckoutProgress> progress, CancellationToken cancel)
    {
        if (parsed.GetValue(composefs) || parsed.GetValue(noVerity))
        {
            using var image = new FileStream(target, FileMode.CreateNew, FileAccess.ReadWrite);
            repository.WriteComposefs(commit, image, cancel, withVerity: !parsed.GetValue(noVerity));
            return;
        }

        if (parsed.GetValue(allowNoEnt) && repository.TryFind(commit, path) is null)
            return;
        repository.Checkout(commit, parent, Path.GetFileName(target), Options(parsed, repository, path), progress, cancel);
    }

    private CheckoutOptions Options(ParseResult parsed, Repository repository, string path)
    {
        HashSet<string>? skipped = parsed.GetValue(skipList) is { } file
            ? [.. Encoding.UTF8.GetString(RepositoryCommand.ReadFile(file)).Split('\n')]
            : null;
        return new CheckoutOptions
        {
            UserMode = parsed.GetValue(user),
            RequireHardlinks = parsed.GetValue(hard),
            ForceCopy = parsed.GetValue(copy),
            Subpath = path,
            Whiteouts = parsed.GetValue(whiteouts),
            PassthroughWhiteouts = parsed.GetValue(passthrough),
            PlainDirectories = parsed.GetValue(plain),
            // As libostree: a directory's path ends with a slash in such a list, other than in commit's.
            Filter = skipped is null ? null : (at, mode) => !skipped.Contains(mode.IsDirectory && at != "/" ? at + "/" : at),
            CacheUncompressed = !parsed.GetValue(noCache) && repository.Config.GetBoolean("core", "enable-uncompressed-cache", otherwise: true),
            Durable = RepositoryCommand.Boolean(parsed.GetValue(fsync)) == true,
            Overwrite = parsed.GetValue(union) ? CheckoutOverwrite.UnionFiles
                : parsed.GetValue(add) ? CheckoutOverwrite.AddFiles
                : parsed.GetValue(identical) ? CheckoutOverwrite.UnionIdentical
                : CheckoutOverwrite.None,
        };
    }

    private List<(string Commit, string Path)> Listed(ParseResult parsed)
    {
        byte[] bytes;
        if (parsed.GetValue(fromFile) is { } file)
        {
            bytes = RepositoryCommand.ReadFile(file);
        }
        else
        {
            using Stream input = Console.OpenStandardInput();
            using var read = new MemoryStream();
            input.CopyTo(read);
            bytes = read.ToArray();
        }

        string[] words = FileName.FromBytes(bytes).Split('\0');
        if (words.Length % 2 != 1 || words[^1].Length > 0)
            throw new Finding("The list ends within a pair of revision and subpath", "each of the two is ended by NUL");
        return [.. words[..^1].Chunk(2).Select(static pair => (pair[0], pair[1].Length == 0 ? "/" : pair[1]))];
    }
}
