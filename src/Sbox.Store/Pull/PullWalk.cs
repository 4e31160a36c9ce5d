using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Finds what a target lacks of a commit, one thread, metadata as it goes, files by a queue.</summary>
/// <param name="transaction">The target.</param>
/// <param name="sourceHas">Whether the source has an object.</param>
/// <param name="fetch">Fetches, verifies and adds an object that is no file.</param>
/// <param name="wantFile">Told of each file that is lacking, once.</param>
/// <param name="keepCommit">Adds a commit that may be kept; null writes it.</param>
/// <param name="ended">Told of the parent that the source no longer has, where a history ends.</param>
internal sealed class PullWalk(
    Transaction transaction, Func<ObjectName, bool> sourceHas, Func<ObjectName, Checksum, byte[]> fetch, Action<Checksum> wantFile,
    Action<ObjectName, byte[]>? keepCommit = null, Action<Checksum>? ended = null)
{
    private readonly SeenNames seen = new();

    /// <summary>Walks a commit and its parents.</summary>
    /// <param name="tip">The commit.</param>
    /// <param name="depth">How many parents; -1 for all.</param>
    /// <param name="metadataOnly">Whether trees are left out.</param>
    /// <param name="take">Gives a commit's bytes, once it has seen that they may be kept: these very bytes are.</param>
    /// <param name="cancel">Looked at between trees.</param>
    /// <param name="subpaths">Only these parts of the trees; all where there are none.</param>
    /// <returns>The commits that will be whole once all files are there.</returns>
    public List<Checksum> Commits(Checksum tip, int depth, bool metadataOnly, Func<Checksum, byte[]> take, CancellationToken cancel, IReadOnlyList<string>? subpaths = null)
    {
        var walked = new List<Checksum>();
        Repository target = transaction.Repository;
        Checksum? at = tip;
        for (int left = depth; at is { } commit; left--)
        {
            var name = new ObjectName(commit, ObjectType.Commit);
            // A parent that the source has pruned ends the history; the commit that was asked for must be there.
            if (commit != tip && transaction.TryLoadMetadata(name) is null && !sourceHas(name))
            {
                ended?.Invoke(commit);
                break;
            }

            // In the repository and not marked: all of it is there. Only staged says nothing of its tree.
            bool whole = target.Has(name) && !target.IsPartial(commit);
            byte[] bytes = take(commit);
            if (!whole)
                target.MarkPartial(commit);
            Commit parsed = Parse(name, bytes, Commit.Parse);
            if (!transaction.Has(name))
                KeepCommit(name, bytes);
            if (!whole && !metadataOnly && seen.Add(name))
            {
                if (subpaths is not { Count: > 0 })
                    Below(parsed.RootTree, parsed.RootMeta, [], commit, cancel);
                foreach (string path in subpaths ?? [])
                    Below(parsed.RootTree, parsed.RootMeta, path.Split('/', StringSplitOptions.RemoveEmptyEntries), commit, cancel);
            }

            if (!whole)
                walked.Add(commit);
            at = parsed.Parent;
            if (left == 0)
                break;
        }

        return walked;
    }

    // The directories on the way, and all of what the path leads to; what is not there is not missed, as in libostree.
    private void Below(Checksum tree, Checksum meta, ReadOnlySpan<string> path, Checksum commit, CancellationToken cancel)
    {
        Load(new ObjectName(meta, ObjectType.DirMeta), commit);
        if (path.IsEmpty)
        {
            Tree(tree, commit, cancel);
            return;
        }

        var name = new ObjectName(tree, ObjectType.DirTree);
        DirTree names = Parse(name, Load(name, commit), DirTree.Parse);
        string part = path[0];
        if (path.Length == 1 && names.Files.FirstOrDefault(each => each.Name == part) is { Name: not null } file)
            WantFile(file.Content);
        if (names.Directories.FirstOrDefault(each => each.Name == part) is { Name: not null } inner)
            Below(inner.Tree, inner.Meta, path[1..], commit, cancel);
    }

    private void WantFile(Checksum content)
    {
        var wanted = new ObjectName(content, ObjectType.File);
        if (seen.Add(wanted) && !transaction.Has(wanted) && !ParentHas(wanted))
            wantFile(content);
    }

    private void Tree(Checksum root, Checksum commit, CancellationToken cancel)
    {
        var waiting = new Stack<(Checksum Tree, int Depth)>([(root, 0)]);
        while (waiting.TryPop(out (Checksum Tree, int Depth) next))
        {
            (Checksum tree, int depth) = next;
            TreeDepth.Check(depth, commit);
            cancel.ThrowIfCancellationRequested();
            var name = new ObjectName(tree, ObjectType.DirTree);
            if (!seen.Add(name))
                continue;
            DirTree names = Parse(name, Load(name, commit), DirTree.Parse);
            foreach (DirTreeFile file in names.Files)
                WantFile(file.Content);

            foreach (DirTreeDirectory inner in names.Directories)
            {
                var meta = new ObjectName(inner.Meta, ObjectType.DirMeta);
                if (seen.Add(meta))
                    Load(meta, commit);
                waiting.Push((inner.Tree, depth + 1));
            }
        }
    }

    private void KeepCommit(ObjectName name, byte[] bytes)
    {
        if (keepCommit is null)
            transaction.WriteMetadata(ObjectType.Commit, bytes);
        else
            keepCommit(name, bytes);
    }

    // Whatever is here already was verified when it came.
    private byte[] Load(ObjectName name, Checksum commit) =>
        transaction.TryLoadMetadata(name) ?? (ParentHas(name) ? transaction.Repository.Parent!.LoadMetadata(name) : fetch(name, commit));

    // As libostree: what a parent repository has is not pulled once more.
    private bool ParentHas(ObjectName name) => transaction.Repository.Parent?.Objects.HasAnywhere(name) == true;

    private T Parse<T>(ObjectName name, byte[] bytes, ObjectStore.Parser<T> parse)
    {
        try
        {
            return parse(bytes);
        }
        catch (MalformedException malformed)
        {
            throw new ObjectCorruptException(transaction.Repository.Objects.PathOf(name), name, null, malformed.Message, malformed);
        }
    }
}
