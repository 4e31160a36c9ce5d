namespace Sbox.Tomb.Tests.Mounting;

/// <summary>A remote that is far away, counted, and sometimes gone.</summary>
internal sealed class UnsteadyBackend(IBackend real) : IBackend
{
    private int loads;
    private volatile bool gone, silent;

    public TimeSpan Delay { get; set; }

    /// <summary>What it answers with, where that is no exception of ours.</summary>
    public Exception? Strange { get; set; }

    public bool Gone
    {
        get => gone;
        set => gone = value;
    }

    public bool Silent
    {
        get => silent;
        set => silent = value;
    }

    /// <summary>When it falls silent by itself.</summary>
    public Func<bool> FallsSilent { get; init; } = static () => false;

    /// <summary>Which files cannot be written: the line goes down before them.</summary>
    public Predicate<StoredFile> Refuses { get; set; } = static _ => false;

    /// <summary>What reading so many bytes of a file from an offset on meets; null when they are read.</summary>
    public Func<StoredFile, long, long, TombException?> Meets { get; set; } = static (_, _, _) => null;

    public int Loads => loads;

    public string Location => real.Location;

    public int Connections => real.Connections;

    public Task Create(CancellationToken cancel) => real.Create(cancel);

    public async Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        await Answer(cancel);
        if (Refuses(file))
            throw new BackendException($"{Location}/{file.Path}", "connection reset", isTransient: true);
        await real.Save(file, bytes, cancel);
    }

    public async Task<byte[]> Load(StoredFile file, CancellationToken cancel)
    {
        await Answer(cancel);
        if (Meets(file, 0, await real.Size(file, cancel) ?? 0) is { } failure)
            throw failure;
        return await real.Load(file, cancel);
    }

    public async Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel)
    {
        await Answer(cancel);
        if (Meets(file, offset, into.Length) is { } failure)
            throw failure;
        await real.LoadRange(file, offset, into, cancel);
    }

    public async Task<long?> Size(StoredFile file, CancellationToken cancel)
    {
        await Answer(cancel);
        return await real.Size(file, cancel);
    }

    public async Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel)
    {
        await Answer(cancel);
        return await real.List(type, cancel);
    }

    public Task Delete(StoredFile file, CancellationToken cancel) => real.Delete(file, cancel);

    public ValueTask DisposeAsync() => real.DisposeAsync();

    private async Task Answer(CancellationToken cancel)
    {
        Interlocked.Increment(ref loads);
        if (Silent || FallsSilent())
            await Task.Delay(Timeout.Infinite, cancel);
        if (Strange is { } strange)
            throw strange;
        if (Gone)
            throw new BackendException(Location, "connection refused", isTransient: true);
        if (Delay > TimeSpan.Zero)
            await Task.Delay(Delay, cancel);
    }
}
