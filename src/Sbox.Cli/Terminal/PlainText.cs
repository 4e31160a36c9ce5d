namespace Sbox.Cli.Terminal;

/// <summary>
/// Text for a terminal, which obeys what it is sent: names of files, branches and packages are others', and an escape sequence in one would be carried out. As GNU ls does, control
/// characters are shown as question marks there; a pipe and a file get the bytes as they are.
/// </summary>
internal static class PlainText
{
    /// <summary>For stdout.</summary>
    public static string ForOutput(string text) => Console.IsOutputRedirected ? text : Of(text);

    /// <summary>For stderr.</summary>
    public static string ForError(string text) => Console.IsErrorRedirected ? text : Of(text);

    /// <summary>Without control characters (C0, C1 and DEL), but for the ends of lines and tabs.</summary>
    public static string Of(string text) => text.Any(IsCommand) ? string.Concat(text.Select(static letter => IsCommand(letter) ? '?' : letter)) : text;

    /// <summary>One line for stdout: what is in it, names above all, ends no line.</summary>
    public static string LineForOutput(string text) => Console.IsOutputRedirected ? text : OfLine(text);

    /// <summary>One line for stderr.</summary>
    public static string LineForError(string text) => Console.IsErrorRedirected ? text : OfLine(text);

    /// <summary>Without any control characters.</summary>
    public static string OfLine(string text) => Of(text).Replace('\n', '?').Replace('\t', '?');

    /// <summary>The bytes of a text in which a name is no UTF-8 (<see cref="Linux.FileName"/>); null where all of it is, and for what no name can hold.</summary>
    public static byte[]? BytesOf(ReadOnlySpan<char> text)
    {
        for (int at = 0; at < text.Length; at++)
        {
            int next = text[at..].IndexOfAnyInRange('\uD800', '\uDFFF');
            if (next < 0)
                return null;
            at += next;
            if (System.Text.Rune.DecodeFromUtf16(text[at..], out _, out int used) != System.Buffers.OperationStatus.Done)
                return text[at] is >= '\uDC80' and <= '\uDCFF' ? Linux.FileName.ToBytes(text.ToString()) : null;
            at += used - 1;
        }

        return null;
    }

    private static bool IsCommand(char letter) => char.IsControl(letter) && letter is not ('\n' or '\t');
}
