using System.CommandLine;
using System.Globalization;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary>Commands that put something into a tomb.</summary>
internal static class SavingCommands
{
    public static Command Create()
    {
        Command command = new DocumentedCommand("create", "Make a new tomb")
        {
            Details = ["Whoever loses the password loses the tomb: nobody can open it without. More passwords can be added with sbox tomb key add."],
            Examples = [new Example("On a rest-server", "sbox tomb --tomb rest:https://host:8000/me create")],
        };
        command.SetAction(async (parsed, cancel) =>
        {
            await using TombSession session = await TombSession.Create(parsed, cancel);
            session.Speaker.Answer($"made tomb {session.Repository.Config.Id.ToString()[..8]} at {session.Backend.Location}", writer =>
            {
                writer.WriteString("tomb", session.Repository.Config.Id.ToString());
                writer.WriteString("location", session.Backend.Location);
            });
            return 0;
        });
        return command;
    }

    public static Command Save()
    {
        var paths = new Argument<string[]>("PATH") { Description = "What to save; the settings file's paths where none is named", Arity = ArgumentArity.ZeroOrMore };
        var exclude = new Option<string[]>("--exclude", "-e") { Description = "Leave out what matches; may be given several times", HelpName = "PATTERN" };
        var excludeFile = new Option<string[]>("--exclude-file") { Description = "Leave out what matches a line of this file", HelpName = "FILE" };
        var caches = new Option<bool>("--exclude-caches") { Description = "Leave out directories that hold a CACHEDIR.TAG" };
        var oneFileSystem = new Option<bool>("--one-file-system", "-x") { Description = "Leave out file systems that are mounted below the paths" };
        var tags = new Option<string[]>("--tag") { Description = "A word for the snapshot; may be given several times", HelpName = "TAG" };
        var host = new Option<string?>("--host") { Description = "The machine's name in the snapshot", HelpName = "NAME" };
        var force = new Option<bool>("--force", "-f") { Description = "Read every file, also those that seem unchanged" };
        var skip = new Option<bool>("--skip-if-unchanged") { Description = "Write no snapshot when nothing changed" };
        var dryRun = new Option<bool>("--dry-run", "-n") { Description = "Write nothing; say what would be saved" };
        var open = new Option<string?>("--open") { Description = "Save this open tomb; without PATH and --tomb, the one that is open", HelpName = "NAME" };
        var all = new Option<bool>("--all") { Description = "Save every open tomb; done before the machine sleeps" };
        Option<string> run = SessionCommands.RunDirectory();
        Command command = new DocumentedCommand("save", "Save files into the tomb, or what changed in an open one")
        {
            Details =
            [
                "Only what changed since the last snapshot of the same paths is read, and only what the tomb does not have travels. A save that was cut short is gone on with by the next one.",
                "Without PATH, a tomb that is open (sbox tomb open) saves what changed in it.",
                "What is counted is what restic counts, and what the snapshot has in it (sbox tomb --json snapshots): each name of a regular file that was saved is a file, new where the parent snapshot has nothing of that name, "
                + "unchanged where it is in every way as there. Links, devices and what could not be read are not counted; with --json directories are, those on the way to PATH too. Of an open tomb the files that were read are counted.",
                "Patterns are restic's: * and ? within a name, ** over directories; one that begins with / is about the whole path.",
            ],
            Examples = [new Example("A home without its caches", "sbox tomb save /home/me -e .cache -e '*.iso'")],
        }.With(paths, exclude, excludeFile, caches, oneFileSystem, tags, host, force, skip, dryRun, open, all, run).OnTomb(async (parsed, session, cancel) =>
        {
            string[] named = parsed.GetValue(paths) is { Length: > 0 } given ? given : [.. session.Settings.Paths];
            if (named.Length == 0)
                throw new Finding("nothing to save is named", "Name paths, or write paths = [\"/home/me\"] into the settings file");
            var options = new SaveOptions
            {
                Paths = [.. named.Select(Path.GetFullPath).Select(static path => path.Length > 1 ? path.TrimEnd('/') : path).Distinct(StringComparer.Ordinal)],
                Excludes = new Excludes([.. session.Settings.Excludes, .. parsed.GetValue(exclude) ?? [], .. (parsed.GetValue(excludeFile) ?? []).SelectMany(File.ReadLines)]),
                ExcludeCaches = parsed.GetValue(caches), OneFileSystem = parsed.GetValue(oneFileSystem), Tags = parsed.GetValue(tags) ?? [],
                Hostname = parsed.GetValue(host) ?? Environment.MachineName, ProgramVersion = $"sbox {ProgramVersion.Text}", ReadAll = parsed.GetValue(force),
                SkipIfUnchanged = parsed.GetValue(skip), DryRun = parsed.GetValue(dryRun),
            };
            return await Save(session, options, cancel);
        });
        var whole = (System.CommandLine.Invocation.AsynchronousCommandLineAction)command.Action!;
        command.SetAction((parsed, cancel) =>
        {
            var client = new Sbox.Tomb.Sessions.SessionClient(parsed.GetValue(run)!);
            if (parsed.GetValue(all))
                return SessionCommands.SaveAll(client, parsed.GetValue(TombSession.Json), cancel);
            bool session = parsed.GetValue(open) is not null || (parsed.GetValue(paths) is not { Length: > 0 } && parsed.GetValue(TombSession.Tomb) is null && client.Names.Count > 0);
            return session
                ? SessionCommands.Save(client, SessionCommands.Which(client, parsed.GetValue(open)), new Speaker(parsed.GetValue(TombSession.Json)), cancel)
                : whole.InvokeAsync(parsed, cancel);
        });
        return command;
    }

    private static async Task<int> Save(TombSession session, SaveOptions options, CancellationToken cancel)
    {
        await using TombLock held = await TombLock.Take(session.Repository, exclusive: false, TimeProvider.System, cancel);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, held.Lost);
        IReadOnlyList<Snapshot> snapshots = (await session.Readable(wantsNewest: false, stop.Token)).Snapshots; // a damaged one is no reason to save nothing
        await session.Repository.LoadIndex(stop.Token);
        using var line = new ProgressLine(session.Speaker);
        var progress = new Reporter<SaveProgress>(at => line.Update($"{at.Files} files, {Amount.OfBytes(at.BytesRead)} read  {at.Path}"));
        SaveReport report = await Saver.Save(session.Repository, Saver.ParentFor(snapshots, options), options, TimeProvider.System, progress, stop.Token);
        line.Dispose();
        if (report.Snapshot is { } written)
            TombSession.Memory.Remember(session.Repository, written);
        foreach (Unsaved each in report.Unsaved)
            Speaker.Complain($"not saved: {each.Path}: {each.Reason}");
        Answer(session, report, options.DryRun);
        return report.Unsaved.Count > 0 ? TombCommandSet.Incomplete : 0;
    }

    private static void Answer(TombSession session, SaveReport report, bool dryRun)
    {
        string what = report.Snapshot is { } snapshot ? $"saved snapshot {snapshot.Id.ToString()[..8]}" : dryRun ? "would be saved" : "nothing changed; no snapshot was written";
        session.Speaker.Answer(
            string.Create(CultureInfo.InvariantCulture, $"{what}: {report.FilesNew} new, {report.FilesChanged} changed, {report.FilesUnmodified} unchanged files, {Amount.OfBytes(report.BytesTotal)}; {Amount.OfBytes(report.BytesAdded)} added ({Amount.OfBytes(report.BytesStored)} stored)"),
            writer =>
            {
                if (report.Snapshot is { } written)
                    writer.WriteString("snapshot", written.Id.ToString());
                if (report.Parent is { } parent)
                    writer.WriteString("parent", parent.ToString());
                writer.WriteString("tree", report.Tree.ToString());
                writer.WriteNumber("files_new", report.FilesNew);
                writer.WriteNumber("files_changed", report.FilesChanged);
                writer.WriteNumber("files_unmodified", report.FilesUnmodified);
                writer.WriteNumber("dirs_new", report.DirectoriesNew);
                writer.WriteNumber("dirs_changed", report.DirectoriesChanged);
                writer.WriteNumber("dirs_unmodified", report.DirectoriesUnmodified);
                writer.WriteNumber("bytes_total", report.BytesTotal);
                writer.WriteNumber("bytes_added", report.BytesAdded);
                writer.WriteNumber("bytes_stored", report.BytesStored);
                writer.WriteNumber("unsaved", report.Unsaved.Count);
                writer.WriteBoolean("dry_run", dryRun);
            });
    }
}
