using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>The newest snapshot that this machine knew of is gone and no newer one is there: the place shows an older state of the tomb.</summary>
/// <param name="location">The tomb.</param>
/// <param name="id">The snapshot that this machine remembers.</param>
/// <param name="time">When it was saved.</param>
/// <param name="damage">What is wrong with it where it is there and cannot be read; null where it is gone.</param>
public sealed class RolledBackException(string location, Checksum id, Moment time, string? damage = null)
    : TombException(damage is null
        ? $"{location}: rolled back: snapshot {id.ToString()[..8]} of {time}, which this machine has seen there, is gone, and nothing newer is there"
        : $"{location}: rolled back or damaged: snapshot {id.ToString()[..8]} of {time}, the newest that this machine has seen there, cannot be read, and nothing newer is there: {damage}")
{
    /// <summary>What is wrong with it where it is there and cannot be read; null where it is gone.</summary>
    public string? Damage { get; } = damage;

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
    public void Check(TombRepository tomb, IReadOnlyList<Snapshot> snapshots) => Check(tomb, new SnapshotListing(snapshots, []), wantsNewest: true);

    /// <summary>The same where some snapshots cannot be read.</summary>
    /// <param name="tomb">The tomb.</param>
    /// <param name="listing">What is there. A name in a listing proves nothing: whoever keeps the tomb can put rubbish under the newest one's name, and so hide it.</param>
    /// <param name="wantsNewest">Whether an older one would be taken for the newest. Where not, one that is named as damaged is not hidden, and others are of use.</param>
    /// <exception cref="RolledBackException">The newest of those that are remembered is gone, or is wanted and cannot be read.</exception>
    public void Check(TombRepository tomb, SnapshotListing listing, bool wantsNewest)
    {
        if (Missing(tomb, listing.Snapshots) is not { } newest)
            return;
        DamagedFile? damaged = listing.Damaged.FirstOrDefault(each => each.Id == newest.Id);
        if (damaged is null || wantsNewest)
            throw new RolledBackException(tomb.Backend.Location, newest.Id, newest.Time, damaged?.What);
    }

    // The newest that is remembered, when it is not there, nothing came out of it, and nothing new is newer.
    private Seen? Missing(TombRepository tomb, IReadOnlyList<Snapshot> snapshots)
    {
        IReadOnlyList<Seen> seen = Recall(tomb);
        if (seen.Count == 0)
            return null;
        Moment now = Moment.Of(clock.GetUtcNow());
        Seen? past = seen.FirstOrDefault(each => each.Time.CompareTo(now) <= 0);
        Seen newest = past ?? seen[0];
        if (snapshots.Any(each => each.Id == newest.Id || each.Original == newest.Id || each.Parent == newest.Id))
            return null;
        HashSet<Checksum> known = [.. seen.Select(static each => each.Id)];
        return snapshots.Any(each => !known.Contains(each.Id) && (past is null || each.Time.CompareTo(newest.Time) > 0)) ? null : newest;
    }

    /// <summary>Remembers all that there are, and nothing else.</summary>
    public void Remember(TombRepository tomb, IReadOnlyList<Snapshot> snapshots)
    {
        Remember(tomb, new SnapshotListing(snapshots, []));
    }

    /// <summary>The snapshots that are remembered. Asked for before a listing, it tells what the listing could have had in it (<see cref="Remember(TombRepository, SnapshotListing, IReadOnlySet{Checksum})"/>).</summary>
    public IReadOnlySet<Checksum> Known(TombRepository tomb) => Recall(tomb).Select(static each => each.Id).ToHashSet();

    /// <summary>The same; of those that are damaged it keeps what it knows.</summary>
    /// <param name="tomb">The tomb.</param>
    /// <param name="listing">What is there.</param>
    /// <param name="before">What was known before that was listed: what a save has put beside it since stays, though the listing does not have it. Null where nobody could save meanwhile.</param>
    public void Remember(TombRepository tomb, SnapshotListing listing, IReadOnlySet<Checksum>? before = null)
    {
        Change(tomb, seen =>
        {
            Dictionary<Checksum, Moment> times = seen.ToDictionary(static each => each.Id, static each => each.Time);
            HashSet<Checksum> listed = [.. listing.Snapshots.Select(static each => each.Id)];
            return listing.Snapshots.Select(each => new Seen(each.Id, times.TryGetValue(each.Id, out Moment time) ? time : NoLaterThanNow(each.Time)))
                .Concat(seen.Where(each => listing.Damaged.Any(file => file.Id == each.Id) || (before?.Contains(each.Id) == false && !listed.Contains(each.Id))));
        });
    }

    /// <summary>Whether this machine knows that a snapshot which cannot be read is no newer than another.</summary>
    public bool IsNoNewer(TombRepository tomb, Checksum unreadable, Snapshot than) =>
        Recall(tomb).FirstOrDefault(each => each.Id == unreadable) is { } seen && seen.Time.CompareTo(than.Time) <= 0;

    /// <summary>Remembers one that was written just now, beside the others.</summary>
    public void Remember(TombRepository tomb, Snapshot written) =>
        Change(tomb, seen => seen.Where(each => each.Id != written.Id).Append(new Seen(written.Id, NoLaterThanNow(written.Time))));

    /// <summary>Follows what a repair made of snapshots, so that what this very machine took away is no alarm: one that was written anew stands for the old one, with its time; nothing stands for one that is gone.</summary>
    public void Follow(TombRepository tomb, RepairReport repaired)
    {
        Dictionary<Checksum, Checksum> anew = repaired.Rewritten.ToDictionary(static each => each.Old, static each => each.New);
        HashSet<Checksum> gone = [.. repaired.Gone, .. repaired.Unreadable];
        if (Recall(tomb).Any(each => gone.Contains(each.Id) || anew.ContainsKey(each.Id)))
            Change(tomb, seen => seen.Where(each => !gone.Contains(each.Id)).Select(each => anew.TryGetValue(each.Id, out Checksum now) ? each with { Id = now } : each));
    }

    private Moment NoLaterThanNow(Moment time) => Moment.Of(clock.GetUtcNow()) is var now && time.CompareTo(now) > 0 ? now : time;

    // One after the other: several saves of this machine may end in the same moment, and none may take from the file what another has just put there.
    private void Change(TombRepository tomb, Func<IReadOnlyList<Seen>, IEnumerable<Seen>> change)
    {
        string path = PathOf(tomb), name = Path.GetFileName(path);
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(Path.GetFullPath(directory).TrimStart('/'), 0x1C0 /* 0700 */);
        using Dir place = Dir.Open(directory);
        using FileLock? held = Lock(place, $"{name}.lock");
        string next = $"{path}.{Environment.ProcessId}-{Environment.CurrentManagedThreadId}";
        File.WriteAllLines(next, change(Recall(tomb)).OrderByDescending(static each => each.Time).Select(static each => $"{each.Id} {each.Time}"));
        File.Move(next, path, overwrite: true); // not durable: what a power cut takes of it is a memory of the last minutes
    }

    // Held for milliseconds. Whoever stands still with it (a debugger, a frozen session) keeps nobody for long: then a line may be missing, and the next look finds it in the tomb.
    private static FileLock? Lock(Dir place, string name)
    {
        for (long since = Environment.TickCount64; Environment.TickCount64 - since < 10_000; Thread.Sleep(5))
        {
            try
            {
                if (FileLock.TryTake(place, name, mode: 0x180 /* 0600 */) is { } held)
                    return held;
            }
            catch (LinuxException refused) when (refused.Errno == Errno.EACCES)
            {
                return null; // root made it here once, with this user's directory
            }
        }

        return null;
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
