using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Codecs.Verity;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>How a look at an object knows its content.</summary>
public enum ContentProof
{
    /// <summary>Its bytes were read and hashed.</summary>
    Read,
    /// <summary>Nothing was read: the kernel holds the file to the fs-verity digest that it told, and refuses any other byte.</summary>
    HeldByKernel,
    /// <summary>Nothing is known of its bytes.</summary>
    Unseen,
}

/// <summary>What one look at an object found.</summary>
/// <param name="Name">The object.</param>
/// <param name="Problem">What is wrong with it; null for nothing that was seen.</param>
/// <param name="Content">How its content is known.</param>
/// <param name="Verity">The fs-verity digest of a file's content, from the kernel or from the bytes that were read; null where it is not known.</param>
/// <param name="Bytes">Bytes of content that were read.</param>
public sealed record ObjectLook(ObjectName Name, FsckProblem? Problem, ContentProof Content, Checksum? Verity = null, long Bytes = 0)
{
    /// <summary>Whether nothing is known because this process may not look, or has no means left; that is no finding about the object.</summary>
    public bool IsRefused { get; init; }
}

/// <summary>How to look at objects.</summary>
/// <param name="Read">Read every byte; else only metadata is, and of files what the kernel tells without reading.</param>
public sealed record LookOptions(bool Read)
{
    /// <summary>Read from the disk what memory holds already, except what programs have mapped.</summary>
    public bool FromDisk { get; init; }

    /// <summary>Take only what nobody else wants of processor and disk.</summary>
    public bool Idle { get; init; }

    /// <summary>Also make the fs-verity digest of files that the kernel does not hold to one.</summary>
    public bool WithVerity { get; init; }
}

/// <summary>Objects that commits need, and what could not even be listed.</summary>
/// <param name="Objects">All of them, what is missing included.</param>
/// <param name="Problems">Commits and directories that could not be loaded, so that what is below them is not known.</param>
public sealed record ReachableObjects(IReadOnlyCollection<ObjectName> Objects, IReadOnlyList<FsckProblem> Problems);

public sealed partial class Repository
{
    /// <summary>All objects that these commits need, themselves among them; not their parents. What is broken is reported, not thrown.</summary>
    public ReachableObjects Reach(IEnumerable<Checksum> commits, CancellationToken cancel = default)
    {
        var objects = new ObjectSet();
        var reachable = new Reachability(this, objects);
        foreach (Checksum commit in commits)
            reachable.Add(commit, cancel);
        return new ReachableObjects(objects, [.. reachable.Unreadable.Select(each => ObjectCheck.ProblemOf(this, each.Name, each.Finding, each.Commit))]);
    }

    /// <summary>Looks at objects one after the other, on all processors.</summary>
    /// <param name="objects">Which, in the order in which they are begun.</param>
    /// <param name="options">How.</param>
    /// <param name="done">Told of each by its index, from several threads at once.</param>
    /// <param name="cancel">Looked at between objects.</param>
    public void Look(IReadOnlyList<ObjectName> objects, LookOptions options, Action<int, ObjectLook> done, CancellationToken cancel = default)
    {
        using var looker = new ObjectLooker(this, options);
        using var work = new ParallelWork<int>(at => done(at, looker.Look(objects[at])), static _ => { }, cancel, idle: options.Idle);
        for (int at = 0; at < objects.Count; at++)
            work.Add(at);
        work.Finish();
    }
}

/// <summary>Looks at objects; several threads at once may.</summary>
internal sealed class ObjectLooker(Repository repository, LookOptions options) : IDisposable
{
    private readonly ConcurrentBag<FileHasher> hashers = [];
    private readonly ObjectCheck check = new(repository);

    public ObjectLook Look(ObjectName name)
    {
        try
        {
            if (name.Type == ObjectType.File && repository.Mode == RepositoryMode.Bare)
                return OfFile(name);
            if (name.Type == ObjectType.File && !options.Read)
                return new ObjectLook(name, null, ContentProof.Unseen);
            check.Verify(name);
            return new ObjectLook(name, null, ContentProof.Read, null, repository.Objects.Dir.Stat(name.LoosePath(repository.Mode)).Size);
        }
        catch (ObjectMissingException)
        {
            return Wrong(name, FsckProblemKind.Missing, "it is needed and not there");
        }
        catch (ObjectCorruptException corrupt)
        {
            return Wrong(name, FsckProblemKind.Corrupt, corrupt.Message, corrupt.Found);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            bool mine = refused is UnauthorizedAccessException or LinuxException { Errno: Errno.EACCES or Errno.EPERM or Errno.EMFILE or Errno.ENOMEM };
            return Wrong(name, ObjectCheck.KindOf(refused), refused.Message) with { IsRefused = mine };
        }
    }

    public void Dispose()
    {
        check.Dispose();
        foreach (FileHasher hasher in hashers)
            hasher.Dispose();
    }

    private static ObjectLook Wrong(ObjectName name, FsckProblemKind kind, string detail, Checksum? found = null) =>
        new(name, new FsckProblem(kind, name.ToString(), name, detail) { Found = found }, ContentProof.Unseen);

    private ObjectLook OfFile(ObjectName name)
    {
        Dir objects = repository.Objects.Dir;
        string path = name.LoosePath(RepositoryMode.Bare), onDisk = objects.Of(path);
        using SafeFileHandle? file = objects.TryOpenFile(path, out Errno errno);
        if (errno == Errno.ENOENT)
            throw new ObjectMissingException(repository.Path, name);
        if (file is null && errno != Errno.ELOOP)
            throw new LinuxException(errno, "openat", onDisk);
        FileObject loaded = Load(name, file, path);
        if (file is null || loaded.Size == 0)
            return Compared(name, hasher => hasher.Hash(loaded.Header, Stream.Null).Checksum, null, 0); // all of it is in the header
        Checksum? held = Verity.Measure(file, onDisk) is { } measured ? Checksum.FromBytes(measured) : null;
        if (!options.Read)
            return new ObjectLook(name, null, held is null ? ContentProof.Unseen : ContentProof.HeldByKernel, held);
        if (options.FromDisk)
            Linux.Files.ForgetCached(file, onDisk);
        VerityHasher? verity = held is null && options.WithVerity ? new VerityHasher() : null;
        ObjectLook look = Compared(name, hasher => hasher.Hash(loaded.Header, file, loaded.Size, onDisk, verity), held, loaded.Size);
        return verity is null ? look : look with { Verity = verity.Finish() };
    }

    private FileObject Load(ObjectName name, SafeFileHandle? file, string path)
    {
        try
        {
            return BareFile.Load(repository.Objects.Dir, name.Checksum, file, path);
        }
        catch (MalformedException malformed)
        {
            throw new ObjectCorruptException(repository.Objects.PathOf(name), name, null, malformed.Message, malformed);
        }
    }

    private ObjectLook Compared(ObjectName name, Func<FileHasher, Checksum> hash, Checksum? verity, long bytes)
    {
        if (!hashers.TryTake(out FileHasher? hasher))
            hasher = new FileHasher();
        try
        {
            Checksum found = hash(hasher);
            return found == name.Checksum
                ? new ObjectLook(name, null, ContentProof.Read, verity, bytes)
                : throw new ObjectCorruptException(repository.Objects.PathOf(name), name, found);
        }
        finally
        {
            hashers.Add(hasher);
        }
    }
}
