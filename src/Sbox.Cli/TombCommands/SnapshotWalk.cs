using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary>Goes through snapshots' trees for a command that looks: a directory that cannot be read is named on stderr, once, and the others are gone through.</summary>
internal sealed class SnapshotWalk(TombSession session, CancellationToken cancel)
{
    private readonly HashSet<Checksum> lost = [];

    /// <summary>Whether all directories so far could be read.</summary>
    public bool IsWhole => lost.Count == 0;

    /// <summary>Goes through all of a snapshot.</summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="visit">Told each entry with its path, in the order of paths; answers whether what is below it is wanted.</param>
    public Task Walk(Snapshot snapshot, Func<string, Node, bool> visit) => Walk(snapshot, snapshot.Tree, "", visit);

    private async Task Walk(Snapshot snapshot, Checksum id, string path, Func<string, Node, bool> visit)
    {
        if (await Read(snapshot, id, path) is not { } tree)
            return;
        foreach (Node node in tree.Nodes)
        {
            string at = $"{path}/{node.Name}";
            if (visit(at, node) && node.Subtree is { } below)
                await Walk(snapshot, below, at, visit);
        }
    }

    private async Task<Tree?> Read(Snapshot snapshot, Checksum id, string path)
    {
        try
        {
            return await session.Repository.LoadTree(id, cancel);
        }
        catch (Exception wrong) when (wrong is BlobMissingException or TombDamagedException or StoredFileMissingException or StoredFileUnreadableException or MalformedException)
        {
            if (lost.Add(id))
                Speaker.Complain($"damaged: {(path.Length > 0 ? path : "/")} in snapshot {snapshot.Id.ToString()[..8]}: {wrong.Message}");
            return null;
        }
    }
}
