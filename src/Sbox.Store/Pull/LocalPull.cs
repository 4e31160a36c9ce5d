using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Copies commits and what they need from one repository to another on this machine.</summary>
internal sealed class LocalPull
{
    private const int CopySize = 64 * 1024;

    private readonly Repository source, target;
    private readonly PullLocalOptions options;
    private readonly RemoteTrust? trust;
    private readonly PullTargets targets;
    private readonly IProgress<PullProgress>? progress;
    private readonly CancellationToken cancel;
    private readonly bool sameDevice, linkable, plainLinkable, believed;
    private readonly ObjectCheck check;
    private readonly uint owner; // the target's
    private long bytes;
    private long outstanding;
    private FoundSummary? announced; // the source's summary, as it was verified where it must be
    private IReadOnlyDictionary<string, Checksum>? named; // what it says
    private string? unreadable; // why it is none

    public LocalPull(Repository source, PullTargets targets, PullLocalOptions options, RemoteTrust? trust, IProgress<PullProgress>? progress, CancellationToken cancel)
    {
        (this.source, target, this.targets, this.options, this.trust, this.progress, this.cancel) = (source, targets.Repository, targets, options, trust, progress, cancel);
        check = new ObjectCheck(source);
        // Between two archives as well: their objects are files like any other.
        sameDevice = !options.Copy && source.Dir.Stat().Device == target.Dir.Stat().Device;
        owner = target.Dir.Stat().Uid;
        // As libostree: what is not believed as it lies there is hashed, and then linked only where both repositories belong to one user. Any
        // other owner could change it after it was looked at, and so each file is asked as well whose it is. Of an archive a copy is made, without
        // what lies behind the content's end.
        linkable = sameDevice && source.Mode == target.Mode && (!options.Untrusted || (!options.LinksNothing && source.Mode != RepositoryMode.Archive && source.Dir.Stat().Uid == owner));
        // As libostree: what is linked is what the source has, damaged or not, unless it was to be looked at. fsck finds it there and here.
        believed = sameDevice && trust is null && !options.Untrusted;
        plainLinkable = believed && source.Mode == RepositoryMode.BareUser && target.Mode == RepositoryMode.BareUserOnly;
    }

    // Announced as its source is.
    private bool IsWholeMirror => targets.Mirror && options.Refs.Count == 0;

    public PullResult Run()
    {
        trust?.FollowFiles(source, cancel);
        Dictionary<string, Checksum> wanted = Wanted(SignedRefs());
        bool whole = !options.CommitMetadataOnly && options.Subpaths.Count == 0;
        using Transaction transaction = target.Begin(cancel);
        using ObjectCheck held = check;
        var deltas = new DeltaPull(target, new LocalDeltas(source), options.RequireDeltas ? DeltaUse.Required : DeltaUse.Never, options.DryRun, (superblock, _) =>
        {
            Verify(superblock.Name.To, superblock.Commit, source.LoadDetachedMetadata(superblock.Name.To) ?? superblock.Detached, PullTargets.NamesOf(superblock.Name.To, wanted));
            return Task.CompletedTask;
        });
        foreach (Checksum commit in wanted.Values.Distinct())
            deltas.Take(transaction, commit, cancel).GetAwaiter().GetResult(); // of files: nothing is waited for
        if (options.DryRun)
            return new PullResult(new Dictionary<string, Checksum>(), 0, 0, 0) { Deltas = deltas.Usage };
        long byDeltas = transaction.Stats.ContentBytes;
        var completed = new List<Checksum>();
        using (var work = new ParallelWork<Checksum>(checksum => CopyFile(transaction, checksum), static _ => { }, cancel))
        {
            var walk = new PullWalk(transaction, source.Has, (name, _) => FetchMetadata(transaction, name), checksum => QueueFile(work, checksum), (name, content) => Keep(transaction, name, content), TakeTombstone);
            foreach (Checksum commit in wanted.Values.Distinct())
                completed.AddRange(walk.Commits(commit, options.Depth, options.CommitMetadataOnly, TakeCommit, cancel, options.Subpaths));
            work.Finish();
        }

        trust?.Document?.RequireNewest(source.Dir.Of("summary"));
        Dictionary<string, Checksum> refs = targets.Set(transaction, source.Path, wanted);
        TransactionStats stats = transaction.Commit();
        if (whole)
            target.ClearPartial(completed);
        IReadOnlyList<string> notes = IsWholeMirror ? KeepAnnounced(wanted) : [];
        return new PullResult(refs, stats.MetadataWritten, stats.ContentWritten, bytes) { Deltas = deltas.Usage, ContentBytes = stats.ContentBytes - byDeltas, Notes = notes };

        // Read once: what was hashed and verified is what is kept, whatever the source has by then.
        byte[] TakeCommit(Checksum commit)
        {
            cancel.ThrowIfCancellationRequested();
            var name = new ObjectName(commit, ObjectType.Commit);
            byte[] content = transaction.TryLoadMetadata(name) ?? ReadMetadata(name);
            VariantDictionary? metadata = source.LoadDetachedMetadata(commit);
            if (metadata is not null && options.KeepBeside is { } keep && transaction.TryLoadDetached(commit) is { } here)
                metadata = keep(commit, here, metadata);
            Verify(commit, content, metadata ?? transaction.TryLoadDetached(commit), PullTargets.NamesOf(commit, wanted));
            if (wanted.ContainsValue(commit))
                targets.CheckAge(source.Path, wanted, commit, Commit.Parse(content));
            if (metadata is not null)
                transaction.WriteDetachedMetadata(commit, metadata);
            return content;
        }
    }

    // A source that keeps tombstones has one of each commit that it deleted: without one, the commit was lost. As libostree, that is held against whoever announces by a summary.
    private void TakeTombstone(Checksum gone)
    {
        var name = new ObjectName(gone, ObjectType.TombstoneCommit);
        if (!source.Config.GetBoolean("core", Repository.TombstonesKey) || (!source.Has(name) && !source.Dir.Exists("summary")))
            return;
        if (!source.Has(name))
            throw new PullException(source.Objects.PathOf(name), $"the parent {gone}, or its tombstone, since core.{Repository.TombstonesKey} is set there", "neither is there");
        target.WriteTombstone(gone);
    }

    // Before anything of the commit is kept.
    private void Verify(Checksum commit, byte[] content, VariantDictionary? detached, IEnumerable<string> names)
    {
        if (trust is { ForCommits: true })
            trust.VerifyCommit(commit, content, detached ?? target.LoadDetachedMetadata(commit), names);
    }

    // Where the summary must be signed, it alone says what a branch leads to: the bytes that were verified, not a file beside them.
    private IReadOnlyDictionary<string, Checksum>? SignedRefs()
    {
        bool believes = trust is { ForSummary: true };
        if (!believes && !IsWholeMirror)
            return null;
        (byte[]? summary, byte[]? signature) = (source.Dir.TryReadAll("summary"), source.Dir.TryReadAll("summary.sig"));
        if (believes)
            trust!.VerifySummary(source.Dir.Of("summary"), summary, signature);
        try
        {
            if (summary is null)
                return null;
            var parsed = Summary.Parse(summary);
            (named, announced) = (parsed.RefsFor(targets.Collection), new FoundSummary(parsed, summary, signature));
        }
        catch (MalformedException malformed)
        {
            if (believes)
                throw new PullException(source.Dir.Of("summary"), "a summary", malformed.Message, malformed);
            unreadable = malformed.Message;
        }

        return believes ? named : null;
    }

    // As a mirror over HTTP. There the summary says what is taken; here the source's refs do, where nobody must have signed it, and it may be of before.
    private List<string> KeepAnnounced(Dictionary<string, Checksum> wanted)
    {
        var notes = new List<string>();
        if (unreadable is not null)
            notes.Add($"{source.Dir.Of("summary")} is no summary, and stays there: {unreadable}");
        if (announced is null)
            return notes;
        if (CarriedTrust.Take(target, CarriedTrust.Newest(announced.Parsed, trust), TrustFiles.Of(source), cancel).GetAwaiter().GetResult() is { } note) // of files: nothing is waited for
            notes.Add(note);
        if (trust is { ForSummary: true } || (named!.Count == wanted.Count && wanted.All(item => named.TryGetValue(item.Key, out Checksum listed) && listed == item.Value)))
            announced.KeepIn(target);
        else
            notes.Add($"{source.Dir.Of("summary")} names other branches or versions than are there, and is not taken along: it was made before them. There sbox store summary -u, and here too, make one");
        return notes;
    }

    private Dictionary<string, Checksum> Wanted(IReadOnlyDictionary<string, Checksum>? signed)
    {
        var wanted = new Dictionary<string, Checksum>();
        foreach (string name in options.Refs.Count > 0 ? options.Refs : signed?.Keys ?? source.Refs().Keys)
        {
            int at = name.IndexOf('@', StringComparison.Ordinal);
            string branch = at < 0 ? name : name[..at];
            Checksum commit = at >= 0 && Checksum.TryParse(name.AsSpan(at + 1), out Checksum given) ? given : Resolve(branch, signed);
            if (!Checksum.TryParse(branch, out _))
                RefStore.RequireName(branch); // as libostree: a remote's ref there is none that could be set here
            wanted[branch] = commit;
        }

        return wanted;
    }

    private Checksum Resolve(string branch, IReadOnlyDictionary<string, Checksum>? signed)
    {
        if (signed is null || Checksum.TryParse(branch, out _))
            return ResolveUnsigned(branch);
        return signed.TryGetValue(branch, out Checksum listed) ? listed : throw new RefNotFoundException(source.Dir.Of("summary"), branch);
    }

    private Checksum ResolveUnsigned(string branch) =>
        targets.Collection is { } collection && source.CollectionRefs(collection).TryGetValue(new CollectionRef(collection, branch), out Checksum found)
            ? found
            : source.Resolve(branch);

    private byte[] FetchMetadata(Transaction transaction, ObjectName name)
    {
        cancel.ThrowIfCancellationRequested();
        byte[] content = ReadMetadata(name);
        Keep(transaction, name, content);
        return content;
    }

    private byte[] ReadMetadata(ObjectName name)
    {
        byte[] content = source.LoadMetadata(name);
        if (!believed)
            RequireHash(name, content);
        Interlocked.Add(ref bytes, content.Length);
        return content;
    }

    // A link keeps whatever the source has by now: only what was read and hashed is kept of a source that is not believed as it lies there.
    private void Keep(Transaction transaction, ObjectName name, byte[] content)
    {
        if (believed && TryLinkMetadata(transaction, name))
            return;
        RequireHash(name, content);
        transaction.WriteMetadata(name.Type, content);
    }

    private void RequireHash(ObjectName name, byte[] content)
    {
        Checksum found = Checksum.Of(content);
        if (found != name.Checksum)
            throw new ObjectCorruptException(source.Objects.PathOf(name), name, found);
    }

    // Metadata is the same file in every mode.
    private bool TryLinkMetadata(Transaction transaction, ObjectName name)
    {
        string path = name.LoosePath(target.Mode);
        transaction.Staging.MakeSubdirectory(path);
        if (source.Objects.Dir.LinkInto(path, transaction.Staging.Dir, path) != Errno.None)
            return false;
        transaction.CountMetadata(name, added: true);
        return true;
    }

    private void QueueFile(ParallelWork<Checksum> work, Checksum checksum)
    {
        Interlocked.Increment(ref outstanding);
        work.Add(checksum);
    }

    private void CopyFile(Transaction transaction, Checksum checksum)
    {
        var name = new ObjectName(checksum, ObjectType.File);
        if (options.PlainFilesOnly)
            BareUserFile.RequireKeepable(source.LoadFile(checksum).Header, checksum);
        bool linked = (linkable && (options.Untrusted ? TryLinkJudged(transaction, name) : TryLink(transaction, name))) ||
            (plainLinkable && SaysAll(name) && TryLink(transaction, name));
        if (!linked)
            Import(transaction, name);
        long left = Interlocked.Decrement(ref outstanding);
        if (left % 128 == 0)
            progress?.Report(new PullProgress(transaction.Stats.MetadataWritten, transaction.Stats.ContentWritten, left, Interlocked.Read(ref bytes)));
    }

    // Whether a regular file of mode bare-user is all that its xattr says of it: then it is the same object in bare-user-only.
    private bool SaysAll(ObjectName name)
    {
        string path = name.LoosePath(source.Mode);
        if (source.Objects.Dir.TryStat(path) is not { IsRegular: true } stat)
            return false;
        FileHeader header = source.LoadFile(name.Checksum).Header;
        return header is { Mode.IsRegular: true, Uid: 0, Gid: 0, Xattrs.Count: 0 } && header.Mode.Bits == stat.Mode;
    }

    private bool TryLink(Transaction transaction, ObjectName name)
    {
        if (name.Type == ObjectType.File)
            transaction.RequireContent();
        string path = name.LoosePath(target.Mode);
        transaction.Staging.MakeSubdirectory(path);
        switch (source.Objects.Dir.LinkInto(path, transaction.Staging.Dir, path))
        {
            case Errno.None:
                transaction.CountContent(name, added: true, storedBytes: 0);
                return true;
            case Errno.EEXIST:
                return true;
            case Errno.ENOENT when source.Parent is null:
                throw new ObjectMissingException(source.Path, name);
            default:
                return false; // it is a parent's, or has too many links, or the file system has none: a copy does as well
        }
    }

    // Whoever may write a file may do so after it was hashed, and a name in the source may lead to another one by then. So it is the link that is
    // looked at, at a name that is no object's until then: the next pull takes over what a killed one has staged.
    private bool TryLinkJudged(Transaction transaction, ObjectName name)
    {
        transaction.RequireContent();
        Staging staging = transaction.Staging;
        string temporary = staging.TemporaryName(), path = name.LoosePath(target.Mode);
        if (source.Objects.Dir.LinkInto(path, staging.Dir, temporary) != Errno.None)
            return false; // also where it is missing: said where it is read
        try
        {
            if (!IsOwnersAlone(staging.Dir.Stat(temporary)))
                return false;
            check.VerifyFile(name, staging.Dir, temporary);
            transaction.CountContent(name, staging.Rename(temporary, path), storedBytes: 0);
            return true;
        }
        finally
        {
            staging.Dir.TryUnlink(temporary);
        }
    }

    // Nobody else can change it. In the user's modes nothing that its checksum does not cover makes it more than a file either.
    private bool IsOwnersAlone(FileStat stat)
    {
        const uint othersWrite = 0x12 /* 0022 */, plain = 0x1ED /* 0755 */;
        uint allowed = target.Mode == RepositoryMode.Bare ? ~othersWrite : plain;
        return stat.Uid == owner && (stat.IsSymlink || (stat.Permissions & ~allowed) == 0);
    }

    private void Import(Transaction transaction, ObjectName name)
    {
        string path = source.Objects.PathOf(name);
        if (source.Mode == RepositoryMode.Archive && target.Mode == RepositoryMode.Archive && TryImportArchived(transaction, name, path))
            return;

        try
        {
            FileObject file = source.LoadFile(name.Checksum);
            using Stream content = file.OpenContent();
            transaction.UseWriter(writer => writer.Write(file.Header, content, name.Checksum, file.Size, path, believed: trust is null && !options.Untrusted));
            Interlocked.Add(ref bytes, file.Size);
        }
        catch (Exception broken) when (broken is InvalidDataException or MalformedException)
        {
            throw new ObjectCorruptException(path, name, null, broken.Message, broken);
        }
    }

    // As it is compressed already: a copy is taken, the copy is hashed, and kept.
    private bool TryImportArchived(Transaction transaction, ObjectName name, string path)
    {
        using SafeFileHandle? file = source.Objects.Dir.TryOpenFile(name.LoosePath(source.Mode));
        if (file is null)
            return false; // it is missing, or a parent's
        using var copy = new Fetched(transaction);
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(CopySize);
        long bound = 0;
        try
        {
            for (int read; (read = Linux.Files.ReadAt(file, buffer, copy.Length, path)) > 0;)
            {
                if (copy.Length == 0)
                    bound = Bound(buffer.AsSpan(0, read));
                if (copy.Length + read > bound)
                    return false; // longer than it should be compressed: what its content needs is read, and nothing behind that
                copy.Append(buffer.AsSpan(0, read), inMemory: buffer.Length);
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }

        new ArchiveImport(transaction, options.PlainFilesOnly, believed: false).Add(copy, name, path);
        Interlocked.Add(ref bytes, copy.Length);
        return true;
    }

    // The most that such an object may be: deflate adds 5 bytes to each 64 KiB that it can make no smaller. 0 where the beginning is none.
    private static long Bound(ReadOnlySpan<byte> beginning)
    {
        const int frame = 8;
        if (beginning.Length < frame)
            return 0;
        try
        {
            int header = ArchiveFile.HeaderLength(beginning[..frame]);
            if (beginning.Length < frame + header)
                return 0;
            (FileHeader _, long size) = ArchiveFile.ParseHeader(beginning.Slice(frame, header));
            return size > long.MaxValue / 2 ? 0 : frame + header + size + (size / 1000) + CopySize;
        }
        catch (MalformedException)
        {
            return 0; // said where it is read anew
        }
    }
}
