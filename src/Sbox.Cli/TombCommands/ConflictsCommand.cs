using System.CommandLine;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb conflicts</c>: what two boxes saved without knowing of each other.</summary>
internal static class ConflictsCommand
{
    public static Command Make()
    {
        var merge = new Option<bool>("--merge") { Description = "Bring them together in a new snapshot; the old ones stay" };
        var mine = new Option<string[]>("--mine") { Description = "With --merge: of this file, or of all below this directory, take what this machine saved; may be given several times", HelpName = "PATH" };
        var theirs = new Option<string[]>("--theirs") { Description = "With --merge: the same, what the other machine saved", HelpName = "PATH" };
        return new DocumentedCommand("conflicts", "Show, and bring together, what two boxes saved without knowing of each other")
        {
            Details =
            [
                "Both histories are always kept. Brought together, what one side changed is taken; a file that both changed is there twice, the other box's with its name behind it; "
                + "what one side deleted and the other changed is there. No file is read for it. A tomb that is open shows it after it was closed and opened again.",
                "Without --merge the snapshots are shown, and the files that both changed, or that one deleted and the other changed. Of these, --mine and --theirs take one side only; "
                + "the other is still in its own snapshot, from which sbox tomb restore brings it back.",
                "Exit status 0: there is nothing to bring together (any more); 1: there is; 3: the same as 0, but for snapshots that cannot be read, which are named.",
            ],
            Examples =
            [
                new Example("After two boxes have saved", "sbox tomb conflicts --merge"),
                new Example("One file as it is here, and all of a directory as it is on the other box", "sbox tomb conflicts --merge --mine /home/me/plan --theirs /home/me/music"),
            ],
        }.With(merge, mine, theirs).OnTomb(async (parsed, session, cancel) =>
        {
            var choices = new ConflictChoices(parsed.GetValue(mine) ?? [], parsed.GetValue(theirs) ?? []);
            if (choices.Any && !parsed.GetValue(merge))
                throw new Finding("--mine and --theirs say how to bring together what has parted, and that was not asked for", "Add --merge");
            // What is brought together is compared with what both came out of, so a merge wants all snapshots; a look does with those that can be read.
            SnapshotListing listing = parsed.GetValue(merge) ? new SnapshotListing(await session.Snapshots(cancel), []) : await session.Readable(wantsNewest: false, cancel);
            var history = new SnapshotHistory(listing.Snapshots);
            int whole = listing.Damaged.Count > 0 ? TombCommandSet.Incomplete : 0;
            IReadOnlyList<Snapshot> others = history.NewestParted is { } newest ? history.Diverged(newest) : [];
            if (others.Count == 0)
            {
                session.Speaker.Note("Nothing has parted.");
                return whole;
            }

            await session.Repository.LoadIndex(cancel);
            if (!parsed.GetValue(merge))
            {
                await Show(session, history, others, cancel);
                return 1;
            }

            await choices.Check(session.Repository, history, others, cancel);
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: false, TimeProvider.System, cancel);
            Snapshot first = history.NewestParted!;
            foreach (Snapshot other in others)
            {
                HistoryMerged done = await HistoryMerge.Run(session.Repository, history, first, other, choices.Between(first, other), $"sbox {ProgramVersion.Text}", TimeProvider.System, cancel);
                TombSession.Memory.Remember(session.Repository, done.Snapshot!);
                Say(session, done, first, other);
                history = new SnapshotHistory([.. history.Snapshots, done.Snapshot!]);
                first = done.Snapshot!;
            }

            return 0;
        });
    }

    private static async Task Show(TombSession session, SnapshotHistory history, IReadOnlyList<Snapshot> others, CancellationToken cancel)
    {
        Snapshot first = history.NewestParted!;
        foreach (Snapshot each in others.Prepend(first))
        {
            session.Speaker.Line($"{each.Id.ToString()[..8]}  {LookingCommands.Time(each.Time)}  {each.Hostname}", json =>
            {
                json.WriteString("snapshot", each.Id.ToString());
                json.WriteString("hostname", each.Hostname);
                json.WriteString("time", each.Time.ToString());
            });
        }

        foreach (Snapshot other in others)
        {
            HistoryMerged plan = await HistoryMerge.Plan(session.Repository, history, first, other, static _ => MergeSide.Both, cancel);
            foreach ((string path, bool twice) in plan.Twice.Select(static path => (path, true)).Concat(plan.Kept.Select(static path => (path, false))))
            {
                session.Speaker.Line($"  {(twice ? "changed on both" : "deleted on one, changed on the other")}: {path}", json =>
                {
                    Speaker.Name(json, "path", path);
                    json.WriteString("finding", twice ? "changed-on-both" : "deleted-and-changed");
                    json.WriteString("snapshot", first.Id.ToString());
                    json.WriteString("other", other.Id.ToString());
                });
            }
        }

        session.Speaker.Note("None of these snapshots came out of another: sbox tomb conflicts --merge brings them together; with --mine PATH or --theirs PATH only one side of a file is taken.");
    }

    private static void Say(TombSession session, HistoryMerged done, Snapshot first, Snapshot other)
    {
        string Box(MergeSide side) => side == MergeSide.First ? first.Hostname : other.Hostname;
        session.Speaker.Answer(
            $"merged {other.Id.ToString()[..8]} of {other.Hostname}: snapshot {done.Snapshot!.Id.ToString()[..8]}"
                + string.Concat(done.Twice.Select(static path => $"\n  changed on both, there twice: {PlainText.LineForOutput(path)}")) + string.Concat(done.Kept.Select(static path => $"\n  deleted on one, changed on the other, kept: {PlainText.LineForOutput(path)}"))
                + string.Concat(done.Chosen.Select(each => $"\n  as it is on {Box(each.Side)}: {PlainText.LineForOutput(each.Path)}")),
            json =>
            {
                json.WriteString("snapshot", done.Snapshot.Id.ToString());
                json.WriteString("merged", other.Id.ToString());
                Write(json, "twice", done.Twice);
                Write(json, "kept", done.Kept);
                json.WriteStartArray("chosen");
                foreach ((string path, MergeSide side) in done.Chosen)
                {
                    json.WriteStartObject();
                    Speaker.Name(json, "path", path);
                    json.WriteString("hostname", Box(side));
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            });
    }

    private static void Write(Utf8JsonWriter json, string name, IReadOnlyList<string> paths)
    {
        json.WriteStartArray(name);
        foreach (string path in paths)
            json.WriteStringValue(path);
        json.WriteEndArray();
    }
}
