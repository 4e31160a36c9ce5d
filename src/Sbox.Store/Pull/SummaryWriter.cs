using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Writes what a served repository says of itself.</summary>
/// <remarks>docs/formats/summary.md.</remarks>
internal static class SummaryWriter
{
    private static readonly GVariantType EntryType = Summary.Type.Children[0].Children[0];

    public static void Write(Repository repository, DateTimeOffset now, VariantDictionary additional, Func<byte[], VariantDictionary>? signer)
    {
        using FileLock? held = RepositoryLock.Take(repository.Dir, repository.Settings, LockKind.Shared, CancellationToken.None);
        List<GVariant> entries = [.. repository.Refs()
            .Where(static item => !item.Key.Contains(':', StringComparison.Ordinal))
            .Select(item => Entry(repository, item.Key, item.Value))];
        DeltaStore.Write(repository, only: null);
        List<DeltaName> deltas = [.. DeltaStore.Enumerate(repository.Dir)];
        // For clients from before there were indexes; whoever has very many deltas leaves it out.
        bool listed = deltas.Count > 0 && !repository.Config.GetBoolean("core", "no-deltas-in-summary");
        VariantDictionary list = listed ? DeltaStore.List(repository.Dir, deltas.OrderBy(static name => $"{name}", StringComparer.Ordinal)) : VariantDictionary.Empty;
        VariantDictionary metadata = WithCollections(repository, About(repository, additional, repository.Mode, now, list));
        byte[] bytes = Bytes(entries, metadata);
        // Signed before either file is touched: where the key is not to be had, the old pair stays and is believed on.
        VariantDictionary? signatures = signer?.Invoke(bytes);
        repository.Dir.TryUnlink("summary.sig");
        Durable.Replace(repository.Dir, "summary", bytes);
        if (signatures is not null)
            repository.WriteSummarySignatures(signatures);
    }

    /// <summary>The bytes of a summary of something else than what the repository has: of what it publishes.</summary>
    public static byte[] Make(Repository repository, SummaryContent content)
    {
        VariantDictionary metadata = About(repository, content.Additional, content.Mode, content.Modified, DeltaIndex.ListOf(content.Deltas));
        if (content.TrustVersion is { } version)
            metadata = metadata.With(TrustDocument.SummaryKey, BigEndian.Of((ulong)version));
        if (repository.CollectionId is { } own)
            metadata = metadata.With("ostree.summary.collection-id", own);
        Func<Checksum, byte[]> commitOf = content.CommitOf ?? (commit => repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit)));
        return Bytes([.. content.Refs.OrderBy(static item => item.Key, StringComparer.Ordinal).Select(item => Entry(item.Key, item.Value, commitOf(item.Value)))], metadata);
    }

    private static byte[] Bytes(IReadOnlyList<GVariant> entries, VariantDictionary metadata) =>
        GVariant.Tuple(GVariant.Array(EntryType, entries), GLibTable.Ordered(metadata).Variant).ToBytes();

    private static VariantDictionary About(Repository repository, VariantDictionary additional, RepositoryMode mode, DateTimeOffset modified, VariantDictionary deltas)
    {
        VariantDictionary metadata = additional
            .With("ostree.summary.mode", mode.Name())
            .With("ostree.summary.last-modified", BigEndian.Of((ulong)modified.ToUnixTimeSeconds()))
            .With("ostree.summary.tombstone-commits", GVariant.Of(repository.Config.GetBoolean("core", Repository.TombstonesKey)))
            .With("ostree.summary.indexed-deltas", GVariant.Of(true));
        return deltas.Keys.Any() ? metadata.With(DeltaSuperblock.ListKey, deltas.Variant) : metadata;
    }

    // Refs of other collections, by collection; one's own are the summary's list.
    private static VariantDictionary WithCollections(Repository repository, VariantDictionary metadata)
    {
        if (repository.CollectionId is { } own)
            metadata = metadata.With("ostree.summary.collection-id", own);
        var collections = new List<GVariant>();
        foreach (IGrouping<string, KeyValuePair<CollectionRef, Checksum>> collection in repository.CollectionRefs().Where(each => each.Key.Collection != repository.CollectionId).GroupBy(static each => each.Key.Collection))
        {
            collections.Add(GVariant.Entry(
                GVariant.Of(collection.Key), GVariant.Array(EntryType, [.. collection.Select(each => Entry(repository, each.Key.Name, each.Value))])));
        }

        return collections.Count == 0 ? metadata : metadata.With(
            "ostree.summary.collection-map", GVariant.Array(GVariantType.Parse($"{{sa{EntryType.Signature}}}"), collections));
    }

    private static GVariant Entry(Repository repository, string name, Checksum commit)
    {
        repository.LoadCommit(commit); // whose error names the object
        return Entry(name, commit, repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit)));
    }

    private static GVariant Entry(string name, Checksum commit, byte[] bytes)
    {
        var parsed = Commit.Parse(bytes);
        VariantDictionary metadata = VariantDictionary.Empty;
        if (parsed.Version is { } version)
            metadata = metadata.With("ostree.commit.version", version);
        metadata = metadata.With("ostree.commit.timestamp", BigEndian.Of(parsed.Timestamp));
        return GVariant.Tuple(
            GVariant.Of(name),
            GVariant.Tuple(GVariant.Of((ulong)bytes.Length), GVariant.Of(commit.ToArray()), metadata.Variant));
    }
}
