using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>A file on its way.</summary>
/// <param name="Path">Where to.</param>
/// <param name="Content">Its bytes; whoever sends it disposes it.</param>
/// <param name="Lifetime">How long it stays there.</param>
internal readonly record struct SentFile(string Path, Stream Content, Lifetime Lifetime);

/// <summary>Files on their way to a place, counted.</summary>
internal sealed class Sending(IPlace place, IProgress<PublishProgress>? progress) : IProgress<DeltaProgress>
{
    private PublishStep step;
    private long done, total, files, bytes;

    /// <summary>Files that were sent.</summary>
    public long Files => Interlocked.Read(ref files);

    /// <summary>Their bytes.</summary>
    public long Bytes => Interlocked.Read(ref bytes);

    /// <summary>A step begins.</summary>
    public void Begin(PublishStep next, long count)
    {
        (step, done, total) = (next, 0, count);
        Report();
    }

    /// <summary>One more of the step's items is done.</summary>
    public void Passed()
    {
        Interlocked.Increment(ref done);
        Report();
    }

    /// <summary>The delta that is made now has come so far.</summary>
    public void Report(DeltaProgress delta) => progress?.Report(new PublishProgress(step, Interlocked.Read(ref done), total, Bytes) { Delta = delta });

    /// <summary>Sends files, as many at once as the place likes, and waits until they are there.</summary>
    public async Task SendAll<T>(IReadOnlyCollection<T> items, Func<T, SentFile> open, CancellationToken cancel)
    {
        var how = new ParallelOptions { MaxDegreeOfParallelism = place.Connections, CancellationToken = cancel };
        await Parallel.ForEachAsync(items, how, async (item, stop) =>
        {
            SentFile file = open(item);
            await using (file.Content.ConfigureAwait(false))
                await Send(file, stop).ConfigureAwait(false);
        }).ConfigureAwait(false);
        await place.Settle(cancel).ConfigureAwait(false);
    }

    /// <summary>Replaces a file that changes, where it does.</summary>
    public async Task Replace(string path, byte[]? there, byte[] content, CancellationToken cancel)
    {
        if (there is not null && there.AsSpan().SequenceEqual(content))
            return;
        using var stream = new MemoryStream(content, writable: false);
        await Send(new SentFile(path, stream, Lifetime.Mutable), cancel).ConfigureAwait(false);
    }

    private async Task Send(SentFile file, CancellationToken cancel)
    {
        await place.Write(file.Path, file.Content, file.Lifetime, cancel).ConfigureAwait(false);
        Interlocked.Increment(ref files);
        Interlocked.Add(ref bytes, file.Content.Length);
        Passed();
    }

    private void Report() => progress?.Report(new PublishProgress(step, Interlocked.Read(ref done), total, Bytes));
}
