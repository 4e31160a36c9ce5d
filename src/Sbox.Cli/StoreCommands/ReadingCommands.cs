using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that only look: log, show, rev-parse, refs. What they print is what libostree's print.</summary>
internal static class ReadingCommands
{
    public static Command Log()
    {
        Argument<string> revision = RepositoryCommand.Revision();
        return new DocumentedCommand("log", "Show the commits of a ref, newest first").With(revision).OnRepository((parsed, repository, _) =>
        {
            foreach ((Checksum checksum, Commit commit) in repository.Log(repository.Resolve(parsed.GetValue(revision)!)))
                Console.Out.Write(Describe(checksum, commit));
            return 0;
        });
    }

    public static Command Show()
    {
        Argument<string> revision = RepositoryCommand.Revision("OBJECT");
        var raw = new Option<bool>("--raw") { Description = "Show the commit as a GVariant in text form" };
        var key = new Option<string?>("--print-metadata-key") { Description = "Print one value of the commit's metadata", HelpName = "KEY" };
        var keys = new Option<bool>("--list-metadata-keys") { Description = "List the names in the commit's metadata" };
        return new DocumentedCommand("show", "Show a commit").With(revision, raw, key, keys).OnRepository((parsed, repository, _) =>
        {
            Checksum checksum = repository.Resolve(parsed.GetValue(revision)!);
            Commit commit = repository.LoadCommit(checksum);
            if (parsed.GetValue(key) is { } name)
                Console.Out.WriteLine(commit.Metadata[name]?.ByteSwapped().ToString() ?? throw new Finding($"No such metadata key '{name}'", "--list-metadata-keys lists those that there are"));
            else if (parsed.GetValue(keys))
                Console.Out.Write(string.Concat(commit.Metadata.Keys.Order(StringComparer.Ordinal).Select(static each => each + "\n")));
            else if (parsed.GetValue(raw)) // numbers are most significant byte first on disk, and ostree shows them turned
                Console.Out.Write($"commit {checksum}\n{commit.ToVariant().ByteSwapped()}\n");
            else
                Console.Out.Write(Describe(checksum, commit));
            return 0;
        });
    }

    public static Command RevParse()
    {
        Argument<string> revision = RepositoryCommand.Revision();
        return new DocumentedCommand("rev-parse", "Print the checksum that a revision means").With(revision).OnRepository((parsed, repository, _) =>
        {
            Console.Out.WriteLine(repository.Resolve(parsed.GetValue(revision)!));
            return 0;
        });
    }

    public static Command Refs()
    {
        var prefix = new Argument<string?>("PREFIX") { Description = "Only the refs below this one", Arity = ArgumentArity.ZeroOrOne };
        var list = new Option<bool>("--list") { Description = "Do not remove the prefix from the refs" };
        var revisions = new Option<bool>("--revision", "-r") { Description = "Show what each ref leads to" };
        var create = new Option<string?>("--create") { Description = "Make a new ref for the commit that PREFIX means", HelpName = "NEWREF" };
        var force = new Option<bool>("--force") { Description = "With --create, also over a ref that is there" };
        var delete = new Option<bool>("--delete") { Description = "Delete the refs below PREFIX" };
        return new DocumentedCommand("refs", "List, make and delete refs").With(prefix, list, revisions, create, force, delete)
            .OnRepository((parsed, repository, _) =>
            {
                string? under = parsed.GetValue(prefix);
                if (parsed.GetValue(create) is { } made)
                    Create(repository, under, made, parsed.GetValue(force));
                else if (parsed.GetValue(delete))
                    Delete(repository, under);
                else
                    List(repository, under, whole: parsed.GetValue(list), parsed.GetValue(revisions));
                return 0;
            });
    }

    /// <summary>A commit as <c>ostree log</c> prints it.</summary>
    internal static string Describe(Checksum checksum, Commit commit)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"commit {checksum}\n");
        if (commit.Parent is { } parent)
            text.Append(CultureInfo.InvariantCulture, $"Parent:  {parent}\n");
        text.Append(CultureInfo.InvariantCulture, $"ContentChecksum:  {commit.ContentChecksum}\n");
        text.Append(CultureInfo.InvariantCulture, $"Date:  {commit.Time:yyyy-MM-dd HH:mm:ss +0000}\n");
        if (commit.Version is { } version)
            text.Append(CultureInfo.InvariantCulture, $"Version: {version}\n");
        if (commit.Subject.Length == 0)
            return text.Append("(no subject)\n\n").ToString();
        text.Append('\n');
        foreach (string paragraph in (string[])[commit.Subject, commit.Body])
        {
            if (paragraph.Length > 0)
                text.Append(string.Concat(paragraph.TrimEnd('\n').Split('\n').Select(static line => $"    {line}\n"))).Append('\n');
        }

        return text.ToString();
    }

    private static void List(Repository repository, string? prefix, bool whole, bool revisions)
    {
        foreach ((string name, Checksum target) in repository.Refs(prefix))
        {
            string shown = whole || prefix is null || !name.StartsWith(prefix + "/", StringComparison.Ordinal) ? name : name[(prefix.Length + 1)..];
            Console.Out.WriteLine(revisions ? $"{shown}\t{target}" : shown);
        }
    }

    private static void Create(Repository repository, string? from, string name, bool force)
    {
        if (from is null)
            throw new Finding("--create needs the commit to make a ref for", "refs --create=NEWREF COMMIT");
        Checksum target = repository.Resolve(from);
        if (!force && repository.Refs().ContainsKey(name))
            throw new Finding($"--create specified but ref {name} already exists", "--force moves it");
        repository.SetRef(name, target);
    }

    private static void Delete(Repository repository, string? prefix)
    {
        if (prefix is null)
            throw new Finding("At least one PREFIX is required when deleting refs", "refs --delete PREFIX");
        foreach (string name in repository.Refs(prefix).Keys.ToArray())
            repository.SetRef(name, null);
    }
}
