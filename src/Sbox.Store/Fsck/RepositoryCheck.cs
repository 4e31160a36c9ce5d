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
        var reachable = new Reachability(repository);
        int whole = 0, partial = 0, broken = 0;
        var commits = new List<Checksum>();
        foreach (ObjectName name in repository.EnumerateObjects().Where(static name => name.Type == ObjectType.Commit))
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
        List<ObjectName> objects = [.. reachable.Objects.Where(name => !unreadable.Contains(name))];
        CheckObjects(objects);
        List<Checksum> marked = Blame(commits);
        if (options.Delete)
            Delete();
        return new FsckReport(whole, partial, objects.Count, problems) { BrokenBefore = broken, MarkedPartial = marked };
    }

    private void CheckRefs()
    {
        foreach ((string refspec, Checksum target) in repository.Refs())
        {
            if (!repository.Has(new ObjectName(target, ObjectType.Commit)))
                problems.Add(new FsckProblem(FsckProblemKind.BrokenRef, refspec, null, $"{target}.commit is not there"));
            else if (options.VerifyBindings)
                CheckBinding(refspec, target);
        }
    }

    private void CheckBinding(string refspec, Checksum target)
    {
        string branch = refspec[(refspec.IndexOf(':', StringComparison.Ordinal) + 1)..];
        try
        {
            Commit commit = repository.LoadCommit(target);
            if (!commit.IsBoundTo(branch))
                problems.Add(new FsckProblem(FsckProblemKind.WrongBinding, refspec, null, $"{target} is bound to {commit.Metadata[Commit.RefBinding]}"));
        }
        catch (Exception finding) when (finding is ObjectCorruptException or IOException)
        {
            // found again, and named, with the objects
        }
    }

    private void CheckObjects(List<ObjectName> objects)
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
            if (now % 256 == 0 || now == objects.Count)
                progress?.Report(new FsckProgress(now, objects.Count));
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
            var needs = new Reachability(repository);
            needs.Add(commit, cancel);
            foreach (ObjectName name in needs.Objects.Where(broken.Contains))
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
