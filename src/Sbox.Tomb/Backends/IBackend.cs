namespace Sbox.Tomb;

/// <summary>The kinds of files that a tomb is made of.</summary>
public enum StoredFileType
{
    /// <summary>The one file <c>config</c>.</summary>
    Config,
    /// <summary>A password's way to the master key.</summary>
    Key,
    /// <summary>Someone at work.</summary>
    Lock,
    /// <summary>What a home was at one moment.</summary>
    Snapshot,
    /// <summary>Which blob is in which pack.</summary>
    Index,
    /// <summary>Sealed blobs.</summary>
    Pack,
}

/// <summary>A file of a tomb.</summary>
/// <param name="Type">What it is.</param>
/// <param name="Name">The SHA-256 of its bytes in hexadecimal; empty for <c>config</c>.</param>
public readonly record struct StoredFile(StoredFileType Type, string Name)
{
    /// <summary>The config.</summary>
    public static StoredFile Config { get; } = new(StoredFileType.Config, "");

    /// <summary>Its path below the tomb's top.</summary>
    public string Path => Type == StoredFileType.Config ? "config" : $"{Directory}/{Name}";

    /// <summary>The directory that it lies in, below the tomb's top.</summary>
    public string Directory => Type == StoredFileType.Pack ? $"data/{Name[..2]}" : DirectoryOf(Type);

    /// <summary>The directory of a kind.</summary>
    public static string DirectoryOf(StoredFileType type) => type switch
    {
        StoredFileType.Config => "",
        StoredFileType.Key => "keys",
        StoredFileType.Lock => "locks",
        StoredFileType.Snapshot => "snapshots",
        StoredFileType.Index => "index",
        _ => "data",
    };

    /// <summary>The kinds that have a directory.</summary>
    public static IReadOnlyList<StoredFileType> Kinds { get; } =
        [StoredFileType.Key, StoredFileType.Lock, StoredFileType.Snapshot, StoredFileType.Index, StoredFileType.Pack];

    /// <inheritdoc/>
    public override string ToString() => Path;
}

/// <summary>A file's name and size, as a listing has it.</summary>
/// <param name="Name">The name: may be anything, since anyone may have put it there.</param>
/// <param name="Size">Bytes; -1 where the listing does not say.</param>
public readonly record struct ListedFile(string Name, long Size);

/// <summary>
/// Where a tomb is kept: whole files, written once. Nobody trusts it; what it answers is verified by who asked. Safe on several threads.
/// </summary>
public interface IBackend : IAsyncDisposable
{
    /// <summary>The place as its owner wrote it, without secrets.</summary>
    string Location { get; }

    /// <summary>How many requests are worth having under way at once.</summary>
    int Connections { get; }

    /// <summary>Whether a request costs next to nothing beside the bytes that it brings: a disk of this machine. What nobody has asked for is not worth reading along then.</summary>
    bool IsNear => false;

    /// <summary>Makes what a new tomb needs before its first file.</summary>
    Task Create(CancellationToken cancel);

    /// <summary>Writes a file as a whole: when this returns it is durable; if it does not, there is no such file or a whole one.</summary>
    /// <exception cref="BackendException">It could not be written.</exception>
    Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel);

    /// <summary>
    /// Begins to write a file as <see cref="Save"/> does: many may be on their way to the disk while the memory of only a few is held.
    /// </summary>
    /// <returns>Completes when the bytes are not needed any more, with what completes when the file is durable.</returns>
    /// <exception cref="BackendException">It could not be written; either may throw it.</exception>
    async Task<Task> Begin(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        await Save(file, bytes, cancel);
        return Task.CompletedTask;
    }

    /// <summary>All of a file.</summary>
    /// <exception cref="StoredFileMissingException">There is none.</exception>
    /// <exception cref="StoredFileUnreadableException">A disk of ours cannot read it.</exception>
    Task<byte[]> Load(StoredFile file, CancellationToken cancel);

    /// <summary>Fills <paramref name="into"/> with a file's bytes from <paramref name="offset"/> on.</summary>
    /// <exception cref="StoredFileMissingException">There is none.</exception>
    /// <exception cref="StoredFileUnreadableException">A disk of ours cannot read these bytes; others of the file it may.</exception>
    /// <exception cref="BackendException">It is shorter than that, or cannot be read.</exception>
    Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel);

    /// <summary>A file's size; null when there is no such file.</summary>
    Task<long?> Size(StoredFile file, CancellationToken cancel);

    /// <summary>All files of a kind, in no order.</summary>
    Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel);

    /// <summary>Deletes a file; one that is not there is deleted already.</summary>
    Task Delete(StoredFile file, CancellationToken cancel);
}
