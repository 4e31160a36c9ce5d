using System.CommandLine;
using System.Globalization;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary>Commands that keep a tomb well: forget, prune, check, stats, unlock.</summary>
internal static class KeepingCommands
{
    public static Command Forget()
    {
        var ids = new Argument<string[]>("SNAPSHOT") { Description = "Snapshots to forget; without any, the rules say which", Arity = ArgumentArity.ZeroOrMore };
        Option<int> last = Keep("--keep-last", "The newest N"), hourly = Keep("--keep-hourly", "The newest of each of N hours"), daily = Keep("--keep-daily", "The newest of each of N days"),
            weekly = Keep("--keep-weekly", "The newest of each of N weeks"), monthly = Keep("--keep-monthly", "The newest of each of N months"), yearly = Keep("--keep-yearly", "The newest of each of N years");
        var within = new Option<string?>("--keep-within") { Description = "All that are younger than this, counted from the newest: 36h, 7d, 8w, 1y5m7d2h", HelpName = "SPAN" };
        var tags = new Option<string[]>("--keep-tag") { Description = "Keep: all with this tag, or with all of several that commas part", HelpName = "TAG" };
        var groupBy = new Option<string>("--group-by", "-g") { Description = "Apply the rules to each group of snapshots that have these in common: any of host, paths, tags, with commas between; \"\" for one group of all", HelpName = "WORDS", DefaultValueFactory = static _ => "host,paths" };
        var prune = new Option<bool>("--prune") { Description = "Also free the space" };
        var dryRun = new Option<bool>("--dry-run", "-n") { Description = "Delete nothing; say what would go" };
        return new DocumentedCommand("forget", "Delete snapshots")
        {
            Details =
            [
                "Rules are restic's, and apply to each machine's snapshots of the same paths; what no rule keeps goes. Hours, days and weeks are those of the clock that a snapshot was made by. "
                + "Where no rule keeps any snapshot of a group, nothing at all is deleted. The space is freed by prune.",
            ],
            Examples = [new Example("Two weeks of days, a year of months", "sbox tomb forget --keep-daily 14 --keep-monthly 12 --prune")],
        }.With(ids, last, hourly, daily, weekly, monthly, yearly, within, tags, groupBy, prune, dryRun).OnTomb(async (parsed, session, cancel) =>
        {
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: true, TimeProvider.System, cancel);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, held.Lost);
            IReadOnlyList<Snapshot> snapshots = await session.Snapshots(stop.Token);
            var policy = new ForgetPolicy
            {
                Last = parsed.GetValue(last), Hourly = parsed.GetValue(hourly), Daily = parsed.GetValue(daily), Weekly = parsed.GetValue(weekly), Monthly = parsed.GetValue(monthly),
                Yearly = parsed.GetValue(yearly), Within = Span(parsed.GetValue(within)), Tags = [.. (parsed.GetValue(tags) ?? []).Select(static list => list.Split(','))],
                GroupBy = Grouping(parsed.GetValue(groupBy)!),
            };
            string[] named = parsed.GetValue(ids) ?? [];
            if (named.Length == 0 && policy.IsEmpty)
                throw new Finding("neither a snapshot nor a rule is named", "Without a rule everything would go: sbox tomb forget --help");
            ForgetPlan plan = named.Length > 0 ? new ForgetPlan([], [.. named.Select(id => SnapshotChoice.Find(session.Repository, snapshots, id)).Distinct()]) : policy.Apply(snapshots, DateTimeOffset.UtcNow);
            foreach (Snapshot each in plan.Forget)
                session.Speaker.Line($"{(parsed.GetValue(dryRun) ? "would forget" : "forget")} {each.Id.ToString()[..8]}  {LookingCommands.Time(each.Time)}  {string.Join(' ', each.Paths)}", writer => writer.WriteString("forget", each.Id.ToString()));
            if (parsed.GetValue(dryRun))
                return 0;
            await plan.Execute(session.Repository, stop.Token);
            TombSession.Memory.Remember(session.Repository, await session.Repository.Snapshots(stop.Token));
            return parsed.GetValue(prune) ? await Prune(session, dryRun: false, stop.Token) : 0;
        });
    }

    public static Command Prune()
    {
        var dryRun = new Option<bool>("--dry-run", "-n") { Description = "Delete nothing; say what would go" };
        return new DocumentedCommand("prune", "Free the space of what no snapshot needs")
        {
            Details = ["Stopped at any moment, the tomb is whole. Nothing is deleted while something that snapshots need is missing: sbox tomb check tells what."],
        }.With(dryRun).OnTomb(async (parsed, session, cancel) =>
        {
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: true, TimeProvider.System, cancel);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, held.Lost);
            return await Prune(session, parsed.GetValue(dryRun), stop.Token);
        });
    }

    private static async Task<int> Prune(TombSession session, bool dryRun, CancellationToken cancel)
    {
        await session.Snapshots(cancel);
        await session.Repository.LoadIndex(cancel);
        using var line = new ProgressLine(session.Speaker);
        PrunePlan plan = await PrunePlan.Make(session.Repository, new Reporter<int>(at => line.Update($"{at} snapshots walked")), cancel);
        if (!dryRun)
            await plan.Execute(session.Repository, TimeProvider.System, new Reporter<long>(at => line.Update($"{Amount.OfBytes(at)} of {Amount.OfBytes(plan.BytesRepacked)} written anew")), cancel);
        line.Dispose();
        session.Speaker.Answer($"{(dryRun ? "would free" : "freed")} {Amount.OfBytes(plan.BytesFreed)}: {plan.Delete.Count + plan.Unlisted.Count} packs deleted, {plan.Repack.Count} written anew, {plan.Keep} kept", writer =>
        {
            writer.WriteNumber("bytes_freed", plan.BytesFreed);
            writer.WriteNumber("packs_deleted", plan.Delete.Count + plan.Unlisted.Count);
            writer.WriteNumber("packs_repacked", plan.Repack.Count);
            writer.WriteNumber("packs_kept", plan.Keep);
            writer.WriteBoolean("dry_run", dryRun);
        });
        return 0;
    }

    public static Command Check()
    {
        var readData = new Option<bool>("--read-data") { Description = "Read every byte; without it, the index, the sizes of packs and all directories are checked" };
        var repair = new Option<bool>("--repair") { Description = "Save what can be saved of damaged packs, make the index right, and take files that are lost out of the snapshots" };
        return new DocumentedCommand("check", "Check that the tomb is whole")
        {
            Details = ["What is wrong is said file by file, the paths in snapshots that cannot be restored too. After --repair, a save brings back what the home still has."],
        }.With(readData, repair).OnTomb(async (parsed, session, cancel) =>
        {
            bool mend = parsed.GetValue(repair);
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: mend, TimeProvider.System, cancel);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, held.Lost);
            using var line = new ProgressLine(session.Speaker);
            var progress = new Reporter<CheckProgress>(at => line.Update(at.Total > 0 ? $"{at.Step}: {at.Done} of {at.Total}" : at.Step));
            CheckReport report = await TombCheck.Run(session.Repository, new CheckOptions { ReadData = parsed.GetValue(readData) || mend }, progress, stop.Token);
            line.Dispose();
            foreach (CheckProblem problem in report.Problems)
                Speaker.Complain($"{session.Backend.Location}: {problem.What}: {problem.Finding}");
            foreach (CheckProblem lost in report.LostFiles)
                Speaker.Complain($"lost: {lost.What}: {lost.Finding}");
            session.Speaker.Answer($"{(report.IsWhole ? "whole" : "damaged")}: {report.Snapshots} snapshots, {report.Trees} directories, {report.Packs} packs{(report.BytesRead > 0 ? $", {Amount.OfBytes(report.BytesRead)} read" : "")}"
                + $"{(report.UnlistedPacks.Count > 0 ? $"; {report.UnlistedPacks.Count} packs are in no index ({(report.BadIndexes.Count > 0 || report.LostFiles.Count > 0 ? "sbox tomb check --repair lists them again" : "prune takes them")})" : "")}", writer =>
            {
                writer.WriteBoolean("whole", report.IsWhole);
                writer.WriteNumber("snapshots", report.Snapshots);
                writer.WriteNumber("packs", report.Packs);
                writer.WriteNumber("problems", report.Problems.Count);
                writer.WriteNumber("lost", report.LostFiles.Count);
                writer.WriteNumber("unlisted_packs", report.UnlistedPacks.Count);
            });
            if (!mend || report is { IsWhole: true, UnlistedPacks.Count: 0 })
                return report.IsWhole ? 0 : 1;
            RepairReport done = await TombRepair.Run(session.Repository, report, TimeProvider.System, stop.Token);
            TombSession.Memory.Follow(session.Repository, done);
            foreach (Checksum key in report.BadKeys)
                session.Speaker.Note($"key {key.ToString()[..8]} stays damaged: whoever's it is may have a copy of the file; sbox tomb key remove {key.ToString()[..8]} takes it away");
            Say(session, done);
            return 0;
        });
    }

    private static void Say(TombSession session, RepairReport done)
    {
        foreach ((Checksum old, Checksum now) in done.Rewritten)
            session.Speaker.Note($"snapshot {old.ToString()[..8]} is now {now.ToString()[..8]}, without what is lost");
        foreach (Checksum gone in done.Unreadable)
            session.Speaker.Note($"snapshot {gone.ToString()[..8]} is lost: its file could not be read, and was removed; the others stay");
        foreach (Checksum gone in done.Gone)
            session.Speaker.Note($"snapshot {gone.ToString()[..8]} is gone: nothing of it could be read");
        session.Speaker.Answer($"repaired: {done.Salvaged} blobs saved out of {done.Dropped} bad packs, {done.Adopted} packs listed again, {done.Rewritten.Count} snapshots written anew", writer =>
        {
            writer.WriteNumber("salvaged", done.Salvaged);
            writer.WriteNumber("dropped_packs", done.Dropped);
            writer.WriteNumber("adopted_packs", done.Adopted);
            writer.WriteNumber("rewritten_snapshots", done.Rewritten.Count);
            LookingCommands.Texts(writer, "lost_snapshots", [.. done.Unreadable.Concat(done.Gone).Select(static each => each.ToString())]);
        });
    }

    public static Command Stats() => new DocumentedCommand("stats", "Show how large the tomb is").OnTomb(static async (_, session, cancel) =>
    {
        SnapshotListing listing = await session.Readable(wantsNewest: false, cancel);
        int snapshots = listing.Snapshots.Count;
        await session.Repository.LoadIndex(cancel);
        long plain = 0, stored = 0;
        BlobIndex index = session.Repository.Index;
        for (int number = 0; number < index.Count; number++)
        {
            BlobLocation blob = index[number];
            (plain, stored) = (plain + blob.PlainLength, stored + blob.Length);
        }

        session.Speaker.Answer(string.Create(CultureInfo.InvariantCulture, $"{snapshots} snapshots, {index.Count} blobs in {index.Packs.Count} packs, {Amount.OfBytes(plain)} of data in {Amount.OfBytes(stored)}"), writer =>
        {
            writer.WriteNumber("snapshots", snapshots);
            writer.WriteNumber("damaged_snapshots", listing.Damaged.Count);
            writer.WriteNumber("blobs", index.Count);
            writer.WriteNumber("packs", index.Packs.Count);
            writer.WriteNumber("plain_bytes", plain);
            writer.WriteNumber("stored_bytes", stored);
        });
        return listing.Damaged.Count > 0 ? TombCommandSet.Incomplete : 0;
    });

    public static Command Unlock()
    {
        var all = new Option<bool>("--all") { Description = "Every lock, also those that look as if someone held them: only when nobody is at work on the tomb" };
        return new DocumentedCommand("unlock", "Delete locks that nobody holds any more")
        {
            Details = ["Those that processes of this machine left behind, and those that nobody has renewed for 30 minutes by this machine's clock."],
        }.With(all).OnTomb(async (parsed, session, cancel) =>
        {
            foreach (LockRecord removed in await TombLock.RemoveStale(session.Repository, parsed.GetValue(all), TimeProvider.System, cancel))
                session.Speaker.Answer($"deleted the lock of {removed}", writer => writer.WriteString("lock", removed.ToString()));
            return 0;
        });
    }

    private static Option<int> Keep(string name, string description) => new(name) { Description = $"Keep: {char.ToLowerInvariant(description[0])}{description[1..]} (unlimited, or -1, for all)", HelpName = "N", CustomParser = Count };

    private static int Count(System.CommandLine.Parsing.ArgumentResult result)
    {
        string word = result.Tokens[^1].Value;
        if (word == "unlimited")
            return -1;
        if (int.TryParse(word, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int count) && count >= -1)
            return count;
        result.AddError($"{((System.CommandLine.Parsing.OptionResult)result.Parent!).Option.Name}: '{word}' is no number of snapshots");
        return 0;
    }

    private static CalendarSpan Span(string? text) => text is null ? default
        : CalendarSpan.Parse(text) ?? throw new Finding($"'{text}' is no span of time", "Numbers with y, m, w, d or h behind each: --keep-within 7d, --keep-within 1y6m");

    private static SnapshotGrouping Grouping(string words) => words.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
        .Aggregate(SnapshotGrouping.None, static (all, word) => all | word switch
        {
            "host" => SnapshotGrouping.Host,
            "path" or "paths" => SnapshotGrouping.Paths,
            "tag" or "tags" => SnapshotGrouping.Tags,
            _ => throw new Finding($"'{word}' is nothing that snapshots can have in common", "--group-by takes host, paths and tags, with commas between"),
        });
}
