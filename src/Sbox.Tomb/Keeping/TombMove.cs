using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>How far a move is.</summary>
/// <param name="Files">Files that are at the new place.</param>
/// <param name="Total">Of so many.</param>
/// <param name="Bytes">Bytes that travelled.</param>
public readonly record struct MoveProgress(int Files, int Total, long Bytes);

/// <summary>
/// Copies a tomb to another place, file by file as they are: passwords, keys and snapshots stay the same. The file that makes it a tomb comes last;
/// cut short, the same again goes on. The old place keeps everything until <see cref="Delete"/>.
/// </summary>
public static class TombMove
{
    private const int AtOnce = 4;

    // What is listed last may lead only to what is there already.
    private static readonly StoredFileType[] Order = [StoredFileType.Pack, StoredFileType.Index, StoredFileType.Snapshot, StoredFileType.Key];

    /// <summary>Copies what the new place does not have yet; each file is verified by its name before it is written.</summary>
    /// <param name="from">The tomb; its exclusive lock is held by the caller.</param>
    /// <param name="to">An empty place, or one that an earlier move of the same tomb began to fill.</param>
    /// <param name="progress">Told now and then, from several threads.</param>
    /// <param name="cancel">Ends it; what was copied is found again.</param>
    /// <exception cref="TombExistsException">Another tomb is there.</exception>
    /// <exception cref="TombDamagedException">A file is not what was written; what came before it is copied.</exception>
    public static async Task<MoveProgress> Copy(IBackend from, IBackend to, IProgress<MoveProgress>? progress, CancellationToken cancel)
    {
        byte[] config = await from.Load(StoredFile.Config, cancel);
        await to.Create(cancel);
        bool isThere = await to.Size(StoredFile.Config, cancel) is not null;
        if (isThere && !(await to.Load(StoredFile.Config, cancel)).AsSpan().SequenceEqual(config))
            throw new TombExistsException(to.Location);
        var wanted = new List<StoredFile>();
        int there = 0;
        foreach (StoredFileType type in Order)
        {
            var has = (await to.List(type, cancel)).ToHashSet();
            foreach (ListedFile file in (await from.List(type, cancel)).Where(static file => Checksum.TryParse(file.Name, out _)))
            {
                if (has.Contains(file))
                    there++;
                else
                    wanted.Add(new StoredFile(type, file.Name));
            }
        }

        int done = there, total = there + wanted.Count + 1;
        long bytes = 0;
        foreach (IGrouping<StoredFileType, StoredFile> kind in wanted.GroupBy(static file => file.Type))
        {
            await Parallel.ForEachAsync(kind, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancel }, async (file, stop) =>
            {
                byte[] content = await Whole(from, file, stop);
                await to.Save(file, content, stop);
                progress?.Report(new MoveProgress(Interlocked.Increment(ref done), total, Interlocked.Add(ref bytes, content.Length)));
            });
        }

        if (!isThere)
            await to.Save(StoredFile.Config, config, cancel);
        return new MoveProgress(total, total, bytes + config.Length);
    }

    /// <summary>Reads everything back from the new place itself, never from what this machine kept of it, and looks that nothing of the old place is missing.</summary>
    /// <exception cref="TombDamagedException">A file at the new place is not what was written.</exception>
    /// <exception cref="StoredFileMissingException">One is not there.</exception>
    public static async Task Verify(IBackend from, IBackend to, IProgress<MoveProgress>? progress, CancellationToken cancel)
    {
        if (to is CachingBackend caching)
            to = caching.Inner;
        byte[] config = await from.Load(StoredFile.Config, cancel);
        if (!(await to.Load(StoredFile.Config, cancel)).AsSpan().SequenceEqual(config))
            throw new TombDamagedException(to.Location, StoredFile.Config.Path, "it is not the one that was copied");
        int done = 0;
        long bytes = 0;
        foreach (StoredFileType type in Order)
        {
            IReadOnlyList<ListedFile> files = [.. (await from.List(type, cancel)).Where(static file => Checksum.TryParse(file.Name, out _))];
            await Parallel.ForEachAsync(files, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancel }, async (file, stop) =>
            {
                byte[] content = await Whole(to, new StoredFile(type, file.Name), stop);
                progress?.Report(new MoveProgress(Interlocked.Increment(ref done), files.Count, Interlocked.Add(ref bytes, content.Length)));
            });
        }
    }

    /// <summary>Deletes a tomb: snapshots first, so that it never seems whole while it is not.</summary>
    public static async Task Delete(IBackend tomb, CancellationToken cancel)
    {
        foreach (StoredFileType type in (StoredFileType[])[StoredFileType.Snapshot, StoredFileType.Index, StoredFileType.Pack, StoredFileType.Key])
        {
            foreach (ListedFile file in (await tomb.List(type, cancel)).Where(static file => Checksum.TryParse(file.Name, out _)))
                await tomb.Delete(new StoredFile(type, file.Name), cancel);
        }

        await tomb.Delete(StoredFile.Config, cancel);
    }

    private static async Task<byte[]> Whole(IBackend place, StoredFile file, CancellationToken cancel)
    {
        byte[] content = await place.Load(file, cancel);
        Checksum found = Checksum.Of(content);
        return found.ToString() == file.Name ? content : throw new TombDamagedException(place.Location, file.Path, $"it hashes to {found}, which is not its name");
    }
}
