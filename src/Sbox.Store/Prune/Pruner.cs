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
        HashSet<ObjectName> needed = Needed();
        List<ObjectName> all = [.. repository.EnumerateObjects()];
        List<ObjectName> unneeded = [.. all.Where(name => !IsNeeded(name, needed)).OrderBy(static name => Order(name.Type))];
        long freed = 0;
        foreach (ObjectName name in unneeded)
        {
            cancel.ThrowIfCancellationRequested();
            string path = name.LoosePath(repository.Mode);
            freed += repository.Objects.Dir.TryStat(path)?.Size ?? 0;
            if (options.DryRun)
                continue;
            repository.Objects.Dir.TryUnlink(path);
            if (name.Type == ObjectType.Commit)
                repository.Dir.TryUnlink(Repository.PartialMarker(name.Checksum));
        }

        return new PruneReport(all.Count, unneeded.Count, freed);
    }

    private HashSet<ObjectName> Needed()
    {
        var reachable = new Reachability(repository);
        foreach (Checksum commit in repository.Refs().Values)
            AddWithParents(reachable, commit, options.Depth);
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

    private static bool IsNeeded(ObjectName name, HashSet<ObjectName> needed) => name.Type switch
    {
        ObjectType.TombstoneCommit => true,
        ObjectType.CommitMeta => needed.Contains(new ObjectName(name.Checksum, ObjectType.Commit)),
        _ => needed.Contains(name),
    };

    private static int Order(ObjectType type) => type switch
    {
        ObjectType.Commit => 0,
        ObjectType.CommitMeta => 1,
        ObjectType.DirTree => 2,
        _ => 3,
    };
}
