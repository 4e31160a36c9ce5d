using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>The deltas of a repository on this machine.</summary>
internal sealed class LocalDeltas(Repository repository) : IDeltaSource
{
    public Task<Dictionary<DeltaName, Checksum>?> List(Checksum to, CancellationToken cancel)
    {
        if (repository.Dir.TryReadAll(DeltaName.IndexOf(to)) is { } index)
            return Task.FromResult<Dictionary<DeltaName, Checksum>?>(DeltaStore.ParseList(VariantDictionary.Parse(index)[DeltaSuperblock.ListKey]));
        byte[]? summary = repository.Dir.TryReadAll("summary");
        return Task.FromResult(summary is null ? null : DeltaStore.ParseList(Summary.Parse(summary).Metadata[DeltaSuperblock.ListKey]));
    }

    public Task<byte[]?> TryRead(string path, CancellationToken cancel) => Task.FromResult(DeltaDirectory.TryRead(repository.Dir, path, DeltaDirectory.MaximumPulledSuperblock));

    public Task<Stream> Open(string path, long size, Checksum checksum, Transaction transaction, CancellationToken cancel) => Task.FromResult(DeltaDirectory.OpenPart(repository.Dir, path));

    public string NameOf(string path) => repository.Dir.Of(path);

    public double? BytesPerSecond => null;
}

/// <summary>The deltas of a repository behind a web server.</summary>
/// <param name="fetcher">Fetches its files.</param>
/// <param name="indexed">Whether its config says that every delta is in an index.</param>
/// <param name="summary">Its summary; asked only where there are no indexes.</param>
/// <param name="spare">Requests by which a part may come in pieces.</param>
/// <param name="limit">How much may come.</param>
internal sealed class HttpDeltas(HttpFetcher fetcher, bool indexed, SummarySource summary, ISpareRequests spare, RateLimit limit) : IDeltaSource
{
    public async Task<Dictionary<DeltaName, Checksum>?> List(Checksum to, CancellationToken cancel)
    {
        string path = indexed ? DeltaName.IndexOf(to) : "summary";
        try
        {
            if (!indexed)
                return await summary.Get(cancel).ConfigureAwait(false) is { } said ? DeltaStore.ParseList(said.Parsed.Metadata[DeltaSuperblock.ListKey]) : null;
            byte[]? bytes = await fetcher.TryFetch(path, ObjectStore.MaximumMetadataSize, cancel).ConfigureAwait(false);
            return bytes is null ? null : DeltaStore.ParseList(VariantDictionary.Parse(bytes)[DeltaSuperblock.ListKey]);
        }
        catch (MalformedException malformed)
        {
            throw new PullException(fetcher.UrlOf(path), "a list of static deltas", malformed.Message, malformed);
        }
    }

    private const int TellsSpeed = 64 * 1024;

    public double? BytesPerSecond { get; private set; }

    public async Task<byte[]?> TryRead(string path, CancellationToken cancel)
    {
        using Fetched? fetched = await fetcher.TryFetchIfChanged(path, DeltaDirectory.MaximumPulledSuperblock, known: null, cancel).ConfigureAwait(false);
        // That of a kernel's update has some hundred kilobytes, by which a line can be told from a machine in the next room; less says how far it is, and not how fast.
        if (fetched is { Length: >= TellsSpeed })
            BytesPerSecond = limit.Within(fetched.Length / Math.Max(fetched.Took.TotalSeconds, 0.001));
        return fetched?.Bytes.ToArray();
    }

    public async Task<Stream> Open(string path, long size, Checksum checksum, Transaction transaction, CancellationToken cancel)
    {
        Fetched fetched = await fetcher.TryFetchLarge(path, size, transaction, spare, Look, cancel).ConfigureAwait(false) ??
            throw new PullException(fetcher.UrlOf(path), "a part of a static delta", "status 404 (there is none)");
        return new FetchedStream(fetched);

        // Who unpacks it hashes it too; but what began to come by another process can be fetched anew here.
        void Look(Fetched came, string url)
        {
            if (!came.GoesOn)
                return;
            using var hashed = new HashedInput(came.Open());
            if (hashed.Finish() is var found && found != checksum)
                throw new PullException(url, $"a part that hashes to {checksum}", $"{found}");
        }
    }

    public string NameOf(string path) => fetcher.UrlOf(path);

    private sealed class FetchedStream(Fetched fetched) : InputStream
    {
        private readonly Stream inner = fetched.Open();

        public override long Length => inner.Length;

        public override long Position { get => inner.Position; set => throw new NotSupportedException(); }

        public override int Read(Span<byte> buffer) => inner.Read(buffer);

        protected override void Dispose(bool disposing)
        {
            if (!disposing)
                return;
            inner.Dispose();
            fetched.Dispose();
        }
    }
}
