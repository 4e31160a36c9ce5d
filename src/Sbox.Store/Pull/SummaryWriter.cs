using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Writes what a served repository says of itself.</summary>
/// <remarks>docs/formats/summary.md.</remarks>
internal static class SummaryWriter
{
    public static void Write(Repository repository, DateTimeOffset now, VariantDictionary additional)
    {
        using FileLock? held = RepositoryLock.Take(repository.Dir, repository.Settings, LockKind.Shared, CancellationToken.None);
        GVariantType entryType = Summary.Type.Children[0].Children[0];
        var entries = new List<GVariant>();
        foreach ((string name, Checksum commit) in repository.Refs())
        {
            if (!name.Contains(':', StringComparison.Ordinal))
                entries.Add(Entry(repository, name, commit));
        }

        DeltaStore.Write(repository, only: null);
        VariantDictionary metadata = additional
            .With("ostree.summary.mode", repository.Mode.Name())
            .With("ostree.summary.last-modified", BigEndian.Of((ulong)now.ToUnixTimeSeconds()))
            .With("ostree.summary.tombstone-commits", GVariant.Of(repository.Config.GetBoolean("core", "tombstone-commits")))
            .With("ostree.summary.indexed-deltas", GVariant.Of(true));
        List<DeltaName> deltas = [.. DeltaStore.Enumerate(repository.Dir)];
        // For clients from before there were indexes; whoever has very many deltas leaves it out.
        if (deltas.Count > 0 && !repository.Config.GetBoolean("core", "no-deltas-in-summary"))
            metadata = metadata.With(DeltaSuperblock.ListKey, DeltaStore.List(repository.Dir, deltas.OrderBy(static name => $"{name}", StringComparer.Ordinal)).Variant);
        metadata = WithCollections(repository, metadata, entryType);
        byte[] bytes = GVariant.Tuple(GVariant.Array(entryType, entries), GLibTable.Ordered(metadata).Variant).ToBytes();
        repository.Dir.TryUnlink("summary.sig");
        Durable.Replace(repository.Dir, "summary", bytes);
    }

    // Refs of other collections, by collection; one's own are the summary's list.
    private static VariantDictionary WithCollections(Repository repository, VariantDictionary metadata, GVariantType entryType)
    {
        if (repository.CollectionId is { } own)
            metadata = metadata.With("ostree.summary.collection-id", own);
        var collections = new List<GVariant>();
        foreach (IGrouping<string, KeyValuePair<CollectionRef, Checksum>> collection in repository.CollectionRefs().Where(each => each.Key.Collection != repository.CollectionId).GroupBy(static each => each.Key.Collection))
        {
            collections.Add(GVariant.Entry(
                GVariant.Of(collection.Key), GVariant.Array(entryType, [.. collection.Select(each => Entry(repository, each.Key.Name, each.Value))])));
        }

        return collections.Count == 0 ? metadata : metadata.With(
            "ostree.summary.collection-map", GVariant.Array(GVariantType.Parse($"{{sa{entryType.Signature}}}"), collections));
    }

    private static GVariant Entry(Repository repository, string name, Checksum commit)
    {
        byte[] bytes = repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit));
        Commit parsed = repository.LoadCommit(commit);
        VariantDictionary metadata = VariantDictionary.Empty;
        if (parsed.Version is { } version)
            metadata = metadata.With("ostree.commit.version", version);
        metadata = metadata.With("ostree.commit.timestamp", BigEndian.Of(parsed.Timestamp));
        return GVariant.Tuple(
            GVariant.Of(name),
            GVariant.Tuple(GVariant.Of((ulong)bytes.Length), GVariant.Of(commit.ToArray()), metadata.Variant));
    }
}
