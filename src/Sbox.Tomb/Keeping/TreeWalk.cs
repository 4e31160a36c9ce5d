using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>Goes through every tree that snapshots lead to, each once however many snapshots share it.</summary>
internal sealed class TreeWalk(TombRepository tomb, CancellationToken cancel)
{
    private readonly HashSet<Checksum> seen = [];

    /// <summary>A tree that was read: its id, its path in the snapshot that led there first, its entries.</summary>
    public required Action<Checksum, string, Tree> OnTree { get; init; }

    /// <summary>A tree that could not be read.</summary>
    public required Action<Checksum, string, TombException> OnLost { get; init; }

    /// <summary>Trees seen so far.</summary>
    public int Count => seen.Count;

    /// <summary>Walks a snapshot's tree. Trees are kept on a stack of their own: depth costs no thread's.</summary>
    public async Task Walk(Checksum root)
    {
        var waiting = new Stack<(Checksum Id, string Path)>();
        waiting.Push((root, ""));
        while (waiting.TryPop(out (Checksum Id, string Path) next))
        {
            cancel.ThrowIfCancellationRequested();
            if (!seen.Add(next.Id))
                continue;
            try
            {
                Tree tree = await tomb.LoadTree(next.Id, cancel);
                OnTree(next.Id, next.Path, tree);
                for (int at = tree.Nodes.Count - 1; at >= 0; at--)
                {
                    if (tree.Nodes[at].Subtree is { } below)
                        waiting.Push((below, $"{next.Path}/{tree.Nodes[at].Name}"));
                }
            }
            catch (TombException lost) when (lost is BlobMissingException or TombDamagedException or BackendException { IsTransient: false })
            {
                OnLost(next.Id, next.Path, lost);
            }
            catch (MalformedException wrong)
            {
                OnLost(next.Id, next.Path, new TombDamagedException(tomb.Backend.Location, $"tree {next.Id}", wrong.Message));
            }
        }
    }
}
