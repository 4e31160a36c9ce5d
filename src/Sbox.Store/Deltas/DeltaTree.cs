using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>All objects of a commit, with the paths at which its files are.</summary>
internal sealed class DeltaTree
{
    private readonly Repository repository;
    private readonly CancellationToken cancel;

    public DeltaTree(Repository repository, Checksum commit, CancellationToken cancel)
    {
        (this.repository, this.cancel) = (repository, cancel);
        Commit parsed = repository.LoadCommit(commit);
        Metadata.Add(new ObjectName(parsed.RootMeta, ObjectType.DirMeta));
        Walk(parsed.RootTree, "", 0);
    }

    /// <summary>Dirtrees and dirmetas.</summary>
    public HashSet<ObjectName> Metadata { get; } = [];

    /// <summary>Files and links, with one or more paths each; the first begins without a slash.</summary>
    public Dictionary<Checksum, List<string>> Files { get; } = [];

    // A directory that is there twice is walked twice: its files have two paths.
    private void Walk(Checksum tree, string path, int depth)
    {
        cancel.ThrowIfCancellationRequested();
        TreeDepth.Check(depth, tree);
        Metadata.Add(new ObjectName(tree, ObjectType.DirTree));
        DirTree names = repository.LoadDirTree(tree);
        foreach (DirTreeFile file in names.Files)
        {
            if (!Files.TryGetValue(file.Content, out List<string>? paths))
                Files.Add(file.Content, paths = new List<string>(1));
            paths.Add(path + file.Name);
        }

        foreach (DirTreeDirectory inner in names.Directories)
        {
            Metadata.Add(new ObjectName(inner.Meta, ObjectType.DirMeta));
            Walk(inner.Tree, $"{path}{inner.Name}/", depth + 1);
        }
    }
}

/// <summary>The old version of a file.</summary>
/// <param name="Checksum">The object.</param>
/// <param name="Size">Bytes of content.</param>
internal readonly record struct OldVersion(Checksum Checksum, long Size);

/// <summary>Finds the old version of a new file: at the same path, else by its name and size.</summary>
internal sealed class DeltaMatching
{
    private const double Alike = 0.3; // sizes that differ by more than this part are of other files, unless the path is the same
    private readonly Repository repository;
    private readonly Dictionary<string, List<(string Path, Checksum Content)>> byName = [], byStem = [];
    private readonly Dictionary<string, Checksum> byPath = [];
    private readonly Dictionary<Checksum, OldVersion> known = [];

    public DeltaMatching(Repository repository, DeltaTree old)
    {
        this.repository = repository;
        foreach ((Checksum content, List<string> paths) in old.Files)
        {
            foreach (string path in paths)
            {
                byPath[path] = content;
                string name = NameOf(path);
                Add(byName, name, path, content);
                if (StemOf(name) is { } stem)
                    Add(byStem, stem, path, content);
            }
        }
    }

    /// <summary>The old version; null where none is found that any user could read: who applies the delta need not be root.</summary>
    public OldVersion? Find(FileObject fresh, IReadOnlyList<string> paths)
    {
        return paths.Any(IsCompressed) ? null : FindAny(fresh, paths);
    }

    /// <summary>The old version of a file whose name says that xz or zstd compressed it, or that it is an initrd; as <see cref="Find"/> does for others.</summary>
    public OldVersion? FindCompressed(FileObject fresh, IReadOnlyList<string> paths) => paths.All(MayBeMadeAgain) ? FindAny(fresh, paths) : null;

    private static bool MayBeMadeAgain(string path) =>
        path.EndsWith(".xz", StringComparison.Ordinal) || path.EndsWith(".zst", StringComparison.Ordinal) || path.EndsWith("/initramfs.img", StringComparison.Ordinal);

    private OldVersion? FindAny(FileObject fresh, IReadOnlyList<string> paths)
    {
        if (fresh.Size == 0)
            return null;
        foreach (string path in paths)
        {
            if (byPath.TryGetValue(path, out Checksum same) && Usable(same) is { } old && old.Size * 8 > fresh.Size && old.Size / 8 < fresh.Size)
                return old;
        }

        return Best(fresh, paths, byName, static name => name) ?? Best(fresh, paths, byStem, StemOf);
    }

    private OldVersion? Best(FileObject fresh, IReadOnlyList<string> paths, Dictionary<string, List<(string Path, Checksum Content)>> old, Func<string, string?> key)
    {
        OldVersion? best = null;
        (int Common, long Difference) bestScore = default;
        foreach (string path in paths)
        {
            if (key(NameOf(path)) is not { } wanted || !old.TryGetValue(wanted, out List<(string Path, Checksum Content)>? candidates))
                continue;
            foreach ((string there, Checksum content) in candidates)
            {
                if (Usable(content) is not { } candidate || Math.Abs(candidate.Size - fresh.Size) > fresh.Size * Alike)
                    continue;
                (int Common, long Difference) score = (CommonParts(path, there), -Math.Abs(candidate.Size - fresh.Size));
                if (best is null || score.CompareTo(bestScore) > 0)
                    (best, bestScore) = (candidate, score);
            }
        }

        return best;
    }

    // Only what is needed of each: a file object may hold its content.
    private OldVersion? Usable(Checksum content)
    {
        if (!known.TryGetValue(content, out OldVersion version))
        {
            FileObject file = repository.LoadFile(content);
            bool usable = file.Mode.IsRegular && file.Size > 0 && (file.Mode.Permissions & 4) != 0;
            known.Add(content, version = new OldVersion(content, usable ? file.Size : 0));
        }

        return version.Size > 0 ? version : null;
    }

    // How much of the two paths is the same, at both ends: of several files of one name, the one that lies alike.
    private static int CommonParts(string one, string other)
    {
        int least = Math.Min(one.Length, other.Length);
        int before = one.AsSpan().CommonPrefixLength(other), after = 0;
        while (after < least - before && one[^(after + 1)] == other[^(after + 1)])
            after++;
        return before + after;
    }

    private static void Add(Dictionary<string, List<(string Path, Checksum Content)>> to, string key, string path, Checksum content)
    {
        if (!to.TryGetValue(key, out List<(string Path, Checksum Content)>? list))
            to.Add(key, list = new List<(string Path, Checksum Content)>(1));
        list.Add((path, content));
    }

    private static string NameOf(string path) => path[(path.LastIndexOf('/') + 1)..];

    // libfoo.so.1.2 and libfoo.so.1.3: what is before the first dot.
    private static string? StemOf(string name) => name.IndexOf('.', StringComparison.Ordinal) is > 0 and var dot ? name[..dot] : null;

    // Of what is compressed all changes from the first changed byte on.
    private static bool IsCompressed(string path) =>
        path.EndsWith(".xz", StringComparison.Ordinal) || path.EndsWith(".bz2", StringComparison.Ordinal) || path.EndsWith(".zst", StringComparison.Ordinal);
}
