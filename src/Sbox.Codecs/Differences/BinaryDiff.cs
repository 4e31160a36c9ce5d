namespace Sbox.Codecs;

/// <summary>
/// Differences between two versions of a program: stretches of the new one that resemble a stretch of the old one, as byte-wise
/// differences (mostly zeros, where only addresses moved), and what is really new. Keeps its buffers from one pair to the next.
/// </summary>
/// <remarks>docs/formats/binary-difference.md, after C. Percival: Naive differences of executable code, 2003.</remarks>
public sealed class BinaryDiff
{
    /// <summary>
    /// Bytes of the old version that are searched at once. A longer one is searched around the place where the new one is; about twelve
    /// bytes of memory are needed for each.
    /// </summary>
    public const int Window = 2 * 1024 * 1024;

    private const int Piece = Window / 2;
    private const int Worth = 8; // bytes that a match must explain beyond what going on as before would
    private const int Obvious = 24; // bytes that are as before: then nothing better is looked for

    private readonly int[] firstPairs = new int[65537];
    private readonly SuffixArray sorter = new();
    private byte[] window = [], piece = [];
    private int[] suffixes = [];
    private ulong[] grams = []; // a bit for each hash of eight bytes in a row: most places need not be looked up
    private int gramShift;

    /// <summary>Bytes of the last new version that are found unchanged in the old one.</summary>
    public long Unchanged { get; private set; }

    /// <summary>Writes how to make the new version of the old one.</summary>
    /// <param name="old">Reads the old version.</param>
    /// <param name="oldSize">Its bytes.</param>
    /// <param name="fresh">Reads the new version.</param>
    /// <param name="freshSize">Its bytes.</param>
    /// <param name="output">Gets the patch.</param>
    /// <param name="cancel">Looked at between pieces.</param>
    /// <returns>Bytes written.</returns>
    /// <exception cref="EndOfStreamException">A version is shorter than said.</exception>
    public long Write(ReadAt old, long oldSize, ReadAt fresh, long freshSize, Stream output, CancellationToken cancel = default)
    {
        var patch = new PatchWriter(output);
        int size = (int)Math.Min(oldSize, Window);
        Reserve(size, (int)Math.Min(freshSize, Piece));
        for (long at = 0; at < freshSize; at += Piece)
        {
            cancel.ThrowIfCancellationRequested();
            int count = (int)Math.Min(Piece, freshSize - at);
            Fill(fresh, piece.AsSpan(0, count), at);
            // A long one: around where it would be if all had grown evenly.
            long from = oldSize <= Window ? 0 : Math.Clamp((long)((at + (count / 2)) * ((double)oldSize / freshSize)) - (Window / 2), 0, oldSize - Window);
            if (at == 0 || oldSize > Window)
                Index(old, from, size);
            patch.EnterWindow(from, size);
            Walk(window.AsSpan(0, size), piece.AsSpan(0, count), from, patch);
        }

        Unchanged = patch.Unchanged;
        return patch.Written;
    }

    private void Reserve(int windowSize, int pieceSize)
    {
        if (window.Length < Math.Max(1, windowSize))
        {
            int room = RoomFor(windowSize, Window);
            window = GC.AllocateUninitializedArray<byte>(room);
            suffixes = GC.AllocateUninitializedArray<int>(room);
            grams = GC.AllocateUninitializedArray<ulong>(room / 8);
        }

        if (piece.Length < pieceSize)
            piece = GC.AllocateUninitializedArray<byte>(RoomFor(pieceSize, Piece));
    }

    private static int RoomFor(int size, int most) =>
        Math.Min(most, Math.Max(64 * 1024, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)size)));

    private static void Fill(ReadAt source, Span<byte> into, long offset)
    {
        for (int read; !into.IsEmpty; into = into[read..], offset += read)
        {
            read = source(into, offset);
            if (read == 0)
                throw new EndOfStreamException($"ends at {offset}");
        }
    }

    private void Index(ReadAt source, long from, int size)
    {
        Fill(source, window.AsSpan(0, size), from);
        sorter.Sort(window, size, suffixes);
        Array.Clear(firstPairs);
        for (int i = 0; i + 1 < size; i++)
            firstPairs[((window[i] << 8) | window[i + 1]) + 1]++;
        // A last byte by itself is smaller than any pair that begins with it.
        if (size > 0)
            firstPairs[window[size - 1] << 8]++;
        for (int i = 1; i < firstPairs.Length; i++)
            firstPairs[i] += firstPairs[i - 1];
        NoteGrams(size);
    }

    private void NoteGrams(int size)
    {
        int bits = Math.Max(10, 32 - System.Numerics.BitOperations.LeadingZeroCount((uint)size) + 3);
        bits = Math.Min(bits, System.Numerics.BitOperations.Log2((uint)grams.Length) + 6);
        gramShift = 64 - bits;
        grams.AsSpan(0, 1 << (bits - 6)).Clear();
        ReadOnlySpan<byte> all = window.AsSpan(0, size);
        for (int i = 0; i + 8 <= all.Length; i++)
        {
            uint hash = Gram(all[i..]);
            grams[hash >> 6] |= 1UL << (int)hash;
        }
    }

    private uint Gram(ReadOnlySpan<byte> bytes) =>
        (uint)((System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(bytes) * 0x9E3779B97F4A7C15) >> gramShift);

    // Only more than eight bytes are worth a step, so what begins with eight that are nowhere in the window is not looked for.
    private bool MayBeWorth(ReadOnlySpan<byte> wanted)
    {
        if (wanted.Length <= Worth)
            return false;
        uint hash = Gram(wanted);
        return (grams[hash >> 6] >> (int)hash & 1) != 0;
    }

    /// <summary>The longest stretch of the window that a place in the new version begins with.</summary>
    private (int At, int Length) Longest(ReadOnlySpan<byte> wanted, int size)
    {
        if (wanted.Length < 2)
            return (0, 0);
        int pair = (wanted[0] << 8) | wanted[1];
        int low = firstPairs[pair], high = firstPairs[pair + 1] - LastByteOf(pair, size);
        ReadOnlySpan<byte> all = window.AsSpan(0, size);
        int lowCommon = 2, highCommon = 2, best = 0, bestAt = 0;
        while (low < high)
        {
            int middle = (int)((uint)(low + high) >> 1);
            int at = suffixes[middle];
            int common = Math.Min(lowCommon, highCommon);
            common += all[(at + common)..].CommonPrefixLength(wanted[common..]);
            if (common > best)
                (best, bestAt) = (common, at);
            if (common == wanted.Length)
                break;
            if (at + common == size || all[at + common] < wanted[common])
                (low, lowCommon) = (middle + 1, common);
            else
                (high, highCommon) = (middle, common);
        }

        return (bestAt, best);
    }

    // The pair behind this one may begin with the lone last byte, which is counted there.
    private int LastByteOf(int pair, int size) => size > 0 && ((pair + 1) & 0xFF) == 0 && window[size - 1] == (pair + 1) >> 8 ? 1 : 0;

    // From end to end of a piece: the next place where another stretch explains more than going on as before, then what lies between.
    private void Walk(ReadOnlySpan<byte> old, ReadOnlySpan<byte> fresh, long windowFrom, PatchWriter patch)
    {
        int scan = 0, length = 0, at = 0, doneTo = 0;
        int oldAt = (int)(patch.OldAt - windowFrom), shift = oldAt;
        while (scan < fresh.Length)
        {
            int alike = 0;
            scan += length;
            int counted = scan;
            for (; scan < fresh.Length; scan++)
            {
                (at, length) = Match(old, fresh, scan, shift);
                for (; counted < scan + length; counted++)
                    alike += Same(old, fresh, counted, shift);
                if ((length == alike && length != 0) || length > alike + Worth)
                    break;
                if (counted == scan)
                    counted++;
                else
                    alike -= Same(old, fresh, scan, shift);
            }

            bool ended = scan >= fresh.Length;
            if (length == alike && !ended)
                continue;
            int forward = Forward(old, fresh, doneTo, oldAt, Math.Min(scan, fresh.Length));
            int backward = ended ? 0 : Backward(old, fresh, scan, at, doneTo);
            if (doneTo + forward > scan - backward)
                (forward, backward) = Divide(old, fresh, doneTo, oldAt, scan, at, forward, backward);
            int next = ended ? oldAt + forward : at - backward;
            int until = Math.Min(scan, fresh.Length) - backward;
            patch.Add(old.Slice(oldAt, forward), fresh.Slice(doneTo, forward), fresh[(doneTo + forward)..until], windowFrom + next);
            (doneTo, oldAt, shift) = (until, next, at - scan);
        }
    }

    private (int At, int Length) Match(ReadOnlySpan<byte> old, ReadOnlySpan<byte> fresh, int scan, int shift)
    {
        ReadOnlySpan<byte> wanted = fresh[scan..];
        int before = scan + shift;
        if ((uint)before < (uint)old.Length && old[before] == wanted[0] && old[before..].CommonPrefixLength(wanted) is >= Obvious and var common)
            return (before, common);
        return MayBeWorth(wanted) ? Longest(wanted, old.Length) : (before, 0);
    }

    private static int Same(ReadOnlySpan<byte> old, ReadOnlySpan<byte> fresh, int index, int shift) =>
        (uint)(index + shift) < (uint)old.Length && old[index + shift] == fresh[index] ? 1 : 0;

    // How far from here the two go on resembling each other: as far as more than half of the bytes are the same.
    private static int Forward(ReadOnlySpan<byte> old, ReadOnlySpan<byte> fresh, int from, int oldFrom, int end)
    {
        int limit = Math.Min(end - from, old.Length - oldFrom), same = 0, best = 0, bestScore = 0;
        for (int i = 0; i < limit;)
        {
            if (old[oldFrom + i] == fresh[from + i])
                same++;
            i++;
            if ((same * 2) - i > bestScore)
                (bestScore, best) = ((same * 2) - i, i);
        }

        return best;
    }

    private static int Backward(ReadOnlySpan<byte> old, ReadOnlySpan<byte> fresh, int from, int oldFrom, int end)
    {
        int limit = Math.Min(from - end, oldFrom), same = 0, best = 0, bestScore = 0;
        for (int i = 1; i <= limit; i++)
        {
            if (old[oldFrom - i] == fresh[from - i])
                same++;
            if ((same * 2) - i > bestScore)
                (bestScore, best) = ((same * 2) - i, i);
        }

        return best;
    }

    // Two stretches that claim the same bytes: cut where both together are the most alike.
    private static (int Forward, int Backward) Divide(
        ReadOnlySpan<byte> old, ReadOnlySpan<byte> fresh, int doneTo, int oldAt, int scan, int at, int forward, int backward)
    {
        int overlap = doneTo + forward - (scan - backward);
        int score = 0, bestScore = 0, cut = 0;
        for (int i = 0; i < overlap; i++)
        {
            int index = scan - backward + i;
            score += old[oldAt + (index - doneTo)] == fresh[index] ? 1 : 0;
            score -= old[at - backward + i] == fresh[index] ? 1 : 0;
            if (score > bestScore)
                (bestScore, cut) = (score, i + 1);
        }

        return (forward + cut - overlap, backward - cut);
    }

    /// <summary>Writes the steps of a patch: three numbers, differences, new bytes.</summary>
    private sealed class PatchWriter(Stream output)
    {
        private readonly byte[] buffer = new byte[16 * 1024];

        /// <summary>Where in the old version the next step begins.</summary>
        public long OldAt { get; private set; }

        public long Written { get; private set; }

        public long Unchanged { get; private set; }

        /// <summary>Leads to a place from which can be gone on in a part of the old version.</summary>
        public void EnterWindow(long from, int size)
        {
            if (OldAt < from || OldAt > from + size)
                Add([], [], [], from);
        }

        public void Add(ReadOnlySpan<byte> old, ReadOnlySpan<byte> fresh, ReadOnlySpan<byte> added, long next)
        {
            Span<byte> control = stackalloc byte[24];
            BinaryPatch.WriteNumber(control, old.Length);
            BinaryPatch.WriteNumber(control[8..], added.Length);
            BinaryPatch.WriteNumber(control[16..], next - (OldAt + old.Length));
            Put(control);
            for (int at = 0; at < old.Length; at += buffer.Length)
            {
                int count = Math.Min(buffer.Length, old.Length - at);
                for (int i = 0; i < count; i++)
                    buffer[i] = (byte)(fresh[at + i] - old[at + i]);
                Unchanged += buffer.AsSpan(0, count).Count((byte)0);
                Put(buffer.AsSpan(0, count));
            }

            Put(added);
            OldAt = next;
        }

        private void Put(ReadOnlySpan<byte> bytes)
        {
            output.Write(bytes);
            Written += bytes.Length;
        }
    }
}
