using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Looks for the differences of files on several threads: small ones side by side, large ones one after the other, so that what is looked through stays little.</summary>
/// <param name="repository">Where the files are.</param>
/// <param name="tmp">Where bytes may wait.</param>
/// <param name="options">How the delta is made.</param>
/// <param name="cancel">Looked at every now and then.</param>
internal sealed class DifferencePool(Repository repository, Dir tmp, DeltaOptions options, CancellationToken cancel)
{
    private const int SmallFile = 512 * 1024;
    private const int InMemory = 256 * 1024;
    private readonly ConcurrentBag<BinaryDiff> differs = [];
    private readonly Lock large = new();
    private BinaryDiff largeDiffer = new(); // one file with a large window at a time

    /// <summary>Lets go of the memory that they needed.</summary>
    public void Clear()
    {
        differs.Clear();
        largeDiffer = new BinaryDiff();
    }

    /// <summary>The differences of two versions; null where they have so little in common that the new one is better taken as a whole.</summary>
    public Spool? Of(DeltaItem fresh, OldVersion old)
    {
        using var before = new RandomContent(repository, repository.LoadFile(old.Checksum), tmp);
        using var after = new RandomContent(repository, repository.LoadFile(fresh.Name.Checksum), tmp);
        (Spool patch, long unchanged) = Of(before.ReadAt, before.Size, after.ReadAt, after.Size);
        // What would be left to be fetched by itself as a whole is worth any difference.
        if (unchanged >= fresh.Size / 4 || (options.MinimumFallback > 0 && fresh.Size > options.MinimumFallback))
            return patch;
        patch.Dispose();
        return null;
    }

    /// <summary>The differences of two versions, and how many bytes of the new one are as they were.</summary>
    public (Spool Patch, long Unchanged) Of(ReadAt before, long beforeSize, ReadAt after, long afterSize)
    {
        if (beforeSize > SmallFile || afterSize > SmallFile)
        {
            lock (large)
                return With(largeDiffer);
        }

        if (!differs.TryTake(out BinaryDiff? differ))
            differ = new BinaryDiff();
        (Spool, long) made = With(differ);
        differs.Add(differ);
        return made;

        (Spool, long) With(BinaryDiff by)
        {
            var patch = new Spool(tmp, InMemory);
            try
            {
                by.Write(before, beforeSize, after, afterSize, patch, cancel);
                return (patch, by.Unchanged);
            }
            catch
            {
                patch.Dispose();
                throw;
            }
        }
    }
}
