using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands on refs: refs, reset, rev-parse. What they print is what libostree's print.</summary>
internal static class RefCommands
{
    public static Command RevParse()
    {
        var revisions = new Argument<string[]>("REV") { Description = "Refs, REMOTE:REF, checksums or the beginnings of such; with ^ their parents", Arity = ArgumentArity.ZeroOrMore };
        var single = new Option<bool>("--single", "-S") { Description = "Print the only commit that there is; several or none are an error" };
        return new DocumentedCommand("rev-parse", "Print the checksum that a revision means").With(revisions, single).OnRepository((parsed, repository, _) =>
        {
            if (parsed.GetValue(single))
            {
                List<ObjectName> commits = [.. repository.EnumerateObjects().Where(static name => name.Type == ObjectType.Commit).Take(2)];
                Console.Out.WriteLine(commits switch
                {
                    [] => throw new Finding("No commit objects found", "commit makes one"),
                    [var only] => only.Checksum,
                    _ => throw new Finding("Multiple commit objects found", "name a ref"),
                });
                return 0;
            }

            string[] given = parsed.GetValue(revisions)!;
            if (given.Length == 0)
                throw new Finding("REV must be specified", "rev-parse REV");
            foreach (string revision in given)
            {
                Checksum found = repository.Resolve(revision);
                Console.Out.WriteLine(found);
                JsonAnswers.Say(writer =>
                {
                    writer.WriteString("revision", revision);
                    writer.WriteString("commit", $"{found}");
                });
            }

            return 0;
        });
    }

    public static Command Reset()
    {
        var name = new Argument<string>("REF") { Description = "The ref to move" };
        var target = new Argument<string>("COMMIT") { Description = "What it shall lead to" };
        return new DocumentedCommand("reset", "Point a ref at another commit").With(name, target).OnRepository((parsed, repository, _) =>
        {
            string refspec = parsed.GetValue(name)!;
            if (repository.TryResolve(refspec) is null)
                throw new Finding($"Invalid ref '{refspec}'", "refs lists those that there are");
            Checksum commit = repository.Resolve(parsed.GetValue(target)!);
            repository.LoadCommit(commit);
            repository.SetRef(refspec, commit);
            return 0;
        });
    }

    public static Command Refs()
    {
        var prefixes = new Argument<string[]>("PREFIX") { Description = "Only the refs below these", Arity = ArgumentArity.ZeroOrMore };
        var list = new Option<bool>("--list") { Description = "Do not remove the prefix from the refs" };
        var revisions = new Option<bool>("--revision", "-r") { Description = "Show what each ref leads to" };
        var alias = new Option<bool>("--alias", "-A") { Description = "List only aliases; with --create, make one for PREFIX" };
        var create = new Option<string?>("--create") { Description = "Make a new ref for the commit that PREFIX means", HelpName = "NEWREF" };
        var force = new Option<bool>("--force") { Description = "With --create, also over a ref that is there" };
        var delete = new Option<bool>("--delete") { Description = "Delete the refs below PREFIX" };
        var collections = new Option<bool>("--collections", "-c") { Description = "Refs with their collections, and PREFIX is a collection's id" };
        return new DocumentedCommand("refs", "List, make and delete refs").With(prefixes, list, revisions, alias, create, force, delete, collections)
            .OnRepository((parsed, repository, _) =>
            {
                string[] given = parsed.GetValue(prefixes)!;
                // libostree's listing opens it and says so where it cannot.
                if (parsed.GetValue(list) && !repository.Dir.Exists("refs/remotes"))
                    throw new Finding("Listing refs: opendir(refs/remotes): No such file or directory", "an empty directory of that name belongs there");
                if (parsed.GetValue(collections))
                    OfCollections(repository, given, parsed.GetValue(create), parsed.GetValue(delete), parsed.GetValue(revisions));
                else if (parsed.GetValue(create) is { } made)
                    Create(repository, given, made, parsed.GetValue(alias), parsed.GetValue(force));
                else if (parsed.GetValue(delete))
                    Delete(repository, given);
                else if (parsed.GetValue(alias))
                    ListAliases(repository, given);
                else
                    List(repository, given, whole: parsed.GetValue(list), parsed.GetValue(revisions));
                return 0;
            });
    }

    private static void OfCollections(Repository repository, string[] given, string? made, bool delete, bool revisions)
    {
        if (made is not null)
        {
            if (given is not [var source] || made.Split(':', 2) is not [var collection, var name])
                throw new Finding("--collections --create needs COLLECTION-ID:REF, and the one commit to make it for", "refs --collections --create=COLLECTION-ID:REF COMMIT");
            var full = new CollectionRef(collection, name);
            // As libostree: one that is there is moved without --force.
            repository.SetCollectionRef(full, repository.Resolve(source));
            return;
        }

        if (delete && given.Length == 0)
            throw new Finding("At least one PREFIX is required when deleting refs", "refs --collections --delete COLLECTION-ID");
        foreach (string? collection in given.Length == 0 ? (string?[])[null] : given)
        {
            foreach ((CollectionRef name, Checksum target) in repository.CollectionRefs(collection, withRemotes: !delete))
            {
                if (delete)
                    repository.SetCollectionRef(name, null);
                else
                    Console.Out.WriteLine(revisions ? $"{name}\t{target}" : $"{name}");
            }
        }
    }

    private static void List(Repository repository, string[] prefixes, bool whole, bool revisions)
    {
        foreach (string? prefix in prefixes.Length == 0 ? (string?[])[null] : prefixes)
        {
            foreach ((string name, Checksum target) in repository.Refs(prefix))
            {
                JsonAnswers.Say(writer =>
                {
                    writer.WriteString("ref", name);
                    writer.WriteString("commit", $"{target}");
                });
                string shown = whole || prefix is null || !name.StartsWith(prefix + "/", StringComparison.Ordinal) ? name
                    : prefix[..(prefix.IndexOf(':', StringComparison.Ordinal) + 1)] + name[(prefix.Length + 1)..];
                Console.Out.WriteLine(revisions ? $"{shown}\t{target}" : shown);
            }
        }
    }

    private static void ListAliases(Repository repository, string[] prefixes)
    {
        foreach ((string alias, string target) in repository.Aliases())
        {
            if (prefixes.Length == 0 || prefixes.Any(prefix => alias == prefix || alias.StartsWith(prefix + "/", StringComparison.Ordinal)))
            {
                Console.Out.WriteLine($"{alias} -> {target}");
                JsonAnswers.Say(writer =>
                {
                    writer.WriteString("alias", alias);
                    writer.WriteString("ref", target);
                });
            }
        }
    }

    private static void Create(Repository repository, string[] from, string name, bool alias, bool force)
    {
        if (from is not [var source])
            throw new Finding("--create needs the one commit to make a ref for", "refs --create=NEWREF COMMIT");
        IReadOnlyDictionary<string, Checksum> there = repository.Refs();
        if (alias)
        {
            if (name.Contains(':', StringComparison.Ordinal))
                throw new Finding("Cannot create alias to remote ref", "an alias is a branch of this repository");
            if (!there.ContainsKey(source))
                throw new Finding($"Cannot create alias to non-existent ref: {source}", "refs lists those that there are");
            if (!force && there.ContainsKey(name) && !repository.Aliases().ContainsKey(name))
                throw new Finding($"--create specified but ref {name} already exists", "--force replaces it");
            repository.SetAlias(name, source);
            return;
        }

        Checksum target = repository.Resolve(source);
        if (!force && (there.ContainsKey(name) || there.Keys.Any(each => each.StartsWith(name + "/", StringComparison.Ordinal))))
            throw new Finding($"--create specified but ref {name} already exists", "--force moves it");
        repository.SetRef(name, target);
    }

    private static void Delete(Repository repository, string[] prefixes)
    {
        if (prefixes.Length == 0)
            throw new Finding("At least one PREFIX is required when deleting refs", "refs --delete PREFIX");
        List<string> gone = [.. prefixes.SelectMany(prefix => repository.Refs(prefix).Keys).Distinct()];
        foreach ((string alias, string target) in repository.Aliases())
        {
            if (gone.Contains(target) && !gone.Contains(alias))
                throw new Finding($"Ref '{target}' has an active alias: '{alias}'", $"refs --delete {alias}, then this again");
        }

        foreach (string name in gone)
            repository.SetRef(name, null);
    }
}
