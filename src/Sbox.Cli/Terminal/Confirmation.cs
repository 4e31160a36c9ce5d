using System.CommandLine;

namespace Sbox.Cli.Terminal;

/// <summary>A word that a person types, so that nothing which cannot be taken back happens by a slip.</summary>
internal static class Confirmation
{
    /// <summary><c>--yes</c>.</summary>
    public static Option<bool> Yes() => new("--yes") { Description = "Do it without asking; for scripts" };

    /// <summary>Asks, unless the answer was given already.</summary>
    /// <param name="word">What is to be typed.</param>
    /// <param name="yes">Whether it was answered.</param>
    /// <exception cref="Finding">It was not typed, or nobody is there to type it.</exception>
    public static void Ask(string word, bool yes)
    {
        if (yes)
            return;
        if (Console.IsInputRedirected)
            throw new Finding("there is no terminal to ask at, and nothing was changed", "Read what is shown above, and type the same command with --yes");
        Console.Error.Write($"Type {word} to do it: ");
        if (Console.In.ReadLine()?.Trim() != word)
            throw new Finding($"'{word}' was not typed, and nothing was changed", "Type the same command again when it is as it should be");
    }
}
