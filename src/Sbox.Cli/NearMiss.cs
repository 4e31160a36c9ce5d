using System.CommandLine;

namespace Sbox.Cli;

/// <summary>What somebody may have meant who mistyped a word.</summary>
internal static class NearMiss
{
    /// <summary>A question to be put behind the finding; empty where nothing is near, or several are as near.</summary>
    /// <param name="command">The command that does not know it.</param>
    /// <param name="word">The word, with its value where it is an option.</param>
    public static string Asked(Command command, string word)
    {
        string typed = word.Split('=')[0];
        IEnumerable<Symbol> symbols = word.StartsWith('-') ? command.Options.Concat(command.Parents.OfType<Command>().SelectMany(static parent => parent.Options).Where(static option => option.Recursive)) : command.Subcommands;
        IEnumerable<string> known = symbols.Where(static symbol => !symbol.Hidden).Select(static symbol => symbol.Name);
        int most = Math.Max(1, typed.TrimStart('-').Length / 3);
        (string Name, int Distance)[] near = [.. known.Select(name => (name, Distance(typed, name))).Where(each => each.Item2 <= most).OrderBy(static each => each.Item2)];
        return near.Length == 0 || (near.Length > 1 && near[1].Distance == near[0].Distance) ? "" : $"; was {near[0].Name} meant?";
    }

    // Letters too many, too few, others, and two that changed places, each as one (Damerau and Levenshtein's, of neighbours alone).
    private static int Distance(string one, string other)
    {
        var rows = new int[one.Length + 1, other.Length + 1];
        for (int i = 0; i <= one.Length; i++)
            rows[i, 0] = i;
        for (int j = 0; j <= other.Length; j++)
            rows[0, j] = j;
        for (int i = 1; i <= one.Length; i++)
        {
            for (int j = 1; j <= other.Length; j++)
            {
                int best = Math.Min(Math.Min(rows[i - 1, j], rows[i, j - 1]) + 1, rows[i - 1, j - 1] + (one[i - 1] == other[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1])
                    best = Math.Min(best, rows[i - 2, j - 2] + 1);
                rows[i, j] = best;
            }
        }

        return rows[one.Length, other.Length];
    }
}
