using System.Diagnostics;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Verity;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Integrity;

/// <summary>
/// Checks what a box's deployments are made of on the disk: every object that they need, and the composefs image that each is mounted by.
/// Takes no lock and changes nothing but its own state file, so it may run while the box does, and be cut short.
/// </summary>
/// <param name="sysroot">The box; must stay open.</param>
/// <param name="options">How.</param>
/// <param name="progress">Told every now and then, from several threads.</param>
public sealed class BoxCheck(OstreeSysroot sysroot, VerifyOptions options, IProgress<VerifyProgress>? progress = null)
{
    private readonly Repository repository = sysroot.Repository;
    private readonly Stopwatch clock = Stopwatch.StartNew();

    /// <summary>Runs the check.</summary>
    /// <param name="cancel">Looked at between objects; how far it came is kept.</param>
    public VerifyReport Run(CancellationToken cancel = default)
    {
        IReadOnlyList<Deployment> deployments = sysroot.Deployments;
        Checksum[] commits = [.. deployments.Select(static each => each.Name.Commit).Distinct()];
        ReachableObjects reachable = repository.Reach(commits, cancel);
        HashSet<ObjectName> unlisted = [.. reachable.Problems.Select(static problem => problem.Object!.Value)];
        (ObjectName[] objects, long[] sizes) = InDiskOrder(reachable.Objects.Where(name => !unlisted.Contains(name)));
        var expected = commits.ToDictionary(static commit => commit, Expected);
        var look = new LookOptions(options.Deep) { FromDisk = options.Deep, Idle = options.Idle, WithVerity = expected.Values.Any(static each => each.Count == 0) };
        var run = new ObjectRun(repository, objects, sizes, look, options, progress);
        run.Execute(cancel);

        List<ObjectLook> faulty = [.. run.Faults.Concat(reachable.Problems.Select(static problem => new ObjectLook(problem.Object!.Value, problem, ContentProof.Unseen)))];
        // An upgrade may have cleaned up since: what no deployment needs any more is not missing.
        sysroot.Reload();
        if (deployments.Where(IsStillThere).ToList() is var left && left.Count < deployments.Count)
        {
            HashSet<ObjectName> needed = [.. repository.Reach(left.Select(static each => each.Name.Commit).Distinct(), cancel).Objects];
            faulty.RemoveAll(fault => !needed.Contains(fault.Name));
            deployments = left;
        }

        List<ImageLook> images = [.. deployments.Select(deployment => Image(deployment, expected[deployment.Name.Commit], run, cancel))];
        Dictionary<Checksum, List<string>> paths = TreePaths.Of(repository, deployments, faulty.Select(static each => each.Name.Checksum).ToHashSet(), cancel);
        return new VerifyReport(options.Deep, images, [.. faulty.Select(each => new ObjectFault(
            each.Problem!, each.IsRefused ? Verdict.Unchecked : Verdict.Wrong, paths.GetValueOrDefault(each.Name.Checksum) ?? []))])
        {
            Objects = reachable.Objects.Count, Read = run.Read, Held = run.Held, Unseen = run.Unseen, Bytes = run.Bytes,
            ResumedFrom = run.ResumedFrom, Took = clock.Elapsed, Unchecked = [.. Unchecked(run)],
        };
    }

    private bool IsStillThere(Deployment deployment) => sysroot.Deployments.Any(each => each.Name == deployment.Name);

    private IEnumerable<string> Unchecked(ObjectRun run)
    {
        if (sysroot.Deployments.Count == 0)
            yield return $"{sysroot.Path}: nothing is deployed";
        if (run.Unseen > 0)
            yield return $"the content of {run.Unseen} files was not looked at: the kernel holds them to no digest (no fs-verity)";
    }

    // Files in the order of their inodes, which is about that of their places on the disk; what is small and needed first, first.
    private (ObjectName[] Objects, long[] Sizes) InDiskOrder(IEnumerable<ObjectName> objects)
    {
        using Dir dir = repository.Dir.OpenDir("objects");
        (ObjectName Name, FileStat? Stat)[] found = [.. objects.Select(name => (name, dir.TryStat(name.LoosePath(repository.Mode))))
            .OrderByDescending(static each => each.Item1.Type).ThenBy(static each => each.Item2?.Inode ?? 0).ThenBy(static each => each.Item1.Checksum)];
        return ([.. found.Select(static each => each.Name)], [.. found.Select(static each => each.Stat is { IsRegular: true } stat ? stat.Size : 0)]);
    }

    private List<(string By, Checksum Digest)> Expected(Checksum commit)
    {
        var expected = new List<(string, Checksum)>();
        try
        {
            if (repository.LoadCommit(commit).ComposefsDigest is { } named)
                expected.Add(("the commit", named));
            if (CommitSeal.Of(repository.LoadDetachedMetadata(commit)) is { } seal)
                expected.Add(("the seal", seal.Composefs));
        }
        catch (Exception broken) when (broken is RepositoryException or MalformedException or IOException)
        {
            return expected; // the object itself is among the faults
        }

        return expected;
    }

    private ImageLook Image(Deployment deployment, IReadOnlyList<(string, Checksum)> expected, ObjectRun run, CancellationToken cancel)
    {
        ImageEvidence evidence = Read(deployment.Name, expected);
        if (sysroot.IsBooted(deployment) && sysroot.BootArguments.Get("composefs") is { } text && Checksum.TryParse(text, out Checksum running))
            evidence = evidence with { Expected = [.. evidence.Expected, ("the kernel's command line", running)] };
        evidence = evidence with { Made = Made(deployment.Name.Commit, run, cancel) };
        (Verdict verdict, string says) = ImageJudge.Judge(evidence);
        return new ImageLook(deployment.Name, verdict, says, evidence.Found);
    }

    private ImageEvidence Read(DeploymentName name, IReadOnlyList<(string, Checksum)> expected)
    {
        try
        {
            using Dir? tree = sysroot.Root.TryOpenDir(name.Directory);
            using SafeFileHandle? image = tree?.TryOpenFile(PhysicalRoot.ImageName);
            if (image is null)
                return new ImageEvidence(null, null, expected);
            string path = tree!.Of(PhysicalRoot.ImageName);
            return Measured(image, path, expected);
        }
        catch (IOException failing)
        {
            return new ImageEvidence(null, null, expected) { Unreadable = failing.Message };
        }
    }

    private ImageEvidence Measured(SafeFileHandle image, string path, IReadOnlyList<(string, Checksum)> expected)
    {
        Checksum? held = Verity.Measure(image, path) is { } measured ? Checksum.FromBytes(measured) : null;
        if (held is not null && !options.Deep)
            return new ImageEvidence(held, null, expected) { Held = held };
        if (options.Deep)
            Files.ForgetCached(image, path);
        var hasher = new VerityHasher();
        var buffer = new byte[256 * 1024];
        long at = 0;
        for (int read; (read = Files.ReadAt(image, buffer, at, path)) > 0; at += read)
            hasher.Append(buffer.AsSpan(0, read));
        return new ImageEvidence(hasher.Finish(), null, expected) { Held = held };
    }

    /// <summary>What is known of the image that runs: its digest, and the one that its commit's files give where the kernel knows all of theirs.</summary>
    internal ImageEvidence RunningImage(SafeFileHandle image, string path, Checksum commit, IReadOnlyList<(string, Checksum)> expected, CancellationToken cancel)
    {
        ObjectName[] objects = [.. repository.Reach([commit], cancel).Objects.Where(static name => name.Type == ObjectType.File)];
        var run = new ObjectRun(repository, objects, new long[objects.Length], new LookOptions(Read: false), new VerifyOptions(), null);
        run.Execute(cancel);
        return Measured(image, path, expected) with { Made = Made(commit, run, cancel) };
    }

    // Only of digests that are known: reading all files for it is what a deep check does anyway.
    private Checksum? Made(Checksum commit, ObjectRun run, CancellationToken cancel)
    {
        try
        {
            return repository.ComposefsDigest(commit, file => run.DigestOf(file) ?? throw new DigestUnknownException(), cancel);
        }
        catch (Exception unknown) when (unknown is DigestUnknownException or RepositoryException or IOException or MalformedException)
        {
            return null; // a broken object is among the faults
        }
    }

    private sealed class DigestUnknownException : Exception;
}
