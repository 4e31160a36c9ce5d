using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// Keeps index and snapshot files of a far tomb on this machine, sealed as they are: their names are their checksums, so what is kept
/// is right or not used. What the tomb no longer lists is forgotten here too.
/// </summary>
public sealed class CachingBackend : IBackend
{
    private readonly IBackend inner;
    private readonly Dir cache;

    /// <param name="inner">The tomb.</param>
    /// <param name="directory">A directory for this tomb alone; made when it is missing.</param>
    public CachingBackend(IBackend inner, string directory)
    {
        this.inner = inner;
        using Dir root = Dir.Open("/");
        string path = Path.GetFullPath(directory).TrimStart('/');
        foreach (StoredFileType kind in (StoredFileType[])[StoredFileType.Index, StoredFileType.Snapshot])
            root.MakeDirs($"{path}/{StoredFile.DirectoryOf(kind)}", 0x1C0 /* 0700 */);
        cache = Dir.Open("/" + path);
    }

    /// <summary>The tomb.</summary>
    public IBackend Inner => inner;

    /// <inheritdoc/>
    public string Location => inner.Location;

    /// <inheritdoc/>
    public int Connections => inner.Connections;

    /// <inheritdoc/>
    public Task Create(CancellationToken cancel) => inner.Create(cancel);

    /// <inheritdoc/>
    public async Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        await inner.Save(file, bytes, cancel);
        if (IsKept(file.Type))
            Keep(file, bytes.Span);
    }

    /// <inheritdoc/>
    public async Task<Task> Begin(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        Task durable = await inner.Begin(file, bytes, cancel);
        if (IsKept(file.Type))
            Keep(file, bytes.Span);
        return durable;
    }

    /// <inheritdoc/>
    public async Task<byte[]> Load(StoredFile file, CancellationToken cancel)
    {
        if (!IsKept(file.Type))
            return await inner.Load(file, cancel);
        if (cache.TryReadAll(file.Path) is { } kept && Checksum.Of(kept).ToString() == file.Name)
            return kept;
        byte[] bytes = await inner.Load(file, cancel);
        Keep(file, bytes);
        return bytes;
    }

    /// <inheritdoc/>
    public async Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel)
    {
        if (!IsKept(file.Type) || offset != 0)
        {
            await inner.LoadRange(file, offset, into, cancel);
            return;
        }

        if (TryFill(file, into.Span))
            return;
        await inner.LoadRange(file, 0, into, cancel);
        if (Checksum.Of(into.Span).ToString() == file.Name)
            Keep(file, into.Span); // all of it
    }

    /// <inheritdoc/>
    public Task<long?> Size(StoredFile file, CancellationToken cancel) => inner.Size(file, cancel);

    /// <inheritdoc/>
    public async Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel)
    {
        IReadOnlyList<ListedFile> files = await inner.List(type, cancel);
        if (IsKept(type))
            Forget(type, files);
        return files;
    }

    /// <inheritdoc/>
    public async Task Delete(StoredFile file, CancellationToken cancel)
    {
        await inner.Delete(file, cancel);
        if (IsKept(file.Type))
            cache.TryUnlink(file.Path);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        cache.Dispose();
        return inner.DisposeAsync();
    }

    private bool TryFill(StoredFile file, Span<byte> into)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle? kept = cache.TryOpenFile(file.Path);
        if (kept is null || Files.Stat(kept, file.Path).Size != into.Length)
            return false;
        for (int done = 0, read; done < into.Length; done += read)
        {
            if ((read = Files.ReadAt(kept, into[done..], done, cache.Of(file.Path))) == 0)
                return false;
        }

        return Checksum.Of(into).ToString() == file.Name;
    }

    private static bool IsKept(StoredFileType type) => type is StoredFileType.Index or StoredFileType.Snapshot;

    // Not durable, and it need not be: a torn file has the wrong checksum.
    private void Keep(StoredFile file, ReadOnlySpan<byte> bytes)
    {
        try
        {
            string temporary = $"{file.Path}.{Guid.NewGuid():N}";
            using (var handle = cache.CreateFile(temporary, 0x180 /* 0600 */))
                Files.WriteAt(handle, bytes, 0, cache.Of(temporary));
            cache.Rename(temporary, cache, file.Path);
        }
        catch (LinuxException full)
        {
            // A cache that is full or read-only is none.
            if (full.Errno is not (Errno.ENOSPC or Errno.EROFS or Errno.EDQUOT or Errno.EACCES))
                throw;
        }
    }

    private void Forget(StoredFileType type, IReadOnlyList<ListedFile> files)
    {
        HashSet<string> there = [.. files.Select(static file => file.Name)];
        using Dir dir = cache.OpenDir(StoredFile.DirectoryOf(type));
        foreach (DirEntry entry in dir.Entries())
        {
            if (!there.Contains(entry.Name))
                dir.TryUnlink(entry.Name);
        }
    }
}
