namespace Sbox.Store;

/// <summary>
/// Which of a repository's mirrors is asked for the next file. The first requests go to several of them, and each gets as much more as it is faster; one that fails where another brings what was
/// asked for is left. It is only about speed: whoever takes the bytes checks them, whichever mirror they are from.
/// </summary>
internal sealed class MirrorRace
{
    /// <summary>How many are raced; the others wait until one of these is left.</summary>
    public const int AtOnce = 4;

    private const int LeastMeasures = 2; // one slow moment is not remembered for a month
    private const int FailuresUntilLeft = 2, LacksUntilLeft = 8;
    private const int Trials = 6, TrialsAtOnce = 2; // a first connection is slow everywhere, and one that says nothing is not to get all
    private static readonly TimeSpan AnotherTrial = TimeSpan.FromSeconds(2); // a slow one may have become better
    private const long RequestWorth = 4096; // bytes: many small objects say how fast a mirror is, too
    private const double Weight = 0.95; // of what was learnt before, with each request
    private readonly Lock gate = new();
    private readonly TimeProvider clock;
    private readonly Mirror[] listed, raced;

    /// <param name="urls">Addresses of the same files, without a slash at their ends; one or more, in the order in which files that change are asked for.</param>
    /// <param name="known">What was learnt before; null for nothing.</param>
    /// <param name="clock">What time it is; null for the system's.</param>
    public MirrorRace(IReadOnlyList<string> urls, IReadOnlyDictionary<string, MirrorMemory.Line>? known = null, TimeProvider? clock = null)
    {
        this.clock = clock ?? TimeProvider.System;
        listed = [.. urls.Distinct().Select(url => new Mirror(url, known?.GetValueOrDefault(MirrorMemory.NameOf(url))))];
        // Good ones first; but one that nothing is known of has a place among those that are raced, or the first that ever won would win for ever.
        Mirror[] good = [.. listed.Where(static each => each.Known is { Speed: > 0 }).OrderByDescending(static each => each.Known!.Speed)];
        Mirror[] others = [.. listed.Where(static each => each.Known is null)];
        raced = [.. good.Take(AtOnce - 1), .. others.Take(1), .. good.Skip(AtOnce - 1), .. others.Skip(1), .. listed.Where(static each => each.Known is { Speed: 0 })];
    }

    /// <summary>All of their addresses.</summary>
    public IEnumerable<string> Urls => listed.Select(static each => each.Url);

    /// <summary>The time, for <see cref="Failure"/>.</summary>
    public long Now => clock.GetTimestamp();

    /// <summary>The repository's address, for errors.</summary>
    public string First => listed[0].Url;

    /// <summary>There is no other to go to.</summary>
    public bool IsOne => listed.Length == 1;

    /// <summary>What a person should know, a line each: which was left, and why.</summary>
    public IReadOnlyList<string> Notes
    {
        get
        {
            lock (gate)
                return [.. listed.Where(static each => each.Left is not null).Select(static each => $"The mirror {HttpTransport.Shown(each.Url)} was left for others: {each.Left}")];
        }
    }

    /// <summary>Chooses the mirror that is asked next. <see cref="Ended"/> is told how it went.</summary>
    /// <param name="asked">Those that were asked for this file.</param>
    /// <param name="inOrder">Whether the file is one that changes: the first of the list has it as it should be, and a fast mirror may have an old one.</param>
    /// <returns>Null where all were asked.</returns>
    public Mirror? Next(IReadOnlyCollection<Mirror> asked, bool inOrder)
    {
        lock (gate)
        {
            Mirror? next = inOrder ? Untried(listed, asked) : Fastest(asked) ?? Untried(raced, asked);
            if (next is not null)
                next.UnderWay++;
            return next;
        }
    }

    /// <summary>A request has ended.</summary>
    /// <param name="mirror">Of which.</param>
    /// <param name="bytes">What it brought.</param>
    /// <param name="took">How long it took.</param>
    /// <param name="isMeasure">Whether that says how fast it is.</param>
    public void Ended(Mirror mirror, long bytes, TimeSpan took, bool isMeasure)
    {
        lock (gate)
        {
            mirror.UnderWay--;
            mirror.LastEnded = clock.GetTimestamp();
            if (!isMeasure || mirror.Requests++ == 0)
                return;
            mirror.Work = (mirror.Work * Weight) + (bytes > 0 ? bytes + RequestWorth : 0);
            mirror.Seconds = (mirror.Seconds * Weight) + took.TotalSeconds;
        }
    }

    /// <summary>A file came, and it was the right one. Those that had not brought it are the worse for that; where nobody brings anything, the line is to blame and none of them.</summary>
    /// <param name="from">From where.</param>
    /// <param name="failed">Who had failed at the same time, and how.</param>
    /// <param name="lacked">Who has no such file.</param>
    public void Came(Mirror from, IReadOnlyDictionary<Mirror, Failure> failed, IReadOnlyCollection<Mirror> lacked)
    {
        lock (gate)
        {
            from.Brought++;
            from.Failures = 0;
            foreach ((Mirror mirror, Failure failure) in failed)
            {
                if (failure.IsOfBytes || (failure.Error.IsOfTheNetwork ? Fails(mirror, failure.Began) : Lacks(mirror)))
                    mirror.Left ??= $"expected {failure.Error.Expected}, found {failure.Error.Found}";
            }

            foreach (Mirror mirror in lacked)
            {
                if (Lacks(mirror))
                    mirror.Left ??= $"it lacks {mirror.Lacks} files and more that others have";
            }
        }
    }

    // All that was under way when a line was cut fails once, where the mirror is known to be one that brings something.
    private bool Fails(Mirror mirror, long began)
    {
        if (mirror is { Brought: > 0, Failures: > 0 } && began <= mirror.LastFailure)
            return false;
        mirror.LastFailure = clock.GetTimestamp();
        return ++mirror.Failures >= FailuresUntilLeft;
    }

    private static bool Lacks(Mirror mirror) => ++mirror.Lacks >= LacksUntilLeft && mirror.Lacks > mirror.Brought;

    /// <summary>What was learnt, for the next pull: bytes a second of those that were measured, 0 of those that were left.</summary>
    public IReadOnlyDictionary<string, long> Learnt()
    {
        lock (gate)
        {
            // Two addresses may be one by their names, which have no passwords: the better one counts.
            var learnt = new Dictionary<string, long>();
            foreach (Mirror each in listed.Where(static each => each.Left is not null || (each.Brought > 0 && each.Requests > LeastMeasures)))
            {
                string name = MirrorMemory.NameOf(each.Url);
                learnt[name] = Math.Max(learnt.GetValueOrDefault(name), each.Left is not null ? 0 : Math.Max(1, (long)(each.Work / Math.Max(each.Seconds, 0.001))));
            }

            return learnt;
        }
    }

    // Whoever was left is asked when there is nobody else.
    private static Mirror? Untried(Mirror[] mirrors, IReadOnlyCollection<Mirror> asked) =>
        Array.Find(mirrors, each => each.Left is null && !asked.Contains(each)) ?? Array.Find(mirrors, each => !asked.Contains(each));

    // By when each would be done with one more, if those that it has under way are served alike.
    private Mirror? Fastest(IReadOnlyCollection<Mirror> asked)
    {
        Mirror[] running = [.. raced.Where(static each => each.Left is null && each.Known is not { Speed: 0 }).Take(AtOnce)];
        double best = Math.Max(1, running.Select(SpeedOf).DefaultIfEmpty().Max() ?? 1);
        return running.Where(each => !asked.Contains(each)).MinBy(each => (each.UnderWay + 1) / Expected(each, best));
    }

    // Who has shown little yet is thought to be as fast as any, for a few requests.
    private double Expected(Mirror mirror, double best) =>
        SpeedOf(mirror) is not { } speed ? (mirror.UnderWay < TrialsAtOnce ? best : 1)
        : mirror.UnderWay == 0 && mirror.Requests > 0 && clock.GetElapsedTime(mirror.LastEnded) > AnotherTrial ? best : speed;

    private static double? SpeedOf(Mirror mirror) => mirror.Seconds > 0 && (mirror.Requests >= Trials || mirror.Known is not null) ? Math.Max(mirror.Work, 1) / mirror.Seconds : null;

    /// <summary>How a mirror failed.</summary>
    /// <param name="Error">What it was.</param>
    /// <param name="Began">When the request began, by <see cref="Now"/>.</param>
    /// <param name="IsOfBytes">All came, and it was wrong: no accident of the network, and no word that there is none.</param>
    internal sealed record Failure(PullException Error, long Began, bool IsOfBytes);

    /// <summary>One of them.</summary>
    internal sealed class Mirror
    {
        public Mirror(string url, MirrorMemory.Line? known)
        {
            (Url, Known) = (url, known);
            // As much as a second's worth of what was measured then: soon outweighed by what is measured now.
            if (known is { Speed: > 0 })
                (Work, Seconds) = (known.Speed, 1);
        }

        public string Url { get; }

        public MirrorMemory.Line? Known { get; }

        /// <summary>Requests that it was asked and has not answered.</summary>
        public int UnderWay { get; set; }

        /// <summary>Bytes that came lately, and how long their requests took, one by one.</summary>
        public double Work { get; set; }

        public double Seconds { get; set; }

        /// <summary>Requests that have ended and said how fast it is; the first of them is not counted in.</summary>
        public int Requests { get; set; }

        /// <summary>When the last of them did.</summary>
        public long LastEnded { get; set; }

        public int Brought { get; set; }

        /// <summary>Times it failed since it last brought something.</summary>
        public int Failures { get; set; }

        /// <summary>When a failure was counted last.</summary>
        public long LastFailure { get; set; }

        /// <summary>Times it had, or gave, nothing of what another one brought.</summary>
        public int Lacks { get; set; }

        /// <summary>Why it is left; null while it is not.</summary>
        public string? Left { get; set; }
    }
}
