using System.Collections.Concurrent;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>What a check looks at.</summary>
public sealed record CheckOptions
{
    /// <summary>Whether every byte is read: else a pack's size and the trees are all that is looked at.</summary>
    public bool ReadData { get; init; }
}

/// <summary>How far a check is.</summary>
/// <param name="Step">What it is doing.</param>
/// <param name="Done">How much of it.</param>
/// <param name="Total">Of how much; 0 when that is not known.</param>
public readonly record struct CheckProgress(string Step, long Done, long Total);

/// <summary>Something that is wrong.</summary>
/// <param name="What">The file of the tomb, the blob, or the path in a snapshot.</param>
/// <param name="Finding">What is wrong with it.</param>
public sealed record CheckProblem(string What, string Finding);

/// <summary>What a check found.</summary>
public sealed record CheckReport
{
    /// <summary>Snapshots looked at.</summary>
    public int Snapshots { get; init; }

    /// <summary>Trees looked at.</summary>
    public int Trees { get; init; }

    /// <summary>Packs that there are.</summary>
    public int Packs { get; init; }

    /// <summary>Bytes read of packs.</summary>
    public long BytesRead { get; init; }

    /// <summary>What is wrong with files of the tomb.</summary>
    public required IReadOnlyList<CheckProblem> Problems { get; init; }

    /// <summary>Paths in snapshots that cannot be restored whole.</summary>
    public required IReadOnlyList<CheckProblem> LostFiles { get; init; }

    /// <summary>Packs that no index knows: a prune takes them, and where an index file is lost a repair lists them again.</summary>
    public required IReadOnlyList<string> UnlistedPacks { get; init; }

    /// <summary>Packs that are damaged, missing, or not as the index has them.</summary>
    public required IReadOnlySet<Checksum> BadPacks { get; init; }

    /// <summary>Index files that cannot be read.</summary>
    public required IReadOnlyList<Checksum> BadIndexes { get; init; }

    /// <summary>Snapshot files that cannot be read.</summary>
    public required IReadOnlyList<Checksum> BadSnapshots { get; init; }

    /// <summary>Key files that cannot be read. A repair leaves them: whoever's they are may have a copy.</summary>
    public IReadOnlyList<Checksum> BadKeys { get; init; } = [];

    /// <summary>Whether nothing is wrong.</summary>
    public bool IsWhole => Problems.Count == 0 && LostFiles.Count == 0;
}

/// <summary>Checks that a tomb is whole: everything that snapshots need is there, and (when asked) every byte is what was written.</summary>
public sealed class TombCheck
{
    private readonly TombRepository tomb;
    private readonly CheckOptions options;
    private readonly IProgress<CheckProgress>? progress;
    private readonly CancellationToken cancel;
    private readonly ConcurrentQueue<CheckProblem> problems = new();
    private readonly List<CheckProblem> lost = [];
    private readonly HashSet<Checksum> badPacks = [];
    private readonly HashSet<(BlobType, Checksum)> badBlobs = [];
    private readonly List<Checksum> badIndexes = [], badSnapshots = [];
    private long bytesRead;

    private TombCheck(TombRepository tomb, CheckOptions options, IProgress<CheckProgress>? progress, CancellationToken cancel)
    {
        this.tomb = tomb;
        this.options = options;
        this.progress = progress;
        this.cancel = cancel;
    }

    /// <summary>Checks. A lock is held by the caller; the index is read here, damaged files and all.</summary>
    public static Task<CheckReport> Run(TombRepository tomb, CheckOptions options, IProgress<CheckProgress>? progress, CancellationToken cancel) =>
        new TombCheck(tomb, options, progress, cancel).Run();

    private async Task<CheckReport> Run()
    {
        var damagedKeys = new List<DamagedFile>();
        await tomb.Keys(damagedKeys, cancel);
        foreach (DamagedFile key in damagedKeys)
            problems.Enqueue(new CheckProblem(key.File.Path, key.What));
        List<Snapshot> snapshots = await ReadSnapshots();
        Dictionary<Checksum, List<PackEntry>> packs = await ReadIndexes();
        Dictionary<Checksum, long> there = await ListPacks();
        string[] unlisted = ComparePacks(packs, there);
        if (options.ReadData)
            await ReadPacks(packs, there);
        int trees = await WalkTrees(snapshots);
        return new CheckReport
        {
            Snapshots = snapshots.Count, Trees = trees, Packs = there.Count, BytesRead = bytesRead, Problems = [.. problems], LostFiles = lost, UnlistedPacks = unlisted,
            BadPacks = badPacks, BadIndexes = badIndexes, BadSnapshots = badSnapshots, BadKeys = [.. damagedKeys.Select(static each => each.Id)],
        };
    }

    private async Task<List<Snapshot>> ReadSnapshots()
    {
        var snapshots = new List<Snapshot>();
        foreach (ListedFile file in await tomb.Backend.List(StoredFileType.Snapshot, cancel))
        {
            if (Checksum.TryParse(file.Name, out Checksum id) && await TryRead(StoredFileType.Snapshot, id, badSnapshots) is { } json && TryParse(StoredFileType.Snapshot, id, badSnapshots, () => snapshots.Add(Snapshot.Parse(json, id))))
                continue;
        }

        return snapshots;
    }

    private async Task<Dictionary<Checksum, List<PackEntry>>> ReadIndexes()
    {
        progress?.Report(new CheckProgress("reading the index", 0, 0));
        var packs = new Dictionary<Checksum, List<PackEntry>>();
        var files = new List<Checksum>();
        var index = new BlobIndex();
        foreach (ListedFile file in await tomb.Backend.List(StoredFileType.Index, cancel))
        {
            if (!Checksum.TryParse(file.Name, out Checksum id) || await TryRead(StoredFileType.Index, id, badIndexes) is not { } json)
                continue;
            bool read = TryParse(StoredFileType.Index, id, badIndexes, () => IndexFile.Parse(json, (pack, blobs) =>
            {
                packs.TryAdd(pack, [.. blobs]);
                index.Add(pack, blobs);
            }));
            if (read)
                files.Add(id);
        }

        tomb.Adopt(index, files);
        return packs;
    }

    private async Task<byte[]?> TryRead(StoredFileType type, Checksum id, List<Checksum> bad)
    {
        try
        {
            return await tomb.LoadDocument(type, id, cancel);
        }
        catch (Exception wrong) when (wrong is TombDamagedException or StoredFileUnreadableException or MalformedException)
        {
            bad.Add(id);
            problems.Enqueue(new CheckProblem(new StoredFile(type, id.ToString()).Path, Finding(wrong)));
            return null;
        }
    }

    private bool TryParse(StoredFileType type, Checksum id, List<Checksum> bad, Action parse)
    {
        try
        {
            parse();
            return true;
        }
        catch (MalformedException wrong)
        {
            bad.Add(id);
            problems.Enqueue(new CheckProblem(new StoredFile(type, id.ToString()).Path, wrong.Message));
            return false;
        }
    }

    private async Task<Dictionary<Checksum, long>> ListPacks()
    {
        var there = new Dictionary<Checksum, long>();
        foreach (ListedFile file in await tomb.Backend.List(StoredFileType.Pack, cancel))
        {
            if (Checksum.TryParse(file.Name, out Checksum id))
                there[id] = file.Size;
        }

        return there;
    }

    private string[] ComparePacks(Dictionary<Checksum, List<PackEntry>> packs, Dictionary<Checksum, long> there)
    {
        foreach ((Checksum pack, List<PackEntry> blobs) in packs)
        {
            long expected = blobs.Sum(static blob => (long)blob.Length) + PackHeader.Size(blobs.Count(static blob => blob.UncompressedLength == 0), blobs.Count(static blob => blob.UncompressedLength != 0));
            if (!there.TryGetValue(pack, out long size))
                Bad(pack, "it is not there", blobs);
            else if (size >= 0 && size != expected)
                Bad(pack, $"it has {size} bytes; {expected} were written", options.ReadData ? [] : blobs.Where(blob => blob.Offset + (long)blob.Length > size));
        }

        return [.. there.Keys.Where(pack => !packs.ContainsKey(pack)).Select(static pack => pack.ToString())];
    }

    private async Task ReadPacks(Dictionary<Checksum, List<PackEntry>> packs, Dictionary<Checksum, long> there)
    {
        long done = 0, total = packs.Count;
        try
        {
            await Parallel.ForEachAsync(
                packs, new ParallelOptions { MaxDegreeOfParallelism = Math.Min(4, Environment.ProcessorCount), CancellationToken = cancel }, async (pack, stop) =>
                {
                    if (there.TryGetValue(pack.Key, out long size))
                        await ReadPack(pack.Key, pack.Value, size, stop);
                    progress?.Report(new CheckProgress("reading packs", Interlocked.Increment(ref done), total));
                });
        }
        finally
        {
            tomb.FreeChecked();
        }
    }

    private async Task ReadPack(Checksum pack, List<PackEntry> blobs, long size, CancellationToken stop)
    {
        try
        {
            await PackReader.Lend(tomb, pack, size, bytes => LookAt(pack, blobs, bytes.Span), stop);
        }
        catch (BackendException gone) when (!gone.IsTransient)
        {
            Bad(pack, gone.Finding, blobs);
        }
    }

    private void LookAt(Checksum pack, List<PackEntry> blobs, ReadOnlySpan<byte> bytes)
    {
        Interlocked.Add(ref bytesRead, bytes.Length);
        if (Checksum.Of(bytes) is var found && found != pack)
            Bad(pack, $"it hashes to {found}, which is not its name", []);
        foreach (PackEntry blob in blobs)
        {
            if (PackReader.TryOpen(tomb, pack, blob, bytes) is { } finding)
                Bad(pack, finding, [blob]);
        }

        if (PackReader.TryHeader(tomb, bytes, out string? wrong) is not { } header)
            Bad(pack, wrong!, []);
        else if (!header.OrderBy(static entry => entry.Offset).SequenceEqual(blobs.OrderBy(static entry => entry.Offset)))
            Bad(pack, "its header lists other blobs than the index", []);
    }

    private void Bad(Checksum pack, string finding, IEnumerable<PackEntry> blobs)
    {
        lock (badPacks)
        {
            badPacks.Add(pack);
            foreach (PackEntry blob in blobs)
                badBlobs.Add((blob.Type, blob.Id));
        }

        problems.Enqueue(new CheckProblem(TombRepository.PackOf(pack).Path, finding));
    }

    private async Task<int> WalkTrees(List<Snapshot> snapshots)
    {
        // A blob that is bad in one pack and whole in another is not lost.
        badBlobs.RemoveWhere(blob => tomb.Index.FindAll(blob.Item1, blob.Item2).Any(place => !badPacks.Contains(place.Pack)));
        string name = "";
        var walk = new TreeWalk(tomb, cancel)
        {
            OnTree = (_, path, tree) =>
            {
                foreach (Node node in tree.Nodes)
                    CheckFile(name, $"{path}/{node.Name}", node);
            },
            OnLost = (id, path, finding) => lost.Add(new CheckProblem($"{name}:{(path.Length > 0 ? path : "/")}", $"its directory cannot be read: {Finding(finding)}")),
        };
        for (int at = 0; at < snapshots.Count; at++)
        {
            name = snapshots[at].Id.ToString()[..8];
            await walk.Walk(snapshots[at].Tree);
            progress?.Report(new CheckProgress("walking snapshots", at + 1, snapshots.Count));
        }

        return walk.Count;
    }

    private void CheckFile(string snapshot, string path, Node node)
    {
        if (node.Type == NodeType.File && node.Content is null)
            lost.Add(new CheckProblem($"{snapshot}:{path}", "it is a file without content"));
        foreach (Checksum id in node.Content ?? [])
        {
            bool known = tomb.Index.Contains(BlobType.Data, id);
            if (known && !badBlobs.Contains((BlobType.Data, id)))
                continue;
            lost.Add(new CheckProblem($"{snapshot}:{path}", known ? $"the data blob {id} is damaged" : $"the data blob {id} is in no pack of the index"));
            return;
        }
    }

    private static string Finding(Exception wrong) => wrong switch
    {
        TombDamagedException damaged => damaged.Finding,
        StoredFileUnreadableException unreadable => unreadable.Finding,
        _ => wrong.Message,
    };
}
