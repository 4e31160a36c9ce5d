using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>How blobs are fetched and kept for a mounted tomb.</summary>
public sealed record BlobReaderOptions
{
    /// <summary>Bytes of packs that are kept sealed in memory.</summary>
    public long SealedBytes { get; init; } = SealedRanges.RoomForTwo;

    /// <summary>
    /// Bytes of opened blobs that are kept in memory; what was read of them the kernel keeps too. Twice as much, while what would have to go is still to be read by
    /// who reads a file from beginning to end.
    /// </summary>
    public long PlainBytes { get; init; } = 8L << 20;

    /// <summary>How long a reader waits for a remote that does not answer before it gets EIO.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>For waiting.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>What was fetched for a mounted tomb.</summary>
/// <param name="Requests">Requests for pack data.</param>
/// <param name="BytesFetched">Bytes that came.</param>
/// <param name="BytesHeld">Bytes in memory, sealed and opened.</param>
/// <param name="BlobsOpened">Blobs that were opened; one that was let go of meanwhile counts again.</param>
/// <param name="GoneSince">Since when the remote has not answered; null while it does.</param>
public sealed record BlobStatistics(long Requests, long BytesFetched, long BytesHeld, long BlobsOpened, DateTimeOffset? GoneSince);

/// <summary>Reads verified blobs on demand, and keeps what was read within bounds. Safe on several threads.</summary>
public sealed class BlobReader : IDisposable
{
    private const long ParsedBetween = 24 << 20;

    private readonly TombRepository tomb;
    private readonly SealedRanges ranges;
    private readonly RemotePatience patience;
    private readonly long capacity;
    private readonly Lock gate = new();
    private readonly Dictionary<Checksum, PlainBlob> kept = [];
    private readonly LinkedList<PlainBlob> recent = new();
    private readonly Dictionary<Checksum, Task<PlainBlob>> opening = [];
    private readonly ReaderWriterLockSlim use = new();
    private readonly BlockPool blocks = new(keptAtMost: 16 << 20);
    private bool disposed;
    private long held, opened, parsedSince;

    /// <summary>A reader of an open tomb of which the index is loaded.</summary>
    public BlobReader(TombRepository tomb, BlobReaderOptions options)
    {
        this.tomb = tomb;
        capacity = options.PlainBytes;
        patience = new RemotePatience(options.Patience, options.Clock);
        ranges = new SealedRanges(tomb, patience, blocks, options.SealedBytes);
    }

    /// <summary>The tomb.</summary>
    public TombRepository Tomb => tomb;

    /// <summary>What was fetched so far.</summary>
    public BlobStatistics Statistics => new(ranges.Requests, ranges.Fetched, ranges.Held + Interlocked.Read(ref held), Interlocked.Read(ref opened), patience.GoneSince);

    /// <summary>Whether the remote does not answer at the moment.</summary>
    internal bool IsGone => patience.GoneSince is not null;

    /// <summary>Plain bytes of a data blob. Dispose the answer to let go of it.</summary>
    /// <exception cref="LinuxException">EIO: the remote does not answer, or the bytes are not what was written.</exception>
    public ValueTask<PlainBlob> Data(Checksum id, CancellationToken cancel)
    {
        lock (gate)
        {
            if (kept.TryGetValue(id, out PlainBlob? blob))
            {
                recent.Remove(blob.Place!);
                recent.AddFirst(blob.Place!);
                blob.Users++;
                return new(blob);
            }
        }

        return Opened(id, cancel);
    }

    /// <summary>A directory's entries.</summary>
    /// <exception cref="LinuxException">EIO: the remote does not answer, or the bytes are not what was written.</exception>
    public async ValueTask<Tree> Tree(Checksum id, CancellationToken cancel)
    {
        // Whoever gives up waiting does not take the buffer along: the opening goes on, and only it knows when nothing writes there any more.
        return await OpenTree(Find(BlobType.Tree, id), Sbox.Tomb.Tree.Parse).WaitAsync(cancel);
    }

    /// <summary>A directory's entries, as small as they can be kept.</summary>
    /// <exception cref="LinuxException">EIO: the remote does not answer, or the bytes are not what was written.</exception>
    internal Task<PackedTree> Packed(Checksum id) => OpenTree(Find(BlobType.Tree, id), PackedTree.Parse);

    private async Task<T> OpenTree<T>(BlobLocation place, Parsing<T> parse)
    {
        NativeBlock plain = blocks.Rent(Math.Max(place.PlainLength, 1));
        try
        {
            await Open(place, plain.Memory[..place.PlainLength]);
            return parse(plain.GetSpan()[..place.PlainLength]);
        }
        catch (MalformedException wrong)
        {
            throw new LinuxException(Errno.EIO, "tree", $"tree {place.Id}: {wrong.Message}");
        }
        finally
        {
            blocks.Return(plain);
            LetGoOfGarbage(place.PlainLength);
        }
    }

    // Directories that were kept for a while and are not any more are what the collector is worst at: it would let a hundred megabytes of them lie.
    private void LetGoOfGarbage(int parsed)
    {
        if (Interlocked.Add(ref parsedSince, parsed) < ParsedBetween)
            return;
        Interlocked.Exchange(ref parsedSince, 0);
        Garbage.LetGo();
    }

    private delegate T Parsing<T>(ReadOnlySpan<byte> json);

    /// <summary>Where a data blob ends in its file when it begins at 0: its plain length.</summary>
    /// <exception cref="LinuxException">EIO: no pack of the index holds it.</exception>
    public int LengthOf(Checksum id) => Find(BlobType.Data, id).PlainLength;

    /// <summary>Has a blob fetched and opened that will be wanted soon; whoever wants it learns of failures.</summary>
    public void Prepare(Checksum id)
    {
        lock (gate)
        {
            if (kept.ContainsKey(id) || opening.ContainsKey(id) || opening.Count >= 8)
                return;
        }

        _ = Task.Run(async () =>
        {
            try
            {
                (await Opened(id, default)).Dispose();
            }
            catch (IOException)
            {
                return; // nobody has asked for it yet
            }
        });
    }

    /// <summary>Lets go of all blobs, once nobody opens one: whoever owns the tomb may dispose of its key after this.</summary>
    public void Dispose()
    {
        use.EnterWriteLock();
        disposed = true; // an opening that still waits for its bytes ends with an error
        use.ExitWriteLock();
        lock (gate)
        {
            foreach (PlainBlob blob in recent.ToList())
                Evict(blob);
        }

        ranges.Dispose();
        blocks.Close();
    }

    /// <summary>Takes a blob that is lent once more, for someone who needs it for longer.</summary>
    internal PlainBlob Share(PlainBlob blob)
    {
        lock (gate)
            blob.Users++;
        return blob;
    }

    /// <summary>Notes that bytes of a blob were read. When all of them were, the kernel has them: it is the next one that goes.</summary>
    internal void NoteRead(PlainBlob blob, int bytes)
    {
        if (Interlocked.Add(ref blob.Read, bytes) < blob.Length)
            return;
        lock (gate)
        {
            if (blob.Place is not { } place)
                return;
            recent.Remove(place);
            recent.AddLast(place);
        }
    }

    internal void Release(PlainBlob blob)
    {
        lock (gate)
        {
            blob.Users--;
            if (blob.Users == 0 && blob.Place is null)
                Free(blob);
        }
    }

    // Readers of one blob wait for one opening of it; one that is interrupted leaves it to the others.
    private async ValueTask<PlainBlob> Opened(Checksum id, CancellationToken cancel)
    {
        TaskCompletionSource<PlainBlob>? mine = null;
        Task<PlainBlob>? others;
        lock (gate)
        {
            if (kept.TryGetValue(id, out PlainBlob? there))
            {
                there.Users++;
                return there;
            }

            if (!opening.TryGetValue(id, out others))
            {
                mine = new TaskCompletionSource<PlainBlob>(TaskCreationOptions.RunContinuationsAsynchronously);
                opening[id] = others = mine.Task;
            }
        }

        if (mine is not null)
            await Complete(id, mine);
        PlainBlob blob = await others.WaitAsync(cancel);
        lock (gate)
        {
            if (!blob.IsFreed)
            {
                blob.Users++;
                return blob;
            }
        }

        return await Opened(id, cancel); // it was let go of in between
    }

    private async Task Complete(Checksum id, TaskCompletionSource<PlainBlob> mine)
    {
        try
        {
            BlobLocation place = Find(BlobType.Data, id);
            lock (gate)
                MakeRoom(place.PlainLength); // whose memory is still in the processor's cache
            NativeBlock block = blocks.Rent(Math.Max(place.PlainLength, 1));
            var blob = new PlainBlob(this, id, block, place.PlainLength);
            try
            {
                await Open(place, blob.Memory);
            }
            catch
            {
                blocks.Return(block);
                throw;
            }

            lock (gate)
            {
                opening.Remove(id);
                Keep(blob);
            }

            mine.SetResult(blob);
        }
        catch (Exception failure)
        {
            lock (gate)
                opening.Remove(id);
            mine.SetException(failure); // to all who wait, this caller among them
            _ = mine.Task.Exception;
        }
    }

    private async Task Open(BlobLocation place, Memory<byte> into)
    {
        try
        {
            using RangeLease range = ranges.Take(place);
            await range.Ready;
            if (TryOpen(place, range.Of(place), into.Span))
                return;
        }
        catch (BackendException gone) when (!gone.IsTransient)
        {
            Damage = gone.Message; // the pack is not there: another one may have the blob too
        }

        RefuseWhenDisposed();
        try
        {
            (await tomb.LoadBlob(place.Type, place.Id, default)).CopyTo(into);
        }
        catch (TombException lost)
        {
            Damage = lost.Message;
            throw new LinuxException(Errno.EIO, "read", lost.Message);
        }
    }

    /// <summary>What was last found missing or changed; null while all was whole.</summary>
    public string? Damage { get; private set; }

    private bool TryOpen(BlobLocation place, ReadOnlySpan<byte> sealedBytes, Span<byte> into)
    {
        use.EnterReadLock();
        try
        {
            RefuseWhenDisposed();
            tomb.OpenBlob(place, sealedBytes, into);
            Interlocked.Increment(ref opened);
            return true;
        }
        catch (TombDamagedException wrong)
        {
            Damage = wrong.Message;
            return false;
        }
        finally
        {
            use.ExitReadLock();
        }
    }

    private void RefuseWhenDisposed()
    {
        if (disposed)
            throw new LinuxException(Errno.EIO, "read", $"{tomb.Backend.Location}: the tomb is closed");
    }

    private BlobLocation Find(BlobType type, Checksum id) => tomb.Index.TryFind(type, id, out BlobLocation place)
        ? place
        : throw new LinuxException(Errno.EIO, "read", new BlobMissingException(tomb.Backend.Location, type, id).Message);

    private void Keep(PlainBlob blob)
    {
        kept[blob.Id] = blob;
        blob.Place = recent.AddFirst(blob);
        held += blob.Length;
        while (recent.Last is { } last && last.Value != blob && MustGo(last.Value, 0))
            Evict(last.Value);
    }

    private void MakeRoom(int length)
    {
        while (recent.Last is { } last && MustGo(last.Value, length))
            Evict(last.Value);
    }

    private bool MustGo(PlainBlob oldest, int more) => held + more > (oldest.IsWanted ? capacity * 2 : capacity);

    private void Evict(PlainBlob blob)
    {
        recent.Remove(blob.Place!);
        blob.Place = null;
        kept.Remove(blob.Id);
        held -= blob.Length;
        if (blob.Users == 0)
            Free(blob);
    }

    private void Free(PlainBlob blob) => blocks.Return(blob.TakeBlock());
}

/// <summary>An opened blob, lent: it stays until whoever has it disposes it.</summary>
public sealed class PlainBlob : IDisposable
{
    private readonly BlobReader owner;
    private readonly NativeBlock block;

    internal PlainBlob(BlobReader owner, Checksum id, NativeBlock block, int length) => (this.owner, Id, this.block, Length) = (owner, id, block, length);

    /// <summary>Its id.</summary>
    public Checksum Id { get; }

    /// <summary>Bytes.</summary>
    public int Length { get; }

    /// <summary>The bytes, until it is disposed.</summary>
    public ReadOnlySpan<byte> Span => block.GetSpan()[..Length];

    internal Memory<byte> Memory => block.Memory[..Length];

    internal int Users { get; set; }

    /// <summary>Bytes of it that were read so far.</summary>
    internal long Read;

    internal bool IsFreed { get; private set; }

    /// <summary>Whether the file that it belongs to is read from beginning to end.</summary>
    internal bool IsReadOn { get; set; }

    /// <summary>Whether more of it will be read, as far as can be told: it was opened ahead, or who reads on has not come to its end.</summary>
    internal bool IsWanted => Interlocked.Read(ref Read) is var read && (read == 0 || (IsReadOn && read < Length));

    /// <summary>Whether the kernel was given all of it.</summary>
    internal bool IsOffered { get; set; }

    internal LinkedListNode<PlainBlob>? Place { get; set; }

    /// <summary>Lets go of it once.</summary>
    public void Dispose() => owner.Release(this);

    internal NativeBlock TakeBlock()
    {
        IsFreed = true;
        return block;
    }
}
