namespace Sbox.Linux;

/// <summary>What a file is called until it is whole. Held, nobody else in this process is given the same one, whatever it writes at the same moment.</summary>
/// <remarks>
/// The process's id keeps processes apart, and a small number, the same ones again and again, the threads of one: what a power cut leaves is written over some day, and does not
/// become more with every cut.
/// </remarks>
public sealed class TemporaryName : IDisposable
{
    private static readonly Lock Changing = new();
    private static readonly HashSet<int> Taken = [];
    private readonly int number;

    /// <param name="name">The file's name when it is whole; without a directory.</param>
    public TemporaryName(string name)
    {
        lock (Changing)
        {
            while (!Taken.Add(number))
                number++;
        }

        Text = number == 0 ? $".{name}.{Environment.ProcessId}.tmp" : $".{name}.{Environment.ProcessId}.{number}.tmp";
    }

    /// <summary>The name, in the same directory. A file may have it, of one who had that process id before.</summary>
    public string Text { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (Changing)
            Taken.Remove(number);
    }
}
