using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Sbox.Codecs;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb;

/// <summary>
/// Seals blobs into packs, stores the packs, then lists them in indexes, always in that order. Several threads may add; they wait when
/// more packs are under way than the place can take, so that memory does not grow with the work.
/// </summary>
internal sealed class PackWriter : IAsyncDisposable
{
    // A pack ends before it would grow past this: half as large at least, since no blob is larger than half of it.
    private const int DataPackSize = 16 * 1024 * 1024, TreePackSize = 4 * 1024 * 1024;

    // Nor does it take more blobs than this: what lists them is read as a whole.
    private const int BlobsAtMost = 20_000;

    // Packs that are written, and not known to be on the disk: no memory of ours, and up to so many may be lost at once with the machine.
    private const int SettlingAtMost = 8;
    // Memory for a tree of more bytes than this is not kept for the next one.
    private const int UsedAgain = 1024 * 1024;
    private static readonly TimeSpan IndexEvery = TimeSpan.FromSeconds(30);

    private readonly TombRepository tomb;
    private readonly TimeProvider clock;
    private readonly CancellationToken cancel;
    private readonly SemaphoreSlim slots;
    private readonly SemaphoreSlim settling = new(SettlingAtMost);
    private readonly Lock sync = new();
    private readonly HashSet<(BlobType, Checksum)> claimed = [];
    private readonly OpenPack[] open;
    private readonly ConcurrentBag<Scratch> scratches = [];
    private readonly ConcurrentBag<GoJson> writings = [];
    private readonly ConcurrentBag<byte[]> dataBuffers = [], treeBuffers = [];
    private readonly List<Task> uploads = [];
    private readonly SemaphoreSlim indexing = new(1);
    private readonly List<IndexedPack> unlisted = [];
    private readonly List<Checksum> indexes = [];
    private int unlistedBlobs;
    private long lastIndex;
    private ExceptionDispatchInfo? failure;

    public PackWriter(TombRepository tomb, TimeProvider clock, CancellationToken cancel)
    {
        this.tomb = tomb;
        this.clock = clock;
        this.cancel = cancel;
        slots = new SemaphoreSlim(tomb.Backend.Connections > 2 ? 2 : 1); // each pack under way is 16 MiB; a place on this machine takes one while the next is filled
        lastIndex = clock.GetTimestamp();
        unlisted.AddRange(tomb.TakeUnlisted());
        unlistedBlobs = unlisted.Sum(static pack => pack.Blobs.Count);
        open = [NewPack(BlobType.Data), NewPack(BlobType.Tree)];
    }

    /// <summary>Blobs added, by type.</summary>
    public int[] Blobs { get; } = new int[2];

    /// <summary>Plain bytes added.</summary>
    public long PlainBytes { get; private set; }

    /// <summary>Sealed bytes added.</summary>
    public long SealedBytes { get; private set; }

    /// <summary>Index files written so far.</summary>
    public IReadOnlyList<Checksum> Indexes => indexes;

    /// <summary>Adds a blob unless the tomb has it or someone is adding it; false then.</summary>
    /// <exception cref="IOException">An earlier pack could not be stored.</exception>
    public bool Add(BlobType type, Checksum id, ReadOnlySpan<byte> plain)
    {
        if (tomb.Index.Contains(type, id))
            return false;
        lock (sync)
        {
            failure?.Throw();
            if (!claimed.Add((type, id)))
                return false;
        }

        // Between the first look and the claim its pack may have been stored, and the claim given back.
        if (tomb.Index.Contains(type, id))
            return false;
        AddAgain(type, id, plain);
        return true;
    }

    /// <summary>Whether data is in the tomb, or on its way into it.</summary>
    public bool Has(Checksum id)
    {
        lock (sync)
        {
            if (claimed.Contains((BlobType.Data, id)))
                return true;
        }

        return tomb.Index.Contains(BlobType.Data, id); // looked at last: a claim is given back when the index has it
    }

    /// <summary>Adds a directory's tree unless the tomb has it.</summary>
    /// <returns>Its id.</returns>
    /// <exception cref="TombException">As <see cref="Add"/>.</exception>
    public Checksum AddTree(Tree tree)
    {
        if (!writings.TryTake(out GoJson? json))
            json = new GoJson();
        ReadOnlySpan<byte> bytes = tree.Write(json);
        var id = Checksum.Of(bytes);
        Add(BlobType.Tree, id, bytes);
        if (bytes.Length <= UsedAgain)
            writings.Add(json);
        return id;
    }

    /// <summary>Adds a blob whether or not the tomb has it: for one that moves to another pack.</summary>
    public void AddAgain(BlobType type, Checksum id, ReadOnlySpan<byte> plain)
    {
        if (!scratches.TryTake(out Scratch? scratch))
            scratch = new Scratch();
        int length = SealVerified(plain, scratch, out bool compressed);
        AddSealed(new PackEntry(type, id, 0, (uint)length, compressed ? (uint)plain.Length : 0), scratch.Sealed.AsSpan(0, length), plain.Length);
        scratches.Add(scratch);
    }

    private void AddSealed(PackEntry entry, ReadOnlySpan<byte> bytes, long plainLength)
    {
        FullPack? full = null;
        lock (sync)
        {
            failure?.Throw();
            if (!open[(int)entry.Type].Fits(bytes.Length))
                full = Close(entry.Type);
            open[(int)entry.Type].Append(entry, bytes);
            Blobs[(int)entry.Type]++;
            PlainBytes += plainLength;
            SealedBytes += bytes.Length;
        }

        if (full is not null)
            HandOver(full);
    }

    /// <summary>Stores what is left and lists it; after this the index names every blob that was added.</summary>
    public async Task Finish()
    {
        foreach (BlobType type in (BlobType[])[BlobType.Data, BlobType.Tree])
        {
            FullPack? full;
            lock (sync)
                full = open[(int)type].IsEmpty ? null : Close(type);
            if (full is not null)
                HandOver(full);
        }

        await Uploads();
        failure?.Throw();
        await WriteIndex(all: true);
    }

    /// <summary>
    /// Waits for packs that are under way, and lists them even when the work ended early: what has travelled need not travel again. Those
    /// that could not be listed are left to the tomb's next writer, since its index has them already.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        await Uploads();
        if (unlisted.Count > 0)
        {
            try
            {
                await WriteIndex(all: true, CancellationToken.None);
            }
            catch (Exception late) when (late is IOException or OperationCanceledException)
            {
                // What made the work end is being reported already; without a next writer the packs are garbage, which prune takes.
                tomb.LeaveUnlisted(unlisted);
            }
        }

        slots.Dispose();
        settling.Dispose();
        indexing.Dispose();
    }

    // Sealed, then opened again and compared: a bit that flipped in memory must not become what is restored one day.
    private int SealVerified(ReadOnlySpan<byte> plain, Scratch scratch, out bool compressed)
    {
        scratch.Reserve(Zstandard.Bound(plain.Length) + SealingKey.Overhead);
        int length = tomb.Config.Version >= 2 ? Zstandard.Compress(plain, scratch.Packed) : int.MaxValue;
        compressed = length < plain.Length;
        ReadOnlySpan<byte> content = compressed ? scratch.Packed.AsSpan(0, length) : plain;
        Span<byte> bytes = scratch.Sealed.AsSpan(0, content.Length + SealingKey.Overhead);
        tomb.Key.Seal(content, bytes);
        Span<byte> opened = scratch.Opened.AsSpan(0, content.Length);
        bool same = tomb.Key.TryOpen(bytes, opened);
        if (same && compressed)
        {
            Span<byte> unpacked = scratch.Packed.AsSpan(0, plain.Length); // the opened bytes are what counts from here on
            same = Zstandard.TryDecompress(opened, unpacked) && plain.SequenceEqual(unpacked);
        }
        else
        {
            same = same && plain.SequenceEqual(opened);
        }

        return same ? bytes.Length : throw new TombDamagedException(
            tomb.Backend.Location, "a new blob", "what was sealed does not open to what it was: the memory of this machine may be failing");
    }

    private FullPack Close(BlobType type)
    {
        OpenPack pack = open[(int)type];
        open[(int)type] = NewPack(type);
        return pack.Close(tomb.Key);
    }

    private OpenPack NewPack(BlobType type) => new(type == BlobType.Data ? DataPackSize : TreePackSize, type == BlobType.Data ? dataBuffers : treeBuffers);

    private void HandOver(FullPack pack)
    {
        slots.Wait(cancel);
        Task upload = Task.Run(() => Store(pack), CancellationToken.None);
        lock (sync)
        {
            uploads.RemoveAll(static each => each.IsCompleted);
            uploads.Add(upload);
        }
    }

    private async Task Store(FullPack pack)
    {
        try
        {
            (Checksum id, Task durable) = await Begin(pack);
            try
            {
                await durable;
            }
            finally
            {
                settling.Release();
            }

            tomb.Index.Add(id, pack.Entries);
            lock (sync)
            {
                foreach (PackEntry entry in pack.Entries)
                    claimed.Remove((entry.Type, entry.Id));
                unlisted.Add(new IndexedPack(id, pack.Entries));
                unlistedBlobs += pack.Entries.Count;
            }

            await WriteIndex(all: false);
        }
        catch (Exception refused)
        {
            lock (sync)
                failure ??= ExceptionDispatchInfo.Capture(refused);
        }
    }

    private async Task<(Checksum Id, Task Durable)> Begin(FullPack pack)
    {
        try
        {
            ReadOnlyMemory<byte> bytes = pack.Bytes;
            Checksum id = Checksum.Of(bytes.Span);
            await settling.WaitAsync(cancel);
            try
            {
                return (id, await tomb.Backend.Begin(TombRepository.PackOf(id), bytes, cancel));
            }
            catch
            {
                settling.Release();
                throw;
            }
        }
        finally
        {
            pack.Release();
            slots.Release();
        }
    }

    private Task Uploads()
    {
        lock (sync)
            return Task.WhenAll([.. uploads]);
    }

    private Task WriteIndex(bool all) => WriteIndex(all, cancel);

    private async Task WriteIndex(bool all, CancellationToken stop)
    {
        await indexing.WaitAsync(stop);
        try
        {
            IndexedPack[] packs;
            lock (sync)
            {
                bool due = all || unlistedBlobs >= IndexFile.BlobsAtMost || clock.GetElapsedTime(lastIndex) >= IndexEvery;
                if (!due || unlisted.Count == 0)
                    return;
                packs = [.. unlisted];
            }

            foreach (byte[] json in Documents(packs))
            {
                Checksum id = await tomb.SaveDocument(StoredFileType.Index, json, stop);
                indexes.Add(id);
            }

            lock (sync)
            {
                unlisted.RemoveRange(0, packs.Length);
                unlistedBlobs = unlisted.Sum(static pack => pack.Blobs.Count);
                lastIndex = clock.GetTimestamp();
            }
        }
        finally
        {
            indexing.Release();
        }
    }

    /// <summary>Index documents for packs, none with too many blobs.</summary>
    public static IEnumerable<byte[]> Documents(IEnumerable<IndexedPack> packs)
    {
        var some = new List<IndexedPack>();
        int blobs = 0;
        foreach (IndexedPack pack in packs)
        {
            if (some.Count > 0 && blobs + pack.Blobs.Count > IndexFile.BlobsAtMost)
            {
                yield return IndexFile.Write(some);
                some.Clear();
                blobs = 0;
            }

            some.Add(pack);
            blobs += pack.Blobs.Count;
        }

        if (some.Count > 0)
            yield return IndexFile.Write(some);
    }

    /// <summary>Memory for one blob on its way, kept for the next.</summary>
    private sealed class Scratch
    {
        public byte[] Packed { get; private set; } = [];

        public byte[] Sealed { get; private set; } = [];

        public byte[] Opened { get; private set; } = [];

        public void Reserve(int size)
        {
            if (Packed.Length >= size)
                return;
            int room = (size + 0xFFFF) & ~0xFFFF;
            (Packed, Sealed, Opened) = (GC.AllocateUninitializedArray<byte>(room), GC.AllocateUninitializedArray<byte>(room), GC.AllocateUninitializedArray<byte>(room));
        }
    }

    /// <summary>A pack that is being filled. Its memory is touched only as far as it is, and used again for the next one.</summary>
    private sealed class OpenPack(int limit, ConcurrentBag<byte[]> buffers)
    {
        private readonly List<PackEntry> entries = [];
        private byte[] bytes = [];
        private int used;

        public bool IsEmpty => entries.Count == 0;

        public bool Fits(int more) => IsEmpty || (entries.Count < BlobsAtMost && used + more + PackHeader.Size(0, entries.Count + 1) <= limit);

        public void Append(PackEntry entry, ReadOnlySpan<byte> content)
        {
            Reserve(content.Length + PackHeader.Size(0, 1));
            content.CopyTo(bytes.AsSpan(used));
            entries.Add(entry with { Offset = (uint)used });
            used += content.Length;
        }

        public FullPack Close(SealingKey key)
        {
            byte[] header = PackHeader.Write(entries);
            int length = header.Length + SealingKey.Overhead;
            Reserve(length + PackHeader.LengthSize);
            key.Seal(header, bytes.AsSpan(used, length));
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(used + length), length);
            return new FullPack(bytes, used + length + PackHeader.LengthSize, entries, buffers);
        }

        private void Reserve(int more)
        {
            if (bytes.Length == 0 && !buffers.TryTake(out bytes!))
                bytes = GC.AllocateUninitializedArray<byte>(limit);
            if (used + more <= bytes.Length)
                return;
            byte[] larger = GC.AllocateUninitializedArray<byte>(used + more); // one tree that is larger than a pack
            bytes.AsSpan(0, used).CopyTo(larger);
            bytes = larger;
        }
    }

    private sealed class FullPack(byte[] buffer, int length, IReadOnlyList<PackEntry> entries, ConcurrentBag<byte[]> buffers)
    {
        public IReadOnlyList<PackEntry> Entries { get; } = entries;

        public ReadOnlyMemory<byte> Bytes => buffer.AsMemory(0, length);

        public void Release() => buffers.Add(buffer);
    }
}
