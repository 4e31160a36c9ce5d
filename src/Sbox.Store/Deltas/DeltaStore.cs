using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The deltas of a repository, and the lists of them by which a pull finds them.</summary>
internal static class DeltaStore
{
    /// <summary>All that there are, in no order.</summary>
    public static IEnumerable<DeltaName> Enumerate(Dir repository)
    {
        foreach ((string outer, string inner, FileKind kind) in Inner(repository, DeltaName.Root))
        {
            if (kind == FileKind.Directory && DeltaName.TryParseDirectory(outer, inner, out DeltaName name) && repository.Exists(name.Superblock))
                yield return name;
        }
    }

    /// <summary>The commits of which the deltas are listed.</summary>
    public static IEnumerable<Checksum> EnumerateIndexes(Dir repository)
    {
        foreach ((string outer, string inner, FileKind kind) in Inner(repository, DeltaName.IndexRoot))
        {
            if (kind == FileKind.Regular && DeltaName.TryParseIndex(outer, inner, out Checksum to))
                yield return to;
        }
    }

    /// <summary>Deltas with the checksums of their superblocks, as indexes and summaries list them.</summary>
    public static VariantDictionary List(Dir repository, IEnumerable<DeltaName> names)
    {
        VariantDictionary list = VariantDictionary.Empty;
        foreach (DeltaName name in names)
            list = list.With($"{name}", GVariant.Of(Checksum.Of(repository.ReadAll(name.Superblock)).ToArray()));
        return list;
    }

    /// <summary>Reads such a list.</summary>
    /// <exception cref="MalformedException">It is none.</exception>
    public static Dictionary<DeltaName, Checksum> ParseList(GVariant? list)
    {
        var names = new Dictionary<DeltaName, Checksum>();
        if (list is not { Type.Signature: "a{sv}" })
            return names;
        foreach (GVariant entry in list.Items)
        {
            if (entry.Items[1].Boxed is not { Type.Signature: "ay" } checksum)
                throw new MalformedException("list of static deltas", "checksum", "ay", entry.Items[1].Boxed.Type.Signature);
            try
            {
                names[DeltaName.Parse(entry.Items[0].Text)] = Checksum.FromBytes(checksum.Bytes);
            }
            catch (DeltaException invalid)
            {
                throw new MalformedException("list of static deltas", "name", "FROM-TO", invalid.Path);
            }
        }

        return names;
    }

    /// <summary>Writes the lists anew: of one commit, or of all.</summary>
    public static void Reindex(Repository repository, Checksum? only, CancellationToken cancel)
    {
        using FileLock? held = RepositoryLock.Take(repository.Dir, repository.Settings, LockKind.Shared, cancel);
        Write(repository, only);
    }

    /// <summary>As <see cref="Reindex"/>, for those who hold the lock.</summary>
    public static void Write(Repository repository, Checksum? only)
    {
        // By this a pull knows that a delta that is not listed is not there.
        if (!repository.Config.GetBoolean("core", "indexed-deltas"))
            repository.WriteConfig(repository.Config.With("core", "indexed-deltas", "true"));
        Dir dir = repository.Dir;
        ILookup<Checksum, DeltaName> byCommit = Enumerate(dir).Where(name => only is null || name.To == only).ToLookup(static name => name.To);
        IEnumerable<Checksum> old = only is { } one ? [one] : EnumerateIndexes(dir);
        foreach (Checksum gone in old.Where(to => !byCommit.Contains(to)).ToList())
            dir.TryUnlink(DeltaName.IndexOf(gone));
        foreach (IGrouping<Checksum, DeltaName> each in byCommit)
        {
            VariantDictionary list = List(dir, each.OrderBy(static name => $"{name}", StringComparer.Ordinal));
            byte[] bytes = VariantDictionary.Empty.With(DeltaSuperblock.ListKey, list.Variant).ToBytes();
            string path = DeltaName.IndexOf(each.Key);
            if (dir.TryReadAll(path) is { } present && present.AsSpan().SequenceEqual(bytes))
                continue;
            using Dir inner = dir.MakeAndOpenDir(Path.GetDirectoryName(path)!);
            Durable.Replace(inner, Path.GetFileName(path), bytes);
        }
    }

    private static IEnumerable<(string Outer, string Inner, FileKind Kind)> Inner(Dir repository, string root)
    {
        if (repository.TryOpenDir(root) is not { } all)
            yield break;
        using (all)
        {
            foreach (DirEntry outer in all.Entries())
            {
                if (all.TryStat(outer.Name) is not { IsDirectory: true })
                    continue;
                using Dir inner = all.OpenDir(outer.Name);
                foreach (DirEntry entry in inner.Entries())
                    yield return (outer.Name, entry.Name, entry.Kind == FileKind.Unknown ? inner.Stat(entry.Name).Kind : entry.Kind);
            }
        }
    }
}
