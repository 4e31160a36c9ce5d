using System.Globalization;

namespace Sbox.Tomb;

/// <summary>Which snapshots are kept, by the rules that restic has; -1 keeps all of a kind.</summary>
public sealed record ForgetPolicy
{
    /// <summary>The newest.</summary>
    public int Last { get; init; }

    /// <summary>The newest of each hour, for that many hours that have one.</summary>
    public int Hourly { get; init; }

    /// <summary>Of each day.</summary>
    public int Daily { get; init; }

    /// <summary>Of each ISO week.</summary>
    public int Weekly { get; init; }

    /// <summary>Of each month.</summary>
    public int Monthly { get; init; }

    /// <summary>Of each year.</summary>
    public int Yearly { get; init; }

    /// <summary>All that are younger than this, counted from the newest; a snapshot ahead of the clock is not what is counted from.</summary>
    public CalendarSpan Within { get; init; }

    /// <summary>All with all tags of one of these lists; an empty tag stands for having none.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Tags { get; init; } = [];

    /// <summary>What the snapshots of a group have in common: the rules are applied to each group.</summary>
    public SnapshotGrouping GroupBy { get; init; } = SnapshotGrouping.Host | SnapshotGrouping.Paths;

    /// <summary>Whether it keeps nothing: then it is no policy.</summary>
    public bool IsEmpty => Last == 0 && Hourly == 0 && Daily == 0 && Weekly == 0 && Monthly == 0 && Yearly == 0 && Within.IsZero && Tags.Count == 0;

    /// <summary>Applies it to each group of snapshots.</summary>
    /// <param name="snapshots">All snapshots.</param>
    /// <param name="now">The clock's time.</param>
    /// <exception cref="NothingKeptException">Nothing of a group would stay.</exception>
    public ForgetPlan Apply(IReadOnlyList<Snapshot> snapshots, DateTimeOffset now)
    {
        var keep = new List<KeptSnapshot>();
        var forget = new List<Snapshot>();
        foreach (IGrouping<(string, string, string), Snapshot> group in snapshots.GroupBy(KeyOf))
        {
            int kept = keep.Count;
            ApplyTo([.. group.OrderByDescending(static each => each.Time)], now, keep, forget);
            if (keep.Count == kept)
                throw new NothingKeptException([.. group]);
        }

        return new ForgetPlan(keep, forget);
    }

    private (string Host, string Paths, string Tags) KeyOf(Snapshot snapshot)
    {
        return (GroupBy.HasFlag(SnapshotGrouping.Host) ? snapshot.Hostname : "", Of(SnapshotGrouping.Paths, snapshot.Paths), Of(SnapshotGrouping.Tags, snapshot.Tags));

        string Of(SnapshotGrouping kind, IReadOnlyList<string> words) => GroupBy.HasFlag(kind) ? string.Join('\n', words.Order(StringComparer.Ordinal)) : "";
    }

    private void ApplyTo(IReadOnlyList<Snapshot> newestFirst, DateTimeOffset now, List<KeptSnapshot> keep, List<Snapshot> forget)
    {
        Bucket[] buckets =
        [
            new("last", Last, static (_, number) => $"{number}"),
            new("hourly", Hourly, static (time, _) => time.ToString("yyyyMMddHH", CultureInfo.InvariantCulture)),
            new("daily", Daily, static (time, _) => time.ToString("yyyyMMdd", CultureInfo.InvariantCulture)),
            new("weekly", Weekly, static (time, _) => $"{ISOWeek.GetYear(time.DateTime)}-{ISOWeek.GetWeekOfYear(time.DateTime)}"),
            new("monthly", Monthly, static (time, _) => time.ToString("yyyyMM", CultureInfo.InvariantCulture)),
            new("yearly", Yearly, static (time, _) => time.ToString("yyyy", CultureInfo.InvariantCulture)),
        ];
        DateTimeOffset from = newestFirst.Select(Local).FirstOrDefault(time => time < now, DateTimeOffset.MinValue);
        for (int at = 0; at < newestFirst.Count; at++)
        {
            Snapshot snapshot = newestFirst[at];
            DateTimeOffset time = Local(snapshot);
            var reasons = new List<string>();
            if (Tags.Any(list => list.All(tag => tag.Length == 0 ? snapshot.Tags.Count == 0 : snapshot.Tags.Contains(tag))))
                reasons.Add("tag");
            if (!Within.IsZero && time > Within.Before(from))
                reasons.Add("within");
            foreach (Bucket bucket in buckets)
            {
                if (bucket.Takes(time, at, isOldest: at == newestFirst.Count - 1))
                    reasons.Add(bucket.Name);
            }

            if (reasons.Count > 0)
                keep.Add(new KeptSnapshot(snapshot, reasons));
            else
                forget.Add(snapshot);
        }
    }

    // Hours and days are those of the clock that the snapshot was made by.
    private static DateTimeOffset Local(Snapshot snapshot) => snapshot.Time.ToDateTimeOffset().ToOffset(TimeSpan.FromMinutes(snapshot.Time.ZoneMinutes));

    private sealed class Bucket(string name, int count, Func<DateTimeOffset, int, string> key)
    {
        private int left = count;
        private string last = "";

        public string Name => name;

        // The oldest fills a bucket that has room, as in restic: there is no better one for that time.
        public bool Takes(DateTimeOffset time, int number, bool isOldest)
        {
            if (left == 0)
                return false;
            string now = key(time, number);
            if (now == last && !isOldest)
                return false;
            last = now;
            if (left > 0)
                left--;
            return true;
        }
    }
}

/// <summary>What snapshots of a group have in common.</summary>
[Flags]
public enum SnapshotGrouping
{
    /// <summary>Nothing: all are one group.</summary>
    None,
    /// <summary>The machine.</summary>
    Host,
    /// <summary>The paths, in any order.</summary>
    Paths,
    /// <summary>The tags, in any order.</summary>
    Tags = 4,
}

/// <summary>A span by the calendar, as restic has it: a month ago is the same day of the month before.</summary>
/// <param name="Years">Years.</param>
/// <param name="Months">Months.</param>
/// <param name="Days">Days.</param>
/// <param name="Hours">Hours.</param>
public readonly record struct CalendarSpan(int Years, int Months, int Days, int Hours)
{
    /// <summary>Whether it is none.</summary>
    public bool IsZero => this == default;

    /// <summary>Reads numbers with <c>y</c>, <c>m</c>, <c>w</c>, <c>d</c> or <c>h</c> behind each: <c>1y5m7d2h</c>. Weeks are ours; restic knows none.</summary>
    /// <returns>Null for anything else.</returns>
    public static CalendarSpan? Parse(string text)
    {
        CalendarSpan span = default;
        for (int at = 0; at < text.Length; at++)
        {
            int end = text.AsSpan(at).IndexOfAnyExceptInRange('0', '9') + at;
            if (end <= at || end - at > 6)
                return null;
            int number = int.Parse(text.AsSpan(at, end - at), NumberStyles.None, CultureInfo.InvariantCulture);
            switch (text[end])
            {
                case 'y': span = span with { Years = number }; break;
                case 'm': span = span with { Months = number }; break;
                case 'w': span = span with { Days = span.Days + (7 * number) }; break;
                case 'd': span = span with { Days = span.Days + number }; break;
                case 'h': span = span with { Hours = number }; break;
                default: return null;
            }

            at = end;
        }

        return text.Length == 0 ? null : span;
    }

    /// <summary>The moment that is this span before another, by the other's clock. The 31st of a month that has none is as many days behind its end, as Go's AddDate has it.</summary>
    public DateTimeOffset Before(DateTimeOffset moment)
    {
        long months = (moment.Year * 12L) + moment.Month - 1 - (Years * 12L) - Months;
        if (months < 12 * 2 || Days > 366 * 9999)
            return DateTimeOffset.MinValue; // before the calendar begins
        var first = new DateTimeOffset((int)(months / 12), (int)(months % 12) + 1, 1, 0, 0, 0, moment.Offset);
        TimeSpan more = TimeSpan.FromDays(moment.Day - 1 - Days) + moment.TimeOfDay - TimeSpan.FromHours(Hours);
        return first.UtcTicks + more.Ticks > TimeSpan.TicksPerDay ? first + more : DateTimeOffset.MinValue;
    }
}

/// <summary>Of a group of snapshots the rules keep none: they may be meant for others, and whatever the group's are of would be lost. Nothing was deleted.</summary>
/// <param name="group">The snapshots.</param>
public sealed class NothingKeptException(IReadOnlyList<Snapshot> group)
    : TombException($"no rule keeps any of the {group.Count} snapshots of {string.Join(' ', group[0].Paths)} by {group[0].Hostname}")
{
    /// <summary>The snapshots.</summary>
    public IReadOnlyList<Snapshot> Group { get; } = group;
}

/// <summary>A snapshot that stays, and by which rules.</summary>
/// <param name="Snapshot">The snapshot.</param>
/// <param name="Reasons">The rules.</param>
public sealed record KeptSnapshot(Snapshot Snapshot, IReadOnlyList<string> Reasons);

/// <summary>What a policy comes to.</summary>
/// <param name="Keep">What stays.</param>
/// <param name="Forget">What goes.</param>
public sealed record ForgetPlan(IReadOnlyList<KeptSnapshot> Keep, IReadOnlyList<Snapshot> Forget)
{
    /// <summary>Deletes what the plan forgets; the bytes stay until a prune. An exclusive lock is held by the caller.</summary>
    public async Task Execute(TombRepository tomb, CancellationToken cancel)
    {
        foreach (Snapshot snapshot in Forget)
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Snapshot, snapshot.Id.ToString()), cancel);
    }
}
