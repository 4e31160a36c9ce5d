using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Whether one object's bytes are what its name says.</summary>
internal sealed class ObjectCheck(Repository repository) : IDisposable
{
    private readonly ConcurrentBag<FileHasher> hashers = [];

    /// <summary>Null when it is whole; else the finding.</summary>
    public FsckProblem? Find(ObjectName name)
    {
        try
        {
            Verify(name);
            return null;
        }
        catch (ObjectMissingException)
        {
            return new FsckProblem(FsckProblemKind.Missing, name.ToString(), name, "it is needed and not there");
        }
        catch (ObjectCorruptException corrupt)
        {
            return new FsckProblem(FsckProblemKind.Corrupt, name.ToString(), name, corrupt.Message) { Found = corrupt.Found };
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return new FsckProblem(KindOf(refused), name.ToString(), name, refused.Message);
        }
    }

    /// <summary>
    /// What a finding of the kernel says of an object. A name that leads to a link or a directory is no object; anything else tells of this
    /// process, a disk or a cable, and nothing of the bytes: <c>--delete</c> must never take it for corrupt.
    /// </summary>
    public static FsckProblemKind KindOf(Exception refused) => refused is LinuxException { Errno: Errno.ELOOP or Errno.EISDIR or Errno.ENXIO }
        ? FsckProblemKind.Corrupt
        : FsckProblemKind.Unreadable;

    /// <summary>What a finding says of an object that a commit needs, and that could not be loaded.</summary>
    public static FsckProblem ProblemOf(Repository repository, ObjectName name, Exception finding, Checksum commit) => finding switch
    {
        ObjectMissingException => new FsckProblem(FsckProblemKind.Missing, name.ToString(), name, $"commit {commit} needs it and it is not there"),
        // Rightly named, and yet no such object: someone made it so.
        ObjectCorruptException { InnerException: MalformedException malformed } when HashOf(repository, name) == name.Checksum =>
            new FsckProblem(FsckProblemKind.Corrupt, name.ToString(), name, malformed.Found),
        ObjectCorruptException => new FsckProblem(FsckProblemKind.Corrupt, name.ToString(), name, finding.Message) { Found = HashOf(repository, name) },
        RepositoryException => new FsckProblem(FsckProblemKind.Corrupt, name.ToString(), name, finding.Message),
        _ => new FsckProblem(KindOf(finding), name.ToString(), name, finding.Message),
    };

    // Null where even its bytes cannot be had.
    private static Checksum? HashOf(Repository repository, ObjectName name)
    {
        try
        {
            return Checksum.Of(repository.LoadMetadata(name));
        }
        catch (Exception unread) when (unread is RepositoryException or IOException)
        {
            return null;
        }
    }

    /// <summary>Reads and hashes an object.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    /// <exception cref="ObjectCorruptException">Its bytes are something else.</exception>
    public void Verify(ObjectName name)
    {
        switch (name.Type)
        {
            case ObjectType.File:
                VerifyFile(name);
                break;
            case ObjectType.CommitMeta:
                repository.Objects.Load(name, VariantDictionary.Parse);
                break;
            default:
                repository.Objects.Load(name, bytes => Parsed(name, bytes));
                break;
        }
    }

    /// <summary>Reads and hashes a file object by a second name that it has elsewhere.</summary>
    /// <exception cref="ObjectCorruptException">Its bytes are something else; named as it is in the repository.</exception>
    public void VerifyFile(ObjectName name, Dir dir, string path) => VerifyFile(name, hasher => HashStream(name, hasher, repository.Objects.LoadFile(name, dir, path)));

    public void Dispose()
    {
        foreach (FileHasher hasher in hashers)
            hasher.Dispose();
    }

    private bool Parsed(ObjectName name, ReadOnlySpan<byte> bytes)
    {
        Checksum found = Checksum.Of(bytes);
        if (found != name.Checksum)
            throw new ObjectCorruptException(repository.Objects.PathOf(name), name, found);
        _ = name.Type switch
        {
            ObjectType.Commit => (object)Commit.Parse(bytes),
            ObjectType.DirTree => DirTree.Parse(bytes),
            ObjectType.DirMeta => DirMeta.Parse(bytes),
            _ => bytes.Length,
        };
        return true;
    }

    private void VerifyFile(ObjectName name) => VerifyFile(name, hasher => repository.Mode == RepositoryMode.Bare && (repository.Parent is null || repository.Objects.Has(name))
        ? repository.Objects.HashBare(name, hasher)
        : HashStream(name, hasher, repository.LoadFile(name.Checksum)));

    private void VerifyFile(ObjectName name, Func<FileHasher, Checksum> hash)
    {
        if (!hashers.TryTake(out FileHasher? hasher))
            hasher = new FileHasher();
        try
        {
            Checksum found = hash(hasher);
            if (found != name.Checksum)
                throw new ObjectCorruptException(repository.Objects.PathOf(name), name, found);
        }
        catch (InvalidDataException broken)
        {
            throw new ObjectCorruptException(repository.Objects.PathOf(name), name, null, broken.Message, broken);
        }
        finally
        {
            hashers.Add(hasher);
        }
    }

    private Checksum HashStream(ObjectName name, FileHasher hasher, FileObject file)
    {
        using Stream content = file.OpenContent();
        (Checksum found, long size) = hasher.Hash(file.Header, content);
        return size == file.Size
            ? found
            : throw new ObjectCorruptException(repository.Objects.PathOf(name), name, null, $"its header says {file.Size} bytes, its content has {size}");
    }
}
