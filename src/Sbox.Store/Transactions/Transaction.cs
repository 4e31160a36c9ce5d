using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Objects and refs that appear together: staged below <c>tmp/</c>, synced, then renamed into place, refs last. Disposing without
/// <see cref="Commit"/> forgets refs; staged objects stay for the next transaction of this boot, as libostree's do, unless a sync of them failed.
/// Objects may be added from several threads at once.
/// </summary>
public sealed class Transaction : IDisposable
{
    private const int MostKnown = 200_000;
    private readonly FileLock? held;
    private readonly Dictionary<string, Checksum?> refs = [];
    private readonly Dictionary<CollectionRef, Checksum?> collectionRefs = [];
    private readonly SeenNames known = new();
    private readonly Lock knowing = new();
    private readonly ConcurrentBag<ContentWriter> writers = [];
    private readonly ConcurrentBag<Checksum> revived = [];
    private readonly EarlySync? writeOut;
    private readonly byte[] published = new byte[256]; // 1: objects/XX is there, 2: it is not
    private readonly long begunWith;
    private long writable;
    private long cacheHits, metadataWritten, contentWritten, contentBytes, metadataTotal, contentTotal;
    private bool ended;
    private int knownCount;

    internal Transaction(Repository repository, CancellationToken cancel, bool resumes = true)
    {
        Repository = repository;
        held = RepositoryLock.Take(repository.Dir, repository.Settings, LockKind.Shared, cancel);
        try
        {
            begunWith = writable = repository.Settings.Writable(DiskSpace.Of(repository.Dir));
            Staging = Staging.Take(repository.Dir, resumes);
            writeOut = repository.Settings.Fsync ? new EarlySync(() => Durable.SyncFileSystem(Staging.Dir), Staging.Distrust) : null;
        }
        catch
        {
            held?.Dispose();
            throw;
        }
    }

    internal Repository Repository { get; }

    internal Staging Staging { get; }

    /// <summary>Objects added so far that were not there before.</summary>
    public TransactionStats Stats => new(
        Interlocked.Read(ref metadataWritten), Interlocked.Read(ref contentWritten), Interlocked.Read(ref contentBytes),
        Interlocked.Read(ref metadataTotal), Interlocked.Read(ref contentTotal)) { CacheHits = Interlocked.Read(ref cacheHits) };

    /// <summary>Whether an object is in the repository or added by this transaction.</summary>
    public bool Has(ObjectName name)
    {
        lock (knowing)
        {
            if (known.Contains(name))
                return true;
        }

        string path = name.LoosePath(Repository.Mode);
        bool found = IsPublished(path) || Staging.Has(path) || (Volatile.Read(ref knownCount) >= MostKnown && Staging.Dir.Exists(path));
        if (found)
            Note(name);
        return found;
    }

    /// <summary>Adds an object that is no file.</summary>
    /// <returns>Its name.</returns>
    public Checksum WriteMetadata(ObjectType type, ReadOnlySpan<byte> bytes)
    {
        if (type is ObjectType.File or ObjectType.CommitMeta)
            throw new ArgumentOutOfRangeException(nameof(type), type, "not named by the checksum of these bytes");
        var name = new ObjectName(Checksum.Of(bytes), type);
        Interlocked.Increment(ref metadataTotal);
        if (!Has(name))
            Stage(name, bytes);
        return name.Checksum;
    }

    /// <summary>The bytes of an object that is no file, from the repository or as staged; null where it is in neither.</summary>
    internal byte[]? TryLoadMetadata(ObjectName name)
    {
        string path = name.LoosePath(Repository.Mode);
        return Staging.Dir.TryReadAll(path) ?? Repository.Objects.Dir.TryReadAll(path);
    }

    /// <summary>What lies beside a commit, as staged or as it is in the repository; null where nothing does, or nothing that can be read.</summary>
    internal VariantDictionary? TryLoadDetached(Checksum commit) =>
        TryLoadMetadata(new ObjectName(commit, ObjectType.CommitMeta)) is { } bytes ? RemoteTrust.ParseOrEmpty(bytes) : null;

    /// <summary>A dirtree, from the repository or as staged.</summary>
    /// <exception cref="ObjectMissingException">It is in neither.</exception>
    internal DirTree LoadDirTree(Checksum tree)
    {
        var name = new ObjectName(tree, ObjectType.DirTree);
        return DirTree.Parse(TryLoadMetadata(name) ?? Repository.LoadMetadata(name));
    }

    /// <summary>Bytes that an object takes up, in the repository or as staged.</summary>
    internal long StoredSize(ObjectName name)
    {
        string path = name.LoosePath(Repository.Mode);
        return (Staging.Dir.TryStat(path) ?? Repository.Objects.Dir.Stat(path)).Size;
    }

    /// <summary>A file of mode archive, from the repository or as staged.</summary>
    internal FileObject LoadArchived(Checksum checksum)
    {
        string path = new ObjectName(checksum, ObjectType.File).LoosePath(Repository.Mode);
        Dir holder = Staging.Dir.TryStat(path) is not null ? Staging.Dir : Repository.Objects.Dir;
        using SafeFileHandle file = holder.OpenFile(path);
        return ArchiveFile.Load(holder, checksum, file, path);
    }

    /// <summary>Adds what lies beside a commit, in place of what did.</summary>
    public void WriteDetachedMetadata(Checksum commit, VariantDictionary metadata)
    {
        var name = new ObjectName(commit, ObjectType.CommitMeta);
        Staging.Dir.TryUnlink(name.LoosePath(Repository.Mode));
        Stage(name, metadata.ToBytes());
    }

    /// <summary>Adds a file or symbolic link.</summary>
    /// <param name="header">All beside its content.</param>
    /// <param name="content">Its content from here to its end; ignored for a symbolic link.</param>
    /// <returns>Its name.</returns>
    /// <exception cref="NotEnoughSpaceException">It would use up the reserved space.</exception>
    public Checksum WriteFile(FileHeader header, Stream content) => UseWriter(writer => writer.Write(header, content, expected: null));

    /// <summary>Points a ref at a commit (null deletes it) when the transaction is committed.</summary>
    /// <exception cref="InvalidRefException">The name holds what libostree refuses.</exception>
    public void SetRef(string refspec, Checksum? target)
    {
        RefStore.Split(refspec);
        refs[refspec] = target;
    }

    /// <summary>As <see cref="SetRef"/>, of a ref with its collection.</summary>
    /// <exception cref="InvalidRefException">The name holds what libostree refuses, or a remote's name.</exception>
    public void SetCollectionRef(CollectionRef name, Checksum? target)
    {
        RefStore.RequireName(name.Name);
        collectionRefs[name] = target;
    }

    /// <summary>Makes all of it durable and visible.</summary>
    /// <exception cref="LinuxException">Some of it may not be on the disk; no ref was changed.</exception>
    public TransactionStats Commit()
    {
        ObjectDisposedException.ThrowIf(ended, this);
        // libostree's own hook for tests: what a commit leaves that ends here is what a killed one leaves.
        if (Environment.GetEnvironmentVariable("OSTREE_REPO_TEST_ERROR")?.Contains("pre-commit", StringComparison.Ordinal) == true)
            throw new InterruptedException("OSTREE_REPO_TEST_ERROR_PRE_COMMIT specified");
        if (Repository.Settings.FsVerity != Wish.No && Repository.Mode != RepositoryMode.Archive)
            Publication.EnableVerity(Staging.Dir, Repository.Settings.FsVerity == Wish.Required);
        Sync();
        Publication.Publish(Staging.Dir, Repository.Objects.Dir, Repository.Settings.Fsync);
        // A commit that is here again is no longer gone.
        foreach (Checksum commit in revived)
            Repository.Objects.Dir.TryUnlink(new ObjectName(commit, ObjectType.TombstoneCommit).LoosePath(Repository.Mode));
        Staging.Remove();
        Staging.Clear(Repository.Dir, Repository.Settings.TmpExpiry, TimeProvider.System.GetUtcNow());
        Repository.SetRefs(refs, collectionRefs);
        End();
        return Stats;
    }

    /// <inheritdoc/>
    public void Dispose() => End();

    /// <summary>Whether files can be added at all.</summary>
    /// <exception cref="CannotCommitException">They cannot: as libostree, whose mode <c>bare-split-xattrs</c> is for reading.</exception>
    internal void RequireContent()
    {
        if (Repository.Mode == RepositoryMode.BareSplitXattrs)
            throw new CannotCommitException(Repository.Path, "Writing content object: Not allowed due to repo mode");
    }

    internal T UseWriter<T>(Func<ContentWriter, T> use)
    {
        RequireContent();
        Interlocked.Increment(ref contentTotal);
        if (!writers.TryTake(out ContentWriter? writer))
            writer = new ContentWriter(this);
        T result;
        try
        {
            result = use(writer);
        }
        catch
        {
            writer.Dispose(); // half of a file is in its hash
            throw;
        }

        writers.Add(writer);
        return result;
    }

    /// <summary>Bytes that may be written yet.</summary>
    internal long Writable => Math.Max(0, Interlocked.Read(ref writable));

    /// <summary>Bytes that could be written if nothing else were under way: those of the beginning, less what was added.</summary>
    internal long Room => Math.Max(0, begunWith - Interlocked.Read(ref contentBytes));

    /// <summary>Counts bytes of content against the reserve, before they are written.</summary>
    /// <exception cref="NotEnoughSpaceException">There is no room for them; nothing was counted.</exception>
    internal void Reserve(long bytes)
    {
        long left = Interlocked.Add(ref writable, -bytes);
        if (left >= 0)
            return;
        Interlocked.Add(ref writable, bytes);
        throw new NotEnoughSpaceException(Repository.Path, bytes, Math.Max(0, left + bytes));
    }

    /// <summary>Counts an object that the tree has once more and that was not made again: a dirmeta, or a file by another of its names.</summary>
    internal void CountAgain(ObjectType type) => Interlocked.Increment(ref type == ObjectType.File ? ref contentTotal : ref metadataTotal);

    /// <summary>Counts a file that was known to be an object, and was not read.</summary>
    internal void CountCacheHit() => Interlocked.Increment(ref cacheHits);

    /// <summary>Gives back what was counted for bytes that are gone again.</summary>
    internal void Release(long bytes) => Interlocked.Add(ref writable, bytes);

    /// <summary>Gives a whole file object its name.</summary>
    internal void StageContent(SafeFileHandle file, ObjectName name, long storedBytes) =>
        CountContent(name, Staging.Link(file, name.LoosePath(Repository.Mode)), storedBytes);

    /// <summary>Notes an object that was put into the staging directory.</summary>
    internal void CountContent(ObjectName name, bool added, long storedBytes)
    {
        if (added && Note(name))
        {
            Interlocked.Increment(ref contentWritten);
            Interlocked.Add(ref contentBytes, storedBytes);
            writeOut?.Wrote(storedBytes);
        }
    }

    internal void CountMetadata(ObjectName name, bool added)
    {
        if (name.Type == ObjectType.Commit)
            revived.Add(name.Checksum);
        if (added && Note(name))
            Interlocked.Increment(ref metadataWritten);
    }

    // False where it was noted already. Beyond a number the staging directory is asked instead: memory shall not grow with the tree.
    private bool Note(ObjectName name)
    {
        lock (knowing)
        {
            if (knownCount >= MostKnown)
                return !known.Contains(name);
            if (!known.Add(name))
                return false;
            knownCount++;
            return true;
        }
    }

    // Of a directory that was not there a moment ago nothing is asked again: an object that another process puts there meanwhile is only
    // made once more.
    private bool IsPublished(string path)
    {
        int index = Convert.ToInt32(path[..2], 16);
        if (published[index] == 0)
            published[index] = Repository.Objects.Dir.Exists(path[..2]) ? (byte)1 : (byte)2;
        return published[index] == 1 && Repository.Objects.Dir.Exists(path);
    }

    private void Stage(ObjectName name, ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        using SafeFileHandle file = Staging.CreateReadable();
        Linux.Files.WriteAt(file, bytes, 0, Staging.Dir.Path);
        CountMetadata(name, Staging.Link(file, name.LoosePath(Repository.Mode)));
    }

    private void Sync()
    {
        try
        {
            writeOut?.Finish();
            if (Repository.Settings.Fsync)
                Publication.Sync(Staging.Dir);
        }
        catch (LinuxException)
        {
            Staging.Distrust();
            throw;
        }
    }

    private void End()
    {
        if (ended)
            return;
        ended = true;
        foreach (ContentWriter writer in writers)
            writer.Dispose();
        writeOut?.Dispose();
        Staging.Dispose();
        held?.Dispose();
    }
}

/// <summary>What a transaction added.</summary>
/// <param name="MetadataWritten">Commits, dirtrees and dirmetas that were not there before.</param>
/// <param name="ContentWritten">Files that were not there before.</param>
/// <param name="ContentBytes">Bytes of those as they are stored.</param>
/// <param name="MetadataTotal">Commits, dirtrees and dirmetas that were added, those that were there before among them.</param>
/// <param name="ContentTotal">Files that were added, those that were there before among them.</param>
public readonly record struct TransactionStats(
    long MetadataWritten, long ContentWritten, long ContentBytes, long MetadataTotal = 0, long ContentTotal = 0)
{
    /// <summary>Files that were hardlinks to objects, and taken as those without being read.</summary>
    public long CacheHits { get; init; }

    /// <summary>Of one transaction and the next.</summary>
    public static TransactionStats operator +(TransactionStats one, TransactionStats next) => new(
        one.MetadataWritten + next.MetadataWritten, one.ContentWritten + next.ContentWritten, one.ContentBytes + next.ContentBytes,
        one.MetadataTotal + next.MetadataTotal, one.ContentTotal + next.ContentTotal) { CacheHits = one.CacheHits + next.CacheHits };
}
