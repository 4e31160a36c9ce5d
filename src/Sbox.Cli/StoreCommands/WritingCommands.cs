using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that make something: init, commit, checkout.</summary>
internal static class WritingCommands
{
    public static Command Init()
    {
        var mode = new Option<string>("--mode") { Description = "bare (files as they are, the default) or archive (for serving)", HelpName = "MODE", DefaultValueFactory = static _ => "bare" };
        Command command = new DocumentedCommand("init", "Make an empty repository").With(mode);
        command.SetAction(parsed =>
        {
            string name = parsed.GetValue(mode)!;
            if (RepositoryModes.TryParse(name) is not { } asked)
                throw new Finding($"Invalid mode '{name}' in repository configuration", "bare and archive are the modes that are handled");
            using Repository repository = Repository.Create(parsed.GetValue(RepositoryCommand.Path) ?? ".", asked);
            return 0;
        });
        return command;
    }

    public static Command Commit()
    {
        var directory = new Argument<string?>("PATH") { Description = "The directory whose tree is committed; the current one where none is given", Arity = ArgumentArity.ZeroOrOne };
        var trees = new Option<string?>("--tree") { Description = "The tree to commit, as dir=PATH", HelpName = "dir=PATH" };
        var branch = new Option<string?>("--branch", "-b") { Description = "The branch that shall lead to the commit", HelpName = "BRANCH" };
        var subject = new Option<string>("--subject", "-s") { Description = "One line about it", HelpName = "SUBJECT", DefaultValueFactory = static _ => "" };
        var body = new Option<string>("--body", "-m") { Description = "More lines about it", HelpName = "BODY", DefaultValueFactory = static _ => "" };
        var bodyFile = new Option<string?>("--body-file", "-F") { Description = "The lines about it, from a file", HelpName = "FILE" };
        var parent = new Option<string?>("--parent") { Description = "The commit before it, or none; the branch's where it is not said", HelpName = "COMMIT" };
        var orphan = new Option<bool>("--orphan") { Description = "Write no ref" };
        var noBindings = new Option<bool>("--no-bindings") { Description = "Do not write into the commit which refs are its own" };
        var bindings = new Option<string[]>("--bind-ref") { Description = "One more ref to write into the commit", HelpName = "BRANCH" };
        var metadata = new Option<string[]>("--add-metadata-string") { Description = "A text for the commit's metadata", HelpName = "KEY=VALUE" };
        var uid = new Option<uint?>("--owner-uid") { Description = "Owner of everything", HelpName = "UID" };
        var gid = new Option<uint?>("--owner-gid") { Description = "Group of everything", HelpName = "GID" };
        var canonical = new Option<bool>("--canonical-permissions") { Description = "Owner 0 and modes 0755 or 0644 for everything" };
        var noXattrs = new Option<bool>("--no-xattrs") { Description = "Leave extended attributes out" };
        var unchanged = new Option<bool>("--skip-if-unchanged") { Description = "Do nothing where the branch has this tree already" };
        var timestamp = new Option<string?>("--timestamp") { Description = "Its time: @SECONDS since 1970, or a date as ISO 8601 has it", HelpName = "TIMESTAMP" };
        return new DocumentedCommand("commit", "Commit a directory's tree") { Examples = [new Example("Commit a tree to a branch", "ostree --repo=repo commit -b main --tree=dir=tree")] }
            .With(directory, trees, branch, subject, body, bodyFile, parent, orphan, noBindings, bindings, metadata, uid, gid, canonical, noXattrs, unchanged, timestamp)
            .OnRepository((parsed, repository, cancel) =>
            {
                string? name = parsed.GetValue(branch);
                if (name is null && !parsed.GetValue(orphan))
                    throw new Finding("A branch must be specified with --branch, or use --orphan", "commit --branch=NAME");
                string? before = parsed.GetValue(parent);
                var options = new CommitOptions
                {
                    Subject = parsed.GetValue(subject)!,
                    Body = parsed.GetValue(bodyFile) is { } file ? Encoding.UTF8.GetString(RepositoryCommand.ReadFile(file)) : parsed.GetValue(body)!,
                    Parent = before is null or "none" ? null : repository.Resolve(before),
                    NoParent = before == "none" || name is null,
                    Timestamp = parsed.GetValue(timestamp) is { } time ? Time(time) : null,
                    Branches = name is null || parsed.GetValue(orphan) ? [] : [name],
                    BindRefs = !parsed.GetValue(noBindings),
                    AdditionalBindings = parsed.GetValue(bindings) ?? [],
                    Metadata = Strings(parsed.GetValue(metadata) ?? []),
                    OwnerUid = parsed.GetValue(uid),
                    OwnerGid = parsed.GetValue(gid),
                    CanonicalPermissions = parsed.GetValue(canonical),
                    NoXattrs = parsed.GetValue(noXattrs),
                    SkipIfUnchanged = parsed.GetValue(unchanged),
                };
                using var line = new ProgressLine(new Speaker(json: false));
                var progress = new Reporter<CommitProgress>(at => line.Update($"{at.Files} files, {Amount.OfBytes(at.Bytes)} read, {at.ObjectsWritten} objects written"));
                Checksum commit = repository.CommitDirectory(Tree(parsed.GetValue(trees), parsed.GetValue(directory)), options, progress, cancel);
                line.Dispose();
                Console.Out.WriteLine(commit);
                return 0;
            });
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

    /// <summary><c>@SECONDS</c>, or a date and time; in UTC where it names no zone.</summary>
    internal static DateTimeOffset Time(string text)
    {
        if (text.StartsWith('@') && long.TryParse(text.AsSpan(1), CultureInfo.InvariantCulture, out long seconds)
            && seconds is >= 0 and <= 253402300799) // the last second of the year 9999
            return DateTimeOffset.FromUnixTimeSeconds(seconds);
        return DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time)
            ? time
            : throw new Finding($"Could not parse '{text}'", "--timestamp=@SECONDS, or --timestamp=2026-01-31T12:00:00Z");
    }

    private static string Tree(string? tree, string? directory)
    {
        if (tree is null)
            return directory ?? ".";
        if (tree.StartsWith("dir=", StringComparison.Ordinal))
            return tree["dir=".Length..];
        throw new Finding($"--tree={tree}: only trees of the form dir=PATH are handled so far", "unpack it, and give --tree=dir=PATH");
    }

    private static VariantDictionary Strings(string[] pairs)
    {
        VariantDictionary metadata = VariantDictionary.Empty;
        foreach (string pair in pairs)
        {
            int equals = pair.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                throw new Finding($"Missing '=' in KEY=VALUE metadata '{pair}'", "--add-metadata-string=KEY=VALUE");
            metadata = metadata.With(pair[..equals], pair[(equals + 1)..]);
        }

        return metadata;
    }
}
