using System.Collections.Concurrent;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Fetches commits and what they need from a repository in mode archive behind a web server of plain files.</summary>
internal sealed class HttpPull : IDisposable
{
    private const int SmallFile = 256 * 1024;
    private const int AtOnceForDeltas = 8;

    private readonly Repository target;
    private readonly PullOptions options;
    private readonly HttpTransport transport;
    private readonly ConcurrentDictionary<ObjectName, bool> seen = new();
    private readonly ConcurrentDictionary<Checksum, int> depths = new();
    private readonly ConcurrentDictionary<Checksum, int> levels = new();
    private readonly ConcurrentBag<Checksum> completed = [];
    private readonly RemoteSettings? remote;
    private readonly RemoteTrust? trust;
    private readonly PullTargets targets;
    private readonly LocalCaches caches;
    private readonly List<MirrorRace> races = [];
    private HttpFetcher fetcher, content, ordered; // the second has objects, of all mirrors; the third has deltas, from one place
    private SummarySource summary;
    private byte[]? knownSummary;
    private Dictionary<string, Checksum> wanted = [];
    private bool indexedDeltas, keepsTombstones;
    private long reported;
    private readonly PullMeter meter;
    private PullPlan? plan;
    private MirrorMemory? memory;

    public HttpPull(Repository target, string url, RemoteSettings? remote, RemoteTrust? trust, PullTargets targets, PullOptions options, IProgress<PullProgress>? progress)
    {
        (this.target, this.options, this.remote, this.trust, this.targets) = (target, options, remote, trust, targets);
        transport = new HttpTransport(target, remote, options);
        meter = new PullMeter(() => transport.BytesTransferred, progress, TimeProvider.System);
        caches = new LocalCaches(options.LocalCaches);
        content = ordered = fetcher = new HttpFetcher(transport, url, options); // until the address is looked up
        summary = new SummarySource(fetcher, trust, cache: null, known: null, withSignature: false);
    }

    public async Task<PullResult> Run(string url, CancellationToken cancel)
    {
        using var done = new CancellationTokenSource();
        Task watching = meter.Watch(done.Token);
        try
        {
            return await Pull(url, cancel).ConfigureAwait(false);
        }
        finally
        {
            await done.CancelAsync().ConfigureAwait(false);
            await watching.ConfigureAwait(false);
        }
    }

    private async Task<PullResult> Pull(string url, CancellationToken cancel)
    {
        using SummaryCache? cache = SummaryCache.Open(target, remote?.Name, options.CacheDirectory);
        await FindMirrors(url, cancel).ConfigureAwait(false);
        await CheckMode(cancel).ConfigureAwait(false);
        summary = await SummarySource.Follow(fetcher, trust, () => new SummarySource(fetcher, trust, cache, knownSummary, withSignature: options.Mirror), cancel).ConfigureAwait(false);
        wanted = await new WantedCommits(fetcher, summary, options, remote, trust is { ForSummary: true }).Find(cancel).ConfigureAwait(false);
        PullTargets.RequireNames(wanted);
        using Transaction transaction = target.Begin(cancel);
        bool whole = !options.CommitMetadataOnly && options.Subpaths.Count == 0;
        var deltas = new DeltaPull(target, new HttpDeltas(ordered, indexedDeltas, summary, new SpareRequests(Math.Min(transport.Rate.Requests(options.Parallel), AtOnceForDeltas) - 1), transport.Rate), whole ? options.Deltas : DeltaUse.Never, options.DryRun, Verify) { Recompress = remote?.Recompress ?? RecompressUse.WhereItIsSooner };
        plan = new PullPlan(transaction, meter);
        meter.Follow(() => transaction.Stats, static () => 0);
        Checksum[] tips = [.. wanted.Values.Distinct()];
        await deltas.Take(transaction, tips, plan, cancel).ConfigureAwait(false);
        if (options.DryRun)
            return new PullResult(new Dictionary<string, Checksum>(), 0, 0, fetcher.BytesTransferred) { Deltas = deltas.Usage };
        long byDeltas = transaction.Stats.ContentBytes;
        var import = new ArchiveImport(transaction, options.PlainFilesOnly, options.BelieveServer);
        long before = fetcher.BytesTransferred;
        using (var queue = new PullQueue(new RequestWindow(transport.Rate.Requests(options.Parallel), options.SlowBytes, TimeProvider.System, content.Multiplexes), () => fetcher.BytesTransferred - before, cancel))
        {
            meter.Follow(() => transaction.Stats, () => queue.Outstanding);
            queue.HoldContent(tips.Length);
            foreach (Checksum commit in tips)
            {
                depths[commit] = options.Depth;
                Enqueue(queue, new ObjectName(commit, ObjectType.Commit));
            }

            await queue.Run((name, token) => Take(transaction, import, queue, name, token)).ConfigureAwait(false);
        }

        trust?.Document?.RequireNewest(fetcher.UrlOf("summary"));
        Dictionary<string, Checksum> refs = targets.Set(transaction, fetcher.UrlOf("").TrimEnd('/'), wanted);
        TransactionStats stats = transaction.Commit();
        if (whole)
            target.ClearPartial(completed);
        string? note = options.Mirror && options.Refs.Count == 0 && remote?.Branches is not { Count: > 0 } ? await KeepAnnounced(cancel).ConfigureAwait(false) : null;
        return new PullResult(refs, stats.MetadataWritten, stats.ContentWritten, fetcher.BytesTransferred)
        {
            Notes = [.. note is null ? [] : (string[])[note], .. deltas.Notes, .. races.SelectMany(static race => race.Notes)],
            Deltas = deltas.Usage, ContentBytes = stats.ContentBytes - byDeltas, LocalMetadata = caches.Metadata, LocalContent = caches.Content,
        };
    }

    public void Dispose()
    {
        // Also where the pull failed: which mirrors are bad is best known then.
        foreach (MirrorRace race in races.Where(static race => !race.IsOne))
            memory?.TrySave(race.Learnt());
        memory?.Dispose();
        caches.Dispose();
        transport.Dispose();
    }

    private async Task FindMirrors(string url, CancellationToken cancel)
    {
        Mirrors mirrors = await Mirrors.Find(url, transport, options, cancel).ConfigureAwait(false);
        MirrorRace race = Race(mirrors);
        fetcher = ordered = InOrder(mirrors, race);
        if (remote?.ContentUrl is { } other && options.Url is null)
        {
            Mirrors others = await Mirrors.Find(other, transport, options, cancel).ConfigureAwait(false);
            race = Race(others);
            ordered = InOrder(others, race);
        }

        // Deltas are made anew now and then: list, superblock and parts of one belong together, and are from one place.
        // So is all of it where nothing is hashed, but the server believed.
        content = options.BelieveServer ? ordered : new HttpFetcher(transport, race, options, inOrder: false);
        knownSummary = mirrors.Summary;
    }

    private HttpFetcher InOrder(Mirrors mirrors, MirrorRace race) =>
        new(transport, mirrors.ForWhatChanges.Count == mirrors.Urls.Count ? race : new MirrorRace(mirrors.ForWhatChanges), options);

    private MirrorRace Race(Mirrors mirrors)
    {
        if (mirrors.Urls.Count > 1)
            memory ??= MirrorMemory.Open(target, remote?.Name, options.CacheDirectory, options.Clock);
        var race = new MirrorRace(mirrors.Urls, memory?.Load());
        races.Add(race);
        return race;
    }

    // A mirror of everything is announced as its source is, signature and all. Its trust documents come first: the summary names the newest.
    private async Task<string?> KeepAnnounced(CancellationToken cancel)
    {
        if (await summary.Get(cancel).ConfigureAwait(false) is not { } found)
            return null;
        string? note = await CarriedTrust.Take(target, CarriedTrust.Newest(found.Parsed, trust), (path, stop) => fetcher.TryFetchUnlikely(path, TrustDocument.MaximumSize, stop), cancel).ConfigureAwait(false);
        found.KeepIn(target);
        return note;
    }

    private async Task CheckMode(CancellationToken cancel)
    {
        byte[] bytes = await fetcher.TryFetch("config", SmallFile, cancel).ConfigureAwait(false) ?? throw NotFound("config", "a repository's config");
        try
        {
            KeyFile config = KeyFile.Parse(Encoding.UTF8.GetString(bytes));
            indexedDeltas = config.GetBoolean("core", "indexed-deltas");
            keepsTombstones = config.GetBoolean("core", Repository.TombstonesKey);
            string mode = config.GetString("core", "mode") ?? "bare";
            if (RepositoryModes.TryParse(mode) != RepositoryMode.Archive)
                throw new PullException(fetcher.UrlOf("config"), "core.mode=archive-z2, which alone can be pulled over HTTP", $"core.mode={mode}");
        }
        catch (MalformedException malformed)
        {
            throw new PullException(fetcher.UrlOf("config"), "a repository's config", malformed.Message, malformed);
        }
    }

    private void Enqueue(PullQueue queue, ObjectName name)
    {
        if (seen.TryAdd(name, true))
            queue.Add(name);
    }

    private async Task Take(Transaction transaction, ArchiveImport import, PullQueue queue, ObjectName name, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        switch (name.Type)
        {
            case ObjectType.File:
                await TakeFile(transaction, import, queue, name, cancel).ConfigureAwait(false);
                break;
            case ObjectType.Commit:
                await TakeCommit(transaction, queue, name, cancel).ConfigureAwait(false);
                break;
            case ObjectType.DirTree:
                DirTree tree = await Load(transaction, name, DirTree.Parse, cancel).ConfigureAwait(false);
                EnqueueChildren(queue, name, tree);
                break;
            default:
                await Load(transaction, name, DirMeta.Parse, cancel).ConfigureAwait(false);
                break;
        }

        if (Interlocked.Increment(ref reported) % 32 == 0)
            meter.Report();
    }

    private async Task TakeCommit(Transaction transaction, PullQueue queue, ObjectName name, CancellationToken cancel)
    {
        Checksum commit = name.Checksum;
        int depth = depths[commit];
        bool isTip = depth == options.Depth;
        bool whole = target.Has(name) && !target.IsPartial(commit);
        byte[]? bytes = transaction.TryLoadMetadata(name) ?? caches.TryRead(name) ?? await FetchMetadata(name, cancel).ConfigureAwait(false);
        if (bytes is null)
        {
            // A parent that the server no longer has ends the history; the commit that was asked for must be there.
            if (isTip)
                throw NotFound(PathOf(name), $"the commit {commit}");
            await RequireTombstone(commit, cancel).ConfigureAwait(false);
            return;
        }

        VariantDictionary? detached = await FetchDetached(commit, cancel).ConfigureAwait(false);
        if (detached is not null && options.KeepBeside is { } keep && transaction.TryLoadDetached(commit) is { } here)
            detached = keep(commit, here, detached);
        // Before anything of it is kept; again where it is kept already, since it may have come when nothing was asked for.
        if (trust is { ForCommits: true })
            Verify(commit, bytes, detached ?? transaction.TryLoadDetached(commit), isTip ? PullTargets.NamesOf(commit, wanted) : [], fetcher.UrlOf(PathOf(name)));
        Commit parsed = Parse(name, bytes, Commit.Parse);
        if (isTip)
            targets.CheckAge(fetcher.UrlOf(PathOf(name)), wanted, commit, parsed);
        if (!whole)
            target.MarkPartial(commit);
        if (detached is not null)
            transaction.WriteDetachedMetadata(commit, detached);
        transaction.WriteMetadata(ObjectType.Commit, bytes);
        if (!whole && !options.CommitMetadataOnly)
        {
            Plan(commit, parsed, isTip);
            await EnqueueTree(transaction, queue, parsed, cancel).ConfigureAwait(false);
        }

        if (isTip)
            queue.LetContentGo();
        if (!whole)
            completed.Add(commit);
        if (parsed.Parent is { } parent && depth != 0)
        {
            depths.TryAdd(parent, depth - 1);
            Enqueue(queue, new ObjectName(parent, ObjectType.Commit));
        }
    }

    // A server that keeps tombstones has one of each commit that it deleted: without one, the commit was lost. As libostree, it is looked at and not kept, and asked only of whoever has a summary.
    private async Task RequireTombstone(Checksum gone, CancellationToken cancel)
    {
        if (!keepsTombstones || await summary.Get(cancel).ConfigureAwait(false) is null)
            return;
        string path = PathOf(new ObjectName(gone, ObjectType.TombstoneCommit));
        if (await content.TryFetch(path, SmallFile, cancel).ConfigureAwait(false) is null)
            throw NotFound(path, $"the parent {gone}, or its tombstone, since core.{Repository.TombstonesKey} is set there", content);
    }

    // Of a part of a tree, or of what another place on this machine may have, a commit tells no sizes.
    private void Plan(Checksum name, Commit commit, bool isTip)
    {
        if (options.Subpaths.Count > 0 || options.LocalCaches.Count > 0)
            meter.ExpectUnknown();
        else
            plan!.Add(name, commit, isFirst: isTip); // files wait for all tips
    }

    private async Task EnqueueTree(Transaction transaction, PullQueue queue, Commit commit, CancellationToken cancel)
    {
        if (options.Subpaths.Count == 0)
        {
            Enqueue(queue, new ObjectName(commit.RootMeta, ObjectType.DirMeta));
            EnqueueTree(queue, commit.RootTree, level: 0);
            return;
        }

        foreach (string path in options.Subpaths)
        {
            (Checksum tree, Checksum meta) = (commit.RootTree, commit.RootMeta);
            string[] parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
            for (int level = 0; ; level++)
            {
                Enqueue(queue, new ObjectName(meta, ObjectType.DirMeta));
                if (level == parts.Length)
                {
                    EnqueueTree(queue, tree, level);
                    break;
                }

                DirTree names = await Load(transaction, new ObjectName(tree, ObjectType.DirTree), DirTree.Parse, cancel).ConfigureAwait(false);
                if (level == parts.Length - 1 && names.Files.FirstOrDefault(each => each.Name == parts[level]) is { Name: not null } file)
                    Enqueue(queue, new ObjectName(file.Content, ObjectType.File));
                if (names.Directories.FirstOrDefault(each => each.Name == parts[level]) is not { Name: not null } inner)
                    break; // as libostree: what is not there is not missed
                (tree, meta) = (inner.Tree, inner.Meta);
            }
        }
    }

    private void EnqueueTree(PullQueue queue, Checksum tree, int level)
    {
        levels.TryAdd(tree, level);
        Enqueue(queue, new ObjectName(tree, ObjectType.DirTree));
    }

    // A delta's commit, which has the hash that its name says by now.
    private async Task Verify(DeltaSuperblock superblock, CancellationToken cancel)
    {
        Checksum commit = superblock.Name.To;
        if (trust is not { ForCommits: true })
            return;
        VariantDictionary? detached = await FetchDetached(commit, cancel).ConfigureAwait(false) ?? superblock.Detached ?? target.LoadDetachedMetadata(commit);
        Verify(commit, superblock.Commit, detached, PullTargets.NamesOf(commit, wanted), ordered.UrlOf(superblock.Name.Superblock));
    }

    private void Verify(Checksum commit, byte[] bytes, VariantDictionary? detached, IEnumerable<string> names, string url)
    {
        try
        {
            trust!.VerifyCommit(commit, bytes, detached, names);
        }
        catch (SignatureException unbelieved)
        {
            throw unbelieved.From(url);
        }
    }

    // Most commits have none beside them. Bytes that are no dictionary hold no signature: whoever asks for one finds none, and nobody else minds.
    private async Task<VariantDictionary?> FetchDetached(Checksum commit, CancellationToken cancel)
    {
        string path = PathOf(new ObjectName(commit, ObjectType.CommitMeta));
        byte[]? bytes = await fetcher.TryFetchUnlikely(path, ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
        try
        {
            return bytes is null ? null : VariantDictionary.Parse(bytes);
        }
        catch (MalformedException)
        {
            return null;
        }
    }

    private void EnqueueChildren(PullQueue queue, ObjectName name, DirTree tree)
    {
        int level = levels.GetValueOrDefault(name.Checksum);
        if (level > TreeDepth.Maximum)
            throw new TooDeepException(fetcher.UrlOf(PathOf(name)));
        foreach (DirTreeFile file in tree.Files)
            Enqueue(queue, new ObjectName(file.Content, ObjectType.File));
        foreach (DirTreeDirectory inner in tree.Directories)
        {
            Enqueue(queue, new ObjectName(inner.Meta, ObjectType.DirMeta));
            EnqueueTree(queue, inner.Tree, level + 1);
        }
    }

    private async Task TakeFile(Transaction transaction, ArchiveImport import, PullQueue queue, ObjectName name, CancellationToken cancel)
    {
        if (transaction.Has(name))
            return;
        if (caches.TryAdd(transaction, name))
            return;
        string path = PathOf(name);
        using Fetched fetched = await content.TryFetchLarge(path, (begun, url) => import.Longest(begun, name, url), transaction, queue, Add, cancel).ConfigureAwait(false) ?? throw NotFound(path, $"the object {name}", content);

        void Add(Fetched came, string url)
        {
            try
            {
                import.Add(came, name, url);
            }
            catch (ObjectCorruptException corrupt)
            {
                throw new PullException(url, $"the object {name}", corrupt.Found is { } found ? $"bytes that hash to {found}" : corrupt.Message, corrupt);
            }
        }
    }

    private async Task<T> Load<T>(Transaction transaction, ObjectName name, ObjectStore.Parser<T> parse, CancellationToken cancel)
    {
        byte[]? bytes = transaction.TryLoadMetadata(name);
        if (bytes is not null)
            return Parse(name, bytes, parse);
        bytes = caches.TryRead(name) ?? await FetchMetadata(name, cancel).ConfigureAwait(false) ?? throw NotFound(PathOf(name), $"the object {name}", content);
        T parsed = Parse(name, bytes, parse);
        transaction.WriteMetadata(name.Type, bytes);
        return parsed;
    }

    private Task<byte[]?> FetchMetadata(ObjectName name, CancellationToken cancel)
    {
        return content.TryFetch(PathOf(name), ObjectStore.MaximumMetadataSize, RequireHash, cancel);

        void RequireHash(byte[] bytes, string url)
        {
            Checksum found = Checksum.Of(bytes);
            if (found != name.Checksum)
                throw new PullException(url, $"the object {name}", $"bytes that hash to {found}", new ObjectCorruptException(url, name, found));
        }
    }

    private T Parse<T>(ObjectName name, byte[] bytes, ObjectStore.Parser<T> parse)
    {
        try
        {
            return parse(bytes);
        }
        catch (MalformedException malformed)
        {
            throw new PullException(content.UrlOf(PathOf(name)), $"the object {name}", malformed.Message, malformed) { Words = $"{name}: {malformed.Found}" };
        }
    }

    private static string PathOf(ObjectName name) => $"objects/{name.LoosePath(RepositoryMode.Archive)}";

    private PullException NotFound(string path, string expected, HttpFetcher? where = null) => new((where ?? fetcher).UrlOf(path), expected, "status 404 (there is none)");
}
