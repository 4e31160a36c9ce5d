using System.Globalization;

namespace Sbox.Sysroot;

/// <summary>A time of the week in which a box may change itself: <c>Mon-Fri 02:00-04:30</c>; one that ends before it begins goes over midnight.</summary>
/// <param name="Days">The days on which it opens.</param>
/// <param name="From">When it opens, local time.</param>
/// <param name="To">When it closes; the same as <paramref name="From"/> for a whole day.</param>
public sealed record AutoWindow(IReadOnlySet<DayOfWeek> Days, TimeOnly From, TimeOnly To)
{
    private static readonly DayOfWeek[] Week = [DayOfWeek.Monday, DayOfWeek.Tuesday, DayOfWeek.Wednesday, DayOfWeek.Thursday, DayOfWeek.Friday, DayOfWeek.Saturday, DayOfWeek.Sunday];
    private static readonly string[] Names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

    /// <summary>How long it is open.</summary>
    public TimeSpan Length => To == From ? TimeSpan.FromDays(1) : To - From; // over midnight where it has to be

    /// <summary>Reads <c>[DAYS] HH:MM-HH:MM</c>; DAYS is days and ranges of days with commas between, every day where it is missing.</summary>
    /// <exception cref="FormatException">It is anything else.</exception>
    public static AutoWindow Parse(string text)
    {
        string[] parts = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        (string days, string hours) = parts switch
        {
            [var only] => ("Mon-Sun", only),
            [var first, var second] => (first, second),
            _ => throw Wrong(text),
        };
        if (hours.Split('-') is not [var from, var to])
            throw Wrong(text);
        return new AutoWindow(ReadDays(days, text), Time(from, text), Time(to == "24:00" ? "00:00" : to, text));
    }

    /// <summary>Whether it is open at a local time.</summary>
    public bool IsOpen(DateTime local) => Days.Any(day => Openings(local, day).Any(open => local >= open && local < open + Length));

    /// <summary>When it opens next, after a local time.</summary>
    public DateTime NextOpening(DateTime local) => Enumerable.Range(0, 8).Select(ahead => local.Date.AddDays(ahead))
        .Where(date => Days.Contains(date.DayOfWeek)).Select(date => date + From.ToTimeSpan()).First(open => open > local);

    /// <summary>As it is written.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture, $"{(Days.Count == 7 ? "" : string.Join(',', Week.Index().Where(day => Days.Contains(day.Item)).Select(static day => Names[day.Index])) + " ")}{From:HH\\:mm}-{To:HH\\:mm}");

    /// <inheritdoc/>
    public bool Equals(AutoWindow? other) => other is not null && Days.SetEquals(other.Days) && From == other.From && To == other.To;

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(From, To, Days.Count);

    // What opened today or yesterday may be open now.
    private IEnumerable<DateTime> Openings(DateTime local, DayOfWeek day) =>
        ((int[])[0, -1]).Select(back => local.Date.AddDays(back)).Where(date => date.DayOfWeek == day).Select(date => date + From.ToTimeSpan());

    private static HashSet<DayOfWeek> ReadDays(string days, string text)
    {
        HashSet<DayOfWeek> read = [];
        foreach (string part in days.Split(','))
        {
            int[] ends = [.. part.Split('-').Select(name => Array.FindIndex(Names, each => each.Equals(name, StringComparison.OrdinalIgnoreCase)))];
            if (ends is not [>= 0] and not [>= 0, >= 0])
                throw Wrong(text);
            for (int at = ends[0]; ; at = (at + 1) % Week.Length)
            {
                read.Add(Week[at]);
                if (at == ends[^1])
                    break;
            }
        }

        return read;
    }

    private static TimeOnly Time(string time, string text) => TimeOnly.TryParseExact(time, "HH:mm", CultureInfo.InvariantCulture, DateTimeStyles.None, out TimeOnly read) ? read : throw Wrong(text);

    private static FormatException Wrong(string text) => new($"'{text}' is no window: [DAYS] HH:MM-HH:MM, as in 'Mon-Fri 02:00-04:30' or '22:00-05:00'");
}

/// <summary>One step of a rollout: what part of a fleet takes a version when it is so old.</summary>
/// <param name="Percent">0 to 100.</param>
/// <param name="After">How long after the version was made.</param>
public sealed record RolloutStep(double Percent, TimeSpan After)
{
    /// <summary>Reads <c>10% 24h</c>; the time in <c>m</c>, <c>h</c> or <c>d</c>.</summary>
    /// <exception cref="FormatException">It is anything else.</exception>
    public static RolloutStep Parse(string text)
    {
        if (text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [[.. var percent, '%'], [.. var count, var unit]]
            && double.TryParse(percent, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double part) && part is >= 0 and <= 100
            && uint.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out uint number) && number <= 100_000 && unit is 'm' or 'h' or 'd')
            return new RolloutStep(part, unit switch { 'm' => TimeSpan.FromMinutes(number), 'h' => TimeSpan.FromHours(number), _ => TimeSpan.FromDays(number) });
        throw new FormatException($"'{text}' is no step of a rollout: PERCENT% TIME, as in '10% 24h'");
    }

    /// <summary>As it is written.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Percent}% {(After.TotalDays >= 1 && After.TotalDays % 1 == 0 ? $"{After.TotalDays}d" : After.TotalHours % 1 == 0 ? $"{After.TotalHours}h" : $"{After.TotalMinutes}m")}");
}
