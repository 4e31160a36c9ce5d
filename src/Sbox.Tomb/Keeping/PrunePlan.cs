using System.Collections;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>What a prune will do: packs that nothing needs go, packs of which little is needed are written anew.</summary>
public sealed class PrunePlan
{
    // As restic: up to 5 % of what is needed may stay unneeded, since writing packs anew costs more than the space.
    private const double UnusedAtMost = 0.05;
    private const long SmallPack = 4 * 1024 * 1024;
    private const int SmallPacksAtLeast = 10;

    private readonly BitArray used;

    private PrunePlan(BitArray used) => this.used = used;

    /// <summary>Packs that go as they are: nothing in them is needed.</summary>
    public required IReadOnlyList<Checksum> Delete { get; init; }

    /// <summary>Packs that go when what is needed of them is in new ones.</summary>
    public required IReadOnlyList<Checksum> Repack { get; init; }

    /// <summary>Packs that no index knows: left by a save that was cut short.</summary>
    public required IReadOnlyList<string> Unlisted { get; init; }

    /// <summary>Packs of which all or enough is needed.</summary>
    public required int Keep { get; init; }

    /// <summary>Bytes that will be free.</summary>
    public required long BytesFreed { get; init; }

    /// <summary>Bytes that are written anew.</summary>
    public required long BytesRepacked { get; init; }

    /// <summary>Bytes that nothing needs and that stay.</summary>
    public required long BytesUnusedLeft { get; init; }

    /// <summary>Whether there is nothing to do.</summary>
    public bool IsEmpty => Delete.Count == 0 && Repack.Count == 0 && Unlisted.Count == 0;

    /// <summary>Makes a plan. The tomb's index is loaded, and an exclusive lock is held, by the caller.</summary>
    /// <exception cref="TombException">Something that snapshots need is missing: nothing is deleted before that is repaired.</exception>
    public static async Task<PrunePlan> Make(TombRepository tomb, IProgress<int>? progress, CancellationToken cancel)
    {
        BitArray used = await Used(tomb, progress, cancel);
        var packs = new Dictionary<Checksum, Usage>();
        for (int number = 0; number < tomb.Index.Count; number++)
        {
            BlobLocation blob = tomb.Index[number];
            if (!packs.TryGetValue(blob.Pack, out Usage? usage))
                packs[blob.Pack] = usage = new Usage(blob.Type);
            if (used[number])
                usage.Used += blob.Length;
            else
                usage.Unused += blob.Length;
        }

        var there = (await tomb.Backend.List(StoredFileType.Pack, cancel)).Where(static file => Checksum.TryParse(file.Name, out _)).ToDictionary(static file => Checksum.Parse(file.Name), static file => file.Size);
        foreach ((Checksum pack, Usage usage) in packs)
        {
            if (usage.Used > 0 && !there.ContainsKey(pack))
                throw new StoredFileMissingException(tomb.Backend.Location, TombRepository.PackOf(pack));
        }

        return Decide(used, packs, there);
    }

    /// <summary>Does it. Stopped at any step, the tomb is whole.</summary>
    /// <param name="tomb">The tomb that it was made for.</param>
    /// <param name="clock">For the indexes' pace.</param>
    /// <param name="progress">Told the bytes written anew so far.</param>
    /// <param name="cancel">Stops between two packs.</param>
    public async Task Execute(TombRepository tomb, TimeProvider clock, IProgress<long>? progress, CancellationToken cancel)
    {
        IReadOnlyList<Checksum> oldIndexes = tomb.IndexFiles;
        if (Repack.Count > 0)
            await CopyUsed(tomb, clock, progress, cancel);
        HashSet<Checksum> gone = [.. Delete, .. Repack];
        if (gone.Count > 0)
            await IndexRewriter.Without(tomb, oldIndexes, gone, cancel);
        if (tomb.Held is { } held)
            await held.Verify(cancel);
        foreach (string pack in gone.Select(static pack => pack.ToString()).Concat(Unlisted))
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Pack, pack), cancel);
        await tomb.LoadIndex(cancel);
    }

    private async Task CopyUsed(TombRepository tomb, TimeProvider clock, IProgress<long>? progress, CancellationToken cancel)
    {
        var wanted = new List<BlobLocation>();
        HashSet<Checksum> repack = [.. Repack];
        int count = tomb.Index.Count;
        for (int number = 0; number < count && number < used.Length; number++)
        {
            if (used[number] && tomb.Index[number] is var blob && repack.Contains(blob.Pack))
                wanted.Add(blob);
        }

        long copied = 0;
        await using var writer = new PackWriter(tomb, clock, cancel);
        foreach (BlobRange range in BlobFetcher.Plan(wanted))
        {
            // Opened before it is copied: a damaged blob must not get a new pack that vouches for it.
            await BlobFetcher.Fetch(tomb, range, (blob, plain) => writer.AddAgain(blob.Type, blob.Id, plain), null, cancel);
            copied += range.Length;
            progress?.Report(copied);
        }

        await writer.Finish();
    }

    private static async Task<BitArray> Used(TombRepository tomb, IProgress<int>? progress, CancellationToken cancel)
    {
        var used = new BitArray(tomb.Index.Count);
        void Mark(BlobType type, Checksum id)
        {
            int number = tomb.Index.NumberOf(type, id);
            used[number >= 0 ? number : throw new BlobMissingException(tomb.Backend.Location, type, id)] = true;
        }

        var walk = new TreeWalk(tomb, cancel)
        {
            OnTree = (id, _, tree) =>
            {
                Mark(BlobType.Tree, id);
                foreach (Checksum data in tree.Nodes.SelectMany(static node => node.Content ?? []))
                    Mark(BlobType.Data, data);
            },
            OnLost = static (_, _, lost) => throw lost,
        };
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(cancel);
        for (int at = 0; at < snapshots.Count; at++)
        {
            await walk.Walk(snapshots[at].Tree);
            progress?.Report(at + 1);
        }

        return used;
    }

    private static PrunePlan Decide(BitArray used, Dictionary<Checksum, Usage> packs, Dictionary<Checksum, long> there)
    {
        List<Checksum> delete = [.. packs.Where(static pack => pack.Value.Used == 0).Select(static pack => pack.Key)];
        var repack = new List<Checksum>();
        foreach (BlobType type in (BlobType[])[BlobType.Data, BlobType.Tree])
        {
            KeyValuePair<Checksum, Usage>[] needed = [.. packs.Where(pack => pack.Value.Used > 0 && pack.Value.Type == type)];
            Checksum[] small = [.. needed.Where(pack => there[pack.Key] < SmallPack).Select(static pack => pack.Key)];
            if (small.Length >= SmallPacksAtLeast)
                repack.AddRange(small);
        }

        long usedBytes = packs.Values.Sum(static usage => usage.Used);
        long unused = packs.Where(pack => pack.Value.Used > 0 && !repack.Contains(pack.Key)).Sum(static pack => pack.Value.Unused);
        HashSet<Checksum> chosen = [.. repack];
        foreach ((Checksum pack, Usage usage) in packs.Where(static pack => pack.Value is { Used: > 0, Unused: > 0 }).OrderByDescending(static pack => (double)pack.Value.Unused / (pack.Value.Used + pack.Value.Unused)))
        {
            // Trees are always tidied: they are small, and read by every command.
            if ((unused <= usedBytes * UnusedAtMost && usage.Type == BlobType.Data) || !chosen.Add(pack))
                continue;
            repack.Add(pack);
            unused -= usage.Unused;
        }

        string[] unlisted = [.. there.Keys.Where(pack => !packs.ContainsKey(pack)).Select(static pack => pack.ToString())];
        return new PrunePlan(used)
        {
            Delete = delete, Repack = repack, Unlisted = unlisted, Keep = packs.Count - delete.Count - repack.Count,
            BytesFreed = delete.Sum(pack => there.GetValueOrDefault(pack)) + unlisted.Sum(pack => there[Checksum.Parse(pack)]) + repack.Sum(pack => packs[pack].Unused),
            BytesRepacked = repack.Sum(pack => packs[pack].Used), BytesUnusedLeft = unused,
        };
    }

    private sealed class Usage(BlobType type)
    {
        public BlobType Type { get; } = type;

        public long Used { get; set; }

        public long Unused { get; set; }
    }
}

/// <summary>Writes index files anew without some packs: the new files first, then the old ones go.</summary>
internal static class IndexRewriter
{
    public static async Task Without(TombRepository tomb, IReadOnlyList<Checksum> files, IReadOnlySet<Checksum> gone, CancellationToken cancel)
    {
        var rest = new List<IndexedPack>();
        var old = new List<Checksum>();
        foreach (Checksum file in files)
        {
            var packs = new List<IndexedPack>();
            bool touched = false;
            IndexFile.Parse(await tomb.LoadDocument(StoredFileType.Index, file, cancel), (pack, blobs) =>
            {
                touched |= gone.Contains(pack);
                packs.Add(new IndexedPack(pack, [.. blobs]));
            });
            if (!touched)
                continue;
            old.Add(file);
            rest.AddRange(packs.Where(pack => !gone.Contains(pack.Pack)));
        }

        await Replace(tomb, rest, old, cancel);
    }

    public static async Task Replace(TombRepository tomb, IEnumerable<IndexedPack> packs, IReadOnlyList<Checksum> old, CancellationToken cancel)
    {
        foreach (byte[] json in PackWriter.Documents(packs))
            await tomb.SaveDocument(StoredFileType.Index, json, cancel);
        foreach (Checksum file in old)
            await tomb.Backend.Delete(new StoredFile(StoredFileType.Index, file.ToString()), cancel);
    }
}
