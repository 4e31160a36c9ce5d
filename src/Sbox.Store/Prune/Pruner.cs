using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Finds what nothing needs, and deletes it: what needs first, then what is needed, so that every step leaves whole commits.</summary>
internal sealed class Pruner(Repository repository, PruneOptions options, CancellationToken cancel)
{
    public PruneReport Run()
    {
        using FileLock? held = options.DryRun
            ? null
            : RepositoryLock.Take(repository.Dir, repository.Settings, LockKind.Exclusive, cancel);
        if (options.DeleteCommit is { } gone)
            DeleteCommit(gone);
        if (!options.DryRun)
            SummaryCache.Prune(repository);
        ObjectSet needed = Needed();
        int all = 0, unneeded = 0;
        long freed = 0;
        // Once for each kind, since a list of all would be as long as the repository is large.
        for (int order = 0; order <= Last; order++)
        {
            foreach (ObjectName name in repository.EnumerateObjects())
            {
                cancel.ThrowIfCancellationRequested();
                // As libostree counts: what lies beside a commit is no object of its own.
                all += order == 0 && (options.CommitsOnly ? name.Type == ObjectType.Commit : name.Type != ObjectType.CommitMeta) ? 1 : 0;
                if (Order(name.Type) != order || IsNeeded(name, needed) || (options.CommitsOnly && name.Type is not (ObjectType.Commit or ObjectType.CommitMeta)))
                    continue;
                unneeded += name.Type == ObjectType.CommitMeta ? 0 : 1;
                freed += Delete(name);
            }
        }

        return new PruneReport(all, unneeded, freed);
    }

    // Bytes that it is, or would be, the fewer for.
    private long Delete(ObjectName name)
    {
        string path = name.LoosePath(repository.Mode);
        long freed = repository.Objects.Dir.TryStat(path)?.Size ?? 0;
        if (options.DryRun)
            return freed;
        if (name.Type == ObjectType.Commit)
            repository.LeaveTombstone(name.Checksum);
        repository.Objects.Dir.TryUnlink(path);
        if (name.Type == ObjectType.Commit)
            repository.Dir.TryUnlink(Repository.PartialMarker(name.Checksum));
        return freed;
    }

    private void DeleteCommit(Checksum commit)
    {
        foreach ((string name, Checksum target) in repository.Refs())
        {
            if (target == commit)
                throw new CommitInUseException(commit, name);
        }

        foreach ((CollectionRef name, Checksum target) in repository.CollectionRefs())
        {
            if (target == commit)
                throw new CommitInUseException(commit, name.ToString());
        }

        repository.LoadCommit(commit);
        if (options.DryRun)
            return;
        repository.LeaveTombstone(commit);
        foreach (ObjectType type in (ObjectType[])[ObjectType.Commit, ObjectType.CommitMeta])
            repository.Objects.Dir.TryUnlink(new ObjectName(commit, type).LoosePath(repository.Mode));
        repository.Dir.TryUnlink(Repository.PartialMarker(commit));
    }

    private ObjectSet Needed()
    {
        var reachable = new Reachability(repository);
        foreach ((string name, Checksum commit) in repository.Refs())
            AddRef(reachable, name, commit);
        foreach ((CollectionRef _, Checksum commit) in repository.CollectionRefs(withRemotes: false))
            AddRef(reachable, "", commit);
        foreach (Checksum commit in options.Keep)
            AddWithParents(reachable, commit, depth: 0);
        if (!options.RefsOnly)
        {
            foreach (ObjectName name in repository.EnumerateObjects().Where(static name => name.Type == ObjectType.Commit))
                AddWithParents(reachable, name.Checksum, depth: 0);
        }

        // What a commit needs is unknown while part of it cannot be read; deleting on would lose what a repair could still use.
        (ObjectName Name, Checksum Commit, Exception Finding) broken = reachable.Unreadable
            .FirstOrDefault(item => item.Finding is not RepositoryException || !repository.IsPartial(item.Commit));
        return broken.Finding is null ? reachable.Objects : throw broken.Finding;
    }

    private void AddRef(Reachability reachable, string name, Checksum commit)
    {
        bool hasDepth = options.BranchDepths.TryGetValue(name, out int depth);
        bool isPruned = options.OnlyBranches.Count == 0 || options.OnlyBranches.Contains(name);
        if (hasDepth)
            AddWithParents(reachable, commit, depth);
        else if (!isPruned)
            AddWithParents(reachable, commit, depth: -1);
        else if (options.KeepYoungerThan is { } limit)
            AddYounger(reachable, commit, limit);
        else
            AddWithParents(reachable, commit, options.Depth);
    }

    private void AddYounger(Reachability reachable, Checksum from, DateTimeOffset limit)
    {
        Checksum? at = from;
        while (at is { } commit && (commit == from || repository.Has(new ObjectName(commit, ObjectType.Commit))))
        {
            if (commit != from && repository.LoadCommit(commit).Time < limit)
                return;
            at = reachable.Add(commit, cancel)?.Parent;
        }
    }

    private void AddWithParents(Reachability reachable, Checksum from, int depth)
    {
        Checksum? at = from;
        for (int left = depth; at is { } commit; left--)
        {
            // A parent that was never fetched ends the history; a ref's own commit must be there.
            if (commit != from && !repository.Has(new ObjectName(commit, ObjectType.Commit)))
                return;
            at = reachable.Add(commit, cancel)?.Parent;
            if (left == 0)
                return;
        }
    }

    private static bool IsNeeded(ObjectName name, ObjectSet needed) => name.Type switch
    {
        ObjectType.TombstoneCommit => true,
        ObjectType.CommitMeta => needed.Contains(new ObjectName(name.Checksum, ObjectType.Commit)),
        _ => needed.Contains(name),
    };

    private const int Last = 3;

    private static int Order(ObjectType type) => type switch
    {
        ObjectType.Commit => 0,
        ObjectType.CommitMeta => 1,
        ObjectType.DirTree => 2,
        _ => 3,
    };
}
