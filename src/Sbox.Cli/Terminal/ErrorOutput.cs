using System.Text;

namespace Sbox.Cli.Terminal;

/// <summary>
/// Stderr, where nobody may be listening: a log on a full disk, a descriptor that is closed. What cannot be said there is not said, and the work and its exit code are what they would have been;
/// an exception on the way to say another would end the program by a signal instead.
/// </summary>
internal sealed class ErrorOutput : TextWriter
{
    private StreamWriter? opened; // made by the first word: most runs have none to say

    /// <inheritdoc/>
    public override Encoding Encoding => Console.OutputEncoding is UTF8Encoding ? new UTF8Encoding(encoderShouldEmitUTF8Identifier: false) : Console.OutputEncoding;

    /// <summary>Has the program say its errors here.</summary>
    public static void Take() => Console.SetError(new ErrorOutput());

    /// <inheritdoc/>
    public override void Write(char value) => Write(new ReadOnlySpan<char>(in value));

    /// <inheritdoc/>
    public override void Write(string? value) => Write(value.AsSpan());

    /// <inheritdoc/>
    public override void WriteLine(string? value) => Write($"{value}\n");

    /// <inheritdoc/>
    public override void Write(char[] buffer, int index, int count) => Write(buffer.AsSpan(index, count));

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<char> buffer)
    {
        try
        {
            opened ??= new StreamWriter(Console.OpenStandardError(), Encoding) { AutoFlush = true };
            if (Console.IsErrorRedirected && PlainText.BytesOf(buffer) is { } raw)
                opened.BaseStream.Write(raw); // names, as they are
            else
                opened.Write(buffer);
        }
        catch (Exception unheard) when (unheard is IOException or UnauthorizedAccessException)
        {
            opened = null; // with what could not be written: it would come before the next words
        }
    }
}
