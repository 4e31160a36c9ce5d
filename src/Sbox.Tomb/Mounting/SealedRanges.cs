using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// Ranges of packs as they were fetched, still sealed: what lies behind a wanted blob comes along with it, so that many small files cost
/// few requests. How much comes along grows while it is used, and shrinks when it is not.
/// </summary>
/// <param name="tomb">The tomb.</param>
/// <param name="patience">How often a remote that fails is asked again; null for once.</param>
/// <param name="blocks">Memory for ranges.</param>
/// <param name="capacity">Bytes that are kept; the range that was wanted last is, whatever its size.</param>
internal sealed class SealedRanges(TombRepository tomb, RemotePatience? patience, BlockPool blocks, long capacity) : IDisposable
{
    private const int LargestWindow = 4 * 1024 * 1024;

    // A directory is written behind those in it: the way down to a home is read backwards.
    private const int TreesBefore = 128 * 1024;

    // What is read of a disk of this machine goes through the processor's cache, and not through all of its memory.
    private const int NearWindow = 128 * 1024;
    private const long NearKept = 1024 * 1024;

    /// <summary>Room for two of the largest ranges of trees, so that a walk between two packs does not fetch each of them again and again.</summary>
    public const long RoomForTwo = 2L * (LargestWindow + TreesBefore);

    // Blobs below this are whole small files, read one after the other as programs start; larger ones are parts of files that may be read anywhere.
    private const int Small = 128 * 1024;

    private readonly int firstWindow = tomb.Backend.IsNear ? NearWindow : 1024 * 1024, largestWindow = tomb.Backend.IsNear ? NearWindow : LargestWindow;
    private readonly long kept = tomb.Backend.IsNear ? Math.Min(NearKept, capacity) : capacity;
    private readonly bool near = tomb.Backend.IsNear;
    private readonly Lock gate = new();
    private readonly Dictionary<Checksum, PackRanges> packs = [];
    private readonly LinkedList<SealedRange> recent = new();
    private long held, requests, fetched;

    /// <summary>Requests to where the tomb is kept.</summary>
    public long Requests => Interlocked.Read(ref requests);

    /// <summary>Bytes that came.</summary>
    public long Fetched => Interlocked.Read(ref fetched);

    /// <summary>Bytes in memory.</summary>
    public long Held => Interlocked.Read(ref held);

    /// <summary>The range that holds a blob, fetched or on its way. Disposing the answer lets go of it.</summary>
    public RangeLease Take(BlobLocation place)
    {
        SealedRange? begun = null;
        SealedRange range;
        lock (gate)
        {
            if (!packs.TryGetValue(place.Pack, out PackRanges? pack))
                packs[place.Pack] = pack = new PackRanges();
            range = pack.Find(place) ?? (begun = Begin(pack, place));
            range.Users++;
            range.Used += range.Opened.Add(place.Offset) ? place.Length : 0;
            if (range.Place is { } at)
            {
                recent.Remove(at);
                recent.AddFirst(at);
            }
        }

        if (begun is not null)
            _ = Fetch(begun); // by this thread as far as it goes, and never under the gate
        return new RangeLease(this, range);
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    /// <summary>Lets go of what nobody uses: what is wanted next is asked for anew.</summary>
    public void Clear()
    {
        lock (gate)
        {
            foreach (SealedRange range in recent.Where(static range => range.Users == 0 && range.Ready.IsCompleted).ToList())
                Drop(range);
        }
    }

    internal void Release(SealedRange range)
    {
        lock (gate)
        {
            range.Users--;
            if (range.Ready.IsFaulted || range.Ready.IsCanceled)
            {
                if (range.Users == 0)
                    Drop(range);
                return;
            }

            for (LinkedListNode<SealedRange>? at = recent.Last; at is not null && at != recent.First && held > kept;)
            {
                LinkedListNode<SealedRange>? before = at.Previous;
                if (at.Value.Users == 0 && at.Value.Ready.IsCompleted)
                    Drop(at.Value);
                at = before;
            }
        }
    }

    private SealedRange Begin(PackRanges pack, BlobLocation place)
    {
        pack.Adapt(firstWindow, largestWindow, grow: place.Length < Small);
        uint begin = place.Type == BlobType.Tree ? WindowBegin(pack, place) : place.Offset;
        int length = (int)(WindowEnd(pack, place) - begin);
        var range = new SealedRange(place.Pack, begin, length, blocks.Rent(length));
        pack.Ranges.Add(range);
        range.Place = recent.AddFirst(range);
        held += range.Length;
        return range;
    }

    // As far as blobs follow each other in the pack, up to the window, and not into what is there already.
    private long WindowEnd(PackRanges pack, BlobLocation place)
    {
        long end = place.End, limit = place.Offset + (long)pack.Window;
        if (near && place.Length >= Small)
            return end;
        foreach (SealedRange other in pack.Ranges)
        {
            if (other.Offset >= place.End)
                limit = Math.Min(limit, other.Offset);
        }

        BlobIndex index = tomb.Index; // another may take its place meanwhile, in which these numbers are others'
        int number = index.NumberOf(place.Type, place.Id);
        for (int next = number + 1; number >= 0 && next < index.Count; next++)
        {
            BlobLocation follower = index[next];
            if (follower.Pack != place.Pack || follower.Offset != end || follower.End > limit)
                break;
            end = follower.End;
        }

        return end;
    }

    // As far back as trees lie one before the other, and not into what is there already.
    private uint WindowBegin(PackRanges pack, BlobLocation place)
    {
        long limit = place.Offset - (long)TreesBefore;
        foreach (SealedRange other in pack.Ranges)
        {
            if (other.Offset < place.Offset)
                limit = Math.Max(limit, other.Offset + (long)other.Length);
        }

        uint begin = place.Offset;
        BlobIndex index = tomb.Index;
        for (int before = index.NumberOf(place.Type, place.Id) - 1; before >= 0; before--)
        {
            BlobLocation one = index[before];
            if (one.Pack != place.Pack || one.Type != BlobType.Tree || one.End != begin || one.Offset < limit)
                break;
            begin = one.Offset;
        }

        return begin;
    }

    private async Task Fetch(SealedRange range)
    {
        if (!near)
            await Task.Yield(); // a request may wait for its turn before it is even sent
        try
        {
            await (patience is null ? Ask(range, CancellationToken.None) : patience.Try(cancel => Ask(range, cancel)));
            Interlocked.Add(ref fetched, range.Length);
            range.Told.SetResult();
        }
        catch (Exception failure)
        {
            range.Told.SetException(failure); // to all who wait
            _ = range.Ready.Exception;
        }
    }

    private Task Ask(SealedRange range, CancellationToken cancel)
    {
        Interlocked.Increment(ref requests);
        return range.Asked = tomb.Backend.LoadRange(TombRepository.PackOf(range.Pack), range.Offset, range.Bytes.Memory[..range.Length], cancel);
    }

    private void Drop(SealedRange range)
    {
        recent.Remove(range.Place!);
        packs[range.Pack].Remove(range);
        held -= range.Length;
        // A request that nobody waits for any more may still write into the memory, which the next blob must not get before that has ended.
        if (range.Asked.IsCompleted)
            blocks.Return(range.Bytes);
        else
            range.Asked.ContinueWith(_ => blocks.Return(range.Bytes), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    private sealed class PackRanges
    {
        private long droppedUsed, droppedLength;

        public List<SealedRange> Ranges { get; } = [];

        public int Window { get; private set; }

        public SealedRange? Find(BlobLocation place) => Ranges.Find(range =>
            place.Offset >= range.Offset && place.End <= range.Offset + range.Length && !range.Ready.IsFaulted && !range.Ready.IsCanceled);

        public void Adapt(int first, int largest, bool grow)
        {
            if (Window == 0)
            {
                Window = first;
                return;
            }

            long used = droppedUsed + Ranges.Sum(static range => range.Used), length = droppedLength + Ranges.Sum(static range => (long)range.Length);
            Window = grow || used * 2 >= length ? Math.Clamp(Window * 4, first, largest) : Math.Max(Window / 4, 1);
        }

        public void Remove(SealedRange range)
        {
            Ranges.Remove(range);
            (droppedUsed, droppedLength) = (droppedUsed + range.Used, droppedLength + range.Length);
        }
    }
}

/// <summary>One fetched range.</summary>
internal sealed class SealedRange(Checksum pack, uint offset, int length, NativeBlock bytes)
{
    public Checksum Pack { get; } = pack;

    public uint Offset { get; } = offset;

    public int Length { get; } = length;

    public NativeBlock Bytes => bytes;

    /// <summary>Completes when the bytes are there.</summary>
    public Task Ready => Told.Task;

    /// <summary>For whoever fetches them.</summary>
    public TaskCompletionSource Told { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The last request, which may go on when <see cref="Ready"/> has failed.</summary>
    public Task Asked { get; set; } = Task.CompletedTask;

    public LinkedListNode<SealedRange>? Place { get; set; }

    public int Users { get; set; }

    public long Used { get; set; }

    public HashSet<uint> Opened { get; } = [];
}

/// <summary>A range that cannot go away.</summary>
internal readonly struct RangeLease(SealedRanges owner, SealedRange range) : IDisposable
{
    public Task Ready => range.Ready;

    /// <summary>A blob's sealed bytes, once <see cref="Ready"/> has completed.</summary>
    public ReadOnlySpan<byte> Of(BlobLocation place) => range.Bytes.GetSpan().Slice((int)(place.Offset - range.Offset), (int)place.Length);

    public void Dispose() => owner.Release(range);
}
