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
        SnapshotListing listing = await session.Readable(wantsNewest: false, cancel);
        TombSession.Memory.Remember(session.Repository, listing);
        foreach (Snapshot each in listing.Snapshots)
        {
            string tags = each.Tags.Count > 0 ? $"  [{string.Join(", ", each.Tags)}]" : "";
            session.Speaker.Answer($"{each.Id.ToString()[..8]}  {Time(each.Time)}  {each.Hostname,-12}  {string.Join(' ', each.Paths)}{tags}", writer =>
            {
                writer.WriteString("id", each.Id.ToString());
                writer.WriteString("time", each.Time.ToString());
                writer.WriteString("tree", each.Tree.ToString());
                writer.WriteString("hostname", each.Hostname);
                writer.WriteString("username", each.Username);
                Texts(writer, "paths", each.Paths);
                Texts(writer, "tags", each.Tags);
            });
        }

        return listing.Damaged.Count > 0 ? TombCommandSet.Incomplete : 0;
    });

    public static Command List()
    {
        Argument<string> wanted = Snapshot();
        var path = new Argument<string?>("PATH") { Description = "A path in the snapshot; all of it where none is named", Arity = ArgumentArity.ZeroOrOne };
        return new DocumentedCommand("ls", "List what is in a snapshot") { Examples = [new Example("All of the newest", "sbox tomb ls latest")] }.With(wanted, path).OnTomb(async (parsed, session, cancel) =>
        {
            (Snapshot snapshot, _) = await session.Choose(parsed.GetValue(wanted)!, cancel);
            await session.Repository.LoadIndex(cancel);
            string top = parsed.GetValue(path)?.TrimEnd('/') ?? "";
            await Walk(session.Repository, snapshot.Tree, "", async (at, node) =>
            {
                bool shown = at == top || at.StartsWith(top + "/", StringComparison.Ordinal);
                if (shown)
                    Say(session.Speaker, at, node);
                return await Task.FromResult(shown || top.StartsWith(at + "/", StringComparison.Ordinal));
            }, cancel);
            return 0;
        });
    }

    public static Command Find()
    {
        var patterns = new Argument<string[]>("PATTERN") { Description = "A name, or a pattern as save --exclude has it", Arity = ArgumentArity.OneOrMore };
        var only = new Option<string?>("--snapshot", "-s") { Description = "Look into this one only", HelpName = "ID" };
        return new DocumentedCommand("find", "Find files in all snapshots").With(patterns, only).OnTomb(async (parsed, session, cancel) =>
        {
            IReadOnlyList<Snapshot> snapshots = await session.Snapshots(cancel);
            if (parsed.GetValue(only) is { } wanted)
                snapshots = [SnapshotChoice.Find(session.Repository, snapshots, wanted)];
            await session.Repository.LoadIndex(cancel);
            var match = new Excludes(parsed.GetValue(patterns)!);
            int found = 0;
            foreach (Snapshot snapshot in snapshots)
            {
                await Walk(session.Repository, snapshot.Tree, "", (at, node) =>
                {
                    if (match.Match(at))
                    {
                        found++;
                        Say(session.Speaker, at, node, snapshot.Id.ToString()[..8]);
                    }

                    return Task.FromResult(true);
                }, cancel);
            }

            return found > 0 ? 0 : 1;
        });
    }

    public static Command Diff()
    {
        Argument<string> first = Snapshot("BEFORE"), second = Snapshot("AFTER");
        return new DocumentedCommand("diff", "Show what differs between two snapshots")
        {
            Details = ["A line begins with + for what is new, - for what is gone, M for another content, U for other times, owner or mode, T for another kind."],
        }.With(first, second).OnTomb(async (parsed, session, cancel) =>
        {
            IReadOnlyList<Snapshot> snapshots = await session.Snapshots(cancel);
            Snapshot before = SnapshotChoice.Find(session.Repository, snapshots, parsed.GetValue(first)!), after = SnapshotChoice.Find(session.Repository, snapshots, parsed.GetValue(second)!);
            await session.Repository.LoadIndex(cancel);
            await foreach (SnapshotChange change in SnapshotDiff.Compare(session.Repository, before.Tree, after.Tree, cancel))
            {
                session.Speaker.Answer($"{Letter(change.Kind)}  {change.Path}{((change.After ?? change.Before)!.Type == NodeType.Directory ? "/" : "")}", writer =>
                {
                    writer.WriteString("change", Letter(change.Kind).ToString());
                    writer.WriteString("path", change.Path);
                });
            }

            return 0;
        });
    }

    /// <summary>A moment as people read it, in UTC.</summary>
    public static string Time(Sbox.Tomb.Moment moment) => moment.ToDateTimeOffset().UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    public static void Texts(System.Text.Json.Utf8JsonWriter writer, string name, IReadOnlyList<string> texts)
    {
        writer.WriteStartArray(name);
        foreach (string text in texts)
            writer.WriteStringValue(Printable(text));
        writer.WriteEndArray();
    }

    // Names that are no UTF-8 hold lone surrogates here, which JSON cannot.
    private static string Printable(string text) => System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes(text));

    private static void Say(Speaker speaker, string path, Node node, string? snapshot = null)
    {
        char kind = node.Type switch { NodeType.Directory => 'd', NodeType.Symlink => 'l', NodeType.Fifo => 'p', NodeType.Socket => 's', NodeType.BlockDevice => 'b', NodeType.CharacterDevice => 'c', _ => '-' };
        string link = node.Type == NodeType.Symlink ? $" -> {node.LinkTarget}" : "";
        string octal = Convert.ToString(node.Permissions, 8).PadLeft(4, '0');
        speaker.Answer($"{(snapshot is null ? "" : snapshot + "  ")}{kind}{octal} {node.Uid,5} {node.Gid,5} {node.Size,12} {Time(node.Modified)} {path}{link}", writer =>
        {
            if (snapshot is not null)
                writer.WriteString("snapshot", snapshot);
            writer.WriteString("path", Printable(path));
            writer.WriteString("type", node.Type.ToString());
            writer.WriteString("mode", octal);
            writer.WriteNumber("uid", node.Uid);
            writer.WriteNumber("gid", node.Gid);
            writer.WriteNumber("size", node.Size);
            writer.WriteString("modified", node.Modified.ToString());
            if (node.Type == NodeType.Symlink)
                writer.WriteString("target", Printable(node.LinkTarget));
        });
    }

    private static async Task Walk(TombRepository tomb, Checksum id, string path, Func<string, Node, Task<bool>> visit, CancellationToken cancel)
    {
        Tree tree = await tomb.LoadTree(id, cancel);
        foreach (Node node in tree.Nodes)
        {
            string at = $"{path}/{node.Name}";
            if (await visit(at, node) && node.Subtree is { } below)
                await Walk(tomb, below, at, visit, cancel);
        }
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
