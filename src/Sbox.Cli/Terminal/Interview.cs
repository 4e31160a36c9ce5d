using Sbox.Linux;

namespace Sbox.Cli.Terminal;

/// <summary>Whoever is asked wants to answer the question before this one anew.</summary>
internal sealed class WentBackException() : Exception($"'{Interview.Back}' was typed");

/// <summary>
/// Questions on a console, one after the other, in lines: what works on the plainest screen, on a serial line and with a screen reader.
/// </summary>
/// <param name="input">Where answers come from.</param>
/// <param name="output">Where questions go.</param>
/// <param name="secret">Asks for a secret, unseen; the second argument is whether it is asked twice.</param>
/// <param name="colors">Whether the screen has them.</param>
internal sealed class Interview(TextReader input, TextWriter output, Func<string, bool, SecretMemory> secret, bool colors)
{
    /// <summary>What is typed to go back.</summary>
    public const string Back = "<";

    private const string LeaveOut = "-";

    /// <summary>Whether <see cref="Back"/> is no answer, but ends a question with <see cref="WentBackException"/>.</summary>
    public bool GoesBack { get; init; }

    /// <summary>On this program's terminal.</summary>
    public static Interview OnConsole(bool goesBack = false) => new(Console.In, Console.Error, SecretPrompt, !Console.IsErrorRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb")) { GoesBack = goesBack };

    /// <summary>A title above all.</summary>
    public void Title(string title, string below)
    {
        output.Write($"\n  {Paint("1;35", title)}\n  {new string('-', title.Length)}\n");
        Say(below);
    }

    /// <summary>The next question's heading.</summary>
    public void Step(int step, int of, string title) => output.Write($"\n  {Paint("1;36", $"{step} of {of}  {title}")}\n");

    /// <summary>Something to read.</summary>
    public void Say(string text)
    {
        foreach (string line in text.Split('\n'))
            output.WriteLine($"  {line}");
        output.Flush();
    }

    /// <summary>Something that did not work, and how it goes on.</summary>
    public void Warn(string text)
    {
        foreach (string line in text.Split('\n'))
            output.WriteLine($"  {Paint("33", line)}");
        output.Flush();
    }

    /// <summary>Asks for a line.</summary>
    /// <param name="question">What is asked.</param>
    /// <param name="otherwise">What Enter means; null where something must be typed.</param>
    /// <param name="fault">What is wrong with an answer, or null; asked again then.</param>
    /// <returns>The answer; null where a dash left the question out.</returns>
    /// <exception cref="Finding">The terminal was closed.</exception>
    /// <exception cref="WentBackException">They went back.</exception>
    public string? Ask(string question, string? otherwise, Func<string, string?>? fault = null)
    {
        while (true)
        {
            output.Write($"  {question}{(otherwise is { Length: > 0 } ? $" [{otherwise}]" : "")}: ");
            output.Flush();
            string typed = (input.ReadLine() ?? throw new Finding("the terminal was closed in the middle of a question", "Begin anew: sbox welcome")).Trim();
            if (GoesBack && typed == Back)
                throw new WentBackException();
            if (typed == LeaveOut)
                return null;
            string answer = typed.Length > 0 ? typed : otherwise ?? "";
            if (typed.Length == 0 && otherwise is null)
                Warn("Something is wanted here; a dash (-) leaves the question out.");
            else if (fault?.Invoke(answer) is { } wrong)
                Warn(wrong);
            else
                return answer;
        }
    }

    /// <summary>Asks for yes or no; a dash is no.</summary>
    public bool IsYes(string question, bool otherwise) =>
        Ask($"{question} (yes/no)", otherwise ? "yes" : "no", static answer => answer.ToLowerInvariant() is "y" or "yes" or "n" or "no" ? null : "Please type yes or no.") is { } answer
        && answer.StartsWith("y", StringComparison.OrdinalIgnoreCase);

    /// <summary>Shows what there is to choose from, and asks which.</summary>
    /// <returns>Its index; null where a dash left the question out.</returns>
    public int? Choose(IReadOnlyList<string> options, int otherwise)
    {
        foreach ((int index, string option) in options.Index())
            Say($"{index + 1,3}  {option}");
        string? answer = Ask("Which", $"{otherwise + 1}", typed => int.TryParse(typed, out int number) && number >= 1 && number <= options.Count ? null : $"A number from 1 to {options.Count}, please.");
        return answer is null ? null : int.Parse(answer, System.Globalization.CultureInfo.InvariantCulture) - 1;
    }

    /// <summary>Asks for a secret; what is typed is not shown.</summary>
    /// <param name="question">What is asked.</param>
    /// <param name="twice">Whether it is asked once more, until both are the same.</param>
    /// <exception cref="WentBackException">They went back: a password of that one letter alone there is not.</exception>
    public SecretMemory AskSecret(string question, bool twice)
    {
        while (true)
        {
            try
            {
                SecretMemory typed = secret($"  {question}: ", twice);
                if (!GoesBack || !typed.Span.SequenceEqual("<"u8))
                    return typed;
                typed.Dispose();
                throw new WentBackException();
            }
            catch (Finding fault) when (!Console.IsInputRedirected) // the two differ, or it is empty; peeking at a terminal would wait for a line
            {
                Warn(fault.Message);
            }
        }
    }

    private static SecretMemory SecretPrompt(string question, bool twice) => TombCommands.SecretPrompt.Ask(question, twice, again: "  Once more: ", Back);

    private string Paint(string code, string text) => colors ? $"\e[{code}m{text}\e[0m" : text;
}
