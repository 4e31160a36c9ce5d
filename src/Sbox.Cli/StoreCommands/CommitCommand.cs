using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>commit</c>: lays trees over each other and makes a commit of them.</summary>
internal static class CommitCommand
{
    private static readonly Argument<string?> Directory = new("PATH") { Description = "The directory whose tree is committed; the current one where none is given", Arity = ArgumentArity.ZeroOrOne };
    private static readonly Option<string[]> Trees = new("--tree") { Description = "A tree: dir=PATH, tar=FILE (tar, also with gzip, or cpio; - is standard input) or ref=COMMIT; several are laid over each other", HelpName = "dir=PATH|tar=FILE|ref=COMMIT" };
    private static readonly Option<string?> Base = new("--base") { Description = "Begin with this commit's tree", HelpName = "REV" };
    private static readonly Option<string?> Branch = new("--branch", "-b") { Description = "The branch that shall lead to the commit", HelpName = "BRANCH" };
    private static readonly Option<string> Subject = new("--subject", "-s") { Description = "One line about it", HelpName = "SUBJECT", DefaultValueFactory = static _ => "" };
    private static readonly Option<string> Body = new("--body", "-m") { Description = "More lines about it", HelpName = "BODY", DefaultValueFactory = static _ => "" };
    private static readonly Option<string?> BodyFile = new("--body-file", "-F") { Description = "The lines about it, from a file", HelpName = "FILE" };
    private static readonly Option<string?> Parent = new("--parent") { Description = "The commit before it, or none; the branch's where it is not said", HelpName = "COMMIT" };
    private static readonly Option<bool> Orphan = new("--orphan") { Description = "Write no ref" };
    private static readonly Option<bool> NoBindings = new("--no-bindings") { Description = "Do not write into the commit which refs are its own" };
    private static readonly Option<string[]> Bindings = new("--bind-ref") { Description = "One more ref to write into the commit", HelpName = "BRANCH" };
    private static readonly Option<string[]> Strings = new("--add-metadata-string") { Description = "A text for the commit's metadata", HelpName = "KEY=VALUE" };
    private static readonly Option<string[]> Detached = new("--add-detached-metadata-string") { Description = "A text to lie beside the commit", HelpName = "KEY=VALUE" };
    private static readonly Option<string[]> Keep = new("--keep-metadata") { Description = "Take a value over from the parent's metadata", HelpName = "KEY" };
    private static readonly Option<uint?> Uid = new("--owner-uid") { Description = "Owner of everything", HelpName = "UID" };
    private static readonly Option<uint?> Gid = new("--owner-gid") { Description = "Group of everything", HelpName = "GID" };
    private static readonly Option<bool> Canonical = new("--canonical-permissions") { Description = "Owner 0 and modes 0755 or 0644 for everything" };
    private static readonly Option<bool> NoXattrs = new("--no-xattrs") { Description = "Leave extended attributes out" };
    private static readonly Option<bool> Unchanged = new("--skip-if-unchanged") { Description = "Do nothing where the branch has this tree already" };
    private static readonly Option<bool> Consume = new("--consume") { Description = "Delete the directories once they are committed" };
    private static readonly Option<bool> LinkSpeedup = new("--link-checkout-speedup") { Description = "The tree is a checkout: files that are hardlinks to objects are not read again" };
    private static readonly Option<bool> Devino = new("--devino-canonical", "-I") { Description = "As --link-checkout-speedup" };
    private static readonly Option<string?> StatOverride = new("--statoverride") { Description = "Permissions to change: lines of '=MODE PATH' to set or 'MODE PATH' to add, in decimal", HelpName = "FILE" };
    private static readonly Option<string?> SkipList = new("--skip-list") { Description = "Paths to leave out, one a line", HelpName = "FILE" };
    private static readonly Option<bool> Table = new("--table-output") { Description = "Print what was written, as KEY: VALUE" };
    private static readonly Option<string?> Fsync = new("--fsync") { Description = "Whether to make it durable; the repository's setting where it is not said", HelpName = "BOOLEAN" };
    private static readonly Option<string?> Timestamp = new("--timestamp") { Description = "Its time: @SECONDS since 1970, or a date as ISO 8601 has it", HelpName = "TIMESTAMP" };

    private static readonly Option<bool> TarParents = new("--tar-autocreate-parents") { Description = "Make directories that an archive has no entries for" };
    private static readonly Option<string?> TarFilter = new("--tar-pathname-filter") { Description = "Rename the paths of archives", HelpName = "REGEX,REPLACEMENT" };
    private static readonly Option<string[]> Values = new("--add-metadata") { Description = "A value for the commit's metadata, as GVariant text", HelpName = "KEY=VALUE" };
    private static readonly Option<bool> Bootable = new("--bootable") { Description = "Require a kernel in the tree, and say in the metadata which" };
    private static readonly Option<bool> ReadOnlyExecutables = new("--mode-ro-executables") { Description = "Executable files are nobody's to write" };
    private static readonly Option<bool> Sizes = new("--generate-sizes") { Description = "Write the sizes of all objects into the metadata (mode archive)" };
    private static readonly Option<bool> Composefs = new("--generate-composefs-metadata") { Description = "Write the digest of the tree's composefs image into the metadata" };
    private static readonly Option<string?> SelinuxPolicy = new("--selinux-policy") { Description = "Refused: SELinux labels are not made here", HelpName = "PATH" };
    private static readonly Option<bool> SelinuxBase = new("--selinux-policy-from-base", "-P") { Description = "Refused: SELinux labels are not made here" };
    private static readonly Option<string?> SelinuxEpoch = new("--selinux-labeling-epoch") { Description = "Refused: SELinux labels are not made here", HelpName = "N" };
    private static readonly Option<bool> Editor = new("--editor", "-e") { Description = "Refused: give the message with --subject, --body or --body-file" };
    private static readonly SigningOptions Signing = new();

    public static Command Make() =>
        new DocumentedCommand("commit", "Commit a directory's tree") { Examples = [new Example("Commit a tree to a branch", "ostree --repo=repo commit -b main --tree=dir=tree")] }
            .With(
                Directory, Trees, Base, Branch, Subject, Body, BodyFile, Parent, Orphan, NoBindings, Bindings, Strings, Detached, Keep, Uid, Gid, Canonical,
                NoXattrs, Unchanged, Consume, LinkSpeedup, Devino, StatOverride, SkipList, Table, Fsync, Timestamp,
                TarParents, TarFilter, Values, Bootable, ReadOnlyExecutables, Sizes, Composefs, SelinuxPolicy, SelinuxBase, SelinuxEpoch, Editor)
            .With(Signing.All)
            .OnRepository(Run);

    private static int Run(ParseResult parsed, Repository repository, CancellationToken cancel)
    {
        RefuseWhatCannotBe(parsed);
        string? name = parsed.GetValue(Branch);
        if (name is null && !parsed.GetValue(Orphan))
            throw new Finding("A branch must be specified with --branch, or use --orphan", "commit --branch=NAME");
        if (RepositoryCommand.Boolean(parsed.GetValue(Fsync)) is { } durable)
            repository.Fsync = durable;
        List<TreeSource> trees = [.. Sources(parsed, repository)];
        var lists = new PathLists(parsed.GetValue(StatOverride), parsed.GetValue(SkipList));
        using var line = new ProgressLine(new Speaker(json: false));
        var progress = new Reporter<CommitProgress>(at => line.Update($"{at.Files} files, {Amount.OfBytes(at.Bytes)} read, {at.ObjectsWritten} objects written"));
        CommitResult result = repository.CommitTrees(trees, lists.ApplyTo(Options(parsed, repository, name)), progress, cancel);
        line.Dispose();
        if (parsed.GetValue(Consume))
        {
            foreach (TreeSource.Directory consumed in trees.OfType<TreeSource.Directory>())
                Remove(consumed.Path);
        }

        JsonAnswers.Say(writer =>
        {
            writer.WriteString("commit", $"{result.Checksum}");
            writer.WriteBoolean("unchanged", result.Stats is null);
            if (result.Stats is not { } stats)
                return;
            writer.WriteNumber("metadataWritten", stats.MetadataWritten);
            writer.WriteNumber("contentWritten", stats.ContentWritten);
            writer.WriteNumber("contentBytes", stats.ContentBytes);
        });
        Console.Out.WriteLine(parsed.GetValue(Table) ? TableOf(result) : result.Checksum.ToString());
        return 0;
    }

    private static void RefuseWhatCannotBe(ParseResult parsed)
    {
        if (parsed.GetValue(SelinuxPolicy) is not null || parsed.GetValue(SelinuxBase) || parsed.GetValue(SelinuxEpoch) is not null)
            throw new Finding("SELinux labels are not made: there is no policy compiler here", "label the tree before it is committed; its xattrs are kept");
        if (parsed.GetValue(Editor))
            throw new Finding("--editor is not handled", "give the message with --subject and --body-file");
    }

    private static CommitOptions Options(ParseResult parsed, Repository repository, string? name)
    {
        string? before = parsed.GetValue(Parent);
        bool follows = before is null ? name is not null && repository.TryResolve(name) is not null : before != "none";
        if (parsed.GetValue(Keep) is { Length: > 0 } && !follows)
            throw new Finding("Either --branch or --parent must be specified when using --keep-metadata", "the branch, or the parent, is a commit that is there");
        return new CommitOptions
        {
            Subject = parsed.GetValue(Subject)!,
            Body = parsed.GetValue(BodyFile) is { } file ? Encoding.UTF8.GetString(RepositoryCommand.ReadFile(file)) : parsed.GetValue(Body)!,
            Parent = before is null or "none" ? null
                : Checksum.TryParse(before, out Checksum parent) ? parent : throw new Finding($"Invalid rev {before}", "--parent=COMMIT is a whole checksum, as rev-parse prints it"),
            NoParent = before == "none" || name is null,
            Timestamp = parsed.GetValue(Timestamp) is { } time ? Moment.Parse(time, DateTimeOffset.UtcNow) : Moment.OfSources(),
            Branches = name is null || parsed.GetValue(Orphan) ? [] : [name],
            BindRefs = !parsed.GetValue(NoBindings),
            AdditionalBindings = parsed.GetValue(Bindings) ?? [],
            Metadata = WithValues(Pairs(parsed.GetValue(Strings) ?? []), parsed.GetValue(Values) ?? []),
            TrustsHardlinks = parsed.GetValue(LinkSpeedup) || parsed.GetValue(Devino),
            HardlinksAsTheyAre = parsed.GetValue(Devino),
            Adopt = parsed.GetValue(Consume) && (parsed.GetValue(LinkSpeedup) || parsed.GetValue(Devino)),
            Bootable = parsed.GetValue(Bootable),
            ReadOnlyExecutables = parsed.GetValue(ReadOnlyExecutables),
            Sizes = parsed.GetValue(Sizes),
            ComposefsDigest = parsed.GetValue(Composefs),
            FirstTreeAsIs = parsed.GetValue(Base) is not null,
            DetachedMetadata = Pairs(parsed.GetValue(Detached) ?? []),
            Signer = Signing.Signer(parsed),
            KeepMetadata = parsed.GetValue(Keep) ?? [],
            OwnerUid = parsed.GetValue(Uid),
            OwnerGid = parsed.GetValue(Gid),
            CanonicalPermissions = parsed.GetValue(Canonical),
            NoXattrs = parsed.GetValue(NoXattrs),
            SkipIfUnchanged = parsed.GetValue(Unchanged),
        };
    }

    private static IEnumerable<TreeSource> Sources(ParseResult parsed, Repository repository)
    {
        if (parsed.GetValue(Base) is { } revision)
            yield return new TreeSource.OfCommit(repository.Resolve(revision));
        string[] trees = parsed.GetValue(Trees) ?? [];
        if (trees.Length == 0)
            yield return new TreeSource.Directory(parsed.GetValue(Directory) ?? ".");
        foreach (string tree in trees)
        {
            yield return tree.Split('=', 2) switch
            {
                ["dir", var path] => new TreeSource.Directory(path),
                ["ref", var source] => new TreeSource.OfCommit(repository.Resolve(source)),
                ["tar", var path] => Archive(parsed, path),
                [var kind, _] => throw new Finding($"Invalid tree type specification '{kind}'", "--tree=dir=PATH, or --tree=ref=COMMIT"),
                _ => throw new Finding($"Missing type in tree specification '{tree}'", "--tree=dir=PATH, or --tree=ref=COMMIT"),
            };
        }
    }

    private static TreeSource.Archive Archive(ParseResult parsed, string path)
    {
        Stream content = path == "-" ? Console.OpenStandardInput() : new FileStream(path, FileMode.Open, FileAccess.Read);
        Func<string, string>? rename = null;
        if (parsed.GetValue(TarFilter) is { } filter)
        {
            if (filter.Split(',', 2) is not [var pattern, var replacement])
                throw new Finding($"Invalid --tar-pathname-filter, must be REGEX,REPLACEMENT: '{filter}'", "--tar-pathname-filter='^usr/,other/'");
            var regex = new System.Text.RegularExpressions.Regex(pattern, System.Text.RegularExpressions.RegexOptions.CultureInvariant, TimeSpan.FromSeconds(10));
            rename = name => regex.Replace(name, replacement.Replace("\\", "$", StringComparison.Ordinal));
        }

        return new TreeSource.Archive(content, path) { MakesParents = parsed.GetValue(TarParents), Rename = rename };
    }

    private static void Remove(string path)
    {
        string full = Path.GetFullPath(path);
        using Dir parent = Dir.Open(Path.GetDirectoryName(full) ?? throw new Finding("/ is not consumed", "--consume is for directories below it"));
        parent.RemoveAll(Path.GetFileName(full));
    }

    private static string TableOf(CommitResult result) => result.Stats is not { } stats ? $"Commit: {result.Checksum}" : $"""
        Commit: {result.Checksum}
        Metadata Total: {stats.MetadataTotal}
        Metadata Written: {stats.MetadataWritten}
        Content Total: {stats.ContentTotal}
        Content Written: {stats.ContentWritten}
        Content Cache Hits: {stats.CacheHits}
        Content Bytes Written: {stats.ContentBytes}
        """;

    /// <summary>Metadata with values that were given as GVariant text.</summary>
    internal static VariantDictionary WithValues(VariantDictionary metadata, string[] pairs)
    {
        foreach (string pair in pairs)
        {
            int equals = pair.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                throw new Finding(equals < 0 ? $"Missing '=' in KEY=VALUE metadata '{pair}'" : "Empty metadata key", "KEY=VALUE");
            try
            {
                metadata = metadata.With(pair[..equals], GVariant.ParseText(pair.AsSpan(equals + 1)));
            }
            catch (MalformedException malformed)
            {
                throw new Finding($"Parsing {pair}: {malformed.Message}", "a text is quoted: --add-metadata=KEY=\"'text'\"");
            }
        }

        return metadata;
    }

    private static VariantDictionary Pairs(string[] pairs)
    {
        VariantDictionary metadata = VariantDictionary.Empty;
        foreach (string pair in pairs)
        {
            int equals = pair.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                throw new Finding(equals < 0 ? $"Missing '=' in KEY=VALUE metadata '{pair}'" : "Empty metadata key", "KEY=VALUE");
            metadata = metadata.With(pair[..equals], pair[(equals + 1)..]);
        }

        return metadata;
    }

    /// <summary>What <c>--statoverride</c> and <c>--skip-list</c> say of paths.</summary>
    private sealed class PathLists
    {
        private readonly Dictionary<string, uint> added = [], set = [];
        private readonly HashSet<string> skipped = [], unmatched = [];

        public PathLists(string? overrides, string? skips)
        {
            foreach (string line in Lines(overrides))
            {
                bool sets = line.StartsWith('=');
                string[] words = line.TrimStart('=', '+').Split(' ', 2);
                if (words.Length != 2 || !uint.TryParse(words[0], CultureInfo.InvariantCulture, out uint mode))
                    throw new Finding($"Malformed statoverride file (no space found): '{line}'", "a line is '=MODE PATH' or 'MODE PATH', in decimal");
                (sets ? set : added)[words[1]] = mode;
            }

            skipped.UnionWith(Lines(skips));
            unmatched.UnionWith(skipped);
        }

        public CommitOptions ApplyTo(CommitOptions options) => options with
        {
            AddedPermissions = added.Count > 0 ? added : null,
            SetPermissions = set.Count > 0 ? set : null,
            Filter = skipped.Count > 0 ? (path, _) => !Skips(path) : null,
            TreesRead = RequireAllMatched,
        };

        private bool Skips(string path)
        {
            unmatched.Remove(path);
            return skipped.Contains(path);
        }

        // A path that is written wrongly would be published, and whoever wrote it believes that it is not.
        private void RequireAllMatched()
        {
            foreach (string path in unmatched)
                Console.Error.WriteLine($"Unmatched skip-list path: {path}");
            if (unmatched.Count > 0)
                throw new Finding("Unmatched skip-list paths", "each line is a path of the tree as it is committed: /usr/share/doc");
        }

        private static IEnumerable<string> Lines(string? file) => file is null
            ? []
            : Encoding.UTF8.GetString(RepositoryCommand.ReadFile(file)).Split('\n').Where(static line => line.Length > 0);
    }
}
