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

    /// <summary>All that are younger than this, counted from the newest.</summary>
    public TimeSpan? Within { get; init; }

    /// <summary>All with one of these tags.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>Whether it keeps nothing: then it is no policy.</summary>
    public bool IsEmpty => Last == 0 && Hourly == 0 && Daily == 0 && Weekly == 0 && Monthly == 0 && Yearly == 0 && Within is null && Tags.Count == 0;

    /// <summary>Applies it to each machine's snapshots of the same paths.</summary>
    public ForgetPlan Apply(IReadOnlyList<Snapshot> snapshots)
    {
        var keep = new List<KeptSnapshot>();
        var forget = new List<Snapshot>();
        foreach (IGrouping<(string, string), Snapshot> group in snapshots.GroupBy(static each => (each.Hostname, string.Join('\n', each.Paths.Order(StringComparer.Ordinal)))))
            ApplyTo([.. group.OrderByDescending(static each => each.Time)], keep, forget);
        return new ForgetPlan(keep, forget);
    }

    private void ApplyTo(IReadOnlyList<Snapshot> newestFirst, List<KeptSnapshot> keep, List<Snapshot> forget)
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
        DateTimeOffset newest = newestFirst[0].Time.ToDateTimeOffset();
        for (int at = 0; at < newestFirst.Count; at++)
        {
            Snapshot snapshot = newestFirst[at];
            DateTimeOffset time = snapshot.Time.ToDateTimeOffset().ToOffset(TimeSpan.FromMinutes(snapshot.Time.ZoneMinutes));
            var reasons = new List<string>();
            if (snapshot.Tags.Intersect(Tags, StringComparer.Ordinal).Any())
                reasons.Add("tag");
            if (Within is { } span && time > newest - span)
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
