using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// Which blob is where, for all of a tomb: 48 bytes a blob and about 6 for finding it, outside the collector's
/// heap, so that a million files' worth stays small and does not make the heap take the more. Safe on several threads.
/// </summary>
public sealed class BlobIndex
{
    // The first slab's worth of entries comes in segments, so that a small tomb takes little; a slab is three pages of 2 MiB exactly.
    private const int SegmentSize = 1 << 14, SlabSize = 1 << 17;
    private const int HugeFrom = 2 << 20, ExpectedAtMost = 1 << 23; // a listing's word alone takes no more than 32 MiB
    private readonly ReaderWriterLockSlim sync = new();
    private readonly List<NativeBlock> segments = [], slabs = [];
    private readonly List<Checksum> packs = [];
    private readonly Dictionary<Checksum, int> packNumbers = [];
    private NativeBlock table = Table(1 << 12); // entry's number plus one; 0 is free
    private int count;

    /// <summary>Gives its memory back: nobody looks anything up in it any more. There is none where it could not be had.</summary>
    ~BlobIndex()
    {
        table?.Free();
        foreach (NativeBlock block in (IEnumerable<NativeBlock>)[.. segments, .. slabs])
            block.Free();
    }

    private struct Entry
    {
        public Checksum Id;
        public int PackAndType; // pack's number twice, plus one for a tree
        public uint Offset, Length, UncompressedLength;
    }

    /// <summary>Entries; a blob that is in two packs counts twice.</summary>
    public int Count => count;

    /// <summary>Packs that are known.</summary>
    public IReadOnlyList<Checksum> Packs
    {
        get
        {
            sync.EnterReadLock();
            try
            {
                return [.. packs];
            }
            finally
            {
                sync.ExitReadLock();
            }
        }
    }

    /// <summary>Where a blob is; false when no pack that is known holds it.</summary>
    public bool TryFind(BlobType type, Checksum id, out BlobLocation location)
    {
        sync.EnterReadLock();
        try
        {
            int found = Find(type, id, 0);
            location = found >= 0 ? At(found) : default;
            return found >= 0;
        }
        finally
        {
            sync.ExitReadLock();
        }
    }

    /// <summary>Whether a blob is in some pack.</summary>
    public bool Contains(BlobType type, Checksum id) => TryFind(type, id, out _);

    /// <summary>All places where a blob is: a second one helps when the first is damaged.</summary>
    public IReadOnlyList<BlobLocation> FindAll(BlobType type, Checksum id)
    {
        sync.EnterReadLock();
        try
        {
            var places = new List<BlobLocation>(1);
            for (int probe = 0, found; (found = Find(type, id, probe, out int next)) >= 0; probe = next)
                places.Add(At(found));
            return places;
        }
        finally
        {
            sync.ExitReadLock();
        }
    }

    /// <summary>Makes room for finding so many entries, before they come: what grows under way enters all it has again.</summary>
    /// <param name="entries">How many there will be, about.</param>
    internal void Expect(long entries)
    {
        int places = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(entries / 3 * 4, 1, ExpectedAtMost));
        sync.EnterWriteLock();
        try
        {
            if (places > Places.Length)
                Grow(places);
        }
        finally
        {
            sync.ExitWriteLock();
        }
    }

    /// <summary>Adds a pack; one that is known already is left as it is.</summary>
    public bool Add(Checksum pack, IReadOnlyList<PackEntry> blobs)
    {
        sync.EnterWriteLock();
        try
        {
            if (!packNumbers.TryAdd(pack, packs.Count))
                return false;
            packs.Add(pack);
            foreach (PackEntry blob in blobs)
                Add(blob, packs.Count - 1);
            return true;
        }
        finally
        {
            sync.ExitWriteLock();
        }
    }

    /// <summary>An entry by its number, 0 to <see cref="Count"/> - 1; packs' entries lie together, in their order.</summary>
    public BlobLocation this[int number]
    {
        get
        {
            sync.EnterReadLock();
            try
            {
                ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)number, (uint)count, nameof(number));
                return At(number);
            }
            finally
            {
                sync.ExitReadLock();
            }
        }
    }

    /// <summary>The number of a blob's entry; -1 when there is none.</summary>
    public int NumberOf(BlobType type, Checksum id)
    {
        sync.EnterReadLock();
        try
        {
            return Find(type, id, 0);
        }
        finally
        {
            sync.ExitReadLock();
        }
    }

    private int Find(BlobType type, Checksum id, int probe) => Find(type, id, probe, out _);

    // Linear probing from the id's own bits; `next` goes on behind what was found.
    private int Find(BlobType type, Checksum id, int probe, out int next)
    {
        Span<int> places = Places;
        int mask = places.Length - 1;
        for (; ; probe++)
        {
            int number = places[(id.GetHashCode() + probe) & mask] - 1;
            next = probe + 1;
            if (number < 0)
                return -1;
            ref Entry entry = ref EntryAt(number);
            if ((entry.PackAndType & 1) == (int)type && entry.Id == id)
                return number;
        }
    }

    private BlobLocation At(int number)
    {
        ref Entry entry = ref EntryAt(number);
        return new BlobLocation((BlobType)(entry.PackAndType & 1), entry.Id, packs[entry.PackAndType >> 1], entry.Offset, entry.Length, entry.UncompressedLength);
    }

    private void Add(PackEntry blob, int pack)
    {
        if (count < SlabSize && count / SegmentSize == segments.Count)
            segments.Add(new NativeBlock(SegmentSize * Unsafe.SizeOf<Entry>()));
        else if (count / SlabSize > slabs.Count)
            slabs.Add(NativeBlock.OfHugePages(SlabSize * Unsafe.SizeOf<Entry>()));
        EntryAt(count) = new Entry
        {
            Id = blob.Id, PackAndType = (pack << 1) | (int)blob.Type, Offset = blob.Offset, Length = blob.Length, UncompressedLength = blob.UncompressedLength,
        };
        count++;
        if (count > Places.Length / 4 * 3)
            Grow(Places.Length * 2);
        else
            Enter(count - 1, blob.Id);
    }

    private void Enter(int number, Checksum id)
    {
        Span<int> places = Places;
        int mask = places.Length - 1;
        int at = id.GetHashCode() & mask;
        while (places[at] != 0)
            at = (at + 1) & mask;
        places[at] = number + 1;
    }

    private void Grow(int places)
    {
        NativeBlock before = table;
        table = Table(places);
        before.Free();
        for (int number = 0; number < count; number++)
            Enter(number, EntryAt(number).Id);
    }

    private Span<int> Places => MemoryMarshal.Cast<byte, int>(table.GetSpan());

    private static NativeBlock Table(int places)
    {
        int length = places * sizeof(int);
        if (length >= HugeFrom)
            return NativeBlock.OfHugePages(length);
        var block = new NativeBlock(length);
        block.GetSpan().Clear();
        return block;
    }

    private ref Entry EntryAt(int number) => ref number < SlabSize
        ? ref MemoryMarshal.Cast<byte, Entry>(segments[number / SegmentSize].GetSpan())[number % SegmentSize]
        : ref MemoryMarshal.Cast<byte, Entry>(slabs[(number / SlabSize) - 1].GetSpan())[number % SlabSize];
}
