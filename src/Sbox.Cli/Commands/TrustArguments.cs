using System.CommandLine;
using System.Globalization;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary>What is typed of trust documents: keys, rules and times.</summary>
internal static class TrustArguments
{
    /// <summary><c>--expires</c>.</summary>
    public static Option<string> Expires() => new("--expires")
    {
        Description = "How long the document is believed, as 90d or 1y, or the day until when: boxes take nothing after that until it is renewed",
        HelpName = "TIME",
        DefaultValueFactory = static _ => "1y",
    };

    /// <summary>A moment: a day, or so long from now.</summary>
    public static DateTimeOffset Until(string text)
    {
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        if (!DateTimeOffset.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset until))
            until = now + Span(text, "--expires");
        return until > now
            ? DateTimeOffset.FromUnixTimeSeconds(until.ToUnixTimeSeconds())
            : throw new Finding($"--expires={text} is over already", "--expires=1y, or a day to come");
    }

    /// <summary>A length of time: a number and h, d, w or y.</summary>
    public static TimeSpan Span(string text, string option)
    {
        double days = text.Length > 0 ? text[^1] switch { 'h' => 1.0 / 24, 'd' => 1, 'w' => 7, 'y' => 365, _ => 0 } : 0;
        return days > 0 && int.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count is > 0 and <= 100_000
            ? TimeSpan.FromDays(Math.Min(count * days, 36_500))
            : throw new Finding($"{option}={text} is no length of time", $"{option}=12h, 14d, 8w or 1y");
    }

    /// <summary>Keys by name, of <c>NAME=FILE</c>.</summary>
    public static IReadOnlyDictionary<string, Ed25519PublicKey> Keys(string[] given)
    {
        var keys = new SortedDictionary<string, Ed25519PublicKey>(StringComparer.Ordinal);
        foreach (string one in given)
        {
            if (one.Split('=', 2) is not [{ Length: > 0 } name, { Length: > 0 } file])
                throw new Finding($"--key={one} has no name", "--key=alice=alice.pub");
            if (!keys.TryAdd(name, SigningKeyFiles.ReadPublic(file)))
                throw new Finding($"--key: '{name}' is there twice", "Each key has a name of its own");
        }

        return keys;
    }

    /// <summary>A rule, of <c>N:NAME,NAME</c>.</summary>
    public static TrustRule Rule(string text) => text.Split(':', 2) is [var count, { Length: > 0 } names] && int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out int threshold)
        ? new TrustRule(threshold, names.Split(',', StringSplitOptions.TrimEntries))
        : throw new Finding($"'{text}' does not say how many of whom", "2:alice,bob");

    /// <summary>Rules by branch, of <c>BRANCH=N:NAME,NAME</c>.</summary>
    public static IReadOnlyDictionary<string, TrustRule> Rules(string[] given)
    {
        var rules = new SortedDictionary<string, TrustRule>(StringComparer.Ordinal);
        foreach (string one in given)
        {
            if (one.Split('=', 2) is not [{ Length: > 0 } pattern, var rule])
                throw new Finding($"--commits={one} names no branch", "--commits='debian/*=2:alice,bob'");
            if (!rules.TryAdd(pattern, Rule(rule)))
                throw new Finding($"--commits: '{pattern}' is there twice", "One rule for each");
        }

        return rules;
    }
}
