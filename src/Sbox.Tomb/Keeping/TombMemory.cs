using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>The newest snapshot that this machine knew of is gone and no newer one is there: the place shows an older state of the tomb.</summary>
/// <param name="location">The tomb.</param>
/// <param name="id">The snapshot that this machine remembers.</param>
/// <param name="time">When it was saved.</param>
public sealed class RolledBackException(string location, Checksum id, Moment time)
    : TombException($"{location}: rolled back: snapshot {id.ToString()[..8]} of {time}, which this machine has seen there, is gone, and nothing newer is there")
{
    /// <summary>The snapshot that this machine remembers.</summary>
    public Checksum Id { get; } = id;
}

/// <summary>
/// What this machine remembers of tombs: the snapshots seen in each. Whoever keeps a tomb cannot make a snapshot, but could show
/// an old state; that is noticed here, on machines that have seen a newer one.
/// </summary>
/// <remarks>
/// A snapshot's time is its writer's clock, which may have been ahead: it counts as no later than when this machine first saw it, and what lies ahead of
/// this machine's clock, which may have been ahead itself, is not what others have to be newer than.
/// </remarks>
/// <param name="directory">Where it is kept, a file for each tomb with a line for each snapshot, newest first: its id, and its time as it counts. Made when it is missing.</param>
/// <param name="clock">This machine's.</param>
public sealed class TombMemory(string directory, TimeProvider clock)
{
    /// <summary>Compares a tomb's snapshots with what is remembered.</summary>
    /// <exception cref="RolledBackException">The newest of those is gone, nothing came out of it, and nothing that this machine has not seen is newer.</exception>
    public void Check(TombRepository tomb, IReadOnlyList<Snapshot> snapshots)
    {
        IReadOnlyList<Seen> seen = Recall(tomb);
        if (seen.Count == 0)
            return;
        Moment now = Moment.Of(clock.GetUtcNow());
        Seen? past = seen.FirstOrDefault(each => each.Time.CompareTo(now) <= 0);
        Seen newest = past ?? seen[0];
        if (snapshots.Any(each => each.Id == newest.Id || each.Original == newest.Id || each.Parent == newest.Id))
            return;
        HashSet<Checksum> known = [.. seen.Select(static each => each.Id)];
        if (!snapshots.Any(each => !known.Contains(each.Id) && (past is null || each.Time.CompareTo(newest.Time) > 0)))
            throw new RolledBackException(tomb.Backend.Location, newest.Id, newest.Time);
    }

    /// <summary>Remembers all that there are, and nothing else.</summary>
    public void Remember(TombRepository tomb, IReadOnlyList<Snapshot> snapshots)
    {
        IReadOnlyDictionary<Checksum, Moment> before = Recall(tomb).ToDictionary(static each => each.Id, static each => each.Time);
        Write(tomb, snapshots.Select(each => new Seen(each.Id, before.TryGetValue(each.Id, out Moment time) ? time : NoLaterThanNow(each.Time))));
    }

    /// <summary>Remembers one that was written just now, beside the others.</summary>
    public void Remember(TombRepository tomb, Snapshot written) =>
        Write(tomb, Recall(tomb).Where(each => each.Id != written.Id).Append(new Seen(written.Id, NoLaterThanNow(written.Time))));

    private Moment NoLaterThanNow(Moment time) => Moment.Of(clock.GetUtcNow()) is var now && time.CompareTo(now) > 0 ? now : time;

    private void Write(TombRepository tomb, IEnumerable<Seen> seen)
    {
        // Not durable: what a power cut takes of it is a memory of the last minutes.
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(Path.GetFullPath(directory).TrimStart('/'), 0x1C0 /* 0700 */);
        string path = PathOf(tomb);
        File.WriteAllLines($"{path}.new", seen.OrderByDescending(static each => each.Time).Select(static each => $"{each.Id} {each.Time}"));
        File.Move($"{path}.new", path, overwrite: true);
    }

    private IReadOnlyList<Seen> Recall(TombRepository tomb)
    {
        string path = PathOf(tomb);
        if (!File.Exists(path))
            return [];
        var seen = new List<Seen>();
        foreach (string[] words in File.ReadLines(path).Select(static line => line.Split(' ')))
        {
            if (words is [var name, var time] && Checksum.TryParse(name, out Checksum id))
                seen.Add(new Seen(id, Moment.Parse(Encoding.ASCII.GetBytes(time))));
        }

        return seen;
    }

    private string PathOf(TombRepository tomb) => Path.Combine(directory, tomb.Config.Id.ToString());

    private sealed record Seen(Checksum Id, Moment Time);
}
