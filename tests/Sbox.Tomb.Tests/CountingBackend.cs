namespace Sbox.Tomb.Tests;

/// <summary>Counts what is asked of a place, and answers as late as one that is far away.</summary>
internal sealed class CountingBackend(IBackend inner, TimeSpan away) : IBackend
{
    private int requests;

    public int Requests => requests;

    public string Location => inner.Location;

    public int Connections => 5;

    public Task Create(CancellationToken cancel) => inner.Create(cancel);

    public Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel) => After(() => inner.Save(file, bytes, cancel), cancel);

    public Task<byte[]> Load(StoredFile file, CancellationToken cancel) => After(() => inner.Load(file, cancel), cancel);

    public Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel) => After(() => inner.LoadRange(file, offset, into, cancel), cancel);

    public Task<long?> Size(StoredFile file, CancellationToken cancel) => After(() => inner.Size(file, cancel), cancel);

    public Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel) => After(() => inner.List(type, cancel), cancel);

    public Task Delete(StoredFile file, CancellationToken cancel) => After(() => inner.Delete(file, cancel), cancel);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private async Task<T> After<T>(Func<Task<T>> work, CancellationToken cancel)
    {
        Interlocked.Increment(ref requests);
        await Task.Delay(away, cancel);
        return await work();
    }

    private async Task After(Func<Task> work, CancellationToken cancel)
    {
        Interlocked.Increment(ref requests);
        await Task.Delay(away, cancel);
        await work();
    }
}
