using System.Globalization;

namespace Sbox.Cli.StoreCommands;

/// <summary>Moments as people and build systems write them.</summary>
internal static class Moment
{
    private const long LastSecond = 253402300799; // of the year 9999

    /// <summary><c>@SECONDS</c>, a date with or without a time (in UTC where it names no zone), or <c>3 days ago</c>.</summary>
    /// <exception cref="Finding">It is none of these.</exception>
    public static DateTimeOffset Parse(string text, DateTimeOffset now)
    {
        if (text.StartsWith('@') && long.TryParse(text.AsSpan(1), CultureInfo.InvariantCulture, out long seconds) && seconds is >= 0 and <= LastSecond)
            return DateTimeOffset.FromUnixTimeSeconds(seconds);
        if (text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var count, var unit, "ago"] &&
            int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out int number))
            return Before(now, number, unit.TrimEnd('s')) ?? throw Unknown(text);
        return DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time)
            ? time
            : throw Unknown(text);
    }

    /// <summary>As reproducible-builds.org has it: builds of the same sources shall make the same commit. Null where the environment says nothing.</summary>
    /// <exception cref="Finding">SOURCE_DATE_EPOCH holds no number of seconds.</exception>
    public static DateTimeOffset? OfSources()
    {
        if (Environment.GetEnvironmentVariable("SOURCE_DATE_EPOCH") is not { } text)
            return null;
        if (text.Length == 0 || text.AsSpan().ContainsAnyExceptInRange('0', '9'))
            throw new Finding($"Failed to convert SOURCE_DATE_EPOCH '{text}'", "it is whole seconds since 1970");
        return long.TryParse(text, CultureInfo.InvariantCulture, out long seconds) && seconds <= LastSecond
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : throw new Finding("Parsing SOURCE_DATE_EPOCH: Numerical result out of range", "it is whole seconds since 1970");
    }

    private static DateTimeOffset? Before(DateTimeOffset now, int number, string unit) => unit switch
    {
        "second" or "sec" => now.AddSeconds(-number),
        "minute" or "min" => now.AddMinutes(-number),
        "hour" => now.AddHours(-number),
        "day" => now.AddDays(-number),
        "week" => now.AddDays(-7.0 * number),
        "month" => now.AddMonths(-number),
        "year" => now.AddYears(-number),
        _ => null,
    };

    private static Finding Unknown(string text) => new($"Could not parse '{text}'", "@SECONDS, 2026-01-31T12:00:00Z, or \"1 week ago\"");
}
