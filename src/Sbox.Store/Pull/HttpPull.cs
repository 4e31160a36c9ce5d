using System.Collections.Concurrent;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Fetches commits and what they need from a repository in mode archive behind a web server of plain files.</summary>
internal sealed class HttpPull : IDisposable
{
    private const int SmallFile = 256 * 1024;

    private readonly Repository target;
    private readonly PullOptions options;
    private readonly IProgress<PullProgress>? progress;
    private readonly HttpFetcher fetcher;
    private readonly ConcurrentDictionary<ObjectName, bool> seen = new();
    private readonly ConcurrentDictionary<Checksum, int> depths = new();
    private readonly ConcurrentDictionary<Checksum, int> levels = new();
    private readonly ConcurrentBag<Checksum> completed = [];
    private readonly RemoteSettings? remote;
    private readonly RemoteTrust? trust;
    private Task<Summary?>? summary;
    private byte[]? summaryBytes, summarySignature;
    private bool indexedDeltas;
    private long reported;

    public HttpPull(Repository target, string url, RemoteSettings? remote, RemoteTrust? trust, PullOptions options, IProgress<PullProgress>? progress)
    {
        (this.target, this.options, this.progress, this.remote, this.trust) = (target, options, progress, remote, trust);
        fetcher = new HttpFetcher(url, options);
    }

    public async Task<PullResult> Run(CancellationToken cancel)
    {
        await CheckMode(cancel).ConfigureAwait(false);
        Dictionary<string, Checksum> wanted = await Wanted(cancel).ConfigureAwait(false);
        using Transaction transaction = target.Begin(cancel);
        var deltas = new DeltaPull(target, new HttpDeltas(fetcher, indexedDeltas, Summary), options.CommitMetadataOnly ? DeltaUse.Never : options.Deltas, options.DryRun, Verify);
        foreach (Checksum commit in wanted.Values.Distinct())
            await deltas.Take(transaction, commit, cancel).ConfigureAwait(false);
        if (options.DryRun)
            return new PullResult(new Dictionary<string, Checksum>(), 0, 0, fetcher.BytesTransferred) { Deltas = deltas.Usage };
        long byDeltas = transaction.Stats.ContentBytes;
        var import = new ArchiveImport(transaction);
        using (var queue = new PullQueue(cancel))
        {
            foreach (Checksum commit in wanted.Values.Distinct())
            {
                depths[commit] = options.Depth;
                Enqueue(queue, new ObjectName(commit, ObjectType.Commit));
            }

            await queue.Run(options.Parallel, (name, token) => Take(transaction, import, queue, name, token)).ConfigureAwait(false);
        }

        var refs = new Dictionary<string, Checksum>();
        foreach ((string branch, Checksum commit) in wanted.Where(static item => !Checksum.TryParse(item.Key, out _)))
        {
            VerifyBinding(transaction, branch, commit);
            string refspec = options.Mirror || options.Remote is null ? branch : $"{options.Remote}:{branch}";
            if (!options.WithoutRefs)
                transaction.SetRef(refspec, commit);
            refs.Add(refspec, commit);
        }

        TransactionStats stats = transaction.Commit();
        if (!options.CommitMetadataOnly)
            target.ClearPartial(completed);
        if (options.Mirror && options.Refs.Count == 0 && remote?.Branches is not { Count: > 0 })
            KeepSummary();
        return new PullResult(refs, stats.MetadataWritten, stats.ContentWritten, fetcher.BytesTransferred) { Deltas = deltas.Usage, ContentBytes = stats.ContentBytes - byDeltas };
    }

    public void Dispose() => fetcher.Dispose();

    // A mirror of everything is announced as its source is, signature and all; never a summary beside the signature of another.
    private void KeepSummary()
    {
        if (summaryBytes is null)
            return;
        target.Dir.TryUnlink("summary.sig");
        Durable.Replace(target.Dir, "summary", summaryBytes);
        if (summarySignature is not null)
            Durable.Replace(target.Dir, "summary.sig", summarySignature);
    }

    private async Task CheckMode(CancellationToken cancel)
    {
        byte[] bytes = await fetcher.TryFetch("config", SmallFile, cancel).ConfigureAwait(false) ?? throw NotFound("config", "a repository's config");
        try
        {
            KeyFile config = KeyFile.Parse(Encoding.UTF8.GetString(bytes));
            indexedDeltas = config.GetBoolean("core", "indexed-deltas");
            string mode = config.GetString("core", "mode") ?? "bare";
            if (RepositoryModes.TryParse(mode) != RepositoryMode.Archive)
                throw new PullException(fetcher.UrlOf("config"), "core.mode=archive-z2, which alone can be pulled over HTTP", $"core.mode={mode}");
        }
        catch (MalformedException malformed)
        {
            throw new PullException(fetcher.UrlOf("config"), "a repository's config", malformed.Message, malformed);
        }
    }

    /// <summary>What to fetch: by branch, or by checksum where one was asked for.</summary>
    private async Task<Dictionary<string, Checksum>> Wanted(CancellationToken cancel)
    {
        IReadOnlyList<string> names = options.Refs.Count > 0 ? options.Refs : remote?.Branches ?? [];
        if (names.Count == 0)
        {
            Summary summary = await Summary(cancel).ConfigureAwait(false) ??
                throw NotFound("summary", "a summary, since no branch was named");
            return summary.Refs.ToDictionary();
        }

        if (trust is { ForSummary: true })
            await Summary(cancel).ConfigureAwait(false); // also where only checksums are asked for: that much was promised
        var wanted = new Dictionary<string, Checksum>();
        foreach (string name in names)
        {
            int at = name.IndexOf('@', StringComparison.Ordinal);
            string branch = at < 0 ? name : name[..at];
            if (Checksum.TryParse(branch, out Checksum checksum) || (at >= 0 && Checksum.TryParse(name.AsSpan(at + 1), out checksum)))
                wanted[branch] = checksum;
            else
                wanted[branch] = await Resolve(branch, cancel).ConfigureAwait(false);
        }

        return wanted;
    }

    private async Task<Checksum> Resolve(string branch, CancellationToken cancel)
    {
        RefStore.Split(branch);
        string path = $"refs/heads/{branch}";
        // Where the summary must be signed, it alone says what a branch leads to.
        bool asksBranch = trust is not { ForSummary: true };
        if (asksBranch && await fetcher.TryFetch(path, SmallFile, cancel).ConfigureAwait(false) is { } bytes)
        {
            string text = Encoding.ASCII.GetString(bytes).Trim();
            return Checksum.TryParse(text, out Checksum checksum)
                ? checksum
                : throw new PullException(fetcher.UrlOf(path), "a commit's checksum", $"'{(text.Length > 80 ? text[..80] : text)}'");
        }

        return await Summary(cancel).ConfigureAwait(false) is { } summary && summary.Refs.TryGetValue(branch, out Checksum listed)
            ? listed
            : throw NotFound(path, $"the branch '{branch}'");
    }

    private Task<Summary?> Summary(CancellationToken cancel) => summary ??= FetchSummary(cancel);

    private async Task<Summary?> FetchSummary(CancellationToken cancel)
    {
        byte[]? bytes = summaryBytes = await fetcher.TryFetch("summary", ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
        if (trust is { ForSummary: true } || (options.Mirror && bytes is not null))
            summarySignature = await fetcher.TryFetch("summary.sig", ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
        trust?.VerifySummary(fetcher.UrlOf("summary"), bytes, summarySignature);
        try
        {
            return bytes is null ? null : Store.Summary.Parse(bytes);
        }
        catch (MalformedException malformed)
        {
            throw new PullException(fetcher.UrlOf("summary"), "a summary", malformed.Message, malformed);
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
                await TakeFile(transaction, import, name, cancel).ConfigureAwait(false);
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

        Report(transaction, queue);
    }

    private async Task TakeCommit(Transaction transaction, PullQueue queue, ObjectName name, CancellationToken cancel)
    {
        Checksum commit = name.Checksum;
        int depth = depths[commit];
        bool isTip = depth == options.Depth;
        bool whole = target.Has(name) && !target.IsPartial(commit);
        byte[]? bytes = transaction.TryLoadMetadata(name) ?? await FetchMetadata(name, cancel).ConfigureAwait(false);
        if (bytes is null)
        {
            // A parent that the server no longer has ends the history; the commit that was asked for must be there.
            if (isTip)
                throw NotFound(PathOf(name), $"the commit {commit}");
            return;
        }

        VariantDictionary? detached = await FetchDetached(commit, cancel).ConfigureAwait(false);
        if (detached is not null && options.KeepBeside is { } keep && transaction.TryLoadDetached(commit) is { } here)
            detached = keep(commit, here, detached);
        // Before anything of it is kept; again where it is kept already, since it may have come when nothing was asked for.
        if (trust is { ForCommits: true })
            trust.VerifyCommit(commit, bytes, detached ?? transaction.TryLoadDetached(commit));
        if (!whole)
            target.MarkPartial(commit);
        if (detached is not null)
            transaction.WriteDetachedMetadata(commit, detached);
        Commit parsed = Parse(name, bytes, Commit.Parse);
        transaction.WriteMetadata(ObjectType.Commit, bytes);
        if (!whole && !options.CommitMetadataOnly)
        {
            Enqueue(queue, new ObjectName(parsed.RootMeta, ObjectType.DirMeta));
            levels.TryAdd(parsed.RootTree, 0);
            Enqueue(queue, new ObjectName(parsed.RootTree, ObjectType.DirTree));
        }

        if (!whole)
            completed.Add(commit);
        if (parsed.Parent is { } parent && depth != 0)
        {
            depths.TryAdd(parent, depth - 1);
            Enqueue(queue, new ObjectName(parent, ObjectType.Commit));
        }
    }

    // A delta's commit, which has the hash that its name says by now.
    private async Task Verify(DeltaSuperblock superblock, CancellationToken cancel)
    {
        Checksum commit = superblock.Name.To;
        if (trust is not { ForCommits: true })
            return;
        VariantDictionary? detached = await FetchDetached(commit, cancel).ConfigureAwait(false) ?? superblock.Detached ?? target.LoadDetachedMetadata(commit);
        trust.VerifyCommit(commit, superblock.Commit, detached);
    }

    // Bytes that are no dictionary hold no signature: whoever asks for one finds none, and nobody else minds.
    private async Task<VariantDictionary?> FetchDetached(Checksum commit, CancellationToken cancel)
    {
        string path = PathOf(new ObjectName(commit, ObjectType.CommitMeta));
        byte[]? bytes = await fetcher.TryFetch(path, ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
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
            levels.TryAdd(inner.Tree, level + 1);
            Enqueue(queue, new ObjectName(inner.Tree, ObjectType.DirTree));
        }
    }

    private async Task TakeFile(Transaction transaction, ArchiveImport import, ObjectName name, CancellationToken cancel)
    {
        if (transaction.Has(name))
            return;
        string path = PathOf(name);
        using Fetched fetched = await fetcher.TryFetchLarge(path, transaction, cancel).ConfigureAwait(false) ?? throw NotFound(path, $"the object {name}");
        try
        {
            import.Add(fetched, name, fetcher.UrlOf(path));
        }
        catch (ObjectCorruptException corrupt)
        {
            throw new PullException(fetcher.UrlOf(path), $"the object {name}", corrupt.Found is { } found ? $"bytes that hash to {found}" : corrupt.Message, corrupt);
        }
    }

    private async Task<T> Load<T>(Transaction transaction, ObjectName name, ObjectStore.Parser<T> parse, CancellationToken cancel)
    {
        byte[]? bytes = transaction.TryLoadMetadata(name);
        if (bytes is not null)
            return Parse(name, bytes, parse);
        bytes = await FetchMetadata(name, cancel).ConfigureAwait(false) ?? throw NotFound(PathOf(name), $"the object {name}");
        T parsed = Parse(name, bytes, parse);
        transaction.WriteMetadata(name.Type, bytes);
        return parsed;
    }

    private async Task<byte[]?> FetchMetadata(ObjectName name, CancellationToken cancel)
    {
        byte[]? bytes = await fetcher.TryFetch(PathOf(name), ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
        if (bytes is not null && Checksum.Of(bytes) is var found && found != name.Checksum)
            throw new PullException(fetcher.UrlOf(PathOf(name)), $"the object {name}", $"bytes that hash to {found}");
        return bytes;
    }

    private T Parse<T>(ObjectName name, byte[] bytes, ObjectStore.Parser<T> parse)
    {
        try
        {
            return parse(bytes);
        }
        catch (MalformedException malformed)
        {
            throw new PullException(fetcher.UrlOf(PathOf(name)), $"the object {name}", malformed.Message, malformed);
        }
    }

    // A server that answers for one branch with the commit of another is mistaken, or worse.
    private void VerifyBinding(Transaction transaction, string branch, Checksum commit)
    {
        Commit loaded = Commit.Parse(transaction.TryLoadMetadata(new ObjectName(commit, ObjectType.Commit))!);
        if (!loaded.IsBoundTo(branch))
            throw new PullException(fetcher.UrlOf($"refs/heads/{branch}"), $"a commit bound to '{branch}'", $"{commit}, bound to {loaded.Metadata[Commit.RefBinding]}");
    }

    private void Report(Transaction transaction, PullQueue queue)
    {
        if (progress is null || Interlocked.Increment(ref reported) % 32 != 0)
            return;
        TransactionStats stats = transaction.Stats;
        progress.Report(new PullProgress(stats.MetadataWritten, stats.ContentWritten, queue.Outstanding, fetcher.BytesTransferred));
    }

    private static string PathOf(ObjectName name) => $"objects/{name.LoosePath(RepositoryMode.Archive)}";

    private PullException NotFound(string path, string expected) => new(fetcher.UrlOf(path), expected, "status 404 (there is none)");
}
