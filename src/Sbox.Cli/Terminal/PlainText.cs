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

    private static bool IsCommand(char letter) => char.IsControl(letter) && letter is not ('\n' or '\t');
}
