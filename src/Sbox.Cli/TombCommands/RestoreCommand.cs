using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb restore</c>.</summary>
internal static class RestoreCommand
{
    public static Command Make()
    {
        Argument<string> wanted = LookingCommands.Snapshot();
        wanted.Arity = ArgumentArity.ZeroOrOne;
        wanted.DefaultValueFactory = static _ => "latest";
        var to = new Option<string>("--to") { Description = "The directory to restore into; made when it is missing", HelpName = "DIR", Required = true };
        var path = new Option<string>("--path") { Description = "Only this path of the snapshot: a directory's content, or one file, lands in DIR itself", HelpName = "PATH", DefaultValueFactory = static _ => "/" };
        var exclude = new Option<string[]>("--exclude", "-e") { Description = "Leave out what matches", HelpName = "PATTERN" };
        var overwrite = new Option<bool>("--overwrite") { Description = "Replace files that are there already and differ; without it they are kept, and named" };
        var dryRun = new Option<bool>("--dry-run", "-n") { Description = "Write nothing; say what would be restored" };
        return new DocumentedCommand("restore", "Restore a snapshot into a directory")
        {
            Details = ["Every byte is verified before it is written. Nothing that is there already is destroyed: files that differ are kept unless --overwrite says otherwise, and nothing is ever deleted. Owners are set when root restores."],
            Examples = [new Example("One file back beside the others", "sbox tomb restore latest --to /tmp/back --path /home/me/letter.odt")],
        }.With(wanted, to, path, exclude, overwrite, dryRun).OnTomb(async (parsed, session, cancel) =>
        {
            (Snapshot snapshot, bool sure) = await session.Choose(parsed.GetValue(wanted)!, cancel);
            await session.Repository.LoadIndex(cancel);
            var options = new RestoreOptions
            {
                Target = parsed.GetValue(to)!, Path = parsed.GetValue(path)!, Excludes = new Excludes(parsed.GetValue(exclude) ?? []),
                Existing = parsed.GetValue(overwrite) ? Existing.Overwrite : Existing.Keep, Owners = Environment.IsPrivilegedProcess, DryRun = parsed.GetValue(dryRun),
            };
            using var line = new ProgressLine(session.Speaker);
            var progress = new Reporter<RestoreProgress>(at => line.Update($"{at.Files} files, {Amount.OfBytes(at.Bytes)} restored"));
            RestoreReport report = await Restorer.Restore(session.Repository, snapshot, options, progress, cancel);
            line.Dispose();
            foreach (string kept in report.Kept)
                Speaker.Complain($"kept as it is: {kept}");
            foreach (Unsaved failed in report.Failed)
                Speaker.Complain($"not as it was saved: {failed.Path}: {failed.Reason}");
            session.Speaker.Answer($"{(options.DryRun ? "would restore" : "restored")} {report.Files} files ({Amount.OfBytes(report.Bytes)}) of snapshot {snapshot.Id.ToString()[..8]} into {options.Target}", writer =>
            {
                writer.WriteString("snapshot", snapshot.Id.ToString());
                writer.WriteNumber("files", report.Files);
                writer.WriteNumber("others", report.Others);
                writer.WriteNumber("bytes", report.Bytes);
                writer.WriteNumber("kept", report.Kept.Count);
                writer.WriteNumber("failed", report.Failed.Count);
                writer.WriteBoolean("dry_run", options.DryRun);
            });
            return !sure || report.Failed.Count > 0 || report.Kept.Count > 0 ? TombCommandSet.Incomplete : 0;
        });
    }
}
