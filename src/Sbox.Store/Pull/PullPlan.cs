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
        IReadOnlyList<ObjectSize>? sizes = Sizes(Commit.Parse(delta.Commit));
        long coming = 0, written = 0;
        lock (gate)
        {
            planned.Add(delta.Name.To);
            foreach (int index in parts)
            {
                coming = Saturated.Sum(coming, delta.IsInline(index) ? 0 : Saturated.Size(delta.Parts[index].Size));
                if (sizes is null)
                    written = Saturated.Sum(written, Written(delta.Parts[index]));
            }

            foreach (DeltaFallback alone in delta.Fallbacks.Where(each => !seen.Contains(each.Name) && !transaction.Has(each.Name)))
            {
                coming = Saturated.Sum(coming, Saturated.Size(alone.Size));
                if (sizes is null && seen.Add(alone.Name))
                    written = Saturated.Sum(written, Saturated.Size(IsArchive ? alone.Size : alone.UncompressedSize));
            }
        }

        meter.Expect(coming);
        // The commit's own sizes are of single objects, and better.
        Require(sizes is not null ? Lacking(sizes).Written : written);
    }

    // Never more is said to be needed than is: what is here is not counted, and nothing of a part that has an object which is counted already (by a delta to
    // another branch, as a rule), since it does not tell how large each of its objects is.
    private long Written(DeltaPartHeader part)
    {
        if (part.Objects.Any(seen.Contains))
            return 0;
        foreach (ObjectName name in part.Objects)
            seen.Add(name);
        return Math.Max(0, Saturated.Size(part.UncompressedSize) - part.Objects.Where(transaction.Has).Sum(transaction.StoredSize));
    }

    /// <summary>All of a commit's tree that is not here will be fetched.</summary>
    /// <param name="name">The commit.</param>
    /// <param name="commit">What it says.</param>
    /// <param name="isFirst">Whether no file is asked for yet.</param>
    /// <exception cref="NotEnoughSpaceException">There is no room for it.</exception>
    public void Add(Checksum name, Commit commit, bool isFirst)
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
        Require(written, isFirst);
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

    // By a delta that is applied before another one is found, files are there already.
    private void Require(long written, bool isFirst = true)
    {
        lock (gate)
            needed = Saturated.Sum(needed, written);
        if (needed <= writable)
            return;
        throw new NotEnoughSpaceException(transaction.Repository.Path, needed, writable) { IsPlanned = isFirst && transaction.Stats.ContentWritten == 0, Prunable = Prunable() };
    }

    // What prune would free; null where that cannot be known.
    private long? Prunable()
    {
        try
        {
            return transaction.Repository.Prune(new PruneOptions { DryRun = true }).BytesFreed;
        }
        catch (Exception unknown) when (unknown is RepositoryException or MalformedException or Linux.LinuxException)
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
