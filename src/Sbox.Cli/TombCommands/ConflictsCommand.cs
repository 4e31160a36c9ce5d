using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb conflicts</c>: what two boxes saved without knowing of each other.</summary>
internal static class ConflictsCommand
{
    public static Command Make()
    {
        var merge = new Option<bool>("--merge") { Description = "Bring them together in a new snapshot; the old ones stay" };
        return new DocumentedCommand("conflicts", "Show, and bring together, what two boxes saved without knowing of each other")
        {
            Details =
            [
                "Both histories are always kept. Brought together, what one side changed is taken; a file that both changed is there twice, the other box's with its name behind it; "
                + "what one side deleted and the other changed is there. No file is read for it. A tomb that is open shows it after it was closed and opened again.",
                "Exit status 0: there is nothing to bring together (any more); 1: there is.",
            ],
            Examples = [new Example("After two boxes have saved", "sbox tomb conflicts --merge")],
        }.With(merge).OnTomb(async (parsed, session, cancel) =>
        {
            var history = new SnapshotHistory(await session.Snapshots(cancel));
            IReadOnlyList<Snapshot> others = history.NewestParted is { } newest ? history.Diverged(newest) : [];
            if (others.Count == 0)
            {
                session.Speaker.Note("Nothing has parted.");
                return 0;
            }

            if (!parsed.GetValue(merge))
            {
                Say(session, history, others);
                return 1;
            }

            await session.Repository.LoadIndex(cancel);
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: false, TimeProvider.System, cancel);
            Snapshot first = history.NewestParted!;
            foreach (Snapshot other in others)
            {
                HistoryMerged done = await HistoryMerge.Run(session.Repository, history, first, other, $"sbox {ProgramVersion.Text}", TimeProvider.System, cancel);
                TombSession.Memory.Remember(session.Repository, done.Snapshot);
                Say(session, done, other);
                history = new SnapshotHistory([.. history.Snapshots, done.Snapshot]);
                first = done.Snapshot;
            }

            return 0;
        });
    }

    private static void Say(TombSession session, SnapshotHistory history, IReadOnlyList<Snapshot> others)
    {
        foreach (Snapshot each in others.Prepend(history.NewestParted!))
        {
            session.Speaker.Answer($"{each.Id.ToString()[..8]}  {LookingCommands.Time(each.Time)}  {each.Hostname}", json =>
            {
                json.WriteString("snapshot", each.Id.ToString());
                json.WriteString("hostname", each.Hostname);
                json.WriteString("time", each.Time.ToString());
            });
        }

        session.Speaker.Note("None of these came out of another: sbox tomb conflicts --merge brings them together.");
    }

    private static void Say(TombSession session, HistoryMerged done, Snapshot other) => session.Speaker.Answer(
        $"merged {other.Id.ToString()[..8]} of {other.Hostname}: snapshot {done.Snapshot.Id.ToString()[..8]}"
            + string.Concat(done.Twice.Select(static path => $"\n  changed on both, there twice: {path}")) + string.Concat(done.Kept.Select(static path => $"\n  deleted on one, changed on the other, kept: {path}")),
        json =>
        {
            json.WriteString("snapshot", done.Snapshot.Id.ToString());
            json.WriteString("merged", other.Id.ToString());
            json.WriteStartArray("twice");
            foreach (string path in done.Twice)
                json.WriteStringValue(path);
            json.WriteEndArray();
            json.WriteStartArray("kept");
            foreach (string path in done.Kept)
                json.WriteStringValue(path);
            json.WriteEndArray();
        });
}
