namespace Sbox.Delivery.Tests;

/// <summary>A place that is looked at after each thing that it is told to do.</summary>
internal sealed class WatchedPlace(IPlace inner) : IPlace
{
    private readonly SemaphoreSlim one = new(1);

    public Func<Task> AfterStep { get; set; } = static () => Task.CompletedTask;

    public string Location => inner.Location;

    public int Connections => 1;

    public bool KeepsCase => inner.KeepsCase;

    public TimeSpan Staleness => inner.Staleness;

    public Task<IAsyncDisposable> Open(CancellationToken cancel) => inner.Open(cancel);

    public Task<IReadOnlyList<string>> Missing(IReadOnlyCollection<string> paths, CancellationToken cancel) => inner.Missing(paths, cancel);

    public Task<byte[]?> TryRead(string path, CancellationToken cancel) => inner.TryRead(path, cancel);

    public async Task Write(string path, Stream content, Lifetime lifetime, CancellationToken cancel)
    {
        await inner.Write(path, content, lifetime, cancel);
        // Each file by itself, as in a bucket: a directory would show many at once.
        await inner.Settle(cancel);
        await Look();
    }

    public Task Settle(CancellationToken cancel) => inner.Settle(cancel);

    public async Task Delete(string path, CancellationToken cancel)
    {
        await inner.Delete(path, cancel);
        await Look();
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private async Task Look()
    {
        await one.WaitAsync();
        try
        {
            await AfterStep();
        }
        finally
        {
            one.Release();
        }
    }
}
