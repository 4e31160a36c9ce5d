namespace Sbox.Codecs;

/// <summary>
/// Sorts all suffixes of some bytes in linear time, by induced sorting (and keeps what it needs for that from one time to the next): the suffixes that begin a rise after a fall are sorted first, by
/// themselves one level down, and the order of all others follows from theirs in two sweeps.
/// </summary>
/// <remarks>G. Nong, S. Zhang, W. H. Chan: Linear Suffix Array Construction by Almost Pure Induced-Sorting, 2009.</remarks>
internal sealed class SuffixArray
{
    private readonly List<Level> levels = [];

    /// <summary>Sorts.</summary>
    /// <param name="text">The bytes.</param>
    /// <param name="size">How many of them there are.</param>
    /// <param name="suffixes">Gets the starts of the suffixes, the smallest first; room for <paramref name="size"/> at least.</param>
    public void Sort(byte[] text, int size, int[] suffixes) => Sort(new Bytes(text), size, 256, suffixes, depth: 0);

    private void Sort<T>(T text, int size, int symbols, int[] suffixes, int depth)
        where T : struct, IText
    {
        if (size == 0)
            return;
        if (size == 1)
        {
            suffixes[0] = 0;
            return;
        }

        if (levels.Count == depth)
            levels.Add(new Level());
        Level level = levels[depth];
        Bits rising = level.Rising(size);
        Span<int> counts = level.Counts(symbols), bounds = level.Bounds(symbols);
        Measure(text, size, counts, rising);
        suffixes.AsSpan(0, size).Fill(-1);
        Ends(counts, bounds);
        for (int i = size - 1; i > 0; i--)
        {
            if (rising.IsValley(i))
                suffixes[--bounds[text[i]]] = i;
        }

        Induce(text, size, rising, counts, bounds, suffixes);
        int valleys = Gather(size, rising, suffixes);
        int names = Name(text, size, rising, valleys, suffixes);
        SortValleys(size, rising, valleys, names, suffixes, depth);
        Place(text, size, counts, bounds, valleys, suffixes);
        Induce(text, size, rising, counts, bounds, suffixes);
    }

    /// <summary>Counts each symbol, and notes which suffixes are smaller than the one behind them.</summary>
    private static void Measure<T>(T text, int size, Span<int> counts, Bits rising)
        where T : struct, IText
    {
        bool rises = false; // the last one falls: what is behind it, nothing, is smaller than anything
        int after = text[size - 1];
        counts[after]++;
        for (int i = size - 2; i >= 0; i--)
        {
            int here = text[i];
            counts[here]++;
            rises = here < after || (here == after && rises);
            if (rises)
                rising.Set(i);
            after = here;
        }
    }

    private static void Ends(ReadOnlySpan<int> counts, Span<int> bounds)
    {
        int sum = 0;
        for (int i = 0; i < counts.Length; i++)
            bounds[i] = sum += counts[i];
    }

    private static void Starts(ReadOnlySpan<int> counts, Span<int> bounds)
    {
        int sum = 0;
        for (int i = 0; i < counts.Length; i++)
        {
            bounds[i] = sum;
            sum += counts[i];
        }
    }

    // From the valleys in their places to everything: what falls into one, left to right; what rises to one, right to left.
    private static void Induce<T>(T text, int size, Bits rising, ReadOnlySpan<int> counts, Span<int> bounds, int[] suffixes)
        where T : struct, IText
    {
        Starts(counts, bounds);
        suffixes[bounds[text[size - 1]]++] = size - 1;
        for (int i = 0; i < size; i++)
        {
            int before = suffixes[i] - 1;
            if (before >= 0 && !rising[before])
                suffixes[bounds[text[before]]++] = before;
        }

        Ends(counts, bounds);
        for (int i = size - 1; i >= 0; i--)
        {
            int before = suffixes[i] - 1;
            if (before >= 0 && rising[before])
                suffixes[--bounds[text[before]]] = before;
        }
    }

    private static int Gather(int size, Bits rising, int[] suffixes)
    {
        int valleys = 0;
        for (int i = 0; i < size; i++)
        {
            if (suffixes[i] > 0 && rising.IsValley(suffixes[i]))
                suffixes[valleys++] = suffixes[i];
        }

        return valleys;
    }

    // Equal stretches from valley to valley get equal names; names are kept at half a valley's position, since no two are neighbours.
    private static int Name<T>(T text, int size, Bits rising, int valleys, int[] suffixes)
        where T : struct, IText
    {
        suffixes.AsSpan(valleys, size - valleys).Fill(-1);
        int names = 0, last = -1;
        for (int i = 0; i < valleys; i++)
        {
            int at = suffixes[i];
            if (last < 0 || !SameStretch(text, size, rising, last, at))
                names++;
            last = at;
            suffixes[valleys + (at >> 1)] = names - 1;
        }

        return names;
    }

    private static bool SameStretch<T>(T text, int size, Bits rising, int one, int other)
        where T : struct, IText
    {
        for (int i = 0; ; i++)
        {
            if (one + i == size || other + i == size || text[one + i] != text[other + i] || rising[one + i] != rising[other + i])
                return false;
            if (i > 0 && rising.IsValley(one + i))
                return rising.IsValley(other + i);
            if (i > 0 && rising.IsValley(other + i))
                return false;
        }
    }

    // The order of the valleys' suffixes: by name where all differ, else by sorting the string of their names.
    private void SortValleys(int size, Bits rising, int valleys, int names, int[] suffixes, int depth)
    {
        int[] reduced = levels[depth].Reduced(valleys);
        for (int i = valleys, to = 0; to < valleys; i++)
        {
            if (suffixes[i] >= 0)
                reduced[to++] = suffixes[i];
        }

        if (names < valleys)
        {
            Sort(new Numbers(reduced), valleys, names, suffixes, depth + 1);
        }
        else
        {
            for (int i = 0; i < valleys; i++)
                suffixes[reduced[i]] = i;
        }

        for (int i = 1, to = 0; i < size; i++)
        {
            if (rising.IsValley(i))
                reduced[to++] = i;
        }

        for (int i = 0; i < valleys; i++)
            suffixes[i] = reduced[suffixes[i]];
    }

    private static void Place<T>(T text, int size, ReadOnlySpan<int> counts, Span<int> bounds, int valleys, int[] suffixes)
        where T : struct, IText
    {
        suffixes.AsSpan(valleys, size - valleys).Fill(-1);
        Ends(counts, bounds);
        for (int i = valleys - 1; i >= 0; i--)
        {
            int at = suffixes[i];
            suffixes[i] = -1;
            suffixes[--bounds[text[at]]] = at;
        }
    }

    private interface IText
    {
        int this[int index] { get; }
    }

    private readonly struct Bytes(byte[] text) : IText
    {
        public int this[int index] => text[index];
    }

    private readonly struct Numbers(int[] text) : IText
    {
        public int this[int index] => text[index];
    }

    /// <summary>What one level of the sorting needs; the next one has at most half as much text.</summary>
    private sealed class Level
    {
        private ulong[] words = [];
        private int[] counts = [], bounds = [], reduced = [];

        public Bits Rising(int size)
        {
            Array.Clear(Room(ref words, (size >> 6) + 1), 0, (size >> 6) + 1);
            return new Bits(words);
        }

        public Span<int> Counts(int symbols)
        {
            Span<int> all = Room(ref counts, symbols).AsSpan(0, symbols);
            all.Clear();
            return all;
        }

        public Span<int> Bounds(int symbols) => Room(ref bounds, symbols).AsSpan(0, symbols);

        public int[] Reduced(int valleys) => Room(ref reduced, valleys);

        private static T[] Room<T>(ref T[] array, int size) =>
            array.Length >= size ? array : array = GC.AllocateUninitializedArray<T>((int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)size));
    }

    private readonly struct Bits(ulong[] words)
    {

        public bool this[int index] => (words[index >> 6] >> index & 1) != 0;

        public void Set(int index) => words[index >> 6] |= 1UL << index;

        /// <summary>Whether it rises from here, and fell to here.</summary>
        public bool IsValley(int index) => this[index] && index > 0 && !this[index - 1];
    }
}
