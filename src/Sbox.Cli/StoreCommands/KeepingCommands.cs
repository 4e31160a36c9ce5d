using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that keep a repository well: fsck, prune, config.</summary>
internal static class KeepingCommands
{
    public static Command Fsck()
    {
        var quiet = new Option<bool>("--quiet", "-q") { Description = "Only say what is wrong" };
        var delete = new Option<bool>("--delete") { Description = "Delete corrupt objects, so that a pull fetches them again" };
        var all = new Option<bool>("--all", "-a") { Description = "Name all that is wrong, not only the first" };
        var bindings = new Option<bool>("--verify-bindings") { Description = "Check that commits know the refs that lead to them" };
        var backRefs = new Option<bool>("--verify-back-refs") { Description = "Check that the refs which commits know lead to them (implies --verify-bindings)" };
        var tombstones = new Option<bool>("--add-tombstones") { Description = "Leave a tombstone for each parent that is not there, and for commits that are deleted from now on" };
        return new DocumentedCommand("fsck", "Check that a repository is whole").With(quiet, delete, all, bindings, backRefs, tombstones).OnRepository((parsed, repository, cancel) =>
        {
            bool silent = parsed.GetValue(quiet);
            using var line = new ProgressLine(new Speaker(json: false));
            var progress = new Reporter<FsckProgress>(at => line.Update($"fsck objects ({at.Checked}/{at.Total}) {(at.Total > 0 ? at.Checked * 100 / at.Total : 0)}%"));
            if (!silent)
                Console.Out.Write("Validating refs...\nValidating refs in collections...\nEnumerating commits...\n");
            FsckReport report = repository.Fsck(
                new FsckOptions
                {
                    Delete = parsed.GetValue(delete),
                    VerifyBindings = parsed.GetValue(bindings) || parsed.GetValue(backRefs),
                    VerifyBackRefs = parsed.GetValue(backRefs),
                    AddTombstones = parsed.GetValue(tombstones),
                }, silent ? null : progress, cancel);
            line.Dispose();
            SayJson(report);
            foreach (Checksum gone in silent ? [] : report.Tombstones)
                Console.Out.WriteLine($"Adding tombstone for commit {gone}");
            if (!silent)
                Console.Out.WriteLine($"Verifying content integrity of {report.Commits} commit objects...");
            return Say(report, parsed.GetValue(all) || parsed.GetValue(delete), silent);
        });
    }

    // What libostree's fsck says, in its order: the first finding ends it as an error, unless all were asked for or deleted.
    private static int Say(FsckReport report, bool all, bool silent)
    {
        foreach (FsckProblem problem in report.Problems)
        {
            bool goesOn = problem.Kind == FsckProblemKind.Missing && problem.Object is { Type: ObjectType.File };
            Console.Error.WriteLine(all || goesOn ? Words(problem) : $"error: {Words(problem)}");
            if (!all && !goesOn)
                return 1;
        }

        foreach (Checksum commit in report.MarkedPartial)
            Console.Error.WriteLine($"Marking commit as partial: {commit}");
        if (!report.IsWhole)
        {
            Console.Error.WriteLine("error: Repository corruption encountered");
            return 1;
        }

        if (report.PartialCommits > 0 && !silent)
            Console.Out.WriteLine($"{report.PartialCommits} partial commits not verified");
        if (report.BrokenBefore > 0)
        {
            Console.Error.WriteLine($"error: {report.BrokenBefore} partial commits from fsck-detected corruption");
            return 1;
        }

        Console.Out.WriteLine($"object fsck of {report.Commits} commits completed successfully - no errors found."); // libostree says so with --quiet too
        return 0;
    }

    private static void SayJson(FsckReport report)
    {
        foreach (FsckProblem problem in report.Problems)
        {
            JsonAnswers.Say(writer =>
            {
                writer.WriteString("problem", $"{problem.Kind}");
                writer.WriteString("subject", $"{problem.Subject}");
                writer.WriteString("finding", Words(problem));
                writer.WriteStartArray("commits");
                foreach (Checksum commit in problem.Commits)
                    writer.WriteStringValue($"{commit}");
                writer.WriteEndArray();
            });
        }

        JsonAnswers.Say(writer =>
        {
            writer.WriteBoolean("whole", report.IsWhole);
            writer.WriteNumber("commits", report.Commits);
            writer.WriteNumber("partialCommits", report.PartialCommits);
        });
    }

    private static string Words(FsckProblem problem)
    {
        string commits = string.Join(", ", problem.Commits);
        string where = problem.Commits.Count > 0 && problem.Object is { Type: not ObjectType.Commit } ? $"In commits {commits}: " : "";
        return problem switch
        {
            { Kind: FsckProblemKind.Missing, Object.Type: ObjectType.File } => $"Object missing in commits {commits}: {problem.Subject}",
            { Kind: FsckProblemKind.Missing } => $"No such metadata object {problem.Subject}",
            { Kind: FsckProblemKind.BrokenRef } => $"Loading commit for ref {problem.Subject}: No such metadata object {problem.Detail}",
            { Kind: FsckProblemKind.Corrupt, Object: { } name, Found: { } found } =>
                $"{where}fsck {(name.Type == ObjectType.File ? $"content object {name.Checksum}" : $"{name}")}: Corrupted {TypeName(name.Type)} object; checksum expected='{name.Checksum}' actual='{found}'",
            { Object: not null } => $"{where}fsck {problem.Subject}: {problem.Detail}",
            _ => $"{problem.Subject}: {problem.Detail}",
        };
    }

    private static string TypeName(ObjectType type) => type switch
    {
        ObjectType.File => "file",
        ObjectType.DirTree => "dirtree",
        ObjectType.DirMeta => "dirmeta",
        ObjectType.Commit => "commit",
        _ => "metadata",
    };

    public static Command Prune()
    {
        var refsOnly = new Option<bool>("--refs-only") { Description = "Keep only what refs lead to" };
        var depth = new Option<int>("--depth") { Description = "Parents to keep of each ref's commit; -1 for all", HelpName = "DEPTH", DefaultValueFactory = static _ => -1 };
        var younger = new Option<string?>("--keep-younger-than") { Description = "Keep only commits younger than this, and those that refs lead to", HelpName = "DATE" };
        var retain = new Option<string[]>("--retain-branch-depth") { Description = "Parents to keep of one branch's commit; 0 leaves it to --depth, as with ostree", HelpName = "BRANCH=DEPTH" };
        var only = new Option<string[]>("--only-branch") { Description = "Prune the history of this branch only", HelpName = "BRANCH" };
        var commitOnly = new Option<bool>("--commit-only") { Description = "Delete only commits, not what they need" };
        var dryRun = new Option<bool>("--no-prune") { Description = "Only say what would be deleted" };
        var deleteCommit = new Option<string?>("--delete-commit") { Description = "A commit to delete; refused where a ref leads to it", HelpName = "COMMIT" };
        var deltasOnly = new Option<bool>("--static-deltas-only") { Description = "With --delete-commit, delete only the commit's static deltas" };
        return new DocumentedCommand("prune", "Delete what nothing needs").With(deleteCommit, deltasOnly, refsOnly, depth, younger, retain, only, commitOnly, dryRun).OnRepository((parsed, repository, cancel) =>
        {
            Dictionary<string, int> depths = (parsed.GetValue(retain) ?? []).Select(Retained).ToDictionary();
            string[] branches = parsed.GetValue(only) ?? [];
            string? named = parsed.GetValue(deleteCommit);
            if (named is not null && parsed.GetValue(dryRun))
                throw new Finding("Cannot specify both --delete-commit and --no-prune", "one of them");
            if (parsed.GetValue(deltasOnly) && named is null)
                throw new Finding("--static-deltas-only requires --delete-commit; see https://github.com/ostreedev/ostree/issues/1479", "prune --static-deltas-only --delete-commit=COMMIT");
            if (named is not null && parsed.GetValue(younger) is not null)
                throw new Finding("Cannot specify both --delete-commit and --keep-younger-than", "one of them");
            // As libostree: from now on a commit that is deleted leaves a note that it was.
            if (named is not null && !parsed.GetValue(deltasOnly) && !repository.Config.GetBoolean("core", "tombstone-commits"))
                repository.WriteConfig(repository.Config.With("core", "tombstone-commits", "true"));
            Checksum? gone = named is null ? null : repository.Resolve(named);
            if (parsed.GetValue(deltasOnly))
            {
                foreach (DeltaName delta in repository.Deltas().Where(each => each.To == gone).ToArray())
                    repository.DeleteDelta(delta);
                gone = null;
            }

            foreach (string name in branches)
                repository.Resolve(name);
            PruneReport report = repository.Prune(
                new PruneOptions
                {
                    // As libostree: whoever says what of the refs shall stay means that the rest goes.
                    RefsOnly = parsed.GetValue(refsOnly) || branches.Length > 0 || depths.Count > 0 || parsed.GetValue(younger) is not null,
                    Depth = parsed.GetValue(depth),
                    // To libostree a depth of 0 is as if nothing was said of the branch: --depth decides, and more is kept.
                    BranchDepths = depths.Where(static each => each.Value != 0).ToDictionary(),
                    OnlyBranches = branches,
                    KeepYoungerThan = parsed.GetValue(younger) is { } since ? Moment.Parse(since, DateTimeOffset.UtcNow) : null,
                    CommitsOnly = parsed.GetValue(commitOnly),
                    DeleteCommit = gone,
                    DryRun = parsed.GetValue(dryRun),
                }, cancel);
            JsonAnswers.Say(writer =>
            {
                writer.WriteNumber("objects", report.ObjectsTotal);
                writer.WriteNumber("deleted", report.ObjectsDeleted);
                writer.WriteNumber("bytes", report.BytesFreed);
                writer.WriteBoolean("dryRun", parsed.GetValue(dryRun));
            });
            Console.Out.WriteLine($"Total {(parsed.GetValue(commitOnly) ? "(commit only) " : "")}objects: {report.ObjectsTotal}");
            Console.Out.WriteLine(report.ObjectsDeleted == 0 ? "No unreachable objects"
                : parsed.GetValue(dryRun) ? $"Would delete: {report.ObjectsDeleted} objects, freeing {Amount.Decimal(report.BytesFreed)}"
                : $"Deleted {report.ObjectsDeleted} objects, {Amount.Decimal(report.BytesFreed)} freed");
            return 0;
        });
    }

    private static KeyValuePair<string, int> Retained(string pair)
    {
        int equals = pair.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0)
            throw new Finding($"Invalid value {pair}, must be BRANCH=DEPTH", "--retain-branch-depth=BRANCH=DEPTH");
        return int.TryParse(pair.AsSpan(equals + 1), System.Globalization.CultureInfo.InvariantCulture, out int depth)
            ? new(pair[..equals], depth)
            : throw new Finding($"Invalid depth {pair[(equals + 1)..]}", "a number of parents, or -1 for all");
    }

    public static Command Config()
    {
        var words = new Argument<string[]>("get KEY|set KEY VALUE|unset KEY") { Description = "What to do, with GROUP.KEY, or KEY with --group", Arity = ArgumentArity.OneOrMore };
        var group = new Option<string?>("--group") { Description = "The group, where its name has a dot or space", HelpName = "GROUP" };
        return new DocumentedCommand("config", "Read and change a repository's settings").With(words, group).OnRepository((parsed, repository, _) =>
        {
            string[] given = parsed.GetValue(words)!;
            int takes = given[0] switch
            {
                "get" or "unset" => 2,
                "set" => 3,
                _ => throw new Finding($"Unknown operation {given[0]}", "config get KEY, config set KEY VALUE, config unset KEY"),
            };
            if (given.Length > takes)
                throw new Finding("Too many arguments given", $"config {given[0]} takes {takes - 1}");
            if (given.Length < takes)
                throw new Finding(takes == 3 ? "KEY and VALUE must be specified" : "KEY must be specified", $"config {given[0]} GROUP.KEY{(takes == 3 ? " VALUE" : "")}");
            (string section, string name) = Split(given[1], parsed.GetValue(group));
            switch (given[0])
            {
                case "get":
                    JsonAnswers.Say(writer => writer.WriteString($"{section}.{name}", repository.Config.GetString(section, name)));
                    Console.Out.WriteLine(repository.Config.GetString(section, name) ?? throw new Finding(
                        $"Key file does not have key “{name}” in group “{section}”", $"config set {section}.{name} VALUE sets it"));
                    break;
                case "set":
                    Set(repository, section, name, given[2]);
                    break;
                default:
                    repository.WriteConfig(repository.Config.Without(section, name));
                    break;
            }

            return 0;
        });
    }

    private static void Set(Repository repository, string section, string name, string value)
    {
        try
        {
            repository.WriteConfig(repository.Config.With(section, name, value));
        }
        catch (MalformedException refused)
        {
            throw new Finding($"Invalid {name} '{value}': {refused.Message}", "nothing was changed");
        }
    }

    private static (string Group, string Key) Split(string text, string? group)
    {
        if (group is not null)
            return (group, text);
        int dot = text.LastIndexOf('.');
        return dot > 0 ? (text[..dot], text[(dot + 1)..]) : throw new Finding("Key must be of the form \"sectionname.keyname\"", "config get core.mode");
    }
}
