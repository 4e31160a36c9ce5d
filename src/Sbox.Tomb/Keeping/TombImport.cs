using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>What an import brought.</summary>
/// <param name="Snapshots">Snapshots written.</param>
/// <param name="Known">Snapshots that an earlier import had brought.</param>
/// <param name="Blobs">Blobs that the tomb did not have.</param>
/// <param name="Bytes">Their bytes.</param>
/// <param name="Damaged">Snapshots of the other that cannot be read, and were not brought.</param>
public sealed record ImportReport(IReadOnlyList<Snapshot> Snapshots, int Known, long Blobs, long Bytes, IReadOnlyList<DamagedFile> Damaged);

/// <summary>
/// Takes the snapshots of another restic repository over, under this tomb's key: every blob is read, verified and sealed anew. The other repository is only read.
/// </summary>
public static class TombImport
{
    /// <summary>Imports all snapshots that can be read, oldest first. Cut short, the same again goes on.</summary>
    /// <param name="from">The other repository; its index is loaded.</param>
    /// <param name="into">The tomb; its index is loaded, and a shared lock is held, by the caller.</param>
    /// <param name="clock">For waiting.</param>
    /// <param name="progress">Told bytes read so far.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="TombException">Something of the other cannot be read, or the tomb did not take it.</exception>
    public static async Task<ImportReport> Run(TombRepository from, TombRepository into, TimeProvider clock, IProgress<long>? progress, CancellationToken cancel)
    {
        SnapshotListing listing = await from.ReadableSnapshots(cancel);
        IReadOnlyList<Snapshot> theirs = listing.Snapshots;
        Dictionary<Checksum, Snapshot> known = (await into.ReadableSnapshots(cancel)).Snapshots.Where(static each => each.Original is not null).GroupBy(static each => each.Original!.Value).ToDictionary(static group => group.Key, static group => group.Last());
        var written = new Dictionary<Checksum, Checksum>();
        var report = new List<Snapshot>();
        long blobs = 0, bytes = 0;
        foreach (Snapshot snapshot in theirs)
        {
            Checksum original = snapshot.Original ?? snapshot.Id;
            if (known.TryGetValue(original, out Snapshot? here))
            {
                written[snapshot.Id] = here.Id;
                continue;
            }

            await using (var packs = new PackWriter(into, clock, cancel))
            {
                await Content(from, into, packs, snapshot, progress, cancel);
                await packs.Finish();
                (blobs, bytes) = (blobs + packs.Blobs[0] + packs.Blobs[1], bytes + packs.PlainBytes);
            }

            Snapshot copy = snapshot with { Original = original, Parent = snapshot.Parent is { } parent && written.TryGetValue(parent, out Checksum mapped) ? mapped : null };
            copy = copy with { Id = await into.SaveDocument(StoredFileType.Snapshot, copy.ToBytes(), cancel) };
            written[snapshot.Id] = copy.Id;
            report.Add(copy);
        }

        return new ImportReport(report, theirs.Count - report.Count, blobs, bytes, listing.Damaged);
    }

    private static async Task Content(TombRepository from, TombRepository into, PackWriter packs, Snapshot snapshot, IProgress<long>? progress, CancellationToken cancel)
    {
        var wanted = new Dictionary<Checksum, BlobLocation>();
        var trees = new List<Checksum>();
        var walk = new TreeWalk(from, cancel)
        {
            OnTree = (id, _, tree) =>
            {
                trees.Add(id);
                foreach (Checksum blob in tree.Nodes.SelectMany(static node => node.Content ?? []).Where(blob => !into.Index.Contains(BlobType.Data, blob)))
                    wanted[blob] = from.Index.TryFind(BlobType.Data, blob, out BlobLocation place) ? place : throw new BlobMissingException(from.Backend.Location, BlobType.Data, blob);
            },
            OnLost = static (_, _, lost) => throw lost,
        };
        await walk.Walk(snapshot.Tree);
        long read = 0;
        foreach (BlobRange range in BlobFetcher.Plan(wanted.Values))
        {
            await BlobFetcher.Fetch(from, range, (place, plain) => packs.Add(BlobType.Data, place.Id, plain), null, cancel);
            progress?.Report(read += range.Length);
        }

        foreach (Checksum tree in trees.Where(tree => !into.Index.Contains(BlobType.Tree, tree)))
            packs.Add(BlobType.Tree, tree, await from.LoadBlob(BlobType.Tree, tree, cancel));
    }
}
