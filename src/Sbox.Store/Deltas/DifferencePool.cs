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
    private const int Doubtful = 4; // where less than this part of a file is as it was, it may be smaller as a whole
    private const int Request = 4096;
    private readonly ConcurrentBag<BinaryDiff> differs = [];
    private readonly Lock large = new();
    private BinaryDiff largeDiffer = new(); // one file with a large window at a time
    private readonly CompressedSize compressed = new();

    /// <summary>Lets go of the memory that they needed.</summary>
    public void Clear()
    {
        differs.Clear();
        largeDiffer = new BinaryDiff();
    }

    /// <summary>The differences of two versions; null where they have so little in common that fewer bytes travel when the new one is taken as a whole.</summary>
    public Spool? Of(DeltaItem fresh, OldVersion old)
    {
        using var before = new RandomContent(repository, repository.LoadFile(old.Checksum), tmp);
        using var after = new RandomContent(repository, repository.LoadFile(fresh.Name.Checksum), tmp);
        (Spool patch, long unchanged) = Of(before.ReadAt, before.Size, after.ReadAt, after.Size);
        try
        {
            if (unchanged >= fresh.Size / Doubtful)
                return patch;
            long size = compressed.Of(patch.ReadAt, patch.Length, long.MaxValue, cancel);
            if (SizeOfWhole(fresh, after, size) >= size)
                return patch;
        }
        catch
        {
            patch.Dispose();
            throw;
        }

        patch.Dispose();
        return null;
    }

    // Of what is left to be fetched by itself, in an archive, it is the object and a request.
    private long SizeOfWhole(DeltaItem fresh, RandomContent content, long enough) =>
        options.IsFallback(fresh.Size) && repository.Mode == RepositoryMode.Archive
            ? repository.Objects.Dir.Stat(fresh.Name.LoosePath(repository.Mode)).Size + Request : compressed.Of(content.ReadAt, content.Size, enough, cancel);

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
