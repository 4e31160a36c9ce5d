using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Checks refs, commits, and every object that they lead to.</summary>
internal sealed class RepositoryCheck(Repository repository, FsckOptions options, IProgress<FsckProgress>? progress, CancellationToken cancel)
{
    private readonly List<FsckProblem> problems = [];

    public FsckReport Run()
    {
        CheckRefs();
        using var names = new ReachableNames(repository);
        var reachable = new Reachability(repository, names);
        int whole = 0, partial = 0, broken = 0;
        var commits = new List<Checksum>();
        foreach (ObjectName name in repository.Objects.EnumerateCommits())
        {
            if (repository.IsPartial(name.Checksum))
            {
                partial++;
                broken += repository.IsPartialByFsck(name.Checksum) ? 1 : 0;
                continue;
            }

            whole++;
            commits.Add(name.Checksum);
            reachable.Add(name.Checksum, cancel);
        }

        foreach ((ObjectName name, Checksum commit, Exception finding) in reachable.Unreadable)
            Note(name, finding, commit);
        foreach (Checksum commit in reachable.TooDeep)
            problems.Add(new FsckProblem(FsckProblemKind.TooDeep, $"{commit}.commit", null, $"its directories are nested more than {TreeDepth.Maximum} deep"));
        HashSet<ObjectName> unreadable = [.. reachable.Unreadable.Select(static item => item.Name)];
        long toCheck = names.Count() - unreadable.Count(static name => name.Type != ObjectType.Commit); // a commit that cannot be read is not among them
        CheckObjects(names.Names().Where(name => !unreadable.Contains(name)), toCheck);
        List<Checksum> marked = Blame(commits);
        if (options.Delete)
            Delete();
        return new FsckReport(whole, partial, toCheck, problems) { BrokenBefore = broken, MarkedPartial = marked, Tombstones = options.AddTombstones ? AddTombstones(commits) : [] };
    }

    private void CheckRefs()
    {
        foreach ((string refspec, Checksum target) in repository.Refs())
            CheckRef(refspec, refspec[(refspec.IndexOf(':', StringComparison.Ordinal) + 1)..], collection: null, target);
        foreach ((CollectionRef name, Checksum target) in repository.CollectionRefs(withRemotes: false))
            CheckRef(name.ToString(), name.Name, name.Collection, target);
        if (options.VerifyBackRefs)
            CheckBackRefs();
    }

    private void CheckRef(string shown, string name, string? collection, Checksum target)
    {
        if (!repository.Has(new ObjectName(target, ObjectType.Commit)))
            problems.Add(new FsckProblem(FsckProblemKind.BrokenRef, shown, null, $"{target}.commit is not there"));
        else if ((options.VerifyBindings || options.VerifyBackRefs) && LoadOrNull(target) is { } commit)
            CheckBinding(shown, name, collection, target, commit);
    }

    private void CheckBinding(string shown, string name, string? collection, Checksum target, Commit commit)
    {
        if (!commit.IsBoundTo(name))
        {
            string bound = string.Join(", ", commit.Metadata[Commit.RefBinding]!.Items.Select(static item => $"‘{item.Text}’"));
            problems.Add(new FsckProblem(FsckProblemKind.WrongBinding, shown, null, $"{target}: Commit has no requested ref ‘{name}’ in ref binding metadata ({bound})"));
        }
        else if (collection is not null && commit.Metadata.GetString(CollectionRef.Binding) is { } other && other != collection)
        {
            problems.Add(new FsckProblem(
                FsckProblemKind.WrongBinding, shown, null,
                $"{target}: Commit has collection ID ‘{other}’ in collection binding metadata, while the remote it came from has collection ID ‘{collection}’"));
        }
    }

    private void CheckBackRefs()
    {
        IReadOnlyDictionary<string, Checksum> refs = repository.Refs();
        IReadOnlyDictionary<CollectionRef, Checksum> collections = repository.CollectionRefs();
        foreach (ObjectName name in repository.Objects.EnumerateCommits())
        {
            if (LoadOrNull(name.Checksum) is not { } commit || commit.Metadata[Commit.RefBinding] is not { Type.Signature: "as" } bound)
                continue;
            string? collection = commit.Metadata.GetString(CollectionRef.Binding);
            foreach (string branch in bound.Items.Select(static item => item.Text))
            {
                var full = new CollectionRef(collection ?? "", branch);
                bool there = collection is null ? refs.Keys.Any(each => each == branch || each.EndsWith(":" + branch, StringComparison.Ordinal)) : collections.ContainsKey(full);
                if (!there)
                {
                    problems.Add(new FsckProblem(
                        FsckProblemKind.MissingRef, branch, null,
                        collection is null ? $"Ref ‘{branch}’ in bindings for commit {name.Checksum} does not exist" : $"Collection–ref {full} in bindings for commit {name.Checksum} does not exist"));
                }
            }
        }
    }

    // Null where it cannot be read: found again, and named, with the objects.
    private Commit? LoadOrNull(Checksum commit)
    {
        try
        {
            return repository.LoadCommit(commit);
        }
        catch (Exception finding) when (finding is RepositoryException or IOException)
        {
            return null;
        }
    }

    private List<Checksum> AddTombstones(List<Checksum> commits)
    {
        List<Checksum> gone = [.. commits.Select(LoadOrNull).Where(static commit => commit?.Parent is not null).Select(static commit => commit!.Parent!.Value)
            .Where(parent => !repository.Has(new ObjectName(parent, ObjectType.Commit))).Distinct()];
        if (!repository.Config.GetBoolean("core", Repository.TombstonesKey))
            repository.WriteConfig(repository.Config.With("core", Repository.TombstonesKey, "true"));
        gone.ForEach(repository.WriteTombstone);
        return gone;
    }

    private void CheckObjects(IEnumerable<ObjectName> objects, long count)
    {
        using var check = new ObjectCheck(repository);
        var found = new ConcurrentBag<FsckProblem>();
        long done = 0;
        using (var work = new ParallelWork<ObjectName>(CheckOne, static _ => { }, cancel))
        {
            foreach (ObjectName name in objects)
                work.Add(name);
            work.Finish();
        }

        problems.AddRange(found.OrderBy(static problem => problem.Subject, StringComparer.Ordinal));

        void CheckOne(ObjectName name)
        {
            if (check.Find(name) is { } problem)
                found.Add(problem);
            long now = Interlocked.Increment(ref done);
            if (now % 256 == 0 || now == count)
                progress?.Report(new FsckProgress(now, count));
        }
    }

    private void Note(ObjectName name, Exception finding, Checksum commit) => problems.Add(ObjectCheck.ProblemOf(repository, name, finding, commit));

    // Says of each problem which commits it breaks, and marks those as partial whose objects are not there, or will not be.
    private List<Checksum> Blame(List<Checksum> commits)
    {
        HashSet<ObjectName> broken = [.. problems.Where(static problem => problem.Object is not null).Select(static problem => problem.Object!.Value)];
        var marked = new List<Checksum>();
        if (broken.Count == 0)
            return marked;
        var blamed = new Dictionary<ObjectName, List<Checksum>>();
        foreach (Checksum commit in commits)
        {
            var met = new MetNames(broken);
            new Reachability(repository, met).Add(commit, cancel);
            foreach (ObjectName name in met.Met)
                (blamed.TryGetValue(name, out List<Checksum>? already) ? already : blamed[name] = []).Add(commit);
        }

        for (int i = 0; i < problems.Count; i++)
        {
            if (problems[i].Object is { } name && blamed.TryGetValue(name, out List<Checksum>? needing))
                problems[i] = problems[i] with { Commits = needing };
        }

        bool Goes(FsckProblem problem) => problem.Kind == FsckProblemKind.Missing || (options.Delete && problem.Kind == FsckProblemKind.Corrupt);
        foreach (Checksum commit in problems.Where(Goes).SelectMany(static problem => problem.Commits).Distinct())
        {
            repository.MarkPartial(commit, byFsck: true);
            marked.Add(commit);
        }

        return marked;
    }

    private void Delete()
    {
        foreach (FsckProblem problem in problems.Where(static problem => problem is { Kind: FsckProblemKind.Corrupt, Object: not null }))
            repository.Objects.Dir.TryUnlink(problem.Object!.Value.LoosePath(repository.Mode));
    }
}
