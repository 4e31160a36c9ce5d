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
    private readonly Dictionary<Checksum, Reading> reading = [];
    private readonly Lock gate = new();

    /// <summary>Bytes of the directories that are kept.</summary>
    public long Held => small.Held + large.Held;

    /// <summary>A directory's entries. Dispose the answer to let go of it.</summary>
    /// <param name="id">Its tree.</param>
    /// <param name="cancel">Ends the waiting, not the reading.</param>
    public ValueTask<PackedTree> Get(Checksum id, CancellationToken cancel) => TryGet(id) is { } there ? new(there) : Wait(id, cancel);

    /// <summary>Whether a directory is here, or on its way.</summary>
    public bool Has(Checksum id)
    {
        lock (gate)
            return reading.ContainsKey(id) || small.Has(id) || large.Has(id);
    }

    /// <summary>Lets go of all that is kept; what is read from here on belongs to whoever asked for it.</summary>
    public void Close()
    {
        small.Close();
        large.Close();
    }

    private static RecentItems<Checksum, PackedTree> Kept(long bytes) => new(bytes, static tree => tree.Size, lent: static tree => tree.Share(), dropped: static tree => tree.Dispose());

    /// <summary>A directory's entries when they are here; null when they would have to be read. Dispose the answer to let go of it.</summary>
    public PackedTree? TryGet(Checksum id) => small.TryGet(id, out PackedTree? there) || large.TryGet(id, out there) ? there : null;

    private async ValueTask<PackedTree> Wait(Checksum id, CancellationToken cancel)
    {
        Reading? one;
        bool isFirst = false;
        lock (gate)
        {
            if (TryGet(id) is { } there)
                return there; // it came in between
            if (!reading.TryGetValue(id, out one))
            {
                reading[id] = one = new Reading();
                isFirst = true;
            }

            one.Users++;
        }

        if (isFirst)
            _ = Read(id, one); // by this thread as far as it goes, and never under the gate
        try
        {
            PackedTree tree = await one.Told.Task.WaitAsync(cancel);
            tree.Share();
            return tree;
        }
        finally
        {
            LetGo(one);
        }
    }

    private async Task Read(Checksum id, Reading one)
    {
        try
        {
            PackedTree tree = one.Tree = await read(id);
            tree.Share();
            if (!(tree.Size < Large ? small : large).Add(id, tree))
                tree.Dispose();
            Remove(id);
            one.Told.SetResult(tree);
        }
        catch (Exception failure)
        {
            Remove(id); // whoever asks next tries again
            one.Told.SetException(failure); // to all who wait
            _ = one.Told.Task.Exception;
        }
        finally
        {
            LetGo(one);
        }
    }

    private void Remove(Checksum id)
    {
        lock (gate)
            reading.Remove(id);
    }

    private void LetGo(Reading one)
    {
        lock (gate)
        {
            if (--one.Users > 0)
                return;
        }

        one.Tree?.Dispose();
    }

    // One directory on its way. It is held until all who waited for it have taken it: others that came meanwhile drive it out of what is kept, not out of their hands.
    private sealed class Reading
    {
        public TaskCompletionSource<PackedTree> Told { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public PackedTree? Tree { get; set; }

        /// <summary>Who waits, and whoever reads.</summary>
        public int Users { get; set; } = 1;
    }
}
