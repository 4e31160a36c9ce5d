using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// Slots by number, open addressing in many small parts: each grows by a quarter when it is nearly full, so that a million of them never have to be there twice. Outside
/// the collector's heap: what a part was before it grew would lie there for long. One thread at a time.
/// </summary>
internal sealed class NodeTable
{
    private const int PartBits = 12, Parts = 1 << PartBits, FirstSize = 16;
    private readonly NativeBlock?[] parts = new NativeBlock?[Parts];
    private readonly int[] counts = new int[Parts];

    /// <summary>Gives its memory back: nobody looks anything up in it any more.</summary>
    ~NodeTable()
    {
        foreach (NativeBlock? part in parts)
            part?.Free();
    }

    /// <summary>20 bytes; the number is 0 where it is free.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    internal struct Slot
    {
        public ulong Number;
        public int Parent, At;
        public uint Told;
    }

    /// <summary>How many are there.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes that it takes.</summary>
    public long Size => parts.Sum(static part => (long)(part?.Length ?? 0));

    /// <summary>The slot of a number, until one is added or removed; a null reference when there is none.</summary>
    public ref Slot Find(ulong number)
    {
        Span<Slot> part = SlotsOf(PartOf(number));
        if (part.IsEmpty)
            return ref Unsafe.NullRef<Slot>();
        for (int at = HomeOf(number, part.Length); ; at = Next(at, part.Length))
        {
            ref Slot slot = ref part[at];
            if (slot.Number == number)
                return ref slot;
            if (slot.Number == 0)
                return ref Unsafe.NullRef<Slot>();
        }
    }

    /// <summary>Adds one whose number is not there yet, and is not 0.</summary>
    public void Add(in Slot added)
    {
        int which = PartOf(added.Number);
        Span<Slot> part = SlotsOf(which);
        if (counts[which] >= part.Length * 4 / 5)
        {
            NativeBlock? before = parts[which];
            var block = new NativeBlock(Math.Max(FirstSize, part.Length * 5 / 4) * Unsafe.SizeOf<Slot>());
            block.GetSpan().Clear();
            parts[which] = block;
            Span<Slot> larger = SlotsOf(which);
            foreach (ref Slot slot in part)
            {
                if (slot.Number != 0)
                    Place(larger, slot);
            }

            before?.Free();
            part = larger;
        }

        Place(part, added);
        counts[which]++;
        Count++;
    }

    /// <summary>Removes one.</summary>
    public void Remove(ulong number)
    {
        int which = PartOf(number);
        Span<Slot> part = SlotsOf(which);
        int hole = HomeOf(number, part.Length);
        while (part[hole].Number != number)
            hole = Next(hole, part.Length);

        // Those behind it that were pushed here by others move up, so that a search never ends too early.
        for (int at = Next(hole, part.Length); part[at].Number != 0; at = Next(at, part.Length))
        {
            int home = HomeOf(part[at].Number, part.Length);
            if (Distance(home, at, part.Length) < Distance(hole, at, part.Length))
                continue;
            part[hole] = part[at];
            hole = at;
        }

        part[hole] = default;
        counts[which]--;
        Count--;
    }

    private Span<Slot> SlotsOf(int which) => parts[which] is { } block ? MemoryMarshal.Cast<byte, Slot>(block.GetSpan()) : [];

    private static void Place(Span<Slot> part, in Slot added)
    {
        int at = HomeOf(added.Number, part.Length);
        while (part[at].Number != 0)
            at = Next(at, part.Length);
        part[at] = added;
    }

    private static int PartOf(ulong number) => (int)(Mixed(number) >> (64 - PartBits));

    private static int HomeOf(ulong number, int size) => (int)(((Mixed(number) & 0xFFFFFFFF) * (ulong)size) >> 32);

    private static ulong Mixed(ulong number)
    {
        number *= 0x9E3779B97F4A7C15;
        return number ^ (number >> 29);
    }

    private static int Next(int at, int size) => at + 1 == size ? 0 : at + 1;

    private static int Distance(int from, int to, int size) => to >= from ? to - from : to - from + size;
}
