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
        using var unneeded = new NameSpool(repository.Dir, NameOrder.NeedingFirst);
        long all = FindUnneeded(unneeded), deleted = 0, freed = 0;
        foreach (ObjectName name in unneeded.Names())
        {
            cancel.ThrowIfCancellationRequested();
            // As libostree counts: what lies beside a commit goes with it, and is neither an object nor bytes of its own.
            bool counts = name.Type != ObjectType.CommitMeta;
            long bytes = Delete(name);
            deleted += counts ? 1 : 0;
            freed += counts ? bytes : 0;
        }

        return new PruneReport(all, deleted, freed);
    }

    // Lists what is there beside what is needed, both by checksum. Returns how many objects there are, as libostree counts: what lies beside a
    // commit is no object of its own.
    private long FindUnneeded(NameSpool unneeded)
    {
        using var needed = new ReachableNames(repository);
        FindNeeded(needed);
        using IEnumerator<ObjectName> next = needed.Names().GetEnumerator();
        bool more = next.MoveNext();
        var (at, lastNeeded, neededTypes) = (default(Checksum), default(Checksum), 0);
        long all = 0;
        foreach (ObjectName name in repository.EnumerateObjects())
        {
            cancel.ThrowIfCancellationRequested();
            all += (options.CommitsOnly ? name.Type == ObjectType.Commit : name.Type != ObjectType.CommitMeta) ? 1 : 0;
            if (name.Checksum.CompareTo(at) is var order && order < 0)
                throw new InvalidOperationException($"{name} is listed behind {at}"); // never delete by a comparison that does not hold
            if (order > 0)
                (at, neededTypes) = (name.Checksum, 0);
            for (; more && next.Current.Checksum.CompareTo(at) <= 0; more = next.MoveNext())
            {
                if (next.Current.Checksum.CompareTo(lastNeeded) < 0)
                    throw new InvalidOperationException($"{next.Current} is needed behind {lastNeeded}");
                lastNeeded = next.Current.Checksum;
                neededTypes |= lastNeeded == at ? 1 << (int)next.Current.Type : 0;
            }

            if (!IsNeeded(name.Type, neededTypes) && (!options.CommitsOnly || name.Type is ObjectType.Commit or ObjectType.CommitMeta))
                unneeded.Add(name);
        }

        return all;
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

    private void FindNeeded(ReachableNames needed)
    {
        var reachable = new Reachability(repository, needed);
        foreach ((string name, Checksum commit) in repository.Refs())
            AddRef(reachable, name, commit);
        foreach ((CollectionRef _, Checksum commit) in repository.CollectionRefs(withRemotes: false))
            AddRef(reachable, "", commit);
        foreach (Checksum commit in options.Keep)
            AddWithParents(reachable, commit, depth: 0);
        if (!options.RefsOnly)
        {
            foreach (ObjectName name in repository.Objects.EnumerateCommits())
                AddWithParents(reachable, name.Checksum, depth: 0);
        }

        // What a commit needs is unknown while part of it cannot be read; deleting on would lose what a repair could still use.
        (ObjectName Name, Checksum Commit, Exception Finding) broken = reachable.Unreadable
            .FirstOrDefault(item => item.Finding is not RepositoryException || !repository.IsPartial(item.Commit));
        if (broken.Finding is not null)
            throw broken.Finding;
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

    private static bool IsNeeded(ObjectType type, int neededTypes) => type switch
    {
        ObjectType.TombstoneCommit => true,
        ObjectType.CommitMeta => (neededTypes & (1 << (int)ObjectType.Commit)) != 0,
        _ => (neededTypes & (1 << (int)type)) != 0,
    };
}
