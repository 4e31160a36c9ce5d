namespace Sbox.Linux;

/// <summary>
/// Native blocks that are used again and again: the kernel fills every page of a new one with zeros first, which costs more than deciphering into it. Keeps what comes
/// back up to a limit. Safe on several threads.
/// </summary>
/// <param name="keptAtMost">Bytes that wait here for their next use.</param>
public sealed class BlockPool(long keptAtMost)
{
    private const int Large = 256 * 1024;

    private readonly Lock gate = new();
    private readonly List<NativeBlock> free = []; // the longest unused first
    private long kept;
    private bool closed;

    /// <summary>Bytes that wait here.</summary>
    public long Kept
    {
        get
        {
            lock (gate)
                return kept;
        }
    }

    /// <summary>A block of at least that many bytes, and of not much more; what is in it is not defined.</summary>
    public NativeBlock Rent(int length)
    {
        lock (gate)
        {
            int best = -1;
            for (int at = free.Count - 1; at >= 0; at--)
            {
                int size = free[at].Length;
                if (size >= length && size / 2 <= length && (best < 0 || size < free[best].Length))
                    best = at;
            }

            if (best >= 0)
            {
                NativeBlock block = free[best];
                free.RemoveAt(best);
                kept -= block.Length;
                return block;
            }
        }

        return new NativeBlock(Rounded(length));
    }

    /// <summary>Gives a block back; nobody may look at it any more.</summary>
    public void Return(NativeBlock block)
    {
        lock (gate)
        {
            if (!closed && block.Length <= keptAtMost)
            {
                free.Add(block);
                kept += block.Length;
                while (kept > keptAtMost)
                {
                    NativeBlock oldest = free[0];
                    free.RemoveAt(0);
                    kept -= oldest.Length;
                    Wipe(oldest);
                }

                return;
            }
        }

        Wipe(block);
    }

    /// <summary>Gives all of it back; what is still lent follows when it returns.</summary>
    public void Close()
    {
        lock (gate)
            closed = true;
        Free();
    }

    /// <summary>Gives back what waits here.</summary>
    public void Free()
    {
        lock (gate)
        {
            free.ForEach(Wipe);
            free.Clear();
            kept = 0;
        }
    }

    // What a home holds does not stay in freed memory: the kernel wipes what goes back to it, the C library does not.
    private static void Wipe(NativeBlock block)
    {
        if (!block.IsMapped)
            block.GetSpan().Clear();
        block.Free();
    }

    // Lengths differ by a little: rounded to an eighth, most blocks fit the next one who asks. Of a large one the pages behind what is asked for are never touched, and
    // so are nobody's memory: rounded to a power of two, nearly every one fits.
    private static int Rounded(int length)
    {
        if (length is >= Large and <= 1 << 30)
            return (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)length);
        int step = Math.Max(4096, (int)(System.Numerics.BitOperations.RoundUpToPowerOf2((uint)length) / 8));
        return length < 4096 ? length : (int)Math.Min(((long)length + step - 1) / step * step, int.MaxValue);
    }
}
