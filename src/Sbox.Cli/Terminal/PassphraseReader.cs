using System.CommandLine;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Cli.Terminal;

/// <summary>Passphrases come from a file or from the terminal: arguments and the environment are for everyone on the machine to read.</summary>
internal static class PassphraseReader
{
    public static Option<string?> Option() => new("--passphrase-file")
    {
        Description = "A file whose first line is the passphrase; without it, the terminal is asked",
        HelpName = "FILE",
    };

    /// <summary>Reads it.</summary>
    /// <param name="file">The file; null for the terminal.</param>
    /// <param name="twice">Whether the terminal asks again, as for a new one.</param>
    /// <exception cref="Finding">There is none, or it is empty, or the two differ.</exception>
    public static Passphrase Read(string? file, bool twice)
    {
        if (file is not null)
            return Checked(FromFile(file), file);
        if (Console.IsInputRedirected)
            throw new Finding("there is no terminal to ask for the passphrase", "Name a file with it: --passphrase-file=FILE");
        string first = Ask("Passphrase of the keys: ");
        if (twice && Ask("Once more: ") != first)
            throw new Finding("the two passphrases differ", "Type the same command again; nothing was written");
        return Checked(first, "the terminal");
    }

    private static string FromFile(string path)
    {
        using Dir parent = Dir.Open(Path.GetDirectoryName(Path.GetFullPath(path))!);
        string text = Encoding.UTF8.GetString(parent.ReadAll(Path.GetFileName(path)));
        return text.Split('\n')[0].TrimEnd('\r');
    }

    private static Passphrase Checked(string text, string where) => text.Length > 0
        ? new Passphrase(text)
        : throw new Finding($"{where}: the passphrase is empty", "Private keys are not kept without one");

    private static string Ask(string question)
    {
        Console.Error.Write(question);
        var typed = new StringBuilder();
        while (Console.ReadKey(intercept: true) is { Key: not ConsoleKey.Enter } key)
        {
            if (key.Key == ConsoleKey.Backspace)
                typed.Length = Math.Max(0, typed.Length - 1);
            else if (key.KeyChar != '\0')
                typed.Append(key.KeyChar);
        }

        Console.Error.WriteLine();
        return typed.ToString();
    }
}
