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
        return new DocumentedCommand("fsck", "Check that a repository is whole").With(quiet, delete, all, bindings).OnRepository((parsed, repository, cancel) =>
        {
            bool silent = parsed.GetValue(quiet);
            using var line = new ProgressLine(new Speaker(json: false));
            var progress = new Reporter<FsckProgress>(at => line.Update($"fsck objects ({at.Checked}/{at.Total}) {(at.Total > 0 ? at.Checked * 100 / at.Total : 0)}%"));
            if (!silent)
                Console.Out.Write("Validating refs...\nValidating refs in collections...\nEnumerating commits...\n");
            FsckReport report = repository.Fsck(
                new FsckOptions { Delete = parsed.GetValue(delete), VerifyBindings = parsed.GetValue(bindings) }, silent ? null : progress, cancel);
            line.Dispose();
            if (!silent)
                Console.Out.WriteLine($"Verifying content integrity of {report.Commits} commit objects...");
            foreach (FsckProblem problem in parsed.GetValue(all) ? report.Problems : report.Problems.Take(1))
                Console.Error.WriteLine($"error: {problem.Subject}: {problem.Detail}");
            if (report.IsWhole && !silent)
                Console.Out.WriteLine($"object fsck of {report.Commits} commits completed successfully - no errors found.");
            if (report.PartialCommits > 0 && !silent)
                Console.Error.WriteLine($"{report.PartialCommits} partial commits not verified");
            if (!report.IsWhole)
                Console.Error.WriteLine($"error: {report.Problems.Count} {(report.Problems.Count == 1 ? "problem" : "problems")} in {repository.Path}");
            return report.IsWhole ? 0 : 1;
        });
    }

    public static Command Prune()
    {
        var refsOnly = new Option<bool>("--refs-only") { Description = "Keep only what refs lead to" };
        var depth = new Option<int>("--depth") { Description = "Parents to keep of each ref's commit; -1 for all", HelpName = "DEPTH", DefaultValueFactory = static _ => -1 };
        var dryRun = new Option<bool>("--no-prune") { Description = "Only say what would be deleted" };
        return new DocumentedCommand("prune", "Delete what nothing needs").With(refsOnly, depth, dryRun).OnRepository((parsed, repository, cancel) =>
        {
            PruneReport report = repository.Prune(
                new PruneOptions { RefsOnly = parsed.GetValue(refsOnly), Depth = parsed.GetValue(depth), DryRun = parsed.GetValue(dryRun) }, cancel);
            Console.Out.WriteLine($"Total objects: {report.ObjectsTotal}");
            Console.Out.WriteLine(report.ObjectsDeleted == 0 ? "No unreachable objects"
                : parsed.GetValue(dryRun) ? $"Would delete: {report.ObjectsDeleted} objects, freeing {Amount.OfBytes(report.BytesFreed)}"
                : $"Deleted {report.ObjectsDeleted} objects, {Amount.OfBytes(report.BytesFreed)} freed");
            return 0;
        });
    }

    public static Command Config()
    {
        var what = new Argument<string>("get|set|unset") { Description = "What to do" };
        what.AcceptOnlyFromAmong("get", "set", "unset");
        var key = new Argument<string>("KEY") { Description = "GROUP.KEY, or KEY with --group" };
        var value = new Argument<string?>("VALUE") { Description = "The new value, for set", Arity = ArgumentArity.ZeroOrOne };
        var group = new Option<string?>("--group") { Description = "The group, where its name has a dot or space", HelpName = "GROUP" };
        return new DocumentedCommand("config", "Read and change a repository's settings").With(what, key, value, group).OnRepository((parsed, repository, _) =>
        {
            (string section, string name) = Split(parsed.GetValue(key)!, parsed.GetValue(group));
            switch (parsed.GetValue(what))
            {
                case "get":
                    Console.Out.WriteLine(repository.Config.GetString(section, name) ?? throw new Finding(
                        $"Key file does not have key “{name}” in group “{section}”", $"config set {section}.{name} VALUE sets it"));
                    break;
                case "set":
                    repository.WriteConfig(repository.Config.With(section, name, parsed.GetValue(value)
                        ?? throw new Finding("set needs a VALUE", "config set KEY VALUE")));
                    break;
                default:
                    repository.WriteConfig(repository.Config.Without(section, name));
                    break;
            }

            return 0;
        });
    }

    private static (string Group, string Key) Split(string text, string? group)
    {
        if (group is not null)
            return (group, text);
        int dot = text.LastIndexOf('.');
        return dot > 0 ? (text[..dot], text[(dot + 1)..]) : throw new Finding("Key must be of the form \"sectionname.keyname\"", "config get core.mode");
    }
}
