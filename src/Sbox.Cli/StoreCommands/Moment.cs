using System.Globalization;
using System.Text.RegularExpressions;

namespace Sbox.Cli.StoreCommands;

/// <summary>Moments as people and build systems write them.</summary>
internal static partial class Moment
{
    private const long LastSecond = 253402300799; // of the year 9999

    /// <summary>
    /// <c>@SECONDS</c>, a date with or without a time (in UTC where it names no zone), or words that count from now: <c>yesterday</c>, <c>3 days ago</c>,
    /// <c>last monday</c>, <c>tomorrow 12:00</c>.
    /// </summary>
    /// <exception cref="Finding">It is none of these.</exception>
    public static DateTimeOffset Parse(string text, DateTimeOffset now)
    {
        if (text.StartsWith('@') && long.TryParse(text.AsSpan(1), CultureInfo.InvariantCulture, out long seconds) && seconds is >= 0 and <= LastSecond)
            return DateTimeOffset.FromUnixTimeSeconds(seconds);
        return Counted(text, now) is { } counted ? counted
            : DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time) ? time
            : throw new Finding($"Could not parse '{text}'", "@SECONDS, 2026-01-31T12:00:00Z, yesterday, or \"1 week ago\"");
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

    // Words as GNU date has them, for it is those that scripts pass on. Null where there is another, or where the sum is no date.
    private static DateTimeOffset? Counted(string text, DateTimeOffset now)
    {
        MatchCollection items = Item().Matches(text);
        if (items.Count == 0 || items.Sum(static item => item.Length) != text.TrimEnd().Length)
            return null;
        try
        {
            // A day or a time of day is where the counting begins, wherever it stands.
            DateTimeOffset moment = now;
            foreach (Match item in items.Where(static item => item.Groups["date"].Success || item.Groups["weekday"].Success))
                moment = DayOf(item, now);
            foreach (Match item in items.Where(static item => item.Groups["time"].Success))
                moment = new DateTimeOffset(moment.UtcDateTime.Date, TimeSpan.Zero) + TimeSpan.Parse(item.Groups["time"].Value, CultureInfo.InvariantCulture);
            foreach (Match item in items)
                moment = Moved(moment, item);
            return moment;
        }
        catch (Exception impossible) when (impossible is ArgumentOutOfRangeException or FormatException or OverflowException)
        {
            return null;
        }
    }

    private static DateTimeOffset DayOf(Match item, DateTimeOffset now)
    {
        if (item.Groups["date"].Success)
            return DateTimeOffset.ParseExact(item.Groups["date"].Value, ["yyyyMMdd", "yyyy-M-d"], CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        var today = new DateTimeOffset(now.UtcDateTime.Date, TimeSpan.Zero);
        int day = Array.FindIndex(CultureInfo.InvariantCulture.DateTimeFormat.AbbreviatedDayNames, name => item.Groups["weekday"].Value.StartsWith(name, StringComparison.OrdinalIgnoreCase));
        int ahead = (day - (int)today.DayOfWeek + 7) % 7;
        // The next Monday is the one that comes; on a Monday it is the one after.
        return today.AddDays(ahead + item.Groups["which"].Value.ToLowerInvariant() switch { "last" => -7, "next" when ahead == 0 => 7, _ => 0 });
    }

    private static DateTimeOffset Moved(DateTimeOffset from, Match item)
    {
        switch (item.Groups["day"].Value.ToLowerInvariant())
        {
            case "tomorrow":
                return from.AddDays(1);
            case "yesterday":
                return from.AddDays(-1);
            default:
                break;
        }

        if (!item.Groups["unit"].Success)
            return from;
        int count = item.Groups["count"].Value.Trim().ToLowerInvariant() switch
        {
            "" or "next" => 1,
            "this" => 0,
            "last" => -1,
            var number => int.Parse(number, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture),
        };
        if (item.Groups["ago"].Success)
            count = checked(-count);
        return item.Groups["unit"].Value.ToLowerInvariant() switch
        {
            "sec" or "second" => from.AddSeconds(count),
            "min" or "minute" => from.AddMinutes(count),
            "hour" => from.AddHours(count),
            "day" => from.AddDays(count),
            "week" => from.AddDays(7.0 * count),
            "fortnight" => from.AddDays(14.0 * count),
            "month" => from.AddMonths(count),
            _ => from.AddYears(count),
        };
    }

    [GeneratedRegex(
        @"\G\s*(?:(?<date>\d{8}|\d{4}-\d{1,2}-\d{1,2})|(?<time>\d{1,2}:\d\d(?::\d\d)?)|(?<day>now|today|tomorrow|yesterday)" +
        @"|(?:(?<which>last|this|next)\s+)?(?<weekday>sun(?:day)?|mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?)" +
        @"|(?:(?<count>[+-]?\d+\s*|(?:last|this|next)\s+))?(?<unit>second|sec|minute|min|hour|day|week|fortnight|month|year)s?(?<ago>\s+ago)?)(?!\S)",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Item();
}
