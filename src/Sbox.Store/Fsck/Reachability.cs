using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Walks from commits to all that they need, each object once.</summary>
internal sealed class Reachability(Repository repository)
{
    /// <summary>All found so far, what is missing included.</summary>
    public ObjectSet Objects { get; } = new();

    /// <summary>What was needed and not there, or could not be read; with a commit that needs it.</summary>
    public List<(ObjectName Name, Checksum Commit, Exception Finding)> Unreadable { get; } = [];

    /// <summary>Commits whose directories are nested deeper than anything here would write out.</summary>
    public HashSet<Checksum> TooDeep { get; } = [];

    /// <summary>Adds a commit and its tree; not its parents.</summary>
    /// <returns>The commit; null where it cannot be read.</returns>
    public Commit? Add(Checksum commit, CancellationToken cancel)
    {
        var name = new ObjectName(commit, ObjectType.Commit);
        if (Read(name, commit, repository.LoadCommit) is not { } found)
            return null;
        if (!Objects.Add(name))
            return found;
        var meta = new ObjectName(commit, ObjectType.CommitMeta);
        if (repository.Has(meta))
            Objects.Add(meta);
        Objects.Add(new ObjectName(found.RootMeta, ObjectType.DirMeta));
        AddTree(found.RootTree, commit, cancel);
        return found;
    }

    /// <summary>Adds a directory's tree.</summary>
    public void AddTree(Checksum root, Checksum commit, CancellationToken cancel)
    {
        var waiting = new Stack<(Checksum Tree, int Depth)>([(root, 0)]);
        while (waiting.TryPop(out (Checksum Tree, int Depth) next))
        {
            (Checksum tree, int depth) = next;
            if (depth > TreeDepth.Maximum)
                TooDeep.Add(commit);
            cancel.ThrowIfCancellationRequested();
            var name = new ObjectName(tree, ObjectType.DirTree);
            if (!Objects.Add(name) || Read(name, commit, repository.LoadDirTree) is not { } names)
                continue;
            foreach (DirTreeFile file in names.Files)
                Objects.Add(new ObjectName(file.Content, ObjectType.File));
            foreach (DirTreeDirectory inner in names.Directories)
            {
                Objects.Add(new ObjectName(inner.Meta, ObjectType.DirMeta));
                waiting.Push((inner.Tree, depth + 1));
            }
        }
    }

    private T? Read<T>(ObjectName name, Checksum commit, Func<Checksum, T> load)
        where T : class
    {
        try
        {
            return load(name.Checksum);
        }
        catch (Exception finding) when (finding is RepositoryException or IOException or UnauthorizedAccessException)
        {
            Unreadable.Add((name, commit, finding));
            return null;
        }
    }
}
