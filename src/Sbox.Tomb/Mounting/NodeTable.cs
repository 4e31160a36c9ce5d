using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// Slots by number, 24 bytes each in pieces that never move, and about 4 for finding one: nothing is there twice while it grows. Outside the collector's heap: what was given
/// up would lie there for long. One thread at a time.
/// </summary>
internal sealed class NodeTable
{
    private const int PieceSize = 1 << 14, FirstBuckets = 1 << 10;
    private readonly List<NativeBlock> pieces = [];
    private NativeBlock buckets = Buckets(FirstBuckets); // of each chain the first slot's place plus one; 0 is none
    private int used, free; // places ever used; the last that was given up, plus one

    /// <summary>Gives its memory back: nobody looks anything up in it any more. There is none where it could not be had.</summary>
    ~NodeTable()
    {
        buckets?.Free();
        foreach (NativeBlock piece in pieces)
            piece.Free();
    }

    /// <summary>What is known of a number.</summary>
    internal struct Slot
    {
        public ulong Number;
        public int Parent, At;
        public uint Told;
        internal int Next; // in its chain, or among those given up: a place plus one
    }

    /// <summary>How many are there.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes that it takes.</summary>
    public long Size => buckets.Length + pieces.Sum(static piece => (long)piece.Length);

    /// <summary>The slot of a number, until it is removed; a null reference when there is none.</summary>
    public ref Slot Find(ulong number)
    {
        for (int place = First(number); place != 0;)
        {
            ref Slot slot = ref SlotAt(place);
            if (slot.Number == number)
                return ref slot;
            place = slot.Next;
        }

        return ref Unsafe.NullRef<Slot>();
    }

    /// <summary>Adds one whose number is not there yet.</summary>
    public void Add(in Slot added)
    {
        if (Count == Firsts.Length * 2)
            Grow();
        int place = free;
        if (place != 0)
            free = SlotAt(place).Next;
        else
            place = NewPlace();
        ref int first = ref First(added.Number);
        ref Slot slot = ref SlotAt(place);
        slot = added;
        slot.Next = first;
        first = place;
        Count++;
    }

    /// <summary>Removes one that is there.</summary>
    public void Remove(ulong number)
    {
        ref int link = ref First(number);
        while (SlotAt(link).Number != number)
            link = ref SlotAt(link).Next;
        int place = link;
        ref Slot removed = ref SlotAt(place);
        link = removed.Next;
        removed = new Slot { Next = free };
        free = place;
        Count--;
    }

    /// <summary>Gives its memory back: there is none any more.</summary>
    public void Clear()
    {
        buckets.Free();
        pieces.ForEach(static piece => piece.Free());
        pieces.Clear();
        buckets = Buckets(FirstBuckets);
        (Count, used, free) = (0, 0, 0);
    }

    private Span<int> Firsts => MemoryMarshal.Cast<byte, int>(buckets.GetSpan());

    private static NativeBlock Buckets(int count)
    {
        var block = new NativeBlock(count * sizeof(int));
        block.GetSpan().Clear();
        return block;
    }

    private void Grow()
    {
        NativeBlock before = buckets;
        buckets = Buckets(before.Length / sizeof(int) * 2);
        foreach (int chain in MemoryMarshal.Cast<byte, int>(before.GetSpan()))
        {
            for (int place = chain; place != 0;)
            {
                ref Slot slot = ref SlotAt(place);
                int next = slot.Next;
                ref int first = ref First(slot.Number);
                slot.Next = first;
                first = place;
                place = next;
            }
        }

        before.Free();
    }

    private int NewPlace()
    {
        if (used == pieces.Count * PieceSize)
            pieces.Add(new NativeBlock(PieceSize * Unsafe.SizeOf<Slot>()));
        return ++used;
    }

    private ref int First(ulong number)
    {
        Span<int> firsts = Firsts;
        return ref firsts[(int)(number * 0x9E3779B97F4A7C15 >> 33) & (firsts.Length - 1)];
    }

    private ref Slot SlotAt(int place) => ref MemoryMarshal.Cast<byte, Slot>(pieces[(place - 1) / PieceSize].GetSpan())[(place - 1) % PieceSize];
}
