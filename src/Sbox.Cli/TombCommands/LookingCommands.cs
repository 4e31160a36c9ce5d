using System.CommandLine;
using System.Globalization;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary>Commands that only look.</summary>
internal static class LookingCommands
{
    public static Argument<string> Snapshot(string name = "SNAPSHOT") => new(name) { Description = "A snapshot's id, the beginning of one, or latest" };

    public static Command Snapshots() => new DocumentedCommand("snapshots", "List the snapshots, oldest first").OnTomb(static async (_, session, cancel) =>
    {
        IReadOnlySet<Checksum> known = TombSession.Memory.Known(session.Repository);
        SnapshotListing listing = await session.Readable(wantsNewest: false, cancel);
        TombSession.Memory.Remember(session.Repository, listing, known);
        foreach (Snapshot each in listing.Snapshots)
        {
            string tags = each.Tags.Count > 0 ? $"  [{string.Join(", ", each.Tags)}]" : "";
            session.Speaker.Line($"{each.Id.ToString()[..8]}  {Time(each.Time)}  {each.Hostname,-12}  {string.Join(' ', each.Paths)}{tags}", writer =>
            {
                writer.WriteString("id", each.Id.ToString());
                writer.WriteString("time", each.Time.ToString());
                writer.WriteString("tree", each.Tree.ToString());
                writer.WriteString("hostname", each.Hostname);
                writer.WriteString("username", each.Username);
                Texts(writer, "paths", each.Paths);
                Texts(writer, "tags", each.Tags);
                if (SnapshotSummary.TotalsOf(each) is var (files, bytes))
                {
                    writer.WriteNumber("files", files);
                    writer.WriteNumber("bytes", bytes);
                }
            });
        }

        return listing.Damaged.Count > 0 ? TombCommandSet.Incomplete : 0;
    });

    public static Command List()
    {
        Argument<string> wanted = Snapshot();
        var path = new Argument<string?>("PATH") { Description = "A path in the snapshot; all of it where none is named", Arity = ArgumentArity.ZeroOrOne };
        Option<bool> nul = Nul();
        return new DocumentedCommand("ls", "List what is in a snapshot")
        {
            Details = [$"Exit status 0: all of it; 1: there is no such path; 3: a directory could not be read, and is named.", Bytes],
            Examples = [new Example("All of the newest", "sbox tomb ls latest")],
        }.With(wanted, path, nul).OnTomb(async (parsed, session, cancel) =>
        {
            (Snapshot snapshot, bool sure) = await session.Choose(parsed.GetValue(wanted)!, cancel);
            await session.Repository.LoadIndex(cancel);
            string top = parsed.GetValue(path)?.Trim('/') is { Length: > 0 } below ? $"/{below}" : "";
            bool found = top.Length == 0;
            var walk = new SnapshotWalk(session, cancel);
            await walk.Walk(snapshot, (at, node) =>
            {
                bool shown = at == top || at.StartsWith(top + "/", StringComparison.Ordinal);
                found |= shown;
                if (shown)
                    Say(session.Speaker, at, node, parsed.GetValue(nul));
                return shown || top.StartsWith(at + "/", StringComparison.Ordinal);
            });
            if (!found && walk.IsWhole)
                throw new Finding($"{top}: snapshot {snapshot.Id.ToString()[..8]} has no such path", "Where a name is, in all snapshots: sbox tomb find NAME");
            return sure && walk.IsWhole ? 0 : TombCommandSet.Incomplete;
        });
    }

    public static Command Find()
    {
        var patterns = new Argument<string[]>("PATTERN") { Description = "A name, or a pattern as save --exclude has it", Arity = ArgumentArity.OneOrMore };
        var only = new Option<string?>("--snapshot", "-s") { Description = "Look into this one only", HelpName = "ID" };
        Option<bool> nul = Nul();
        return new DocumentedCommand("find", "Find files in all snapshots")
        {
            Details = ["Exit status 0: something was found; 1: nothing; 3: a snapshot or a directory could not be read, and is named.", Bytes],
            Examples = [new Example("Every letter that there ever was", "sbox tomb find '*.odt'"), new Example("What was directly in one directory", "sbox tomb find '/home/me/plan/*'")],
        }.With(patterns, only, nul).OnTomb(async (parsed, session, cancel) =>
        {
            string? wanted = parsed.GetValue(only);
            SnapshotListing listing = await session.Readable(wanted == SnapshotChoice.Latest, cancel);
            (IReadOnlyList<Snapshot> snapshots, bool sure) = wanted is null ? (listing.Snapshots, listing.Damaged.Count == 0) : One(session.Choose(listing, wanted));
            await session.Repository.LoadIndex(cancel);
            var match = new Excludes(parsed.GetValue(patterns)!);
            int found = 0;
            var walk = new SnapshotWalk(session, cancel);
            foreach (Snapshot snapshot in snapshots)
            {
                await walk.Walk(snapshot, (at, node) =>
                {
                    if (match.Match(at))
                    {
                        found++;
                        Say(session.Speaker, at, node, parsed.GetValue(nul), snapshot.Id.ToString()[..8]);
                    }

                    return true;
                });
            }

            if (found > 0 || !sure || !walk.IsWhole)
                return sure && walk.IsWhole ? 0 : TombCommandSet.Incomplete;
            throw new Finding(
                $"{session.Backend.Location}: nothing in {(wanted is null ? $"{snapshots.Count} snapshots" : $"snapshot {snapshots[0].Id.ToString()[..8]}")} matches {string.Join(" or ", match.Patterns.Select(static each => $"'{each}'"))}",
                "A pattern stands for a whole name, or, where it begins with /, for a whole path: '*part*' finds names that hold part");
        });

        static (IReadOnlyList<Snapshot>, bool) One((Snapshot Snapshot, bool IsSure) chosen) => ([chosen.Snapshot], chosen.IsSure);
    }

    public static Command Diff()
    {
        Argument<string> first = Snapshot("BEFORE"), second = Snapshot("AFTER");
        Option<bool> nul = Nul();
        return new DocumentedCommand("diff", "Show what differs between two snapshots")
        {
            Details = ["A line begins with + for what is new, - for what is gone, M for another content, U for other times, owner or mode, T for another kind.", Bytes],
        }.With(first, second, nul).OnTomb(async (parsed, session, cancel) =>
        {
            string one = parsed.GetValue(first)!, other = parsed.GetValue(second)!;
            SnapshotListing listing = await session.Readable(one == SnapshotChoice.Latest || other == SnapshotChoice.Latest, cancel);
            (Snapshot before, bool sure) = session.Choose(listing, one);
            (Snapshot after, bool surely) = session.Choose(listing, other);
            await session.Repository.LoadIndex(cancel);
            await foreach (SnapshotChange change in SnapshotDiff.Compare(session.Repository, before.Tree, after.Tree, cancel))
            {
                session.Speaker.Line(
                    $"{Letter(change.Kind)}  {change.Path}{((change.After ?? change.Before)!.Type == NodeType.Directory ? "/" : "")}",
                    writer =>
                    {
                        writer.WriteString("change", Letter(change.Kind).ToString());
                        Speaker.Name(writer, "path", change.Path);
                    },
                    End(parsed.GetValue(nul)));
            }

            return sure && surely ? 0 : TombCommandSet.Incomplete;
        });
    }

    // The same words for whoever reads the lines, in each of the commands.
    private const string Bytes = "In a pipe names are as they are, whatever bytes they have; on a terminal control characters are shown as question marks. With --json a name that is no UTF-8 has its bytes beside it, in base64, as path_raw (target_raw where a link leads).";

    private static Option<bool> Nul() => new("--null", "-0") { Description = "End each line with NUL, which no name holds, in place of a newline, which one may" };

    private static char End(bool nul) => nul ? '\0' : '\n';

    /// <summary>A moment as people read it, in UTC.</summary>
    public static string Time(Sbox.Tomb.Moment moment) => moment.ToDateTimeOffset().UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    public static void Texts(System.Text.Json.Utf8JsonWriter writer, string name, IReadOnlyList<string> texts)
    {
        writer.WriteStartArray(name);
        foreach (string text in texts)
            writer.WriteStringValue(text);
        writer.WriteEndArray();
    }

    private static void Say(Speaker speaker, string path, Node node, bool nul, string? snapshot = null)
    {
        char kind = node.Type switch { NodeType.Directory => 'd', NodeType.Symlink => 'l', NodeType.Fifo => 'p', NodeType.Socket => 's', NodeType.BlockDevice => 'b', NodeType.CharacterDevice => 'c', _ => '-' };
        string link = node.Type == NodeType.Symlink ? $" -> {node.LinkTarget}" : "";
        string octal = Convert.ToString(node.Permissions, 8).PadLeft(4, '0');
        speaker.Line($"{(snapshot is null ? "" : snapshot + "  ")}{kind}{octal} {node.Uid,5} {node.Gid,5} {node.Size,12} {Time(node.Modified)} {path}{link}", writer =>
        {
            if (snapshot is not null)
                writer.WriteString("snapshot", snapshot);
            Speaker.Name(writer, "path", path);
            writer.WriteString("type", node.Type.ToString());
            writer.WriteString("mode", octal);
            writer.WriteNumber("uid", node.Uid);
            writer.WriteNumber("gid", node.Gid);
            writer.WriteNumber("size", node.Size);
            writer.WriteString("modified", node.Modified.ToString());
            if (node.Type == NodeType.Symlink)
                Speaker.Name(writer, "target", node.LinkTarget);
        }, End(nul));
    }

    private static char Letter(ChangeKind kind) => kind switch
    {
        ChangeKind.Added => '+',
        ChangeKind.Removed => '-',
        ChangeKind.Content => 'M',
        ChangeKind.Metadata => 'U',
        _ => 'T',
    };
}
