using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>What a repair did.</summary>
public sealed record RepairReport
{
    /// <summary>Blobs that were saved out of damaged packs.</summary>
    public int Salvaged { get; init; }

    /// <summary>Packs that were not listed, and are now.</summary>
    public int Adopted { get; init; }

    /// <summary>Packs that were taken out of the index, and deleted where they were there.</summary>
    public int Dropped { get; init; }

    /// <summary>Snapshots that were written anew without what is lost: old and new id.</summary>
    public required IReadOnlyList<(Checksum Old, Checksum New)> Rewritten { get; init; }

    /// <summary>Snapshot files that could not be read, twice, and were deleted.</summary>
    public IReadOnlyList<Checksum> Unreadable { get; init; } = [];

    /// <summary>Snapshots of which nothing is left.</summary>
    public required IReadOnlyList<Checksum> Gone { get; init; }
}

/// <summary>
/// Makes a damaged tomb consistent again: what can be read of damaged packs is put into new ones, the index is made to say what there
/// is, and snapshots are written anew without the files that are lost. A save afterwards brings back what the home still has. Lost is
/// what is not there or not what was written, and that is looked at again here; a place that does not answer ends the repair instead.
/// </summary>
public static class TombRepair
{
    /// <summary>Repairs what a check found. An exclusive lock is held by the caller; the index is as the check left it.</summary>
    /// <exception cref="BackendException">The place did not answer as it should. The tomb is no worse than it was: the same again goes on.</exception>
    public static async Task<RepairReport> Run(TombRepository tomb, CheckReport check, TimeProvider clock, CancellationToken cancel)
    {
        try
        {
            return await Repair(tomb, check, clock, cancel);
        }
        finally
        {
            tomb.FreeChecked();
        }
    }

    private static async Task<RepairReport> Repair(TombRepository tomb, CheckReport check, TimeProvider clock, CancellationToken cancel)
    {
        tomb.LookAgain();
        var before = tomb.Index;
        int salvaged = 0;
        var adopted = new List<IndexedPack>();
        var listed = new HashSet<Checksum>();
        IReadOnlyList<Checksum> badIndexes = await StillBad(tomb, StoredFileType.Index, check.BadIndexes, (_, json) => IndexFile.Parse(json, (pack, _) => listed.Add(pack)), cancel);
        IReadOnlyList<Checksum> badSnapshots = await StillBad(tomb, StoredFileType.Snapshot, check.BadSnapshots, static (id, json) => Snapshot.Parse(json, id), cancel);
        await using (var writer = new PackWriter(tomb, clock, cancel))
        {
            foreach (Checksum pack in check.BadPacks)
                salvaged += await Salvage(tomb, pack, [.. Entries(before, pack)], writer, cancel);
            foreach (string name in check.UnlistedPacks)
            {
                var pack = Checksum.Parse(name);
                if (!listed.Contains(pack) && await Whole(tomb, pack, cancel) is { } entries)
                    adopted.Add(new IndexedPack(pack, entries));
            }

            await writer.Finish();
        }

        await IndexRewriter.Replace(tomb, adopted, [], cancel);
        if (check.BadPacks.Count > 0)
            await IndexRewriter.Without(tomb, [.. tomb.IndexFiles, .. check.BadIndexes.Except(badIndexes)], check.BadPacks, cancel);
        foreach (Checksum bad in badIndexes)
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Index, bad.ToString()), cancel);
        foreach (Checksum pack in check.BadPacks)
            await tomb.Backend.Delete(TombRepository.PackOf(pack), cancel);
        await tomb.LoadIndex(cancel);
        foreach (Checksum snapshot in badSnapshots)
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Snapshot, snapshot.ToString()), cancel);
        return await RewriteSnapshots(tomb, clock, cancel) with { Unreadable = badSnapshots, Salvaged = salvaged, Adopted = adopted.Count, Dropped = check.BadPacks.Count };
    }

    private static bool IsLost(Exception failure) =>
        failure is BlobMissingException or TombDamagedException or StoredFileMissingException or StoredFileUnreadableException or MalformedException;

    // One bad download is no damage: what is deleted has been read twice.
    private static async Task<IReadOnlyList<Checksum>> StillBad(TombRepository tomb, StoredFileType type, IReadOnlyList<Checksum> found, Action<Checksum, byte[]> parse, CancellationToken cancel)
    {
        var bad = new List<Checksum>();
        foreach (Checksum id in found)
        {
            try
            {
                parse(id, await tomb.LoadDocument(type, id, cancel));
            }
            catch (Exception lost) when (IsLost(lost))
            {
                bad.Add(id);
            }
        }

        return bad;
    }

    private static IEnumerable<PackEntry> Entries(BlobIndex index, Checksum pack)
    {
        for (int number = 0; number < index.Count; number++)
        {
            if (index[number] is var blob && blob.Pack == pack)
                yield return new PackEntry(blob.Type, blob.Id, blob.Offset, blob.Length, blob.UncompressedLength);
        }
    }

    private static async Task<int> Salvage(TombRepository tomb, Checksum pack, IReadOnlyList<PackEntry> entries, PackWriter writer, CancellationToken cancel)
    {
        byte[] bytes;
        try
        {
            bytes = await PackReader.Load(tomb, pack, cancel);
        }
        catch (StoredFileMissingException)
        {
            return 0;
        }

        int saved = 0;
        foreach (PackEntry entry in entries.Union(PackReader.TryHeader(tomb, bytes, out _) ?? []))
        {
            if (PackReader.TryOpen(tomb, pack, entry, bytes) is not null)
                continue;
            var place = new BlobLocation(entry.Type, entry.Id, pack, entry.Offset, entry.Length, entry.UncompressedLength);
            var plain = new byte[place.PlainLength];
            tomb.OpenBlob(place, bytes.AsSpan((int)entry.Offset, (int)entry.Length), plain);
            writer.AddAgain(entry.Type, entry.Id, plain);
            saved++;
        }

        return saved;
    }

    private static async Task<IReadOnlyList<PackEntry>?> Whole(TombRepository tomb, Checksum pack, CancellationToken cancel)
    {
        byte[] bytes = await PackReader.Load(tomb, pack, cancel);
        return Checksum.Of(bytes) == pack && PackReader.TryHeader(tomb, bytes, out _) is { Count: > 0 } entries ? entries : null;
    }

    private static async Task<RepairReport> RewriteSnapshots(TombRepository tomb, TimeProvider clock, CancellationToken cancel)
    {
        var rewritten = new List<(Checksum, Checksum)>();
        var gone = new List<Checksum>();
        var known = new Dictionary<Checksum, Checksum?>();
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(cancel);
        var trees = new List<(Snapshot Old, Checksum? Tree)>();
        await using (var writer = new PackWriter(tomb, clock, cancel))
        {
            foreach (Snapshot snapshot in snapshots)
                trees.Add((snapshot, await Mended(tomb, snapshot.Tree, known, writer, cancel)));
            await writer.Finish();
        }

        foreach ((Snapshot old, Checksum? tree) in trees)
        {
            if (tree is null)
                gone.Add(old.Id);
            else if (tree is { } mended && mended != old.Tree)
                rewritten.Add((old.Id, await tomb.SaveDocument(StoredFileType.Snapshot, (old with { Tree = mended, Original = old.Original ?? old.Id, Summary = null }).ToBytes(), cancel)));
        }

        await ReadBack(tomb, rewritten.Select(static each => each.Item2), cancel);
        foreach (Checksum old in rewritten.Select(static each => each.Item1).Concat(gone))
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Snapshot, old.ToString()), cancel);
        return new RepairReport { Rewritten = rewritten, Gone = gone };
    }

    // The old snapshots go when every directory of the new ones has been read, and not before.
    private static async Task ReadBack(TombRepository tomb, IEnumerable<Checksum> snapshots, CancellationToken cancel)
    {
        var walk = new TreeWalk(tomb, cancel) { OnTree = static (_, _, _) => { }, OnLost = static (_, _, lost) => throw lost };
        foreach (Checksum id in snapshots)
            await walk.Walk(Snapshot.Parse(await tomb.LoadDocument(StoredFileType.Snapshot, id, cancel), id).Tree);
    }

    private static async Task<Tree?> TryLoad(TombRepository tomb, Checksum id, CancellationToken cancel)
    {
        for (int tries = 1; ; tries++)
        {
            try
            {
                return await tomb.LoadTree(id, cancel);
            }
            catch (TombDamagedException) when (tries == 1)
            {
                continue; // it may have been the download
            }
            catch (Exception lost) when (IsLost(lost))
            {
                return null;
            }
        }
    }

    // The same tree without what is lost; null when the tree itself is.
    private static async Task<Checksum?> Mended(TombRepository tomb, Checksum id, Dictionary<Checksum, Checksum?> known, PackWriter writer, CancellationToken cancel)
    {
        if (known.TryGetValue(id, out Checksum? done))
            return done;
        if (await TryLoad(tomb, id, cancel) is not { } tree)
            return known[id] = null;

        var nodes = new List<Node>();
        foreach (Node node in tree.Nodes)
        {
            if (node.Subtree is { } below)
            {
                if (await Mended(tomb, below, known, writer, cancel) is { } mended)
                    nodes.Add(mended == below ? node : node with { Subtree = mended });
            }
            else if (node.Type != NodeType.File || (node.Content is { } content && content.All(blob => tomb.Index.Contains(BlobType.Data, blob))))
            {
                nodes.Add(node);
            }
        }

        if (nodes.SequenceEqual(tree.Nodes, ReferenceEqualityComparer.Instance))
            return known[id] = id;
        return known[id] = writer.AddTree(new Tree(nodes));
    }
}
