using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Where the names go that a <see cref="Reachability"/> finds.</summary>
internal interface INameSink
{
    /// <summary>Takes one. False where it was taken before; of files and dirmetas, which lead nowhere, that need not be known.</summary>
    bool Add(ObjectName name);
}

/// <summary>Walks from commits to all that they need, each directory once.</summary>
internal sealed class Reachability(Repository repository, INameSink found)
{
    /// <summary>What was needed and not there, or could not be read; with a commit that needs it.</summary>
    public List<(ObjectName Name, Checksum Commit, Exception Finding)> Unreadable { get; } = [];

    /// <summary>Commits whose directories are nested deeper than anything here would write out.</summary>
    public HashSet<Checksum> TooDeep { get; } = [];

    /// <summary>Adds a commit and its tree; not its parents. What is missing is added too.</summary>
    /// <returns>The commit; null where it cannot be read.</returns>
    public Commit? Add(Checksum commit, CancellationToken cancel)
    {
        var name = new ObjectName(commit, ObjectType.Commit);
        if (Read(name, commit, repository.LoadCommit) is not { } loaded)
            return null;
        if (!found.Add(name))
            return loaded;
        var meta = new ObjectName(commit, ObjectType.CommitMeta);
        if (repository.Has(meta))
            found.Add(meta);
        found.Add(new ObjectName(loaded.RootMeta, ObjectType.DirMeta));
        AddTree(loaded.RootTree, commit, cancel);
        return loaded;
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
            if (!found.Add(name) || Read(name, commit, repository.LoadDirTree) is not { } names)
                continue;
            foreach (DirTreeFile file in names.Files)
                found.Add(new ObjectName(file.Content, ObjectType.File));
            foreach (DirTreeDirectory inner in names.Directories)
            {
                found.Add(new ObjectName(inner.Meta, ObjectType.DirMeta));
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

/// <summary>All that some commits need, however much that is: memory holds 16 bytes of each commit and directory, and of the files only so many.</summary>
internal sealed class ReachableNames(Repository repository) : INameSink, IDisposable
{
    private readonly SeenNames seen = new();
    private readonly NameSpool names = new(repository.Dir);

    public bool Add(ObjectName name)
    {
        if (name.Type is ObjectType.Commit or ObjectType.DirTree && !seen.Add(name))
            return false;
        names.Add(name);
        return true;
    }

    /// <summary>How many there are.</summary>
    public long Count() => names.Count();

    /// <summary>All of them by checksum, each once.</summary>
    public IEnumerable<ObjectName> Names() => names.Names();

    public void Dispose() => names.Dispose();
}

/// <summary>Which of a few names are met on a walk.</summary>
internal sealed class MetNames(IReadOnlySet<ObjectName> watched) : INameSink
{
    private readonly SeenNames seen = new();

    public HashSet<ObjectName> Met { get; } = [];

    public bool Add(ObjectName name)
    {
        if (watched.Contains(name))
            Met.Add(name);
        return name.Type is not (ObjectType.Commit or ObjectType.DirTree) || seen.Add(name);
    }
}
