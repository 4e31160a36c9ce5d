using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>How long one request to a far place may take, until it counts as failed.</summary>
/// <param name="Answer">For the answer alone.</param>
/// <param name="BytesPerSecond">And for what it carries: no line that is worth waiting for is slower than this.</param>
public sealed record RequestLimit(TimeSpan Answer, long BytesPerSecond)
{
    /// <summary>A minute, and 32 KiB a second.</summary>
    public static RequestLimit Usual { get; } = new(TimeSpan.FromSeconds(60), 32_768);

    /// <summary>The limit of a request that carries so many bytes.</summary>
    public TimeSpan For(long bytes) => Answer + TimeSpan.FromSeconds((double)bytes / BytesPerSecond);
}

/// <summary>Nothing waits for ever: a request that takes longer than its limit is a transient failure.</summary>
internal static class TimeLimit
{
    public static async Task<T> Run<T>(string what, TimeSpan limit, Func<CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        stop.CancelAfter(limit);
        try
        {
            return await work(stop.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new BackendException(what, $"no answer within {limit.TotalSeconds:0} s", isTransient: true);
        }
        catch (Exception broken) when (broken is HttpRequestException or (IOException and not TombException and not LinuxException))
        {
            throw new BackendException(what, broken.InnerException?.Message ?? broken.Message, isTransient: true, broken);
        }
    }
}
