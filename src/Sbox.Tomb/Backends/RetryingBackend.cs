namespace Sbox.Tomb;

/// <summary>Tries again what may work a little later: after 0.5, 1, 2, 4 and 8 seconds, each a little longer or shorter so that many do not come at once.</summary>
public sealed class RetryingBackend(IBackend inner, TimeProvider clock) : IBackend
{
    private const int Tries = 6;

    /// <inheritdoc/>
    public string Location => inner.Location;

    /// <inheritdoc/>
    public int Connections => inner.Connections;

    /// <inheritdoc/>
    public Task Create(CancellationToken cancel) => Try(stop => inner.Create(stop), cancel);

    /// <inheritdoc/>
    public Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel) => Try(stop => inner.Save(file, bytes, stop), cancel);

    /// <inheritdoc/>
    public Task<byte[]> Load(StoredFile file, CancellationToken cancel) => Try(stop => inner.Load(file, stop), cancel);

    /// <inheritdoc/>
    public Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel) => Try(stop => inner.LoadRange(file, offset, into, stop), cancel);

    /// <inheritdoc/>
    public Task<long?> Size(StoredFile file, CancellationToken cancel) => Try(stop => inner.Size(file, stop), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel) => Try(stop => inner.List(type, stop), cancel);

    /// <inheritdoc/>
    public Task Delete(StoredFile file, CancellationToken cancel) => Try(stop => inner.Delete(file, stop), cancel);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private Task Try(Func<CancellationToken, Task> work, CancellationToken cancel) => Try(
        async stop =>
        {
            await work(stop);
            return true;
        }, cancel);

    private async Task<T> Try<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return await work(cancel);
            }
            catch (BackendException failed) when (failed.PassesByItself && attempt < Tries)
            {
                double seconds = Math.Pow(2, attempt - 2) * (0.75 + (Random.Shared.NextDouble() / 2));
                await Task.Delay(TimeSpan.FromSeconds(seconds), clock, cancel);
            }
        }
    }
}
