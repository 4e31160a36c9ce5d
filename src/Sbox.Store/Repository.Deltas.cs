using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>The names of the static deltas that there are, in no order.</summary>
    public IEnumerable<DeltaName> Deltas() => DeltaStore.Enumerate(Dir);

    /// <summary>The commits of which a list says by which deltas they can be had.</summary>
    public IEnumerable<Checksum> DeltaIndexes() => DeltaStore.EnumerateIndexes(Dir);

    /// <summary>Writes those lists anew.</summary>
    /// <param name="to">Of one commit only; null for all.</param>
    /// <param name="cancel">Ends the waiting for the lock.</param>
    public void ReindexDeltas(Checksum? to = null, CancellationToken cancel = default) => DeltaStore.Reindex(this, to, cancel);

    /// <summary>Whether there is a delta.</summary>
    public bool HasDelta(DeltaName name) => Dir.Exists(name.Superblock);

    /// <summary>The bytes of a delta's superblock.</summary>
    /// <param name="nameOrPath">A delta's name, or a path with a slash in it.</param>
    /// <exception cref="DeltaException">There is none, or it is no name.</exception>
    public byte[] ReadSuperblock(string nameOrPath)
    {
        if (!nameOrPath.Contains('/', StringComparison.Ordinal))
            return DeltaDirectory.Read(Dir, DeltaName.Parse(nameOrPath).Superblock);
        using Dir dir = Dir.Open(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(nameOrPath)) ?? "/");
        return DeltaDirectory.Read(dir, System.IO.Path.GetFileName(nameOrPath));
    }

    /// <summary>The superblock of the smaller delta beside another (<see cref="DeltaOptions.Recompress"/>), and its bytes; null where there is none.</summary>
    /// <param name="superblock">That of the other.</param>
    /// <exception cref="DeltaException">It is not what the other says.</exception>
    public (DeltaSuperblock Superblock, byte[] Bytes)? ReadRecompressing(DeltaSuperblock superblock)
    {
        if (superblock.Recompressing is not { } said)
            return null;
        string path = superblock.Name.RecompressingSuperblock;
        byte[] bytes = DeltaDirectory.Read(Dir, path);
        return Checksum.Of(bytes) == said.Checksum
            ? (DeltaDirectory.Parse(bytes, Dir.Of(path)), bytes)
            : throw new DeltaException(Dir.Of(path), $"its bytes hash to {Checksum.Of(bytes)}, and the delta beside it says {said.Checksum}");
    }

    /// <summary>Deletes a delta; the list that names it is as it was until it is written anew.</summary>
    /// <returns>Whether there was one.</returns>
    public bool DeleteDelta(DeltaName name) => Dir.RemoveAll(name.Directory);

    /// <summary>Makes a static delta: all that a repository with the one commit needs for the other, in a few files.</summary>
    /// <param name="name">The commits.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Looked at between objects; nothing has a name by then.</param>
    /// <exception cref="ObjectMissingException">A commit, or what it needs, is not there.</exception>
    public DeltaReport MakeDelta(DeltaName name, DeltaOptions? options = null, IProgress<DeltaProgress>? progress = null, CancellationToken cancel = default) =>
        MakeDeltas([name], options, progress, cancel).Single();

    /// <summary>
    /// Makes several, one after the other, as <see cref="MakeDelta"/> does. What is found out for one (how files are compressed, which is most of the work of <see cref="DeltaOptions.Recompress"/>) is
    /// known to those after it, and is forgotten with the last.
    /// </summary>
    /// <param name="names">The commits of each.</param>
    /// <param name="options">How all of them are made.</param>
    /// <param name="progress">Told every now and then how far the one is that is made.</param>
    /// <param name="cancel">Looked at between objects.</param>
    /// <returns>Each that was made; it has its name when it is returned.</returns>
    /// <exception cref="ObjectMissingException">A commit, or what it needs, is not there.</exception>
    public IEnumerable<DeltaReport> MakeDeltas(IEnumerable<DeltaName> names, DeltaOptions? options = null, IProgress<DeltaProgress>? progress = null, CancellationToken cancel = default)
    {
        var packings = new ConcurrentDictionary<Checksum, Packing?>();
        foreach (DeltaName name in names)
            yield return new DeltaGenerator(this, name, options ?? new DeltaOptions(), packings, progress, cancel).Run();
    }

    /// <summary>Adds what a delta on disk makes: the commit and all that it needs. No ref is set.</summary>
    /// <param name="path">The delta's directory, or its superblock's file.</param>
    /// <param name="verify">Told what signs the delta, null where nothing does; throws where it is not believed.</param>
    /// <param name="cancel">Looked at between objects; the repository stays as it was.</param>
    /// <returns>The delta.</returns>
    /// <exception cref="DeltaException">It is none, or does not fit; nothing was added.</exception>
    /// <exception cref="ObjectCorruptException">An object in it is not what its name says; no commit was added.</exception>
    /// <exception cref="CompressedOtherwiseException">It has to be compressed here, and comes out otherwise; no commit was added.</exception>
    /// <exception cref="ObjectMissingException">It lacks an object that the commit needs, and so does the repository; the commit is marked as not whole.</exception>
    public DeltaName ApplyDelta(string path, Action<SignedDelta?>? verify = null, CancellationToken cancel = default)
    {
        using var delta = DeltaFile.Open(path, verify);
        DeltaSuperblock superblock = delta.Superblock;
        if (superblock.Fallbacks.Count > 0)
            throw new DeltaException(delta.Path, "Cannot execute delta offline: contains nonempty http fallback entries");
        using Transaction transaction = Begin(cancel);
        using var apply = new DeltaApply(transaction, superblock, System.IO.Path.GetDirectoryName(delta.Path)!);
        apply.CheckCommit();
        apply.AddParts([.. Enumerable.Range(0, superblock.Parts.Count).Where(index => !apply.HasAll(index))], delta, cancel);
        if (apply.ComeOutOtherwise.Count > 0)
            throw Otherwise(transaction, superblock, apply.ComeOutOtherwise, delta.Path);
        apply.AddCommit();
        List<Checksum> whole = RequireWhole(transaction, superblock.Name.To, cancel);
        transaction.Commit();
        ClearPartial(whole);
        return superblock.Name;
    }

    // A delta may leave out what it pleases; the commit would be there and its tree would not.
    private List<Checksum> RequireWhole(Transaction transaction, Checksum commit, CancellationToken cancel)
    {
        var walk = new PullWalk(transaction, static _ => false, Missing, file => Missing(new ObjectName(file, ObjectType.File), commit));
        return walk.Commits(commit, depth: 0, metadataOnly: false, take: at => Missing(new ObjectName(at, ObjectType.Commit), at), cancel);

        byte[] Missing(ObjectName name, Checksum of) =>
            transaction.TryLoadMetadata(name) ?? throw new ObjectMissingException(Path, name);
    }

    // By the first of them that its tree names; what is not there of that tree is an error of its own, which nobody comes to here.
    private static CompressedOtherwiseException Otherwise(Transaction transaction, DeltaSuperblock superblock, IReadOnlyCollection<ObjectName> files, string path)
    {
        HashSet<Checksum> wanted = [.. files.Select(static name => name.Checksum)], seen = [];
        (Checksum File, string At)? found = PathOf(Commit.Parse(superblock.Commit).RootTree, "", 0);
        return new CompressedOtherwiseException(path, new ObjectName(found?.File ?? files.First().Checksum, ObjectType.File), found?.At, files.Count);

        (Checksum File, string At)? PathOf(Checksum tree, string above, int depth)
        {
            TreeDepth.Check(depth, tree);
            if (!seen.Add(tree) || transaction.TryLoadMetadata(new ObjectName(tree, ObjectType.DirTree)) is not { } bytes)
                return null;
            var names = DirTree.Parse(bytes);
            foreach (DirTreeFile each in names.Files)
            {
                if (wanted.Contains(each.Content))
                    return (each.Content, $"{above}/{each.Name}");
            }

            return names.Directories.Select(inner => PathOf(inner.Tree, $"{above}/{inner.Name}", depth + 1)).FirstOrDefault(static each => each is not null);
        }
    }

    /// <summary>How often each operation is in a delta's part; the part is unpacked for that.</summary>
    /// <exception cref="DeltaException">The part is not there, or is none.</exception>
    public DeltaPartContent ReadDeltaPart(DeltaSuperblock superblock, int index)
    {
        string path = superblock.PathOf(index);
        using Stream bytes = superblock.Inline(index) is { } inline
            ? new MemoryStream(inline, writable: false)
            : DeltaDirectory.OpenPart(Dir, path);
        using Dir tmp = Dir.MakeAndOpenDir("tmp");
        using var part = DeltaPart.Open(bytes, expected: null, long.MaxValue, tmp, Dir.Of(path), mayRecompress: superblock.Parts[index].Version == DeltaSuperblock.RecompressingVersion);
        try
        {
            return new DeltaPartContent(part.ModeCount, part.XattrsCount, part.RawSize, part.Operations.Length, part.Count(superblock.Parts[index].Objects));
        }
        catch (MalformedException malformed)
        {
            throw new DeltaException(Dir.Of(path), malformed.Message, malformed);
        }
    }
}

/// <summary>What is in a delta's part.</summary>
/// <param name="Modes">Different owners and modes.</param>
/// <param name="Xattrs">Different sets of xattrs.</param>
/// <param name="RawSize">Raw bytes.</param>
/// <param name="OperationsSize">Bytes of operations.</param>
/// <param name="Operations">How often each operation is there.</param>
public sealed record DeltaPartContent(int Modes, int Xattrs, long RawSize, long OperationsSize, DeltaOperationCounts Operations);
