using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Adds the objects that a delta makes to a transaction, on several threads; each is hashed before it is kept.</summary>
internal sealed class DeltaApply(Transaction transaction, DeltaSuperblock superblock, string where, long mostRecompressed = long.MaxValue) : IDisposable
{
    // Beside what its objects are, a part holds tables and the numbers of its patches; a part that unpacks to far more is an attack.
    private const long Slack = 64 * 1024 * 1024;

    // Unpacking takes most of the time, and as much memory as a part has bytes: libostree's dictionaries are larger than its parts.
    private const int UnpackedAtOnce = 2;
    private readonly XzDecoders decoders = new();
    private readonly Recompressor recompressor = new(transaction, mostRecompressed);

    /// <summary>Objects that it did not make, since liblzma or zstd here compresses otherwise than where the delta was made. They are to be fetched by themselves.</summary>
    public IReadOnlyCollection<ObjectName> ComeOutOtherwise => recompressor.ComeOutOtherwise;

    private Repository Repository => transaction.Repository;

    /// <summary>Whether the delta fits, and the commit that it brings is the one that it names. Nothing is added.</summary>
    /// <exception cref="DeltaException">The commit that the delta needs is not there, or the one it makes is none.</exception>
    /// <exception cref="ObjectCorruptException">The one it makes is another.</exception>
    public void CheckCommit()
    {
        DeltaName name = superblock.Name;
        if (name.From is { } from && !Repository.Has(new ObjectName(from, ObjectType.Commit)))
            throw new DeltaException(where, $"Commit {from}, which is the delta source, is not in repository");
        if (Checksum.Of(superblock.Commit) is var found && found != name.To)
            throw new ObjectCorruptException(where, new ObjectName(name.To, ObjectType.Commit), found);
        try
        {
            Commit.Parse(superblock.Commit);
        }
        catch (MalformedException malformed)
        {
            throw new DeltaException(where, malformed.Message, malformed);
        }
    }

    /// <summary>Adds the commit, which was checked, and what lies beside it; marked as not whole until someone has seen that it is.</summary>
    /// <remarks>After the parts: what is staged when the process is killed, whoever comes next publishes.</remarks>
    public void AddCommit()
    {
        Checksum commit = superblock.Name.To;
        var name = new ObjectName(commit, ObjectType.Commit);
        if (!Repository.Has(name))
            Repository.MarkPartial(commit);
        if (transaction.Has(name))
            return;
        if (superblock.Detached is { } detached)
            transaction.WriteDetachedMetadata(commit, detached);
        transaction.WriteMetadata(ObjectType.Commit, superblock.Commit);
    }

    /// <summary>Whether all that a part makes is there already.</summary>
    public bool HasAll(int index) => superblock.Parts[index].Objects.All(transaction.Has);

    /// <summary>Adds what some parts make: while the objects of one are made, the next two are unpacked.</summary>
    /// <exception cref="DeltaException">A part is not what it should be.</exception>
    public void AddParts(IReadOnlyList<int> parts, DeltaFile delta, CancellationToken cancel)
    {
        using var work = new OrderedWork<int, DeltaPart>(Unpacked, cancel, Math.Min(UnpackedAtOnce, Environment.ProcessorCount), ahead: UnpackedAtOnce + 1);
        work.Run(parts, (index, part) =>
        {
            using (part)
                AddObjects(index, part, cancel);
        });

        DeltaPart Unpacked(int index)
        {
            using Stream bytes = delta.OpenPart(index);
            return Open(index, bytes, delta.IsInline(index));
        }
    }

    /// <summary>Adds what one part makes.</summary>
    /// <param name="index">Which.</param>
    /// <param name="bytes">Its bytes.</param>
    /// <param name="cancel">Looked at between objects.</param>
    /// <exception cref="DeltaException">The part is not what it should be.</exception>
    /// <exception cref="ObjectCorruptException">An object that it makes is not what its name says; it was not kept.</exception>
    /// <exception cref="ObjectMissingException">It needs an object that is not there.</exception>
    public void AddPart(int index, Stream bytes, CancellationToken cancel)
    {
        using DeltaPart part = Open(index, bytes, superblock.IsInline(index));
        AddObjects(index, part, cancel);
    }

    public void Dispose()
    {
        decoders.Dispose();
        recompressor.Dispose();
    }

    // Nothing but the superblock vouches for a part that lies in it.
    private DeltaPart Open(int index, Stream bytes, bool isInline)
    {
        DeltaPartHeader header = superblock.Parts[index];
        string source = SourceOf(index);
        bool recompresses = header.Version == DeltaSuperblock.RecompressingVersion;
        if (header.Version > DeltaSuperblock.PartVersion && !recompresses)
            throw new DeltaException(source, $"Delta part has too new version {header.Version}");
        long limit = (long)Math.Min(header.UncompressedSize, long.MaxValue / 4) * 2 + Slack;
        return DeltaPart.Open(bytes, isInline ? null : header.Checksum, limit, transaction.Staging.Dir, source, transaction, decoders, recompresses);
    }

    private string SourceOf(int index) => $"{where}/{Path.GetFileName(superblock.PathOf(index))}";

    private void AddObjects(int index, DeltaPart part, CancellationToken cancel)
    {
        string source = SourceOf(index);
        try
        {
            using var work = new ParallelWork<DeltaRecipe>(recipe => Add(part, recipe, source, cancel), static _ => { }, cancel);
            foreach (DeltaRecipe recipe in part.Recipes(superblock.Parts[index].Objects))
                work.Add(recipe);
            work.Finish();
        }
        catch (MalformedException malformed)
        {
            throw new DeltaException(source, malformed.Message, malformed);
        }
    }

    private void Add(DeltaPart part, DeltaRecipe recipe, string source, CancellationToken cancel)
    {
        if (transaction.Has(recipe.Name))
            return;
        if (recipe.Mode < 0)
        {
            AddMetadata(part, recipe, source);
            return;
        }

        FileHeader header = part.HeaderOf(recipe);
        if (recipe.Recompression is not null)
        {
            recompressor.Add(part, recipe, header, source, cancel);
            return;
        }

        using Stream content = header.Mode.IsSymlink ? Stream.Null : new RecipeContent(part, recipe, OpenSource);
        transaction.UseWriter(writer => writer.Write(header, content, recipe.Name.Checksum, recipe.Size, source));
    }

    private RandomContent OpenSource(Checksum checksum) => new(Repository, Repository.LoadFile(checksum), transaction.Staging.Dir, transaction);

    private void AddMetadata(DeltaPart part, DeltaRecipe recipe, string source)
    {
        if (recipe.Size > ObjectStore.MaximumMetadataSize)
            throw new MalformedException("static delta part", "object", $"at most {ObjectStore.MaximumMetadataSize} bytes", $"{recipe.Size}");
        var bytes = new byte[recipe.Size];
        part.ReadRaw(bytes, recipe.Stretches[0].Offset);
        if (Checksum.Of(bytes) is var found && found != recipe.Name.Checksum)
            throw new ObjectCorruptException(source, recipe.Name, found);
        transaction.WriteMetadata(recipe.Name.Type, bytes);
    }
}

/// <summary>A file's content as a delta puts it together.</summary>
internal sealed class RecipeContent(DeltaPart part, DeltaRecipe recipe, Func<Checksum, RandomContent> openSource) : InputStream
{
    private (Checksum Checksum, RandomContent Content)? source;
    private Stream? current;
    private int next;
    private long done, left;

    public override long Length => recipe.Size;

    public override long Position { get => done; set => throw new NotSupportedException(); }

    public override int Read(Span<byte> buffer)
    {
        while (true)
        {
            if (current is null && !Begin())
                return done == recipe.Size ? 0 : throw Wrong($"{done}");
            int read = current!.Read(buffer);
            if (read == 0 && left > 0)
                throw Wrong($"a stretch that lacks {left}");
            done += read;
            left -= read;
            if (done > recipe.Size)
                throw Wrong("more");
            if (read > 0)
                return read;
            current.Dispose();
            current = null;
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        current?.Dispose();
        source?.Content.Dispose();
    }

    private bool Begin()
    {
        if (next == recipe.Stretches.Count)
            return false;
        DeltaStretch stretch = recipe.Stretches[next++];
        if (stretch.IsPatch)
        {
            RandomContent old = Source(stretch.Source!.Value);
            // As libostree: a patch makes the whole file.
            current = new BinaryPatch(new BufferedStream(new StretchStream(part.ReadRaw, stretch.Offset, stretch.Size), 32 * 1024), old.ReadAt, old.Size, recipe.Size);
            left = recipe.Size;
            return true;
        }

        current = new StretchStream(stretch.Source is { } named ? Source(named).ReadAt : part.ReadRaw, stretch.Offset, stretch.Size);
        left = stretch.Size;
        return true;
    }

    private RandomContent Source(Checksum named)
    {
        if (source is { } open && open.Checksum == named)
            return open.Content;
        source?.Content.Dispose();
        source = null;
        source = (named, openSource(named));
        return source.Value.Content;
    }

    private MalformedException Wrong(string found) => new("static delta part", $"{recipe.Name}", $"{recipe.Size} bytes", found);
}
