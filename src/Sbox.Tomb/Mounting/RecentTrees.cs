using Sbox.Codecs;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// The directories that were looked into last, within bounds. Whoever asks for one that is being read waits for that reading; a large one and many small ones do not
/// drive each other out, or a directory of 100,000 names would be read anew for every one of them that is looked up. Safe on several threads.
/// </summary>
/// <param name="read">Reads one. It is not interrupted: others may wait for it too.</param>
internal sealed class RecentTrees(Func<Checksum, Task<PackedTree>> read)
{
    /// <summary>From this size on a directory counts as large: some 12,000 entries.</summary>
    public const long Large = 1 << 20;

    /// <summary>Bytes that are kept of small directories.</summary>
    public const long SmallKept = 4 << 20;

    /// <summary>Bytes that are kept of large ones: two of 100,000 entries. The one that was used last is kept whatever its size.</summary>
    public const long LargeKept = 18 << 20;

    private readonly RecentItems<Checksum, PackedTree> small = Kept(SmallKept), large = Kept(LargeKept);
    private readonly Dictionary<Checksum, Task<PackedTree>> reading = [];
    private readonly Lock gate = new();

    /// <summary>A directory's entries. Dispose the answer to let go of it.</summary>
    /// <param name="id">Its tree.</param>
    /// <param name="cancel">Ends the waiting, not the reading.</param>
    public ValueTask<PackedTree> Get(Checksum id, CancellationToken cancel) => TryGet(id) is { } there ? new(there) : Wait(id, cancel);

    private static RecentItems<Checksum, PackedTree> Kept(long bytes) => new(bytes, static tree => tree.Size, static tree => tree.Dispose());

    private PackedTree? TryGet(Checksum id) => (small.TryGet(id, out PackedTree? there) || large.TryGet(id, out there)) && there.TryShare() ? there : null;

    private async ValueTask<PackedTree> Wait(Checksum id, CancellationToken cancel)
    {
        while (true)
        {
            TaskCompletionSource<PackedTree>? mine = null;
            Task<PackedTree>? one;
            lock (gate)
            {
                if (TryGet(id) is { } there)
                    return there; // it came in between
                if (!reading.TryGetValue(id, out one))
                {
                    mine = new TaskCompletionSource<PackedTree>(TaskCreationOptions.RunContinuationsAsynchronously);
                    reading[id] = one = mine.Task;
                }
            }

            if (mine is not null)
                _ = Read(id, mine); // by this thread as far as it goes, and never under the gate
            PackedTree tree = await one.WaitAsync(cancel);
            if (tree.TryShare())
                return tree;
            // It was let go of in between.
        }
    }

    private async Task Read(Checksum id, TaskCompletionSource<PackedTree> told)
    {
        try
        {
            PackedTree tree = await read(id);
            if (!(tree.Size < Large ? small : large).Add(id, tree))
                tree.Dispose(); // whoever waits finds the one that is there
            Remove(id);
            told.SetResult(tree);
        }
        catch (Exception failure)
        {
            Remove(id); // whoever asks next tries again
            told.SetException(failure); // to all who wait
            _ = told.Task.Exception;
        }
    }

    private void Remove(Checksum id)
    {
        lock (gate)
            reading.Remove(id);
    }
}
