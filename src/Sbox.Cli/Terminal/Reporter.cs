namespace Sbox.Cli.Terminal;

/// <summary>Passes reports on at once, on the thread that makes them; the class library's Progress posts them to a pool, out of order.</summary>
internal sealed class Reporter<T>(Action<T> show) : IProgress<T>
{
    /// <inheritdoc/>
    public void Report(T value) => show(value);
}
