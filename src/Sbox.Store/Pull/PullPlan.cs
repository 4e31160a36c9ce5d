using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// What a pull will fetch and write, as far as commits (<c>ostree.sizes</c>) and deltas tell of it: it is refused before its first file where the disk has no room for
/// all of them, since what had come by the time that the disk is full would only fill it.
/// </summary>
/// <param name="transaction">Where to.</param>
/// <param name="meter">Told of what will come.</param>
internal sealed class PullPlan(Transaction transaction, PullMeter meter)
{
    private readonly Lock gate = new();
    private readonly SeenNames seen = new();
    private readonly HashSet<Checksum> planned = [];
    private readonly long writable = transaction.Writable;
    private long needed;

    /// <summary>A delta will be applied.</summary>
    /// <param name="delta">It.</param>
    /// <param name="parts">Those of its parts that are needed.</param>
    /// <exception cref="NotEnoughSpaceException">There is no room for what it makes.</exception>
    public void Add(DeltaSuperblock delta, IReadOnlyCollection<int> parts)
    {
        long coming = 0, written = 0;
        foreach (int index in parts)
        {
            DeltaPartHeader part = delta.Parts[index];
            coming = Saturated.Sum(coming, delta.IsInline(index) ? 0 : Saturated.Size(part.Size));
            // Without those of its objects that are here: never more is said to be needed than is.
            long here = part.Objects.Where(transaction.Has).Sum(transaction.StoredSize);
            written = Saturated.Sum(written, Math.Max(0, Saturated.Size(part.UncompressedSize) - here));
        }

        foreach (DeltaFallback alone in delta.Fallbacks.Where(each => !transaction.Has(each.Name)))
        {
            coming = Saturated.Sum(coming, Saturated.Size(alone.Size));
            written = Saturated.Sum(written, Saturated.Size(IsArchive ? alone.Size : alone.UncompressedSize));
        }

        lock (gate)
            planned.Add(delta.Name.To);
        meter.Expect(coming);
        // The commit's own sizes are of single objects, and better.
        Require(Sizes(Commit.Parse(delta.Commit)) is { } sizes ? Lacking(sizes).Written : written);
    }

    /// <summary>All of a commit's tree that is not here will be fetched.</summary>
    /// <exception cref="NotEnoughSpaceException">There is no room for it.</exception>
    public void Add(Checksum name, Commit commit)
    {
        lock (gate)
        {
            if (!planned.Add(name))
                return;
        }

        if (Sizes(commit) is not { } sizes)
        {
            meter.ExpectUnknown();
            return;
        }

        (long coming, long written) = Lacking(sizes);
        meter.Expect(coming);
        Require(written);
    }

    private bool IsArchive => transaction.Repository.Mode == RepositoryMode.Archive;

    private (long Coming, long Written) Lacking(IReadOnlyList<ObjectSize> sizes)
    {
        long coming = 0, written = 0;
        foreach (ObjectSize size in sizes)
        {
            bool isNew;
            lock (gate)
                isNew = seen.Add(size.Name);
            if (!isNew || transaction.Has(size.Name))
                continue;
            coming = Saturated.Sum(coming, size.Stored);
            written = Saturated.Sum(written, IsArchive ? size.Stored : size.Unpacked);
        }

        return (coming, written);
    }

    private void Require(long written)
    {
        lock (gate)
            needed = Saturated.Sum(needed, written);
        if (needed <= writable)
            return;
        throw new NotEnoughSpaceException(transaction.Repository.Path, needed, writable) { IsPlanned = true, Prunable = Prunable() };
    }

    // What prune would free; null where that cannot be known.
    private long? Prunable()
    {
        try
        {
            return transaction.Repository.Prune(new PruneOptions { DryRun = true }).BytesFreed;
        }
        catch (Exception unknown) when (unknown is RepositoryException or MalformedException)
        {
            return null;
        }
    }

    // Null where the commit does not say, or says it in no way that can be read: most say nothing.
    private static IReadOnlyList<ObjectSize>? Sizes(Commit commit)
    {
        try
        {
            return commit.Sizes;
        }
        catch (MalformedException)
        {
            return null;
        }
    }
}
