using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>A file of the tomb that is not what was written, or that its disk cannot read.</summary>
/// <param name="File">The file.</param>
/// <param name="Id">Its name.</param>
/// <param name="What">What is wrong with it.</param>
public sealed record DamagedFile(StoredFile File, Checksum Id, string What)
{
    /// <summary>What is wrong with the file that a failure is about; null where the failure is none of a file: a place that does not answer.</summary>
    internal static string? Finding(Exception failure) => failure switch
    {
        TombDamagedException damaged => damaged.Finding,
        StoredFileUnreadableException unreadable => unreadable.Finding,
        MalformedException malformed => malformed.Message,
        _ => null,
    };
}

/// <summary>A tomb's snapshots, and those that are there and cannot be read.</summary>
/// <param name="Snapshots">Those that can be read, oldest first.</param>
/// <param name="Damaged">The others, by name.</param>
public sealed record SnapshotListing(IReadOnlyList<Snapshot> Snapshots, IReadOnlyList<DamagedFile> Damaged);

public sealed partial class TombRepository
{
    /// <summary>All snapshots that can be read, and the names of those that cannot: for whoever only looks or adds. What deletes needs <see cref="Snapshots(CancellationToken)"/>, which wants all of them.</summary>
    public async Task<SnapshotListing> ReadableSnapshots(CancellationToken cancel)
    {
        var damaged = new List<DamagedFile>();
        IReadOnlyList<Snapshot> snapshots = await Snapshots(damaged, cancel);
        return new SnapshotListing(snapshots, [.. damaged.OrderBy(static each => each.Id)]);
    }

    private async Task<IReadOnlyList<Snapshot>> Snapshots(List<DamagedFile>? damaged, CancellationToken cancel)
    {
        var snapshots = new List<Snapshot>();
        Action<DamagedFile>? name = damaged is null ? null : file =>
        {
            lock (snapshots)
                damaged.Add(file);
        };
        await ForEachFile(StoredFileType.Snapshot, await Backend.List(StoredFileType.Snapshot, cancel), (id, json) =>
        {
            var snapshot = Snapshot.Parse(json, id);
            lock (snapshots)
                snapshots.Add(snapshot);
        }, cancel, name);
        snapshots.Sort(static (a, b) => a.Time.CompareTo(b.Time) is var order && order != 0 ? order : a.Id.CompareTo(b.Id));
        return snapshots;
    }
}
