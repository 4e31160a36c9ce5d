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
/// What this machine remembers of tombs: the newest snapshot seen in each. Whoever keeps a tomb cannot make a snapshot, but could show
/// an old state; that is noticed here, on machines that have seen a newer one.
/// </summary>
/// <param name="directory">Where it is kept; made when it is missing.</param>
public sealed class TombMemory(string directory)
{
    /// <summary>Compares a tomb's snapshots with what is remembered.</summary>
    /// <exception cref="RolledBackException">The remembered one is gone, and there is no newer one.</exception>
    public void Check(TombRepository tomb, IReadOnlyList<Snapshot> snapshots)
    {
        if (Recall(tomb) is not { } known || snapshots.Any(each => each.Id == known.Id || each.Original == known.Id))
            return;
        if (snapshots.Count == 0 || snapshots[^1].Time.CompareTo(known.Time) < 0)
            throw new RolledBackException(tomb.Backend.Location, known.Id, known.Time);
    }

    /// <summary>Remembers the newest.</summary>
    public void Remember(TombRepository tomb, IReadOnlyList<Snapshot> snapshots)
    {
        // Not durable: what a power cut takes of it is a memory of the last minutes.
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(Path.GetFullPath(directory).TrimStart('/'), 0x1C0 /* 0700 */);
        string path = Path.Combine(directory, tomb.Config.Id.ToString());
        File.WriteAllText($"{path}.new", snapshots.Count == 0 ? "" : $"{snapshots[^1].Id} {snapshots[^1].Time}\n");
        File.Move($"{path}.new", path, overwrite: true);
    }

    private (Checksum Id, Moment Time)? Recall(TombRepository tomb)
    {
        string path = Path.Combine(directory, tomb.Config.Id.ToString());
        if (!File.Exists(path))
            return null;
        string[] words = File.ReadAllText(path).Split(' ', '\n');
        return words.Length >= 2 && Checksum.TryParse(words[0], out Checksum id) ? (id, Moment.Parse(Encoding.ASCII.GetBytes(words[1]))) : null;
    }
}
